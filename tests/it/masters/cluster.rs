//! Three masters on three hosts of a world, and a client with patience.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use stormglass::base::{HostId, ProcessId, Seed, lock};
use stormglass::rt::time::{Duration, sleep};
use stormglass::stack::master::raft::Peer;
use stormglass::stack::master::{Master, MasterConfig, RaftTimes};
use stormglass::stack::observe::{MasterFacts, Observer};
use stormglass::stack::ufs::{UfsEntry, UfsError, UfsFuture, UnderStore};
use stormglass::stack::wire::master::{Change, MasterReply, MasterRequest};
use stormglass::stack::wire::rpc::{Channel, MasterProtocol};
use stormglass::stack::wire::{FsError, OpId};
use stormglass::world::disk::{DiskConfig, DiskId};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const RPC: u16 = 19998;
const JOURNAL: u16 = 19200;

/// An under-store of two directories and a file.
pub struct Shelf;

impl UnderStore for Shelf {
    fn list<'a>(&'a self, dir: &'a str) -> UfsFuture<'a, Vec<UfsEntry>> {
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            let entry = |name: &str, dir, length| {
                let fingerprint = if dir { String::new() } else { format!("v1-{length}") };
                UfsEntry { name: name.into(), dir, length, fingerprint }
            };
            match dir {
                "http://shelf/top/" => Ok(vec![entry("inner", true, 0), entry("a.gz", false, 1000)]),
                "http://shelf/top/inner/" => Ok(vec![entry("b.gz", false, 2000)]),
                other => Err(UfsError::NotFound(other.into())),
            }
        })
    }

    fn stat<'a>(&'a self, url: &'a str) -> UfsFuture<'a, UfsEntry> {
        Box::pin(async move { Err(UfsError::NotFound(url.into())) })
    }

    fn read<'a>(&'a self, url: &'a str, _: &'a str, _: u64, _: u64) -> UfsFuture<'a, bytes::Bytes> {
        Box::pin(async move { Err(UfsError::NotFound(url.into())) })
    }
}

/// Paths made and what the masters answered.
pub type Acked = Arc<Mutex<Vec<(String, MasterReply)>>>;

pub struct Cluster {
    pub lab: Lab,
    pub hosts: Vec<HostId>,
    pub disks: Vec<DiskId>,
    pub observers: Vec<Arc<Observer>>,
    pub processes: Vec<Option<ProcessId>>,
    pub ends: Arc<Mutex<Vec<String>>>,
    pub client: HostId,
    pub raft: RaftTimes,
}

impl Cluster {
    pub fn new(seed: u64, raft: RaftTimes) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let client = lab.world.add_host("client", Ipv4Addr::new(10, 0, 0, 100));
        let (mut hosts, mut disks) = (Vec::new(), Vec::new());
        for n in 0..3u8 {
            let host = lab.world.add_host(&format!("master-{n}"), Ipv4Addr::new(10, 0, 0, 1 + n));
            let disk = lab.disks.add_disk(DiskConfig::default());
            lab.disks.mount(host, "/journal", disk).unwrap();
            hosts.push(host);
            disks.push(disk);
        }
        let observers = vec![Arc::default(); 3];
        let mut cluster =
            Self { lab, hosts, disks, observers, processes: vec![None; 3], ends: Arc::default(), client, raft };
        (0..3).for_each(|n| cluster.start(n));
        cluster
    }

    pub fn start(&mut self, n: usize) {
        let members: BTreeMap<u64, Peer> = (0..3u64)
            .map(|id| {
                (
                    id,
                    Peer { rpc: format!("master-{id}:{RPC}").into(), journal: format!("master-{id}:{JOURNAL}").into() },
                )
            })
            .collect();
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let mut config = MasterConfig::new(n as u64, members, (any(RPC), any(JOURNAL)), "/journal/master");
        config.raft = self.raft.clone();
        self.observers[n] = Arc::default();
        let master = Master::new(config, Arc::new(Shelf), self.observers[n].clone());
        let ends = self.ends.clone();
        let program = async move {
            let ended = master.run(async { stormglass::rt::signal::terminated().await.unwrap_or(()) }).await;
            lock(&ends).push(format!("{n}: {ended:?}"));
        };
        self.processes[n] = Some(self.lab.world.start(self.hosts[n], "master", Box::pin(program)).unwrap());
    }

    pub fn kill(&mut self, n: usize) {
        self.lab.world.kill(self.processes[n].take().unwrap());
    }

    pub fn power_loss(&mut self, n: usize) {
        self.processes[n] = None;
        self.lab.world.power_loss(self.hosts[n]);
        self.lab.disks.power_loss(self.hosts[n]);
    }

    /// Cuts a master off from the other two, or mends it. Clients still reach it.
    pub fn cut_off(&self, n: usize, cut: bool) {
        for other in self.hosts.iter().filter(|host| **host != self.hosts[n]) {
            for (from, to) in [(self.hosts[n], *other), (*other, self.hosts[n])] {
                if cut { self.lab.world.block(from, to) } else { self.lab.world.unblock(from, to) }
            }
        }
    }

    pub fn run_for(&self, d: Duration) {
        self.lab.world.run_until(self.lab.world.world_now() + d);
        assert_eq!(self.lab.world.panics(), []);
    }

    /// Runs until `done`, at most `limit`.
    pub fn run_till(&self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        let end = self.lab.world.world_now() + limit;
        while !done(self) {
            let facts: Vec<_> = self.facts();
            assert!(self.lab.world.world_now() < end, "{what} did not come: {facts:#?} {:?}", lock(&self.ends));
            self.run_for(Duration::from_millis(50));
        }
    }

    pub fn facts(&self) -> Vec<MasterFacts> {
        self.observers.iter().map(|o| MasterFacts { tail: [].into(), ..o.facts() }).collect()
    }

    /// The one in office in the highest term.
    pub fn leader(&self) -> Option<usize> {
        let alive = (0..3).filter(|n| self.processes[*n].is_some());
        alive
            .filter(|n| self.observers[*n].facts().serving.is_some())
            .max_by_key(|n| self.observers[*n].facts().serving)
    }

    pub fn wait_for_leader(&self, limit: Duration) -> usize {
        self.run_till(limit, "a leader", |c| c.leader().is_some());
        self.leader().unwrap()
    }

    /// All running members have applied the same, and it is all that there is.
    pub fn wait_till_equal(&self, limit: Duration) -> MasterFacts {
        let alive = || (0..3).filter(|n| self.processes[*n].is_some());
        self.run_till(limit, "convergence", |c| {
            let facts: Vec<MasterFacts> = alive().map(|n| c.observers[n].facts()).collect();
            let applied = |f: &MasterFacts| f.applied.map(|id| id.index);
            facts.iter().all(|f| applied(f) == applied(&facts[0]) && applied(f) == f.last_log && f.last_log.is_some())
        });
        self.check();
        self.observers[alive().next().unwrap()].facts()
    }

    /// Equal state at equal index, and one leader a term.
    pub fn check(&self) {
        let mut hashes = BTreeMap::new();
        for facts in self.observers.iter().map(|o| o.facts()) {
            for applied in &facts.tail {
                // What an entry carried out is known to whoever applied it, and not to whoever took a snapshot over.
                let state = (applied.id, applied.state_hash);
                let known = *hashes.entry(applied.id.index).or_insert(state);
                assert_eq!(known, state, "two states at one index");
            }
        }
        let mut serving: Vec<_> = self.observers.iter().filter_map(|o| o.facts().serving).collect();
        let all = serving.len();
        serving.sort_unstable();
        serving.dedup();
        assert_eq!(serving.len(), all, "two leaders in one term");
    }

    /// Starts a client that makes `count` directories under names that start with `prefix`, one after the other.
    pub fn write(&self, prefix: &str, count: u64) -> Acked {
        self.write_slowly(prefix, count, Duration::ZERO)
    }

    /// As [`Self::write`], with a pause after each.
    pub fn write_slowly(&self, prefix: &str, count: u64, pause: Duration) -> Acked {
        let acked = Arc::new(Mutex::new(Vec::new()));
        let (seen, prefix) = (acked.clone(), prefix.to_owned());
        let client = prefix.bytes().fold(7, |id: u64, byte| id * 31 + u64::from(byte));
        let program = async move {
            let mut caller = Caller::default();
            for seq in 0..count {
                let path = format!("/{prefix}{seq}");
                let change = Change::Mkdir { path: path.clone(), recursive: false };
                let reply = caller.ask(MasterRequest::Change { op: OpId { client, seq }, change }).await;
                lock(&seen).push((path, reply));
                sleep(pause).await;
            }
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        acked
    }

    /// Asks for each of these paths, with patience, and gives the answers.
    pub fn ask(&self, requests: Vec<MasterRequest>, limit: Duration) -> Vec<MasterReply> {
        let (answers, wanted) = (Arc::new(Mutex::new(Vec::new())), requests.len());
        let seen = answers.clone();
        let program = async move {
            let mut caller = Caller::default();
            for request in requests {
                let reply = caller.ask(request).await;
                lock(&seen).push(reply);
            }
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        self.run_till(limit, "answers", |_| lock(&answers).len() == wanted);
        std::mem::take(&mut *lock(&answers))
    }

    /// One master's own answer, whatever it is.
    pub fn ask_one(&self, n: usize, requests: Vec<MasterRequest>) -> MasterReply {
        let answer = Arc::new(Mutex::new(None));
        let seen = answer.clone();
        let program = async move {
            let channel = Channel::<MasterProtocol>::new(format!("master-{n}:{RPC}"));
            *lock(&seen) = channel.call(&requests[0], Duration::from_secs(5)).await.ok();
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        self.run_till(Duration::from_secs(10), "an answer", |_| lock(&answer).is_some());
        lock(&answer).take().unwrap()
    }

    pub fn assert_all_there(&self, acked: &[(String, MasterReply)]) {
        let stats = acked.iter().map(|(path, _)| MasterRequest::Stat { path: path.clone() }).collect();
        for ((path, written), read) in acked.iter().zip(self.ask(stats, Duration::from_secs(60))) {
            assert!(written.result.is_ok(), "{path}: {written:?}");
            assert!(read.result.is_ok(), "{path} was acknowledged: {read:?}");
            assert!(read.index >= written.index);
        }
    }
}

/// A client that tries one master after the other until one answers for good.
#[derive(Default)]
pub struct Caller {
    channels: BTreeMap<usize, Channel<MasterProtocol>>,
    at: usize,
}

impl Caller {
    pub async fn ask(&mut self, request: MasterRequest) -> MasterReply {
        loop {
            let n = self.at;
            let channel = self.channels.entry(n).or_insert_with(|| Channel::new(format!("master-{n}:{RPC}")));
            match channel.call(&request, Duration::from_secs(2)).await {
                Ok(reply) if !reply.result.as_ref().is_err_and(FsError::retryable) => return reply,
                Ok(MasterReply { result: Err(FsError::NotLeader { hint: Some(hint) }), .. }) => {
                    self.at = hint.as_bytes()["master-".len()].into();
                    self.at -= usize::from(b'0');
                }
                _ => self.at = (n + 1) % 3,
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Raft of a fast network.
pub fn fast() -> RaftTimes {
    RaftTimes {
        heartbeat: Duration::from_millis(200),
        election_min: Duration::from_millis(600),
        election_max: Duration::from_millis(1200),
        ..RaftTimes::default()
    }
}

/// The same, with small snapshots and chunks.
pub fn small() -> RaftTimes {
    RaftTimes { snapshot_every: 40, keep_entries: 5, snapshot_chunk: 512, payload_entries: 16, ..fast() }
}

/// More than anything fast takes.
pub const SOON: Duration = Duration::from_secs(10);
