//! What worker tests run in: a worker, a client, a mirror, and a master that is a table of what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stormglass::base::{Content, HostId, ProcessId, Seed, lock};
use stormglass::rt::net::TcpListener;
use stormglass::stack::ufs::WebOptions;
use stormglass::stack::wire::master::{MasterAnswer, MasterReply, MasterRequest, WorkerCommand};
use stormglass::stack::wire::rpc::{Channel, Context, MasterProtocol, WorkerProtocol, serve};
use stormglass::stack::wire::worker::{UfsBlock, WorkerAnswer, WorkerRequest};
use stormglass::stack::wire::{BlockId, FsError, FsResult, Medium, TierUsage, WorkerAddress, WorkerId};
use stormglass::stack::worker::Worker;
use stormglass::stack::worker::config::{Tuning, WorkerConfig};
use stormglass::stack::worker::store::LevelConfig;
use stormglass::stack::worker::store::plan::Level;
use stormglass::world::disk::{DiskConfig, DiskId};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use stormglass::world::web::{WebServer, WebTree};

use super::BLOCK;

const CALL: Duration = Duration::from_secs(30);

/// The leader, as a worker sees it.
#[derive(Default)]
pub struct Master {
    pub term: u64,
    pub worker: Option<WorkerId>,
    pub ids: u64,
    pub places: BTreeSet<BlockId>,
    pub lengths: BTreeMap<BlockId, u64>,
    pub free: BTreeSet<BlockId>,
    pub tiers: Vec<TierUsage>,
    pub registrations: u64,
    pub heartbeats: u64,
    pub mood: Mood,
}

/// What happens to calls on their way to the master and back.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub enum Mood {
    #[default]
    Well,
    /// They get lost.
    Deaf,
    /// Their answers get lost.
    Mute,
}

impl Master {
    fn answer(&mut self, request: MasterRequest) -> FsResult<MasterAnswer> {
        let known = |master: &Self, id| match master.worker == Some(id) {
            true => Ok(()),
            false => Err(FsError::Unknown(format!("worker {id:?}"))),
        };
        match request {
            MasterRequest::WhoLeads { .. } => {
                Ok(MasterAnswer::Leader { address: "master:19998".into(), masters: vec![], mark: None })
            }
            MasterRequest::WorkerId { .. } => {
                self.ids += 1;
                self.worker = Some(WorkerId(self.ids));
                Ok(MasterAnswer::WorkerId(WorkerId(self.ids)))
            }
            MasterRequest::Register { worker, tiers, blocks, .. } => {
                known(self, worker)?;
                self.registrations += 1;
                self.tiers = tiers;
                self.places = blocks.into_iter().collect();
                let lost = self.places.iter().filter(|b| !self.lengths.contains_key(b)).copied();
                Ok(MasterAnswer::Command(WorkerCommand::Free(lost.collect()), None))
            }
            MasterRequest::Heartbeat { worker, tiers, added, removed } => {
                if known(self, worker).is_err() {
                    return Ok(MasterAnswer::Command(WorkerCommand::Register, None));
                }
                self.heartbeats += 1;
                self.tiers = tiers;
                self.places.extend(added);
                self.places.retain(|b| !removed.contains(b));
                self.free.retain(|b| !removed.contains(b));
                Ok(MasterAnswer::Command(WorkerCommand::Free(self.free.iter().copied().collect()), None))
            }
            MasterRequest::CommitBlock { worker, block, length } => {
                known(self, worker)?;
                self.lengths.insert(block, length);
                self.places.insert(block);
                Ok(MasterAnswer::Done)
            }
            other => Err(FsError::Invalid(format!("{other:?}"))),
        }
    }
}

pub struct Bench {
    pub lab: Lab,
    pub master: Arc<Mutex<Master>>,
    pub mirror: Arc<WebServer>,
    pub hosts: [HostId; 4],
    pub disk: DiskId,
    pub worker: Option<ProcessId>,
    pub quota: u64,
    pub tuning: Tuning,
}

pub const MASTER: usize = 0;
pub const WORKER: usize = 1;
pub const CLIENT: usize = 2;
pub const MIRROR: usize = 3;

impl Bench {
    pub fn new(seed: u64, quota: u64) -> Self {
        Self::mounted(seed, quota, "/mnt/disk1")
    }

    /// As [`Self::new`], with the disk mounted at `mount`, above the cache.
    pub fn mounted(seed: u64, quota: u64, mount: &str) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let names = ["master", "worker", "client", "mirror"];
        let hosts = std::array::from_fn(|i| lab.world.add_host(names[i], [10, 0, 0, i as u8 + 1].into()));
        let disk = lab.disks.add_disk(DiskConfig::default());
        lab.disks.mount(hosts[WORKER], mount, disk).unwrap();
        let master = Arc::new(Mutex::new(Master { term: 1, ..Master::default() }));
        let mirror = WebServer::new(WebTree::listing("/data", [("file", 16 * BLOCK)]));
        let mut bench = Self { lab, master, mirror, hosts, disk, worker: None, quota, tuning: Tuning::default() };
        bench.start_master();
        let serve = bench.mirror.clone().run(vec![SocketAddr::from(([10, 0, 0, 4], 80))]);
        bench.start(MIRROR, async move { serve.await.unwrap() });
        bench.start_worker();
        bench.run(Duration::from_secs(3));
        bench
    }

    pub fn start(&self, host: usize, program: impl Future<Output = ()> + Send + 'static) -> ProcessId {
        self.lab.world.start(self.hosts[host], "program", Box::pin(program)).unwrap()
    }

    pub fn start_master(&self) -> ProcessId {
        let master = self.master.clone();
        self.start(MASTER, async move {
            let listener = TcpListener::bind(SocketAddr::from(([10, 0, 0, 1], 19998))).await.unwrap();
            let handler = move |request, _: Context| {
                let mut master = lock(&master);
                let mood = master.mood;
                let answer = (mood != Mood::Deaf).then(|| master.answer(request));
                let term = master.term;
                async move {
                    match answer.filter(|_| mood == Mood::Well) {
                        Some(result) => MasterReply { index: 0, term, result },
                        None => std::future::pending().await,
                    }
                }
            };
            serve::<MasterProtocol>(listener, handler).await;
        })
    }

    pub fn start_worker(&mut self) {
        let level = Level { medium: Medium::Hdd, high_permille: 900, low_permille: 700, quotas: vec![self.quota] };
        let config = WorkerConfig {
            address: WorkerAddress("worker:29999".into()),
            listen: SocketAddr::from(([10, 0, 0, 2], 29999)),
            masters: vec!["master:19998".into()],
            levels: vec![LevelConfig { level, paths: vec!["/mnt/disk1/cache".into()] }],
            tuning: self.tuning,
            web: WebOptions::default(),
        };
        let program = async move { panic!("the worker stopped: {:?}", Worker::run(config).await) };
        self.worker = Some(self.start(WORKER, program));
    }

    /// Loses the worker's power and starts it anew.
    pub fn power_cycle(&mut self) {
        let host = self.hosts[WORKER];
        self.lab.world.power_loss(host);
        self.lab.disks.power_loss(host);
        self.lab.world.power_on(host);
        self.start_worker();
    }

    pub fn run(&self, time: Duration) {
        let end = self.lab.world.world_now() + time;
        self.lab.world.run_until(end);
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
    }

    /// Runs a client to its end, and the world for as long as it may take.
    pub fn client<T, F>(&self, f: impl FnOnce(Client) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let result = Arc::new(Mutex::new(None));
        let (out, client) = (result.clone(), f(Client(Channel::new("worker:29999"))));
        self.start(CLIENT, async move {
            let got = client.await;
            *lock(&out) = Some(got);
        });
        for _ in 0..120 {
            self.run(Duration::from_secs(1));
            if let Some(got) = lock(&result).take() {
                return got;
            }
        }
        panic!("the client hangs: {:?}", self.lab.world.pending());
    }

    pub fn places(&self) -> Vec<BlockId> {
        lock(&self.master).places.iter().copied().collect()
    }
}

#[derive(Clone)]
pub struct Client(pub Channel<WorkerProtocol>);

impl Client {
    pub async fn ask(&self, request: WorkerRequest) -> FsResult<WorkerAnswer> {
        self.0.call(request, CALL).await.map_err(|e| FsError::Unavailable(e.to_string()))?.result
    }

    pub async fn read(
        &self,
        block: BlockId,
        offset: u64,
        length: u32,
        ufs: Option<UfsBlock>,
    ) -> FsResult<(Vec<u8>, bool)> {
        match self.ask(WorkerRequest::Read { block, offset, length, ufs }).await? {
            WorkerAnswer::Data { data, cached } => Ok((data, cached)),
            WorkerAnswer::Done => panic!("no data"),
        }
    }

    pub async fn write(&self, block: BlockId, content: Content, length: u64) -> FsResult<()> {
        let mut offset = 0;
        while offset < length {
            let data = content.bytes(offset, (length - offset).min(100_000) as usize);
            let next = offset + data.len() as u64;
            self.ask(WorkerRequest::Write { block, offset, data }).await?;
            offset = next;
        }
        Ok(())
    }

    pub async fn commit(&self, block: BlockId, length: u64) -> FsResult<()> {
        self.ask(WorkerRequest::Commit { block, length }).await.map(drop)
    }
}
