//! Binding of claims and volumes, and provisioning: upstream's persistentvolume-controller and external-provisioner.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use proptest::prelude::*;
use serde_json::{Value, json};
use stormglass::base::planted::{Bug, plant};
use stormglass::kube::volume::binder::{Known, Step, sync_claim, sync_volume};
use stormglass::kube::volume::matching::{STORAGE_PROVISIONER, claim_ref, is_bound, volume_name};
use stormglass::kube::volume::provision::{NoZone, to_delete, volume as made_for, wanted, zone};

use super::objects::{bound, claim, class, over, volume, zonal};

fn known(
    claims: Vec<Arc<PersistentVolumeClaim>>,
    volumes: Vec<Arc<PersistentVolume>>,
    classes: Vec<Arc<k8s_openapi::api::storage::v1::StorageClass>>,
) -> Known {
    let key = |claim: &PersistentVolumeClaim| ("default".to_string(), claim.metadata.name.clone().unwrap());
    Known {
        claims: claims.into_iter().map(|claim| (key(&claim), claim)).collect(),
        volumes: volumes.into_iter().map(|volume| (volume.metadata.name.clone().unwrap(), volume)).collect(),
        classes: classes.into_iter().map(|class| (class.metadata.name.clone().unwrap(), class)).collect(),
    }
}

/// Carries one step out, as the API server would.
fn apply(known: &mut Known, step: Step) {
    match step {
        Step::Volume(next) => {
            let status = known.volumes[next.metadata.name.as_ref().unwrap()].status.clone();
            let name = next.metadata.name.clone().unwrap();
            known.volumes.insert(name, Arc::new(PersistentVolume { status, ..*next }));
        }
        Step::VolumeStatus(next) => {
            known.volumes.insert(next.metadata.name.clone().unwrap(), Arc::new(*next));
        }
        Step::Claim(next) | Step::ClaimStatus(next) => {
            known.claims.insert(("default".into(), next.metadata.name.clone().unwrap()), Arc::new(*next));
        }
        Step::Tell(_) => {}
    }
}

/// Syncs everything until nothing is written any more; gives the number of writes.
fn settle(known: &mut Known) -> usize {
    for writes in 0..200 {
        let claims: Vec<_> = known.claims.values().cloned().collect();
        let mut steps: Vec<Step> =
            claims.iter().flat_map(|claim| sync_claim(known, claim).into_iter().take(1)).collect();
        let volumes: Vec<_> = known.volumes.values().cloned().collect();
        steps.extend(volumes.iter().filter_map(|volume| sync_volume(known, volume)));
        steps.retain(|step| !matches!(step, Step::Tell(_)));
        // One write at a time, as if the loop had been interrupted after each.
        let Some(step) = steps.into_iter().next() else { return writes };
        apply(known, step);
    }
    panic!("the binder does not come to rest: {known:?}");
}

fn phases(known: &Known) -> (Vec<&str>, Vec<&str>) {
    let claims = known.claims.values().map(|claim| claim.status.as_ref().unwrap().phase.as_deref().unwrap());
    let volumes = known.volumes.values().map(|volume| volume.status.as_ref().unwrap().phase.as_deref().unwrap());
    (claims.collect(), volumes.collect())
}

#[test]
fn a_binding_is_four_writes_on_both_sides() {
    let mut all = known(
        vec![claim("data", "disk", json!({}))],
        vec![volume("pv", "disk", "a", json!({}))],
        vec![class("disk", false)],
    );
    assert_eq!(settle(&mut all), 4);
    let claim = &all.claims[&("default".to_string(), "data".to_string())];
    let volume = &all.volumes["pv"];
    assert!(is_bound(claim) && volume_name(claim) == Some("pv"));
    assert_eq!(claim_ref(volume).unwrap().uid.as_deref(), Some("uid-data"));
    assert_eq!(claim.status.as_ref().unwrap().capacity, volume.spec.as_ref().unwrap().capacity);
    assert_eq!(phases(&all), (vec!["Bound"], vec!["Bound"]));
}

#[test]
fn what_becomes_of_claims_and_volumes() {
    let of_other =
        |name: &str, uid: &str| json!({ "spec": { "claimRef": { "namespace": "default", "name": name, "uid": uid } } });
    let provisioned = json!({ "metadata": { "annotations": { "pv.kubernetes.io/provisioned-by": "disk.csi" } },
        "spec": { "persistentVolumeReclaimPolicy": "Delete" } });
    let by_controller = json!({ "metadata": { "annotations": { "pv.kubernetes.io/bound-by-controller": "yes" } } });
    let wants = |volume: &str| json!({ "spec": { "volumeName": volume } });
    type Row<'a> = (&'a str, Vec<Arc<PersistentVolumeClaim>>, Vec<Arc<PersistentVolume>>, bool, &'a str, &'a str);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        ("a fresh volume is available", vec![], vec![volume("pv", "disk", "a", json!({ "status": { "phase": "Pending" } }))], false, "", "Available"),
        ("no volume, no class", vec![claim("data", "", json!({}))], vec![], false, "Pending", ""),
        ("WaitForFirstConsumer waits although a volume would do", vec![claim("data", "disk", json!({}))], vec![volume("pv", "disk", "a", json!({}))], true, "Pending", "Available"),
        ("but not for one that is reserved for it", vec![claim("data", "disk", json!({}))], vec![volume("pv", "disk", "a", of_other("data", ""))], true, "Bound", "Bound"),
        ("the claim names its volume", vec![claim("data", "disk", wants("pv"))], vec![volume("pv", "disk", "a", json!({}))], false, "Bound", "Bound"),
        ("the named volume does not exist", vec![claim("data", "disk", wants("gone"))], vec![], false, "Pending", ""),
        ("the named volume is of another class", vec![claim("data", "disk", wants("pv"))], vec![volume("pv", "slow", "a", json!({}))], false, "Pending", "Available"),
        ("the named volume is another's", vec![claim("data", "disk", wants("pv"))], vec![volume("pv", "disk", "a", of_other("other", ""))], false, "Pending", "Available"),
        ("the volume of a bound claim is gone", vec![bound("data", "pv")], vec![], false, "Lost", ""),
        ("two claims for one volume", vec![bound("data", "pv")], vec![volume("pv", "disk", "a", of_other("other", "uid-other"))], false, "Lost", "Released"),
        ("the claim is gone: released", vec![], vec![volume("pv", "disk", "a", of_other("data", "uid-data"))], false, "", "Released"),
        ("a claim of the same name came after: released all the same", vec![claim("data", "none", json!({}))], vec![volume("pv", "disk", "a", of_other("data", "uid-old"))], false, "Pending", "Released"),
        ("reserved by name, not there yet", vec![], vec![volume("pv", "disk", "a", of_other("data", ""))], false, "", "Available"),
        ("its claim chose another: made for it, so released", vec![bound("data", "other")], vec![volume("other", "disk", "a", of_other("data", "uid-data")), volume("pv", "disk", "a", over(provisioned, of_other("data", "uid-data")))], false, "Bound", "Released"),
        ("its claim chose another: reserved by the controller, so free", vec![bound("data", "other")], vec![volume("other", "disk", "a", of_other("data", "uid-data")), volume("pv", "disk", "a", over(by_controller, of_other("data", "uid-data")))], false, "Bound", "Available"),
    ];
    for (rule, claims, volumes, wait, claim_phase, volume_phase) in rows {
        let mut all = known(claims, volumes, vec![class("disk", wait)]);
        settle(&mut all);
        let (claims, volumes) = phases(&all);
        assert_eq!(claims.last().copied().unwrap_or_default(), claim_phase, "{rule}");
        assert_eq!(volumes.last().copied().unwrap_or_default(), volume_phase, "{rule}");
    }
}

#[test]
fn owners_are_told_in_upstreams_words() {
    let told = |claim: Arc<PersistentVolumeClaim>, classes: Vec<_>| {
        let steps = sync_claim(&known(vec![claim.clone()], vec![], classes), &claim);
        let notice = steps.into_iter().find_map(|step| if let Step::Tell(notice) = step { Some(notice) } else { None });
        notice.map(|notice| (notice.reason, notice.message)).unwrap_or_default()
    };
    let (reason, message) = told(claim("data", "disk", json!({})), vec![class("disk", true)]);
    assert_eq!(
        (reason, message.as_str()),
        ("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    );
    let (reason, message) = told(claim("data", "", json!({})), vec![]);
    assert_eq!(reason, "FailedBinding");
    assert_eq!(message, "no persistent volumes available for this claim and no storage class is set");
    let (reason, message) = told(claim("data", "gone", json!({})), vec![]);
    assert_eq!((reason, message.as_str()), ("ProvisioningFailed", "storageclass.storage.k8s.io \"gone\" not found"));
    let asked = json!({ "metadata": { "annotations": { STORAGE_PROVISIONER: "disk.csi" } } });
    let (reason, message) = told(claim("data", "disk", asked), vec![class("disk", false)]);
    assert_eq!(reason, "ExternalProvisioning");
    assert!(message.starts_with("Waiting for a volume to be created either by the external provisioner 'disk.csi' or"));
}

#[test]
fn a_volume_is_made_where_it_can_be_used() {
    let nodes: BTreeMap<_, _> =
        [("a1", "a"), ("b1", "b"), ("c1", "c")].map(|(name, zone)| (name.to_string(), zonal(name, zone))).into();
    let key = "topology.kubernetes.io/zone";
    let asked = |more: Value| over(json!({ "metadata": { "annotations": { STORAGE_PROVISIONER: "disk.csi" } } }), more);
    let selected =
        |node: &str| asked(json!({ "metadata": { "annotations": { "volume.kubernetes.io/selected-node": node } } }));
    let classes = |wait: bool| BTreeMap::from([("disk".to_string(), class("disk", wait))]);

    // Immediate: at once, in a zone by the name; ordinals go round.
    let immediate = claim("data-web-0", "disk", asked(json!({})));
    assert!(wanted(&immediate, &classes(false), "disk.csi"));
    assert!(!wanted(&immediate, &classes(false), "other.csi"));
    let zones: Vec<String> = (0..4)
        .map(|n| {
            zone(&claim(&format!("data-web-{n}"), "disk", asked(json!({}))), &class("disk", false), &nodes, key)
                .unwrap()
        })
        .collect();
    assert_eq!(zones[0], zones[3]);
    assert_eq!(zones[..3].iter().collect::<std::collections::BTreeSet<_>>().len(), 3);

    // WaitForFirstConsumer: only with a selected node, in its zone.
    assert!(!wanted(&immediate, &classes(true), "disk.csi"));
    let placed = claim("data", "disk", selected("b1"));
    assert!(wanted(&placed, &classes(true), "disk.csi"));
    assert_eq!(zone(&placed, &class("disk", true), &nodes, key).as_deref(), Ok("b"));
    let gone = zone(&claim("data", "disk", selected("z9")), &class("disk", true), &nodes, key);
    assert_eq!(gone, Err(NoZone::NoNode("z9".into())));

    // Planted (K-10): as if the claim were immediate.
    let by_name = zone(&claim("data", "disk", asked(json!({}))), &class("disk", true), &nodes, key);
    let elsewhere = nodes.keys().find(|node| by_name.as_ref().is_ok_and(|zone| !node.starts_with(zone))).unwrap();
    let _plant = plant(&[Bug::ProvisionerIgnoresNode]).unwrap();
    assert_eq!(zone(&claim("data", "disk", selected(elsewhere)), &class("disk", true), &nodes, key), by_name);

    // What is made is bound to its claim from the start, and goes with it.
    let made = made_for(&placed, &class("disk", true), "disk.csi", "d-1", (key, "b"));
    assert_eq!(made.metadata.name.as_deref(), Some("pvc-uid-data"));
    let mut all = known(vec![placed], vec![Arc::new(made)], vec![class("disk", true)]);
    settle(&mut all);
    assert_eq!(phases(&all), (vec!["Bound"], vec!["Bound"]));
    all.claims.clear();
    settle(&mut all);
    assert!(to_delete(&all.volumes["pvc-uid-data"], "disk.csi"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever claims and volumes there are, and wherever the binder is interrupted: it comes to rest, and no volume is
    /// bound to two claims nor a claim to two volumes.
    #[test]
    fn bindings_are_one_to_one(
        sizes in prop::collection::vec((1..30u32, any::<bool>()), 0..6),
        asks in prop::collection::vec((1..30u32, any::<bool>()), 0..6),
    ) {
        let gi = |n: &u32| format!("{n}Gi");
        let name = |fast: &bool| if *fast { "fast" } else { "slow" };
        let volumes = sizes.iter().enumerate().map(|(at, (size, fast))| {
            volume(&format!("pv{at}"), name(fast), "a", json!({ "spec": { "capacity": { "storage": gi(size) } } }))
        });
        let claims = asks.iter().enumerate().map(|(at, (size, fast))| {
            let request = json!({ "spec": { "resources": { "requests": { "storage": gi(size) } } } });
            claim(&format!("c{at}"), name(fast), request)
        });
        let mut all = known(claims.collect(), volumes.collect(), vec![]);
        settle(&mut all);
        let mut taken = BTreeMap::new();
        for ((_, claim_name), claim) in all.claims.iter().filter(|(_, claim)| is_bound(claim)) {
            let volume = &all.volumes[volume_name(claim).unwrap()];
            prop_assert_eq!(claim_ref(volume).unwrap().name.as_ref(), Some(claim_name));
            prop_assert!(taken.insert(volume_name(claim).unwrap().to_string(), claim_name).is_none());
        }
        // Nobody waits while a volume that would do is free.
        for claim in all.claims.values().filter(|claim| !is_bound(claim)) {
            let found = stormglass::kube::volume::matching::best(all.volumes.values(), claim, None, &Default::default(), false);
            prop_assert!(found.is_none());
        }
    }
}
