//! Workers come and go by the scale subresource; what must not go stays; what cannot be is refused.

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::core::params::{DeleteParams, ListParams};
use serde_json::json;
use stormglass::kube::client::{Client, Patch};
use stormglass::kube::fluid::api::{AlluxioRuntime, Dataset, DatasetPhase, GooseFsRuntime, JindoRuntime, RuntimePhase};
use stormglass::kube::fluid::profile::Profile;
use stormglass::rt::time::sleep;

use super::stage::{SECOND, hbase, kubectl, object, of_the_document, row, tell};

/// Messages of the events with that reason.
async fn events(client: &Client, reason: &str) -> Vec<String> {
    let all = client.list::<Event>("", &ListParams::default()).await.unwrap().items;
    let chosen = all.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    chosen.filter_map(|event| event.message).collect()
}

#[test]
fn workers_are_scaled_by_kubectl_and_it_is_told() {
    tell(Profile::V1_0, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
        sleep(100 * SECOND).await;
        for (to, type_, word) in [("3", "WorkersScaledOut", "out"), ("1", "WorkersScaledIn", "in")] {
            let said = kubectl(&client, &format!("scale alluxioruntime hbase --replicas={to}")).await;
            assert_eq!(said.as_deref(), Ok("alluxioruntime.data.fluid.io/hbase scaled\n"));
            sleep(30 * SECOND).await;
            let set: StatefulSet = client.get("default", "hbase-worker").await.unwrap();
            assert_eq!(set.spec.replicas.unwrap().to_string(), to);
            let status = client.get::<AlluxioRuntime>("default", "hbase").await.unwrap().status.unwrap();
            assert!(status.conditions.iter().any(|one| one.type_ == type_ && one.status == "True"), "{type_}");
            let told = events(&client, "Succeed").await;
            assert!(told.iter().any(|message| message.starts_with(&format!("Runtime scaled {word}."))), "{told:?}");
        }
        let shown = kubectl(&client, "get alluxio hbase -o jsonpath={.status.selector}").await.unwrap();
        assert_eq!(shown, "app=alluxio,release=hbase,role=alluxio-worker");
        let missing = kubectl(&client, "scale alluxioruntime other --replicas=3").await.unwrap_err();
        assert!(missing.contains("alluxioruntimes.data.fluid.io \"other\" not found"), "{missing}");
    });
}

#[test]
fn the_goosefs_document_scales_by_the_labels_of_its_nodes() {
    tell(Profile::GOOSEFS_DOCUMENT, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<GooseFsRuntime>(&object(of_the_document("GooseFSRuntime", 3, 3))).await.unwrap();
        sleep(100 * SECOND).await;
        kubectl(&client, "scale goose hbase --replicas=1").await.unwrap();
        sleep(30 * SECOND).await;
        let labels = ListParams::default().labels("fluid.io/s-goosefs-default-hbase=true");
        assert_eq!(client.list::<Node>("", &labels).await.unwrap().items.len(), 1);
        let status = client.get::<GooseFsRuntime>("default", "hbase").await.unwrap().status.unwrap();
        assert!(status.conditions.iter().any(|one| one.type_ == "WorkersScaledIn"));
    });
}

#[test]
fn a_dataset_that_a_pod_mounts_does_not_go() {
    tell(Profile::V1_0, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 1, 1))).await.unwrap();
        sleep(100 * SECOND).await;
        let volume = json!({ "name": "data", "persistentVolumeClaim": { "claimName": "hbase" } });
        let pod: Pod = object(json!({
            "metadata": { "name": "nginx", "namespace": "default" },
            "spec": { "containers": [{ "name": "nginx", "image": "nginx" }], "volumes": [volume] },
        }));
        client.create(&pod).await.unwrap();
        kubectl(&client, "delete dataset hbase --wait=false").await.unwrap();
        sleep(60 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::Bound);
        let told = events(&client, "ErrorDeleteDataset").await;
        assert_eq!(told, ["the dataset is in use: pod nginx mounts it"]);
        client.delete::<Pod>("default", "nginx", &DeleteParams::default().grace_period(0)).await.unwrap();
        sleep(30 * SECOND).await;
        assert!(client.find::<Dataset>("default", "hbase").await.unwrap().is_none());
    });
}

#[test]
fn an_even_number_of_masters_is_warned_of_and_serves() {
    tell(Profile::V1_0, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 4))).await.unwrap();
        sleep(100 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::Bound);
        assert_eq!(events(&client, "EvenMasters").await, ["4 masters survive no more failures than 3"]);
    });
}

#[test]
fn parts_that_are_disabled_are_not_installed_and_a_cache_without_masters_is_refused() {
    tell(Profile::V1_0, |client, _| async move {
        client.create(&hbase()).await.unwrap();
        let mut jindo = of_the_document("JindoRuntime", 2, 1);
        jindo["spec"]["master"] = json!({ "disabled": true });
        jindo["spec"]["fuse"] = json!({ "disabled": true });
        client.create::<JindoRuntime>(&object(jindo)).await.unwrap();
        sleep(60 * SECOND).await;
        let told = events(&client, "RuntimeProcessFailed").await;
        assert_eq!(told, ["spec.master.disabled: a cache without masters is not supported"]);
        assert!(client.find::<StatefulSet>("default", "hbase-jindofs-worker").await.unwrap().is_none());
        let with = Patch::Merge(json!({ "spec": { "master": { "disabled": false } } }));
        client.patch::<JindoRuntime>("default", "hbase", &with).await.unwrap();
        sleep(60 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::Bound);
        assert!(client.find::<DaemonSet>("default", "hbase-jindofs-fuse").await.unwrap().is_none());
    });
}

#[test]
fn an_unhealthy_runtime_says_so_or_not_as_the_version_has_it() {
    // Two of three workers' pods, and then none: phases of dataset and workers.
    for (profile, want) in [
        (Profile::V0_7, (DatasetPhase::Failed, RuntimePhase::Ready)),
        (Profile::V1_0, (DatasetPhase::Bound, RuntimePhase::NotReady)),
    ] {
        tell(profile, move |client, cache| async move {
            client.create(&hbase()).await.unwrap();
            client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
            sleep(100 * SECOND).await;
            cache.break_workers();
            sleep(100 * SECOND).await;
            let status = client.get::<AlluxioRuntime>("default", "hbase").await.unwrap().status.unwrap();
            assert_eq!((row(&client, "hbase").await.0, status.worker_phase), want);
        });
    }
}
