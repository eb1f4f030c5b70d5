//! The runtime controller while its caches show the past: what has the same name may be something else by now.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::core::params::DeleteParams;
use serde_json::json;
use stormglass::base::lock;
use stormglass::kube::client::{Client, Patch};
use stormglass::kube::fluid::api::{AlluxioRuntime, Dataset, DatasetPhase};
use stormglass::kube::fluid::profile::Profile;
use stormglass::rt::time::sleep;

use super::stage::{SECOND, Stage, hbase, object, of_the_document, row};
use crate::relay::Relay;

/// Runs `story` as a user whose cluster's runtime controller hears of everything by way of a relay.
fn tell<F: Future<Output = ()> + Send + 'static>(story: impl FnOnce(Client, Arc<Relay>) -> F) {
    let mut stage = Stage::new(Profile::V1_0);
    let relay = Arc::new(Relay::default());
    let program = relay.clone().run(SocketAddr::from(([10, 0, 0, 8], 6443)));
    stage.lab.world.start(stage.fluid, "relay", Box::pin(program)).unwrap();
    stage.api = "fluid:6443";
    stage.start_runtimes::<AlluxioRuntime>();
    let done = stage.begin(|client, _| story(client, relay));
    stage.run(600 * SECOND);
    assert!(*lock(&done), "the story came to no end");
}

async fn create_runtime(client: &Client) {
    client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
}

#[test]
fn a_runtime_is_owned_by_the_dataset_that_there_is() {
    tell(|client, relay| async move {
        client.create(&hbase()).await.unwrap();
        sleep(20 * SECOND).await;
        let first: Dataset = client.get("default", "hbase").await.unwrap();
        relay.hold("datasets");
        client.delete::<Dataset>("default", "hbase", &DeleteParams::default()).await.unwrap();
        sleep(2 * SECOND).await;
        let second = client.create(&hbase()).await.unwrap();
        assert_ne!(first.metadata.uid, second.metadata.uid);
        create_runtime(&client).await;
        sleep(10 * SECOND).await;
        let runtime: AlluxioRuntime = client.get("default", "hbase").await.unwrap();
        let owners = runtime.metadata.owner_references.unwrap();
        assert_eq!(owners.iter().map(|owner| Some(&owner.uid)).collect::<Vec<_>>(), [second.metadata.uid.as_ref()]);
        relay.open();
        sleep(120 * SECOND).await;
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::Bound);
    });
}

#[test]
fn a_runtime_that_was_made_since_is_not_taken_down() {
    tell(|client, relay| async move {
        client.create(&hbase()).await.unwrap();
        create_runtime(&client).await;
        sleep(120 * SECOND).await;
        let masters: StatefulSet = client.get("default", "hbase-master").await.unwrap();
        relay.lose("DELETE");
        client.delete::<AlluxioRuntime>("default", "hbase", &DeleteParams::default()).await.unwrap();
        // The cache knows that it is to go, and the first round has failed.
        sleep(5 * SECOND).await;
        relay.hold("alluxioruntimes");
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        client.patch::<AlluxioRuntime>("default", "hbase", &free).await.unwrap();
        assert!(client.find::<AlluxioRuntime>("default", "hbase").await.unwrap().is_none());
        create_runtime(&client).await;
        relay.lose_nothing();
        sleep(35 * SECOND).await;
        let left: StatefulSet = client.get("default", "hbase-master").await.unwrap();
        assert_eq!(left.metadata.uid, masters.metadata.uid);
        relay.open();
        sleep(60 * SECOND).await;
        let runtime: AlluxioRuntime = client.get("default", "hbase").await.unwrap();
        assert!(runtime.metadata.finalizers.is_some_and(|finalizers| !finalizers.is_empty()));
        assert_eq!(row(&client, "hbase").await.0, DatasetPhase::Bound);
    });
}
