//! The charts against the documents: names, order, profiles, and that Kubernetes knows every field.

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::kube::fluid::api::{AlluxioRuntimeSpec, Dataset, GooseFsRuntimeSpec, JindoRuntimeSpec};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::profile::Profile;

fn dataset(name: &str, spec: Value) -> Dataset {
    let object = json!({
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": "Dataset",
        "metadata": { "name": name, "namespace": "default", "uid": "u-1" },
        "spec": spec,
    });
    serde_json::from_value(object).expect("a dataset")
}

/// From the Alluxio document.
fn alluxio() -> Blueprint {
    let mounts = json!({ "mounts": [{ "mountPoint": "https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/", "name": "hbase" }] });
    let spec: AlluxioRuntimeSpec = serde_json::from_value(json!({
        "replicas": 2,
        "tieredstore": { "levels": [{ "mediumtype": "MEM", "path": "/dev/shm", "quota": "2Gi", "high": "0.95", "low": "0.7" }] },
        "master": { "replicas": 3 },
    }))
    .expect("a runtime");
    let ports = PortSet::from_list(&[20_000, 20_001, 20_002, 20_003, 20_004]).expect("five");
    Blueprint::alluxio(&dataset("hbase", mounts), &spec, Profile::V0_7, ports)
}

/// From the GooseFS document.
fn goosefs() -> Blueprint {
    let mounts = json!({ "mounts": [{ "mountPoint": "https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/", "name": "hbase" }] });
    let spec: GooseFsRuntimeSpec = serde_json::from_value(json!({
        "replicas": 3,
        "tieredstore": { "levels": [{ "mediumtype": "HDD", "path": "/mnt/disk1", "quota": "2G", "high": "0.8", "low": "0.7" }] },
        "master": { "replicas": 3 },
    }))
    .expect("a runtime");
    let ports = PortSet::from_list(&[26_000, 26_001, 26_002, 26_003, 26_004]).expect("five");
    Blueprint::goosefs(&dataset("hbase", mounts), &spec, Profile::GOOSEFS_DOCUMENT, ports)
}

/// From the JindoFS document.
fn jindo(master: Value) -> Blueprint {
    let mounts = json!({ "mounts": [{ "mountPoint": "oss://bucket/dir", "name": "demo", "path": "/" }] });
    let spec: JindoRuntimeSpec = serde_json::from_value(json!({
        "replicas": 2,
        "volumes": [{ "name": "meta-vol", "persistentVolumeClaim": { "claimName": "demo-jindo-master-meta" } }],
        "master": master,
        "tieredstore": { "levels": [{
            "mediumtype": "MEM", "path": "/dev/shm", "volumeType": "emptyDir", "quota": "12Gi", "high": "0.99", "low": "0.99",
        }] },
    }))
    .expect("a runtime");
    Blueprint::jindo(&dataset("demo", mounts), &spec, Profile::V1_0, PortSet::native(Flavor::Jindo))
}

fn on_the_volume() -> Value {
    json!({
        "volumeMounts": [{ "name": "meta-vol", "mountPath": "/root/jindofsx-meta" }],
        "properties": { "namespace.meta-dir": "/root/jindofsx-meta" },
    })
}

fn blueprints() -> [Blueprint; 4] {
    [alluxio(), goosefs(), jindo(on_the_volume()), jindo(json!({ "replicas": 3 }))]
}

/// The typed form, if nothing is lost on the way to it and back.
fn typed<K: DeserializeOwned + Serialize>(object: &Value) -> K {
    let typed: K = serde_json::from_value(object.clone()).expect("of this kind");
    let back = serde_json::to_value(&typed).expect("JSON");
    assert_eq!(&back, object, "a field that the kind does not know, or an empty one");
    typed
}

#[test]
fn every_object_is_one_of_kubernetes_without_a_field_too_many() {
    for blueprint in blueprints() {
        for object in blueprint.objects() {
            match object["kind"].as_str() {
                Some("ConfigMap") => drop(typed::<ConfigMap>(&object)),
                Some("Service") => drop(typed::<Service>(&object)),
                Some("StatefulSet") => drop(typed::<StatefulSet>(&object)),
                Some("DaemonSet") => drop(typed::<DaemonSet>(&object)),
                other => panic!("{other:?}"),
            }
        }
        typed::<PersistentVolume>(&blueprint.persistent_volume());
        typed::<PersistentVolumeClaim>(&blueprint.persistent_volume_claim());
    }
}

#[test]
fn objects_are_installed_in_order_and_named_as_in_the_documents() {
    let names = |b: &Blueprint| -> Vec<String> {
        let name = |o: &Value| {
            format!("{}/{}", o["kind"].as_str().unwrap_or(""), o["metadata"]["name"].as_str().unwrap_or(""))
        };
        b.objects().iter().map(name).collect()
    };
    assert_eq!(
        names(&goosefs()),
        [
            "ConfigMap/hbase-goosefs-values",
            "ConfigMap/hbase-config",
            "Service/hbase-master-0",
            "Service/hbase-master-1",
            "Service/hbase-master-2",
            "StatefulSet/hbase-master",
            "DaemonSet/hbase-worker",
            "DaemonSet/hbase-fuse",
        ]
    );
    assert_eq!(
        names(&jindo(on_the_volume()))[2..],
        [
            "Service/demo-jindofs-master-0",
            "StatefulSet/demo-jindofs-master",
            "StatefulSet/demo-jindofs-worker",
            "DaemonSet/demo-jindofs-fuse"
        ]
    );
}

fn config(b: &Blueprint) -> Value {
    b.objects()[1]["data"].clone()
}

#[test]
fn three_masters_are_one_group_and_one_is_alone() {
    let options = config(&alluxio())["ALLUXIO_JAVA_OPTS"].to_string();
    let members = "hbase-master-0:20002,hbase-master-1:20002,hbase-master-2:20002";
    assert!(options.contains("-Dalluxio.master.journal.type=EMBEDDED"), "{options}");
    assert!(options.contains(&format!("-Dalluxio.master.embedded.journal.addresses={members}")), "{options}");
    let alone = Blueprint { masters: 1, ..alluxio() };
    let options = config(&alone)["ALLUXIO_JAVA_OPTS"].to_string();
    assert!(options.contains("-Dalluxio.master.journal.type=UFS") && !options.contains("embedded"), "{options}");
}

#[test]
fn the_planted_default_makes_three_clusters_of_three_masters() {
    use crate::base::planted::{Bug, plant};
    let Ok(_plant) = plant(&[Bug::JournalLeftLocal]) else { return };
    let options = config(&alluxio())["ALLUXIO_JAVA_OPTS"].to_string();
    assert!(options.contains("-Dalluxio.master.journal.type=UFS") && !options.contains("embedded"), "{options}");
}

#[test]
fn jindo_keeps_its_metadata_on_the_cache_unless_told_otherwise() {
    let file = |b: &Blueprint| config(b)["jindofsx.cfg"].as_str().unwrap_or("").to_string();
    let volume = file(&jindo(on_the_volume()));
    assert!(volume.contains("namespace.meta-dir = /root/jindofsx-meta\n") && volume.contains("rocksdb"), "{volume}");
    let raft = file(&jindo(json!({ "replicas": 3 })));
    assert!(raft.contains("namespace.meta-dir = /dev/shm/default/demo/server\n"), "{raft}");
    let members = "demo-jindofs-master-0:8103:0,demo-jindofs-master-1:8103:0,demo-jindofs-master-2:8103:0";
    assert!(raft.contains(&format!("namespace.backend.raft.initial-conf = {members}\n")), "{raft}");
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is = |o: &&Value| o["kind"] == kind && o["metadata"]["name"] == name;
    objects.iter().find(is).expect("there")
}

#[test]
fn profiles_differ_where_versions_do() {
    let objects = alluxio().objects();
    let masters = find(&objects, "StatefulSet", "hbase-master");
    assert_eq!(masters["spec"]["podManagementPolicy"], Value::Null);
    assert_eq!(find(&objects, "StatefulSet", "hbase-worker")["spec"]["replicas"], 0);
    let fuse = &find(&objects, "DaemonSet", "hbase-fuse")["spec"]["template"]["spec"]["nodeSelector"];
    assert_eq!(fuse, &json!({ "fluid.io/f-default-hbase": "true" }));
    assert_eq!(alluxio().persistent_volume()["metadata"]["name"], "hbase");

    let objects = Blueprint { profile: Profile::V1_0, ..alluxio() }.objects();
    assert_eq!(find(&objects, "StatefulSet", "hbase-master")["spec"]["podManagementPolicy"], "Parallel");
    let b = Blueprint { profile: Profile::V1_0, ..alluxio() };
    assert_eq!(b.persistent_volume()["metadata"]["name"], "default-hbase");

    let objects = goosefs().objects();
    let fuse = &find(&objects, "DaemonSet", "hbase-fuse")["spec"]["template"]["spec"]["nodeSelector"];
    assert_eq!(fuse, &json!({ "fluid.io/s-default-hbase": "true" }));
}

#[test]
fn a_pod_of_alluxio_has_two_containers_and_one_of_goosefs_has_one() {
    let containers = |b: &Blueprint| {
        let objects = b.objects();
        find(&objects, "StatefulSet", "hbase-master")["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len)
    };
    assert_eq!((containers(&alluxio()), containers(&goosefs())), (Some(2), Some(1)));
}

#[test]
fn exclusive_workers_repel_those_of_any_dataset_and_shared_ones_only_the_exclusive() {
    use crate::kube::fluid::api::Placement;
    let apart = |placement| {
        let objects = Blueprint { placement, ..alluxio() }.objects();
        let pod = &find(&objects, "StatefulSet", "hbase-worker")["spec"]["template"]["spec"];
        let required = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
        required["labelSelector"]["matchExpressions"][0].clone()
    };
    assert_eq!(apart(Placement::Exclusive), json!({ "key": "fluid.io/dataset", "operator": "Exists" }));
    assert_eq!(apart(Placement::Shared)["values"], json!(["Exclusive"]));
}
