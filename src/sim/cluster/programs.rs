//! What each member runs: the stack's own programs, configured from the manifests and the scenario's parameters.
//!
//! Ports are those of Fluid's GooseFS range (26000-32000): the first one allocated is the masters' rpc port, as in the
//! GooseFS document; the others follow in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Member;
use super::servers::{StoreServer, servers};
use crate::rt::backend::BoxFuture;
use crate::rt::{select2, signal};
use crate::sim::scenario::target::Role;
use crate::sim::scenario::{Parameters, Scenario};
use crate::stack::client::{ClientOptions, LeaderTimes};
use crate::stack::master::raft::{NodeId, Peer};
use crate::stack::master::registry::RegistryTimes;
use crate::stack::master::{Master, MasterConfig, RaftTimes};
use crate::stack::observe::Observer;
use crate::stack::ufs::{Stores, WebOptions};
use crate::stack::wire::{Medium, WorkerAddress};
use crate::stack::worker::Worker;
use crate::stack::worker::config::{Tuning, WorkerConfig};
use crate::stack::worker::store::LevelConfig;
use crate::stack::worker::store::plan::Level;

/// Clients and workers connect to masters here.
pub const MASTER_PORT: u16 = 26000;
/// Masters connect to masters here.
pub const JOURNAL_PORT: u16 = 26002;
/// Clients connect to workers here.
pub const WORKER_PORT: u16 = 26003;

const JOURNAL_DIR: &str = "/journal";
const MILLIONTHS_PER_PERMILLE: u32 = 1_000;

/// Configurations of all programs.
pub struct Programs {
    parameters: Parameters,
    members: BTreeMap<NodeId, Peer>,
    levels: Vec<LevelConfig>,
    servers: BTreeMap<String, StoreServer>,
    /// The url of each under-store, and its host.
    stores: Vec<(String, String)>,
}

impl Programs {
    pub(super) fn new(scenario: &Scenario, members: &[Member]) -> Self {
        let masters = members.iter().filter(|member| member.plan.role == Role::Master);
        // On Kubernetes Fluid's controller hands ports out, the first of its range to the masters' rpc.
        let port = match scenario.spec.kubernetes {
            Some(_) => scenario.runtime.flavor().port_range().start,
            None => MASTER_PORT,
        };
        let peer = |member: &Member| Peer {
            rpc: format!("{}:{port}", member.plan.name).into(),
            journal: format!("{}:{JOURNAL_PORT}", member.plan.name).into(),
        };
        let stores = &scenario.spec.under_stores;
        Self {
            parameters: scenario.spec.parameters.clone(),
            members: masters.map(|member| (node_id(member), peer(member))).collect(),
            levels: levels(scenario),
            stores: stores.iter().map(|store| (store.url.clone(), store.host().to_owned())).collect(),
            servers: servers(stores, &|pair| scenario.key_pair(pair)),
        }
    }

    /// The masters' rpc addresses, in order.
    pub fn master_addresses(&self) -> Vec<String> {
        self.members.values().map(|peer| peer.rpc.to_string()).collect()
    }

    /// Directories of a worker's store, as mounted.
    pub(super) fn store_dirs(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().flat_map(|level| &level.paths).map(String::as_str)
    }

    /// The server that serves what lies at a mount's url.
    pub fn server_of(&self, url: &str) -> Option<&StoreServer> {
        let dir = format!("{}/", url.trim_end_matches('/'));
        let (_, host) = self.stores.iter().find(|(store, _)| url.starts_with(store) || dir.starts_with(store))?;
        self.servers.get(host)
    }

    /// Bytes and number of the files that a mount's url shows, as they are now.
    pub fn bytes_below(&self, url: &str) -> (u64, u64) {
        self.server_of(url).map_or((0, 0), |server| server.bytes_below(url))
    }

    /// How clients of the masters behave.
    pub fn client_options(&self) -> ClientOptions {
        client_options(&self.parameters, self.master_addresses())
    }

    /// How clients and workers reach under-stores.
    pub fn web_options(&self) -> WebOptions {
        web_options()
    }

    /// The program of a member, for its next start.
    pub(super) fn program(&self, member: &Member) -> BoxFuture {
        match member.plan.role {
            Role::Master => Box::pin(master(self.master(member), self.web_options(), member.observer.clone())),
            Role::Worker => Box::pin(worker(self.worker(member))),
            // A mount waits for the clients that use it; the workload starts them on this host.
            Role::Fuse => Box::pin(async {
                let _ = signal::terminated().await;
            }),
            // Kubernetes starts these itself.
            Role::Node | Role::Control => Box::pin(std::future::ready(())),
            Role::UnderStore => match self.servers.get(&member.plan.name) {
                Some(server) => server.program(member.ip),
                None => Box::pin(async {}),
            },
        }
    }

    fn master(&self, member: &Member) -> MasterConfig {
        let at = |port| SocketAddr::new(member.ip.into(), port);
        let bind = (at(MASTER_PORT), at(JOURNAL_PORT));
        master_config(&self.parameters, MasterConfig::new(node_id(member), self.members.clone(), bind, JOURNAL_DIR))
    }

    fn worker(&self, member: &Member) -> WorkerConfig {
        WorkerConfig {
            address: WorkerAddress(format!("{}:{WORKER_PORT}", member.plan.name)),
            listen: SocketAddr::new(member.ip.into(), WORKER_PORT),
            masters: self.master_addresses(),
            levels: self.levels.clone(),
            tuning: worker_tuning(&self.parameters),
            web: self.web_options(),
        }
    }
}

/// How clients of `masters` behave.
pub fn client_options(parameters: &Parameters, masters: Vec<String>) -> ClientOptions {
    let client = &parameters.client;
    let mut options = ClientOptions::new(masters);
    options.leader = LeaderTimes { per_master: client.request_timeout.0, ..options.leader };
    options.attempt = options.attempt.min(client.request_timeout.0);
    options.budget = client.retry_budget.0;
    options.wait_base = client.retry_base.0;
    options.wait_cap = client.retry_max.0;
    options
}

/// How clients and workers reach under-stores on the web.
pub fn web_options() -> WebOptions {
    WebOptions { plain_https: true, ..WebOptions::default() }
}

/// A master's configuration with the scenario's parameters in place of the defaults.
pub fn master_config(p: &Parameters, mut config: MasterConfig) -> MasterConfig {
    config.journal.segment_bytes = p.raft.segment_size.get();
    config.raft = RaftTimes {
        heartbeat: p.raft.heartbeat.0,
        election_min: p.raft.election_timeout.min.0,
        election_max: p.raft.election_timeout.max.0,
        snapshot_every: p.raft.snapshot_every,
        keep_entries: p.raft.keep_entries,
        ..config.raft
    };
    config.safe_mode = p.master.safe_mode.0;
    config.registry = RegistryTimes {
        worker_timeout: p.master.worker_timeout.0,
        detection_interval: p.master.lost_worker_detection.0,
        ..config.registry
    };
    config.retry_cache = usize::try_from(p.master.retry_cache).unwrap_or(usize::MAX);
    config.ufs_block_size = p.master.block_size.get();
    config
}

/// A worker's times and sizes.
pub fn worker_tuning(p: &Parameters) -> Tuning {
    Tuning { heartbeat: p.worker.heartbeat.0, give_up_after: p.worker.connect_retry.0, ..Tuning::default() }
}

/// Raft's id of a master: its ordinal, counted from 1.
fn node_id(member: &Member) -> NodeId {
    NodeId::from(member.plan.index) + 1
}

fn levels(scenario: &Scenario) -> Vec<LevelConfig> {
    use crate::kube::fluid::api::MediumType;
    let levels = scenario.runtime.tieredstore().levels.iter().map(|level| {
        let (high, low) = level.watermarks();
        let (paths, quotas) = level.dirs().into_iter().unzip();
        let medium = match level.mediumtype {
            MediumType::Mem => Medium::Mem,
            MediumType::Ssd => Medium::Ssd,
            MediumType::Hdd => Medium::Hdd,
        };
        let permille = |millionths: u32| u64::from(millionths / MILLIONTHS_PER_PERMILLE);
        let level = Level { medium, high_permille: permille(high), low_permille: permille(low), quotas };
        LevelConfig { level, paths }
    });
    let mut levels: Vec<LevelConfig> = levels.collect();
    levels.sort_by_key(|level| level.level.medium);
    levels
}

/// The path of a url: `/a/` in `https://mirror/a/`.
pub fn url_path(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    after.find('/').map_or("/", |at| &after[at..])
}

async fn master(config: MasterConfig, web: WebOptions, observer: Arc<Observer>) {
    let stop = async {
        if signal::terminated().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let master = Master::new(config, Arc::new(Stores::new(web)), observer);
    if let Err(error) = master.run(stop).await {
        tracing::error!(%error, "the master ends");
    }
}

async fn worker(config: WorkerConfig) {
    let run = async {
        if let Err(error) = Worker::run(config).await {
            tracing::error!(%error, "the worker ends");
        }
    };
    select2(run, signal::terminated()).await;
}
