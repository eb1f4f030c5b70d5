//! The workload of a run: the dataset is mounted, clients start, end, and one of them looks at everything once more.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::{SimTime, lock};
use crate::kube::fluid::api::Mount;
use crate::oracle::{FinalTree, Operation, UfsVersion};
use crate::rt::backend::world_now;
use crate::sim::cluster::{Cluster, Life};
use crate::sim::scenario::Scenario;
use crate::sim::scenario::target::Role;
use crate::sim::workload::scan::scan;
use crate::sim::workload::{Load, LoadSpec, Recorder, run};
use crate::stack::client::FileSystemClient;
use crate::stack::fuse::{DataTimes, Fuse, FuseOptions};
use crate::stack::ufs::Stores;
use crate::stack::ufs::bucket::Scheme;
use crate::stack::wire::MountOptions;
use crate::stack::wire::master::Change;
use crate::world::lab::Lab;

/// Number of the client that scans at the end, beyond all others.
const SCANNER: u32 = u32::MAX;

/// What a program on a host of the world will give.
pub struct Answer<T>(Arc<Mutex<Option<T>>>);

impl<T: Send + 'static> Answer<T> {
    /// Starts `program` on a member's host.
    fn of(
        lab: &Lab,
        cluster: &Cluster,
        member: usize,
        name: &str,
        program: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let answer = Arc::new(Mutex::new(None));
        let slot = answer.clone();
        let program = async move {
            let out = program.await;
            *lock(&slot) = Some(out);
        };
        // Without power there is no answer, and whoever waits for it says so.
        let _ = lab.world.start(cluster.members[member].host, name, Box::pin(program));
        Self(answer)
    }

    /// Whether it is there.
    pub fn is_done(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Takes it.
    pub fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }
}

/// The clients of one run and what they saw.
pub struct Workload {
    load: Arc<Load>,
    /// For each client the start of its mount in which it was started last: 0 if never.
    lives: Vec<u32>,
    begun: bool,
    /// The cluster's changes that are taken into account.
    kept_up: Option<u64>,
    mounts: Vec<Mount>,
    block_size: u64,
    attr_bound: std::time::Duration,
}

impl Workload {
    /// Clients that have not started.
    pub fn new(scenario: &Scenario, cluster: &Cluster) -> Self {
        let mounts = scenario.dataset.spec.mounts.clone();
        let recorder = Recorder::new(Arc::new(world_now), under_store(cluster, &mounts));
        let parameters = &scenario.spec.parameters;
        Self {
            load: Load::new(LoadSpec::new(&scenario.spec.workload), recorder),
            lives: vec![0; scenario.spec.workload.clients as usize],
            begun: false,
            kept_up: None,
            mounts,
            block_size: parameters.master.block_size.get(),
            attr_bound: parameters.client.attribute_cache.0,
        }
    }

    /// What the clients saw.
    pub fn recorder(&self) -> &Arc<Recorder> {
        self.load.recorder()
    }

    fn fuse_hosts(cluster: &Cluster) -> Vec<usize> {
        cluster.of(Role::Fuse).collect()
    }

    fn options(&self, cluster: &Cluster, member: usize) -> FuseOptions {
        // A worker runs on each node: the mount prefers the one beside it.
        let beside =
            cluster.of(Role::Worker).find(|w| cluster.members[*w].plan.node == cluster.members[member].plan.node);
        FuseOptions {
            block_size: self.block_size,
            local_host: beside.map(|worker| cluster.members[worker].plan.name.clone()),
            attr_bound: self.attr_bound,
            ..FuseOptions::default()
        }
    }

    /// Mounts the dataset, as Fluid's controller does once the masters are ready.
    pub fn mount(&self, lab: &Lab, cluster: &Cluster) -> Answer<Result<(), String>> {
        let options = cluster.programs().client_options();
        let mounts = self.mounts.clone();
        let operator = Self::fuse_hosts(cluster).first().copied().unwrap_or_default();
        Answer::of(lab, cluster, operator, "fluid", async move {
            let client = FileSystemClient::new(options);
            for mount in mounts {
                // A web under-store cannot be written.
                let read_only = mount.read_only || Scheme::of(&mount.mount_point).is_none();
                let options = MountOptions { options: mount.options.clone(), ..MountOptions::default() };
                let change = Change::Mount { path: mount.path(), url: mount.mount_point, read_only, options };
                client.change(change, client.deadline()).await.answer().map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    /// Starts the clients, spread over the fuse hosts in turn.
    pub fn start(&mut self, lab: &Lab, cluster: &mut Cluster) {
        self.begun = true;
        self.keep_up(lab, cluster);
    }

    /// Starts the clients again whose mount was started again.
    pub fn keep_up(&mut self, lab: &Lab, cluster: &mut Cluster) {
        if !self.begun || self.kept_up == Some(cluster.changes()) || self.over() {
            return;
        }
        self.kept_up = Some(cluster.changes());
        let fuses = Self::fuse_hosts(cluster);
        for number in 0..self.lives.len() {
            let Some(&member) = fuses.get(number % fuses.len().max(1)) else { return };
            let mount = &cluster.members[member];
            if mount.life != Life::Up || self.lives[number] == mount.incarnation {
                continue;
            }
            self.lives[number] = mount.incarnation;
            let (client, fuse) = (cluster.programs().client_options(), self.options(cluster, member));
            let (load, web) = (self.load.clone(), cluster.programs().web_options());
            let program = async move { run(load, number as u32, client, fuse, Arc::new(Stores::new(web))).await };
            // A host whose mount runs has power.
            let started = lab.world.start(mount.host, "client", Box::pin(program));
            cluster.members[member].guests.extend(started.ok());
        }
    }

    /// Asks the clients to end.
    pub fn stop(&self) {
        self.load.stop();
    }

    /// Walks the whole tree and reads every file.
    pub fn scan(&self, lab: &Lab, cluster: &Cluster) -> Answer<Result<FinalTree, String>> {
        let scanner = Self::fuse_hosts(cluster).first().copied().unwrap_or_default();
        let (options, fuse) = (cluster.programs().client_options(), self.options(cluster, scanner));
        let (recorder, web) = (self.recorder().clone(), cluster.programs().web_options());
        Answer::of(lab, cluster, scanner, "scan", async move {
            let client = Arc::new(FileSystemClient::audited(options, recorder.audit(SCANNER)));
            let store = Arc::new(Stores::new(web));
            let times = DataTimes { patience: Duration::ZERO, ..fuse.times };
            let quick = Fuse::new(client.clone(), store.clone(), FuseOptions { times, ..fuse.clone() });
            let patient = Fuse::new(client, store, fuse);
            scan(&quick, &patient, &recorder, SCANNER).await.map_err(|error| error.to_string())
        })
    }

    /// Operations that began and have not ended.
    pub fn open(&self) -> u64 {
        self.recorder().pending() as u64
    }

    /// Client programs that still run.
    pub fn running(&self) -> u32 {
        self.load.running()
    }

    /// Whether no more operations will begin.
    pub fn over(&self) -> bool {
        self.lives.is_empty() || self.load.over()
    }

    /// Everything that was asked.
    pub fn history(&self) -> Vec<Operation> {
        self.recorder().operations()
    }

    /// Directories that stand before the history begins: mount points.
    pub fn directories(&self) -> Vec<String> {
        self.mounts.iter().map(Mount::path).collect()
    }

    /// Counts of operations, and what they failed with.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = self.recorder().counters();
        let failed = self.load.failed().into_iter();
        counters.extend(failed.map(|(errno, count)| (format!("errno.{errno}"), count)));
        counters
    }
}

/// What the under-stores of the dataset's mounts serve, by path in the namespace.
fn under_store(cluster: &Cluster, mounts: &[Mount]) -> Vec<UfsVersion> {
    let mut versions = Vec::new();
    for mount in mounts {
        let Some(server) = cluster.programs().server_of(&mount.mount_point) else { continue };
        for (rest, content) in server.files_below(&mount.mount_point) {
            let path = format!("{}{rest}", mount.path().trim_end_matches('/'));
            versions.push(UfsVersion { path, content, from: SimTime::ZERO });
        }
    }
    versions
}
