//! The world of these tests: an API server, Fluid's controllers on a machine of their own, and a stand-in for the rest.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, Pod};
use kube::core::params::ListParams;
use serde_json::json;
use stormglass::base::{HostId, ProcessId, Seed, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Patch};
use stormglass::kube::fluid::api::{AlluxioRuntime, Dataset, DatasetPhase, GooseFsRuntime, JindoRuntime};
use stormglass::kube::fluid::controller;
use stormglass::kube::fluid::dataset::DatasetConfig;
use stormglass::kube::fluid::operation::OperationConfig;
use stormglass::kube::fluid::probe::{Answer, CacheProbe, Capacity, Content, PodRef, ProbeError, UnderStoreMount};
use stormglass::kube::fluid::profile::Profile;
use stormglass::kube::fluid::runtime::{RuntimeConfig, RuntimeKind};
use stormglass::kube::kind::{ApiObject, Kinds};
use stormglass::kube::kubectl::Kubectl;
use stormglass::kube::store::Selection;
use stormglass::rt::time::sleep;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

/// Where the API server is.
pub const API: &str = "apiserver:6443";
pub const SECOND: Duration = Duration::from_secs(1);

/// How the pods of operations end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    #[default]
    Succeeds,
    Fails,
    GoesOn,
}

/// A cache that has what was mounted into it.
#[derive(Default)]
pub struct Cache {
    pub mounts: Mutex<BTreeMap<String, UnderStoreMount>>,
    pub used: Mutex<u64>,
    pub silent: Mutex<bool>,
    /// How jobs and pods of operations end: not yet, well, or badly.
    pub work: Mutex<Work>,
    /// Whether no worker's pod is ready.
    broken: Mutex<bool>,
}

impl Cache {
    /// From now on no worker's pod is ready.
    pub fn break_workers(&self) {
        *lock(&self.broken) = true;
    }

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
    fn leader<'a>(&'a self, master: &'a PodRef) -> Answer<'a, String> {
        self.answer(master, master.name.replace("-0", "-2"))
    }
    fn backup_info<'a>(&'a self, master: &'a PodRef, file: &'a str) -> Answer<'a, Content> {
        assert_eq!(file, "/pvc/sub/hbase-default.yaml");
        self.answer(master, Content { bytes: 1 << 30, files: 3 })
    }
    fn free<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()> {
        self.answer(master, ())
    }
}

/// Stands for everything else that Kubernetes does: sets are as ready as asked for two seconds later, volumes available.
pub async fn rest_of_the_cluster(client: Client, cache: Arc<Cache>) {
    loop {
        sleep(2 * SECOND).await;
        let work = *lock(&cache.work);
        if work != Work::GoesOn {
            finish(&client, work == Work::Succeeds).await;
        }
        for set in client.list::<StatefulSet>("", &ListParams::default()).await.unwrap().items {
            let replicas = set.spec.replicas.unwrap_or(1);
            let broken =
                *lock(&cache.broken) && set.metadata.name.as_ref().is_some_and(|name| name.ends_with("worker"));
            let ready = if broken { 0 } else { replicas };
            status::<StatefulSet>(&client, &set, json!({ "replicas": replicas, "readyReplicas": ready })).await;
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

/// Ends what runs for operations.
async fn finish(client: &Client, well: bool) {
    for job in client.list::<Job>("", &ListParams::default()).await.unwrap().items {
        let (type_, reason) =
            if well { ("Complete", "CompletionsReached") } else { ("Failed", "BackoffLimitExceeded") };
        if job.status.as_ref().is_none_or(|status| status.conditions.is_none()) {
            let now = stormglass::kube::clock::time_now();
            let end =
                json!({ "type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now });
            status::<Job>(client, &job, json!({ "conditions": [end] })).await;
        }
    }
    let tools = ListParams::default().labels("role=databackup-pod");
    for pod in client.list::<Pod>("", &tools).await.unwrap().items {
        status::<Pod>(client, &pod, json!({ "phase": if well { "Succeeded" } else { "Failed" } })).await;
    }
}

pub async fn status<K: ApiObject>(client: &Client, object: &K, status: serde_json::Value) {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let patch = Patch::Merge(json!({ "status": status }));
    // It may have gone meanwhile.
    let _ = client.patch_status::<K>(namespace, meta.name.as_deref().unwrap(), &patch).await;
}

/// A world in which nobody does anything yet.
pub struct Stage {
    pub lab: Lab,
    server: Arc<ApiServer>,
    pub cache: Arc<Cache>,
    pub config: RuntimeConfig,
    /// Where the runtime controllers find the API server.
    pub api: &'static str,
    pub fluid: HostId,
    user: HostId,
}

impl Stage {
    /// An API server, the rest of the cluster, and the dataset controller.
    pub fn new(profile: Profile) -> Self {
        let lab = Lab::new(Seed(5), Glass::plain(Seed(5)));
        let master = lab.world.add_host("apiserver", [10, 0, 0, 9].into());
        let fluid = lab.world.add_host("fluid", [10, 0, 0, 8].into());
        let user = lab.world.add_host("user", [10, 0, 0, 7].into());
        let kinds = stormglass::kube::fluid::kinds(Kinds::builtin());
        let server = ApiServer::new(kinds, ApiServerConfig::default(), Seed(5));
        let program = server.clone().run(SocketAddr::from(([10, 0, 0, 9], 6443)));
        lab.world.start(master, "kube-apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
        let cache = Arc::new(Cache::default());
        let config = RuntimeConfig { profile, ..RuntimeConfig::default() };
        let stage = Self { lab, server, cache, config, api: API, fluid, user };
        let rest = rest_of_the_cluster(Client::new(API), stage.cache.clone());
        stage.lab.world.start(stage.user, "rest", Box::pin(rest)).unwrap();
        stage.start_datasets();
        stage
    }

    pub fn start_datasets(&self) -> ProcessId {
        let probe = self.cache.clone();
        let operations = OperationConfig { profile: self.config.profile, ..OperationConfig::default() };
        let program = async move {
            let client = Client::new(API);
            drop(controller::dataset(client, "dataset", probe, DatasetConfig::default(), operations).await);
        };
        self.lab.world.start(self.fluid, "dataset-controller", Box::pin(program)).unwrap()
    }

    pub fn start_runtimes<K: RuntimeKind>(&self) -> ProcessId {
        let (probe, config, client) = (self.cache.clone(), self.config, Client::new(self.api));
        let program = async move { drop(controller::runtime::<K>(client, "runtime", probe, config).await) };
        self.lab.world.start(self.fluid, "runtime-controller", Box::pin(program)).unwrap()
    }

    /// Begins a user's story; the flag tells when it is over.
    pub fn begin<F: Future<Output = ()> + Send + 'static>(
        &self,
        story: impl FnOnce(Client, Arc<Cache>) -> F,
    ) -> Arc<Mutex<bool>> {
        let done = Arc::new(Mutex::new(false));
        let (told, story) = (done.clone(), story(Client::new(API), self.cache.clone()));
        let program = async move {
            let client = Client::new(API);
            client.create::<Namespace>(&object(json!({ "metadata": { "name": "fluid-system" } }))).await.unwrap();
            for i in 1..=3 {
                client.create::<Node>(&object(json!({ "metadata": { "name": format!("n{i}") } }))).await.unwrap();
            }
            story.await;
            *lock(&told) = true;
        };
        self.lab.world.start(self.user, "user", Box::pin(program)).unwrap();
        done
    }

    /// Begins something that a user looks at; the flag tells when it is over.
    pub fn look<F: Future<Output = ()> + Send + 'static>(&self, look: impl FnOnce(Client) -> F) -> Arc<Mutex<bool>> {
        let done = Arc::new(Mutex::new(false));
        let (told, look) = (done.clone(), look(Client::new(API)));
        let program = async move {
            look.await;
            *lock(&told) = true;
        };
        self.lab.world.start(self.user, "look", Box::pin(program)).unwrap();
        done
    }

    /// The newest version of the API server's objects but for leases and events, which come and go whatever happens.
    pub fn version(&self) -> u64 {
        self.server.with_store(|store| {
            let (kinds, all) = (store.kinds().clone(), Selection::default());
            let counted = kinds.iter().filter(|(_, kind)| !["Lease", "Event"].contains(&kind.kind.as_str()));
            counted.flat_map(|(id, _)| store.list(id, &all)).map(|object| object.version).max().unwrap_or(0)
        })
    }

    pub fn run(&self, span: Duration) {
        self.lab.world.run_until(self.lab.world.world_now() + span);
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
    }
}

/// Runs `story` as a user of a cluster of three nodes with Fluid's controllers.
pub fn tell<F: Future<Output = ()> + Send + 'static>(profile: Profile, story: impl FnOnce(Client, Arc<Cache>) -> F) {
    let stage = Stage::new(profile);
    stage.start_runtimes::<AlluxioRuntime>();
    stage.start_runtimes::<GooseFsRuntime>();
    stage.start_runtimes::<JindoRuntime>();
    let done = stage.begin(story);
    for _ in 0..180 {
        stage.run(10 * SECOND);
        if *lock(&done) {
            return;
        }
    }
    panic!("the story came to no end");
}

/// What kubectl prints, or why it does not.
pub async fn kubectl(client: &Client, command: &str) -> Result<String, String> {
    kubectl_with(client, command, "").await
}

/// The same with a manifest that the command calls `file`.
pub async fn kubectl_with(client: &Client, command: &str, file: &str) -> Result<String, String> {
    let kinds = Arc::new(stormglass::kube::fluid::kinds(Kinds::builtin()));
    let (printed, file) = (Mutex::new(String::new()), file.to_string());
    let words: Vec<String> = command.split(' ').map(ToString::to_string).collect();
    let files = |name: &str| (name == "file").then(|| file.clone());
    let print = |text: &str| lock(&printed).push_str(text);
    let run = Kubectl::new(client.clone(), kinds).run(&words, &files, &print).await;
    run.map(|()| lock(&printed).clone()).map_err(|error| error.to_string())
}

pub fn object<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).expect("an object")
}

pub fn of_the_document(kind: &str, workers: u32, masters: u32) -> serde_json::Value {
    json!({
        "apiVersion": "data.fluid.io/v1alpha1", "kind": kind, "metadata": { "name": "hbase", "namespace": "default" },
        "spec": {
            "replicas": workers, "master": { "replicas": masters },
            "tieredstore": { "levels": [{ "mediumtype": "MEM", "path": "/dev/shm", "quota": "2Gi" }] },
        },
    })
}

pub fn hbase() -> Dataset {
    object(json!({
        "apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset", "metadata": { "name": "hbase", "namespace": "default" },
        "spec": { "mounts": [{ "mountPoint": "https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/", "name": "hbase" }] },
    }))
}

pub async fn row(client: &Client, name: &str) -> (DatasetPhase, String, BTreeMap<String, String>) {
    let dataset: Dataset = client.get("default", name).await.unwrap();
    let status = dataset.status.unwrap_or_default();
    (status.phase, status.ufs_total, status.cache_states)
}
