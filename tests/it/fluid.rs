//! Fluid's controllers against the API server, in a world where every set comes up by itself and masters answer from a table.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

mod installed;
mod manifests;
mod operations;
mod planted;
mod programs;
mod restarts;
mod scaling;
mod stage;
mod stale;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use kube::core::params::{DeleteParams, ListParams};
use serde_json::json;
use stormglass::base::lock;
use stormglass::kube::client::Patch;
use stormglass::kube::fluid::api::{
    AlluxioRuntime, CALCULATING, Dataset, DatasetPhase, GooseFsRuntime, JindoRuntime, RuntimePhase,
};
use stormglass::kube::fluid::profile::Profile;
use stormglass::rt::time::sleep;

use stage::{SECOND, hbase, object, of_the_document, row, tell};

#[test]
fn a_dataset_is_bound_step_by_step_and_its_row_tells_the_truth() {
    tell(Profile::V0_7, |client, cache| async move {
        client.create(&hbase()).await.unwrap();
        sleep(13 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::NotBound);
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
        sleep(SECOND).await;
        let workers: StatefulSet = client.get("default", "hbase-worker").await.unwrap();
        assert_eq!(workers.spec.replicas, Some(0), "workers wait for their masters");
        sleep(25 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.1, CALCULATING);
        sleep(140 * SECOND).await;
        let (phase, total, states) = row(&client, "hbase").await;
        assert_eq!((phase, total.as_str()), (DatasetPhase::Bound, "550.82MiB"));
        assert_eq!(states["cacheCapacity"], "4.00GiB");
        assert_eq!(states["cachedPercentage"], "0.0%");
        assert_eq!(lock(&cache.mounts).keys().collect::<Vec<_>>(), ["/hbase"]);
        let runtime: AlluxioRuntime = client.get("default", "hbase").await.unwrap();
        let status = runtime.status.unwrap();
        let phases = [status.master_phase, status.worker_phase, status.fuse_phase];
        assert_eq!(phases, [RuntimePhase::Ready; 3]);
        assert_eq!((status.master_number_ready, status.worker_number_ready, status.fuse_number_ready), (3, 2, 0));
        let claim: PersistentVolumeClaim = client.get("default", "hbase").await.unwrap();
        assert_eq!(claim.spec.unwrap().volume_name.as_deref(), Some("hbase"));
        *lock(&cache.used) = 577_576_632;
        sleep(95 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.2["cachedPercentage"], "100.0%");
    });
}

#[test]
fn a_row_freezes_while_master_0_is_silent_whoever_leads() {
    tell(Profile::V1_0, |client, cache| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
        sleep(200 * SECOND).await;
        *lock(&cache.silent) = true;
        *lock(&cache.used) = 1 << 30;
        sleep(200 * SECOND).await;
        let (phase, _, states) = row(&client, "hbase").await;
        assert_eq!((phase, states["cached"].as_str()), (DatasetPhase::Bound, "0.00B"));
        *lock(&cache.silent) = false;
        sleep(25 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.2["cached"], "1.00GiB");
    });
}

#[test]
fn the_goosefs_document_refuses_an_even_number_of_masters_and_labels_nodes_for_its_workers() {
    tell(Profile::GOOSEFS_DOCUMENT, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<GooseFsRuntime>(&object(of_the_document("GooseFSRuntime", 3, 4))).await.unwrap();
        sleep(60 * SECOND).await;
        assert!(client.find::<StatefulSet>("default", "hbase-master").await.unwrap().is_none());
        let odd = Patch::Merge(json!({ "spec": { "master": { "replicas": 3 } } }));
        client.patch::<GooseFsRuntime>("default", "hbase", &odd).await.unwrap();
        sleep(120 * SECOND).await;
        let status = client.get::<GooseFsRuntime>("default", "hbase").await.unwrap().status.unwrap();
        assert_eq!([status.master_phase, status.worker_phase, status.fuse_phase], [RuntimePhase::Ready; 3]);
        assert_eq!((status.worker_number_ready, status.fuse_number_ready), (3, 3));
        let config: ConfigMap = client.get("default", "hbase-config").await.unwrap();
        assert!(config.data.unwrap()["GOOSEFS_JAVA_OPTS"].contains("-Dgoosefs.master.rpc.port=26000"));
    });
}

#[test]
fn keys_reach_the_cache_and_nothing_else() {
    tell(Profile::V1_0, |client, cache| async move {
        let secret = json!({ "metadata": { "name": "access-key", "namespace": "default" }, "stringData": { "id": "hush-hush" } });
        client.create::<Secret>(&object(secret)).await.unwrap();
        let mut dataset = hbase();
        let option = json!([{ "name": "fs.oss.accessKeyId", "valueFrom": { "secretKeyRef": { "name": "access-key", "key": "id" } } }]);
        dataset.spec.mounts[0].encrypt_options = serde_json::from_value(option).unwrap();
        client.create(&dataset).await.unwrap();
        let mut jindo = of_the_document("JindoRuntime", 2, 1);
        jindo["spec"]["networkmode"] = "ContainerNetwork".into();
        client.create::<JindoRuntime>(&object(jindo)).await.unwrap();
        sleep(200 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::Bound);
        assert_eq!(lock(&cache.mounts)["/hbase"].secrets["fs.oss.accessKeyId"], "hush-hush");
        let all = |text: String| assert!(!text.contains("hush-hush"), "{text}");
        all(format!("{:?}", client.list::<ConfigMap>("", &ListParams::default()).await.unwrap().items));
        all(format!("{:?}", client.list::<StatefulSet>("", &ListParams::default()).await.unwrap().items));
        all(format!("{:?}", client.list::<PersistentVolume>("", &ListParams::default()).await.unwrap().items));
        all(format!("{:?}", client.list::<Dataset>("", &ListParams::default()).await.unwrap().items));
        all(format!("{:?}", client.list::<JindoRuntime>("", &ListParams::default()).await.unwrap().items));
    });
}

#[test]
fn a_runtime_goes_with_all_that_was_installed_and_its_ports_come_back() {
    tell(Profile::V1_0, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
        sleep(200 * SECOND).await;
        client.delete::<AlluxioRuntime>("default", "hbase", &DeleteParams::default()).await.unwrap();
        sleep(60 * SECOND).await;
        assert!(client.find::<AlluxioRuntime>("default", "hbase").await.unwrap().is_none());
        let left = ListParams::default().labels("release=hbase");
        assert!(client.list::<StatefulSet>("", &left).await.unwrap().items.is_empty());
        assert!(client.list::<DaemonSet>("", &left).await.unwrap().items.is_empty());
        assert!(client.list::<Service>("", &left).await.unwrap().items.is_empty());
        assert!(client.list::<ConfigMap>("", &left).await.unwrap().items.is_empty());
        let (phase, total, states) = row(&client, "hbase").await;
        assert_eq!((phase, total.as_str(), states.len()), (DatasetPhase::NotBound, "", 0));
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 1, 1))).await.unwrap();
        sleep(30 * SECOND).await;
        let config: ConfigMap = client.get("default", "hbase-config").await.unwrap();
        assert!(config.data.unwrap()["ALLUXIO_JAVA_OPTS"].contains("-Dalluxio.master.rpc.port=20000"));
    });
}
