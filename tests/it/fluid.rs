//! Fluid's controllers against the API server, in a world where every set comes up by itself and masters answer from a table.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use kube::core::params::{DeleteParams, ListParams};
use serde_json::json;
use stormglass::base::planted::{Bug, plant};
use stormglass::base::{Seed, SimTime, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Patch};
use stormglass::kube::fluid::api::{
    AlluxioRuntime, CALCULATING, Dataset, DatasetPhase, GooseFsRuntime, JindoRuntime, RuntimePhase,
};
use stormglass::kube::fluid::dataset::{self, DatasetConfig};
use stormglass::kube::fluid::flavor::Flavor;
use stormglass::kube::fluid::probe::{Answer, CacheProbe, Capacity, Content, PodRef, ProbeError, UnderStoreMount};
use stormglass::kube::fluid::profile::Profile;
use stormglass::kube::fluid::runtime::{self, RuntimeConfig};
use stormglass::kube::kind::{ApiObject, Kinds};
use stormglass::oracle::cluster::{CacheTruth, Ledger, SetTruth};
use stormglass::oracle::{RunRecord, Violation, rows};
use stormglass::rt::time::{Instant, sleep};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const API: &str = "apiserver:6443";
const SECOND: Duration = Duration::from_secs(1);

/// A cache that has what was mounted into it.
#[derive(Default)]
struct Cache {
    mounts: Mutex<BTreeMap<String, UnderStoreMount>>,
    used: Mutex<u64>,
    silent: Mutex<bool>,
}

impl Cache {
    fn answer<T: Send + 'static>(&self, master: &PodRef, value: T) -> Answer<'static, T> {
        let silent = *lock(&self.silent);
        Box::pin(ready(if silent { Err(ProbeError::Unreachable(master.name.clone())) } else { Ok(value) }))
    }
}

impl CacheProbe for Cache {
    fn ready<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()> {
        self.answer(master, ())
    }
    fn mounts<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Vec<String>> {
        let paths = lock(&self.mounts).keys().cloned().collect();
        self.answer(master, paths)
    }
    fn mount<'a>(&'a self, master: &'a PodRef, mount: &'a UnderStoreMount) -> Answer<'a, ()> {
        lock(&self.mounts).insert(mount.path.clone(), mount.clone());
        self.answer(master, ())
    }
    fn unmount<'a>(&'a self, master: &'a PodRef, path: &'a str) -> Answer<'a, ()> {
        lock(&self.mounts).remove(path);
        self.answer(master, ())
    }
    fn count<'a>(&'a self, _: &'a PodRef) -> Answer<'a, Content> {
        Box::pin(async {
            sleep(30 * SECOND).await;
            Ok(Content { bytes: 577_576_632, files: 6 })
        })
    }
    fn capacity<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Capacity> {
        let used = *lock(&self.used);
        self.answer(master, Capacity { total: 4 << 30, used })
    }
    fn free<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()> {
        self.answer(master, ())
    }
}

/// Stands for everything else that Kubernetes does: sets are as ready as asked for two seconds later, volumes available.
async fn rest_of_the_cluster(client: Client) {
    loop {
        sleep(2 * SECOND).await;
        for set in client.list::<StatefulSet>("", &ListParams::default()).await.unwrap().items {
            let replicas = set.spec.replicas.unwrap_or(1);
            status::<StatefulSet>(&client, &set, json!({ "replicas": replicas, "readyReplicas": replicas })).await;
        }
        for set in client.list::<DaemonSet>("", &ListParams::default()).await.unwrap().items {
            let wanted = set.spec.template.spec.as_ref().unwrap().node_selector.clone().unwrap();
            let label: Vec<_> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let nodes =
                client.list::<Node>("", &ListParams::default().labels(&label.join(","))).await.unwrap().items.len();
            let counts = json!({
                "desiredNumberScheduled": nodes, "currentNumberScheduled": nodes, "numberReady": nodes, "numberMisscheduled": 0,
            });
            status::<DaemonSet>(&client, &set, counts).await;
        }
        for volume in client.list::<PersistentVolume>("", &ListParams::default()).await.unwrap().items {
            status::<PersistentVolume>(&client, &volume, json!({ "phase": "Available" })).await;
        }
    }
}

async fn status<K: ApiObject>(client: &Client, object: &K, status: serde_json::Value) {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let patch = Patch::Merge(json!({ "status": status }));
    // It may have gone meanwhile.
    let _ = client.patch_status::<K>(namespace, meta.name.as_deref().unwrap(), &patch).await;
}

/// Runs `story` as a user of a cluster of three nodes with Fluid's controllers.
fn tell<F: Future<Output = ()> + Send + 'static>(profile: Profile, story: impl FnOnce(Client, Arc<Cache>) -> F) {
    let lab = Lab::new(Seed(5), Glass::plain(Seed(5)));
    let master = lab.world.add_host("apiserver", [10, 0, 0, 9].into());
    let fluid = lab.world.add_host("fluid", [10, 0, 0, 8].into());
    let user = lab.world.add_host("user", [10, 0, 0, 7].into());
    let kinds = stormglass::kube::fluid::kinds(Kinds::builtin());
    let server = ApiServer::new(kinds, ApiServerConfig::default(), Seed(5));
    let program = server.run(SocketAddr::from(([10, 0, 0, 9], 6443)));
    lab.world.start(master, "kube-apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
    let config = RuntimeConfig { profile, ..RuntimeConfig::default() };
    let cache = Arc::new(Cache::default());
    let start = |name: &str, program: stormglass::rt::backend::BoxFuture| {
        lab.world.start(fluid, name, program).unwrap();
    };
    start("rest", Box::pin(rest_of_the_cluster(Client::new(API))));
    start("dataset", Box::pin(async { match dataset::run(Client::new(API), DatasetConfig::default()).await {} }));
    let probe = cache.clone();
    start(
        "alluxio",
        Box::pin(async move { drop(runtime::run::<AlluxioRuntime>(Client::new(API), probe, config).await) }),
    );
    let probe = cache.clone();
    start(
        "goosefs",
        Box::pin(async move { drop(runtime::run::<GooseFsRuntime>(Client::new(API), probe, config).await) }),
    );
    let probe = cache.clone();
    start("jindo", Box::pin(async move { drop(runtime::run::<JindoRuntime>(Client::new(API), probe, config).await) }));
    let done = Arc::new(Mutex::new(false));
    let (told, story) = (done.clone(), story(Client::new(API), cache));
    let program = async move {
        let client = Client::new(API);
        for i in 1..=3 {
            client.create::<Node>(&object(json!({ "metadata": { "name": format!("n{i}") } }))).await.unwrap();
        }
        story.await;
        *lock(&told) = true;
    };
    lab.world.start(user, "user", Box::pin(program)).unwrap();
    for _ in 0..180 {
        lab.world.run_until(lab.world.world_now() + 10 * SECOND);
        if *lock(&done) {
            break;
        }
    }
    assert!(lab.world.panics().is_empty(), "{:?}", lab.world.panics());
    assert!(*lock(&done), "the story came to no end");
}

fn object<K: ApiObject>(value: serde_json::Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn of_the_document(kind: &str, workers: u32, masters: u32) -> serde_json::Value {
    json!({
        "apiVersion": "data.fluid.io/v1alpha1", "kind": kind, "metadata": { "name": "hbase", "namespace": "default" },
        "spec": {
            "replicas": workers, "master": { "replicas": masters },
            "tieredstore": { "levels": [{ "mediumtype": "MEM", "path": "/dev/shm", "quota": "2Gi" }] },
        },
    })
}

fn hbase() -> Dataset {
    object(json!({
        "apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset", "metadata": { "name": "hbase", "namespace": "default" },
        "spec": { "mounts": [{ "mountPoint": "https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/", "name": "hbase" }] },
    }))
}

async fn row(client: &Client, name: &str) -> (DatasetPhase, String, BTreeMap<String, String>) {
    let dataset: Dataset = client.get("default", name).await.unwrap();
    let status = dataset.status.unwrap_or_default();
    (status.phase, status.ufs_total, status.cache_states)
}

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
