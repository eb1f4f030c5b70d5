//! Volumes: which one suits a claim, and where a pod with claims can run.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};
use stormglass::kube::volume::matching::best;

use super::objects::{bound, claim, class, cluster, mounts, node, over, pod, put, schedule, storage, volume, zonal};

#[test]
fn a_zonal_volume_keeps_its_pod_in_the_zone() {
    let tainted = |name: &str| {
        let taints = json!({ "spec": { "taints": [{ "key": "master", "value": "gone", "effect": "NoSchedule" }] } });
        let zone = json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": "a" } } });
        node(name, over(zone, taints))
    };
    let mut cache = cluster([zonal("a1", "a"), zonal("a2", "a"), zonal("b1", "b")]);
    storage(&mut cache, [bound("meta", "pv-1")], [volume("pv-1", "disk", "a", json!({}))], [class("disk", true)]);
    let master = pod("master-0", mounts(&["meta"]));
    cache.node(tainted("a1"));
    assert_eq!(schedule(&cache, &master).unwrap().node, "a2", "rescheduled within its zone");
    cache.node(tainted("a2"));
    let error = schedule(&cache, &master).unwrap_err();
    let want = "0/3 nodes are available: 1 node(s) had volume node affinity conflict, \
                2 node(s) had untolerated taint {master: gone}.";
    assert_eq!(error.to_string(), want);
}

#[test]
fn volume_filters() {
    let once = json!({ "spec": { "accessModes": ["ReadWriteOncePod"] } });
    let missing = "persistentvolumeclaim \"data\" not found";
    let unbound = "pod has unbound immediate PersistentVolumeClaims";
    let conflict = "2 node(s) had volume node affinity conflict";
    let nothing = "2 node(s) didn't find available persistent volumes to bind";
    let selected =
        |node: &str| json!({ "metadata": { "annotations": { "volume.kubernetes.io/selected-node": node } } });
    let static_class = || {
        std::sync::Arc::new(super::objects::of(json!({
        "metadata": { "name": "disk" }, "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer" })))
    };
    let zone_b = || {
        let terms = json!([{ "matchLabelExpressions": [{ "key": "topology.kubernetes.io/zone", "values": ["b"] }] }]);
        std::sync::Arc::new(super::objects::of(json!({ "metadata": { "name": "disk" }, "provisioner": "disk.csi",
            "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": terms })))
    };
    let labelled =
        json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": "b" } }, "spec": { "nodeAffinity": null } });
    type Row<'a> = (
        &'a str,
        Vec<Arc<PersistentVolumeClaim>>,
        Vec<Arc<PersistentVolume>>,
        Vec<Arc<StorageClass>>,
        Result<&'a str, &'a str>,
    );
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        ("no such claim", vec![], vec![], vec![class("disk", true)], Err(missing)),
        ("Immediate must be bound first", vec![claim("data", "disk", json!({}))], vec![], vec![class("disk", false)], Err(unbound)),
        ("a lost claim", vec![claim("data", "disk", json!({ "spec": { "volumeName": "pv" }, "status": { "phase": "Lost" } }))], vec![], vec![class("disk", true)], Err("persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"pv\"")),
        ("a claim that goes", vec![claim("data", "disk", json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }))], vec![], vec![class("disk", true)], Err("persistentvolumeclaim \"data\" is being deleted")),
        ("bound in the other zone", vec![bound("data", "pv")], vec![volume("pv", "disk", "b", json!({}))], vec![], Ok("b1")),
        ("bound where there is no node", vec![bound("data", "pv")], vec![volume("pv", "disk", "c", json!({}))], vec![], Err(conflict)),
        ("bound to nothing", vec![bound("data", "pv")], vec![], vec![], Err("2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")),
        ("WaitForFirstConsumer finds a static volume", vec![claim("data", "disk", json!({}))], vec![volume("pv", "disk", "b", json!({}))], vec![static_class()], Ok("b1")),
        ("and none", vec![claim("data", "disk", json!({}))], vec![], vec![static_class()], Err(nothing)),
        ("and none that is large enough", vec![claim("data", "disk", json!({ "spec": { "resources": { "requests": { "storage": "11Gi" } } } }))], vec![volume("pv", "disk", "b", json!({}))], vec![static_class()], Err(nothing)),
        ("the scheduler's earlier choice holds", vec![claim("data", "disk", selected("b1"))], vec![], vec![class("disk", true)], Ok("b1")),
        ("and when that node is gone", vec![claim("data", "disk", selected("gone"))], vec![], vec![class("disk", true)], Err(nothing)),
        ("allowedTopologies", vec![claim("data", "disk", json!({}))], vec![], vec![zone_b()], Ok("b1")),
        ("VolumeZone: labels of the volume", vec![bound("data", "pv")], vec![volume("pv", "disk", "b", labelled)], vec![], Ok("b1")),
        ("VolumeRestrictions: ReadWriteOncePod is free", vec![claim("data", "disk", over(once, selected("a1")))], vec![], vec![class("disk", true)], Ok("a1")),
    ];
    for (rule, claims, volumes, classes, want) in rows {
        let mut cache = cluster([zonal("a1", "a"), zonal("b1", "b")]);
        storage(&mut cache, claims, volumes, classes);
        let found = schedule(&cache, &pod("p", mounts(&["data"])));
        match want {
            Ok(node) => assert_eq!(found.unwrap().node, node, "{rule}"),
            Err(why) => {
                assert_eq!(found.unwrap_err().to_string(), format!("0/2 nodes are available: {why}."), "{rule}");
            }
        }
    }
}

#[test]
fn a_claim_for_one_pod_is_for_one_pod() {
    let mut cache = cluster([zonal("a1", "a"), zonal("a2", "a")]);
    let mut once = (*bound("data", "pv")).clone();
    once.spec.as_mut().unwrap().access_modes = Some(vec!["ReadWriteOncePod".into()]);
    storage(&mut cache, [once.into()], [volume("pv", "disk", "a", json!({}))], []);
    put(&mut cache, &pod("first", mounts(&["data"])), "a1");
    let error = schedule(&cache, &pod("second", mounts(&["data"]))).unwrap_err();
    let want = "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and \
                ReadWriteOncePod access mode.";
    assert_eq!(error.to_string(), want);
    // ReadWriteOnce is for one node: the scheduler lets several pods share it, anywhere in the volume's reach.
    storage(&mut cache, [bound("data", "pv")], [], []);
    assert!(schedule(&cache, &pod("second", mounts(&["data"]))).is_ok());
}

#[test]
fn a_node_takes_only_so_many_volumes_of_a_driver() {
    let mut cache = cluster([zonal("a1", "a")]);
    let drivers = json!([{ "name": "disk.csi", "nodeID": "a1", "allocatable": { "count": 2 } }]);
    let csi = super::objects::of(json!({ "metadata": { "name": "a1" }, "spec": { "drivers": drivers } }));
    cache.catalog_mut().csi_nodes.insert("a1".into(), std::sync::Arc::new(csi));
    let all = ["1", "2", "3"].map(|n| bound(&format!("c{n}"), &format!("pv{n}")));
    let volumes = ["1", "2", "3"].map(|n| volume(&format!("pv{n}"), "disk", "a", json!({})));
    storage(&mut cache, all, volumes, []);
    put(&mut cache, &pod("x", mounts(&["c1", "c2"])), "a1");
    let error = schedule(&cache, &pod("p", mounts(&["c3"]))).unwrap_err();
    assert_eq!(error.to_string(), "0/1 nodes are available: 1 node(s) exceed max volume count.");
    assert!(schedule(&cache, &pod("p", mounts(&["c2"]))).is_ok(), "a volume that is there already counts once");
}

#[test]
fn the_best_volume_for_a_claim() {
    let size = |gi: u32| json!({ "spec": { "capacity": { "storage": format!("{gi}Gi") } } });
    let reserved =
        |name: &str, uid: &str| json!({ "spec": { "claimRef": { "namespace": "default", "name": name, "uid": uid } } });
    let v = |name: &str, more: Value| volume(name, "disk", "a", more);
    let plain = || claim("data", "disk", json!({}));
    let modes = |mode: &str| json!({ "spec": { "accessModes": [mode] } });
    let selects = json!({ "spec": { "selector": { "matchLabels": { "tier": "fast" } } } });
    let fast = json!({ "metadata": { "labels": { "tier": "fast" } } });
    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<_>, _, Option<&str>)> = vec![
        ("the smallest that is large enough", vec![v("l", size(50)), v("s", size(5)), v("m", size(20))], plain(), Some("m")),
        ("exactly as large", vec![v("m", size(20)), v("x", size(10))], plain(), Some("x")),
        ("by name among equals", vec![v("a", size(10)), v("b", size(10))], plain(), Some("a")),
        ("another class", vec![volume("o", "other", "a", json!({}))], plain(), None),
        ("no class wants no class", vec![v("d", json!({})), volume("n", "", "a", json!({}))], claim("data", "", json!({})), Some("n")),
        ("reserved for it by name goes first", vec![v("s", size(10)), v("r", over(size(90), reserved("data", "")))], plain(), Some("r")),
        ("reserved for a claim of the same name that is gone", vec![v("r", reserved("data", "uid-old"))], plain(), None),
        ("reserved for another", vec![v("r", reserved("other", ""))], plain(), None),
        ("reserved but too small", vec![v("r", over(size(5), reserved("data", "")))], plain(), None),
        ("not available", vec![v("r", json!({ "status": { "phase": "Released" } }))], plain(), None),
        ("going", vec![v("r", json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }))], plain(), None),
        ("access modes", vec![v("o", json!({}))], claim("data", "disk", modes("ReadWriteMany")), None),
        ("selector", vec![v("slow", json!({})), v("fast", over(size(90), fast))], claim("data", "disk", selects), Some("fast")),
        ("volume mode", vec![v("b", json!({ "spec": { "volumeMode": "Block" } }))], plain(), None),
    ];
    for (rule, volumes, claim, want) in rows {
        let found = best(&volumes, &claim, None, &Default::default(), false);
        assert_eq!(found.and_then(|volume| volume.metadata.name.as_deref()), want, "{rule}");
    }
    let waits = best(&[v("a", json!({}))], &plain(), None, &Default::default(), true).is_some();
    assert!(!waits, "WaitForFirstConsumer: only the scheduler chooses");
    let zone_b = zonal("b1", "b");
    let elsewhere = best(&[v("a", reserved("data", ""))], &plain(), Some(&zone_b), &Default::default(), true).is_some();
    assert!(!elsewhere, "a reserved volume is the only candidate, and it is out of reach");
}
