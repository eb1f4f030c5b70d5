//! Planted bugs of Fluid's controllers: what they do with and without each.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::core::params::DeleteParams;
use serde_json::json;
use stormglass::base::planted::{Bug, plant};
use stormglass::base::{SimTime, lock};
use stormglass::kube::client::Client;
use stormglass::kube::fluid::api::{AlluxioRuntime, Dataset, DatasetPhase};
use stormglass::kube::fluid::flavor::Flavor;
use stormglass::kube::fluid::profile::Profile;
use stormglass::oracle::cluster::{CacheTruth, Ledger, SetTruth};
use stormglass::oracle::{RunRecord, Violation, rows};
use stormglass::rt::time::{Instant, sleep};

use super::stage::{Cache, SECOND, hbase, object, of_the_document, row, status, tell};

/// Tells a story with and without a bug, in a cluster whose runtime has come up; gives what it ended with.
fn twice<T, F>(bug: Bug, story: impl Fn(Client, Arc<Cache>) -> F + Copy + Send + 'static) -> (T, T)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let once = |bugs: &[Bug]| {
        let _plant = plant(bugs).unwrap();
        let out = Arc::new(Mutex::new(None));
        let told = out.clone();
        tell(Profile::V1_0, move |client, cache| async move {
            let end = story(client, cache).await;
            *lock(&told) = Some(end);
        });
        lock(&out).take().unwrap()
    };
    (once(&[]), once(&[bug]))
}

async fn come_up(client: &Client) {
    client.create(&hbase()).await.unwrap();
    client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 1))).await.unwrap();
    sleep(200 * SECOND).await;
}

#[test]
fn a_planted_controller_does_not_mount_again_after_a_restart_of_the_master() {
    let mounts = twice(Bug::MountsOnlyInSetup, |client, cache| async move {
        come_up(&client).await;
        lock(&cache.mounts).clear();
        let pod = json!({
            "metadata": { "name": "hbase-master-0", "namespace": "default" },
            "spec": { "containers": [{ "name": "alluxio-master", "image": "i" }] },
        });
        client.create::<Pod>(&object(pod)).await.unwrap();
        let pod: Pod = client.get("default", "hbase-master-0").await.unwrap();
        let started = json!({ "running": { "startedAt": pod.metadata.creation_timestamp } });
        let row = json!({ "name": "alluxio-master", "image": "i", "imageID": "", "ready": true, "restartCount": 1, "state": started });
        status(&client, &pod, json!({ "containerStatuses": [row] })).await;
        sleep(95 * SECOND).await;
        lock(&cache.mounts).len()
    });
    assert_eq!(mounts, (1, 0), "F-01");
}

/// What there is of the runtime, while the masters' set is there and when it is gone.
fn truth(masters: bool, used: u64) -> CacheTruth {
    let set = |n| SetTruth { desired: n, there: n, ready: n };
    CacheTruth {
        masters: masters.then(|| set(1)),
        workers: Some(set(2)),
        cached: used,
        capacity: 4 << 30,
        under_stores: 577_576_632,
        files: 6,
        ..CacheTruth::default()
    }
}

/// Reads both rows for a while, as the harness does.
async fn read_rows(client: &Client, ledger: &mut Ledger, seconds: u64, truth: CacheTruth) {
    for _ in 0..seconds / 5 {
        sleep(5 * SECOND).await;
        let at = SimTime::ZERO + Instant::now().duration_since(Instant::now() - Duration::MAX);
        let dataset = client.get::<Dataset>("default", "hbase").await.unwrap().status.unwrap();
        let runtime = client.get::<AlluxioRuntime>("default", "hbase").await.unwrap().status.unwrap();
        ledger.row(truth.dataset(at, "default/hbase", &dataset, Profile::V1_0.health, Flavor::Alluxio));
        ledger.row(truth.runtime(at, "default/hbase", &runtime));
    }
}

#[test]
fn a_planted_controller_does_not_write_that_a_set_is_gone() {
    let found = twice(Bug::StatusWriteSkipped, |client, cache| async move {
        come_up(&client).await;
        let mut ledger = Ledger::default();
        read_rows(&client, &mut ledger, 120, truth(true, 0)).await;
        *lock(&cache.used) = 577_576_632;
        read_rows(&client, &mut ledger, 120, truth(true, 577_576_632)).await;
        client.delete::<StatefulSet>("default", "hbase-master", &DeleteParams::default()).await.unwrap();
        read_rows(&client, &mut ledger, 120, truth(false, 577_576_632)).await;
        let finding = rows::check(&RunRecord { cluster: Some(ledger.close()), ..RunRecord::default() });
        assert!(finding.checks > 100, "{finding:?}");
        let column = |found: &Violation| match found {
            Violation::RowUntrue { column, .. } => column.clone(),
            other => other.to_string(),
        };
        let mut columns: Vec<String> = finding.violations.iter().map(column).collect();
        columns.sort();
        columns
    });
    assert_eq!(found, (vec![], ["masterNumberReady", "masterPhase", "phase"].map(String::from).to_vec()), "F-03");
}

#[test]
fn a_planted_controller_takes_half_an_installation_for_a_whole_one() {
    let phases = twice(Bug::HalfInstallTakenForWhole, |client, _| async move {
        let values = json!({ "metadata": { "name": "hbase-alluxio-values", "namespace": "default" } });
        client.create::<ConfigMap>(&object(values)).await.unwrap();
        come_up(&client).await;
        row(&client, "hbase").await.0
    });
    assert_eq!(phases, (DatasetPhase::Bound, DatasetPhase::NotBound), "F-17");
}

#[test]
fn a_planted_controller_forgets_a_runtime_that_came_before_its_dataset() {
    let phases = twice(Bug::RuntimeNotAskedAgain, |client, _| async move {
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
        sleep(20 * SECOND).await;
        client.create(&hbase()).await.unwrap();
        sleep(200 * SECOND).await;
        row(&client, "hbase").await.0
    });
    assert_eq!(phases, (DatasetPhase::Bound, DatasetPhase::NotBound), "F-25");
}
