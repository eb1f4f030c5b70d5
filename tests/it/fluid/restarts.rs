//! The runtime controller is killed after every write that the API server sees during a setup, one write a world.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use stormglass::base::{ProcessId, SimTime, lock};
use stormglass::kube::client::Client;
use stormglass::kube::fluid::api::{AlluxioRuntime, DatasetPhase, RuntimePhase};
use stormglass::kube::fluid::profile::Profile;
use stormglass::rt::time::{Duration, sleep};

use super::stage::{SECOND, Stage, hbase, object, of_the_document, row};

/// A look at the API server's version between two steps of the world.
const STEP: Duration = Duration::from_micros(100);

/// A setup takes about 25 s here.
const SETUP_MAX: Duration = Duration::from_secs(45);

async fn create(client: &Client) {
    client.create(&hbase()).await.unwrap();
    sleep(5 * SECOND).await;
    client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
}

/// Everything is there once and says so.
async fn is_set_up(client: &Client) {
    let (phase, total, states) = row(client, "hbase").await;
    assert_eq!((phase, total.as_str()), (DatasetPhase::Bound, "550.82MiB"));
    assert_eq!(states["cacheCapacity"], "4.00GiB");
    let status = client.get::<AlluxioRuntime>("default", "hbase").await.unwrap().status.unwrap();
    assert_eq!([status.master_phase, status.worker_phase], [RuntimePhase::Ready; 2]);
    let initialized = status.conditions.iter().filter(|condition| condition.type_ == "MasterInitialized").count();
    assert_eq!(initialized, 1);
    let workers: StatefulSet = client.get("default", "hbase-worker").await.unwrap();
    assert_eq!(workers.spec.replicas, Some(2));
    client.get::<PersistentVolumeClaim>("default", "hbase").await.unwrap();
    // A controller that begins anew learns the ports that it has given before.
    let config: ConfigMap = client.get("default", "hbase-config").await.unwrap();
    assert!(config.data.unwrap()["ALLUXIO_JAVA_OPTS"].contains("-Dalluxio.master.rpc.port=20000"));
}

/// A world where a user has just created a runtime, and its controller.
fn begun() -> (Stage, ProcessId) {
    let mut stage = Stage::new(Profile::V1_0);
    // A row is whole when the count is in: sooner than upstream has it, so that many worlds are not long ones.
    stage.config.resync = 20 * SECOND;
    let controller = stage.start_runtimes::<AlluxioRuntime>();
    let created = stage.begin(|client, _| async move { create(&client).await });
    while !*lock(&created) {
        stage.run(STEP);
    }
    (stage, controller)
}

/// When the API server was written to, until the dataset is bound and its volume claimed.
fn writes() -> Vec<SimTime> {
    let (stage, _) = begun();
    let (mut version, mut moments) = (stage.version(), vec![stage.lab.now()]);
    let end = stage.lab.now() + SETUP_MAX;
    while stage.lab.now() < end {
        stage.run(STEP);
        let next = stage.version();
        if next != version {
            moments.push(stage.lab.now());
            version = next;
        }
    }
    moments
}

#[test]
fn a_controller_that_is_killed_after_any_write_of_the_setup_completes_it() {
    let writes = writes();
    assert!(writes.len() > 20, "{writes:?}");
    for at in writes {
        let (stage, controller) = begun();
        stage.run(at - stage.lab.now());
        stage.lab.world.kill(controller);
        stage.run(SECOND);
        stage.start_runtimes::<AlluxioRuntime>();
        stage.run(130 * SECOND);
        let looked = stage.look(|client| async move { is_set_up(&client).await });
        stage.run(5 * SECOND);
        assert!(*lock(&looked), "killed at {at:?}");
    }
}
