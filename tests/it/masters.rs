//! Three masters in a world: they form a group, lose members and disks, and keep what they acknowledged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use stormglass::base::{HostId, ProcessId, Seed, SimTime, lock};
use stormglass::rt::time::{Duration, sleep};
use stormglass::stack::master::raft::Peer;
use stormglass::stack::master::{Master, MasterConfig, RaftTimes};
use stormglass::stack::observe::{MasterFacts, Observer, Role};
use stormglass::stack::ufs::{UfsEntry, UfsError, UfsFuture, UnderStore};
use stormglass::stack::wire::master::{Change, MasterAnswer, MasterReply, MasterRequest};
use stormglass::stack::wire::rpc::{Channel, MasterProtocol};
use stormglass::stack::wire::{FsError, OpId};
use stormglass::world::disk::{DiskConfig, DiskId};
use stormglass::world::engine::World;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const RPC: u16 = 19998;
const JOURNAL: u16 = 19200;

/// An under-store of two directories and a file.
struct Shelf;

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

struct Cluster {
    lab: Lab<Glass>,
    hosts: Vec<HostId>,
    disks: Vec<DiskId>,
    observers: Vec<Arc<Observer>>,
    processes: Vec<Option<ProcessId>>,
    ends: Arc<Mutex<Vec<String>>>,
    client: HostId,
    raft: RaftTimes,
}

impl Cluster {
    fn new(seed: u64, raft: RaftTimes) -> Self {
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

    fn start(&mut self, n: usize) {
        let members: BTreeMap<u64, Peer> = (0..3u64)
            .map(|id| (id, Peer { rpc: format!("master-{id}:{RPC}"), journal: format!("master-{id}:{JOURNAL}") }))
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

    fn kill(&mut self, n: usize) {
        self.lab.world.kill(self.processes[n].take().unwrap());
    }

    fn power_loss(&mut self, n: usize) {
        self.processes[n] = None;
        self.lab.world.power_loss(self.hosts[n]);
        self.lab.disks.power_loss(self.hosts[n]);
    }

    fn cut_off(&self, n: usize, cut: bool) {
        for other in self.hosts.iter().filter(|host| **host != self.hosts[n]) {
            for (from, to) in [(self.hosts[n], *other), (*other, self.hosts[n])] {
                if cut { self.lab.world.block(from, to) } else { self.lab.world.unblock(from, to) }
            }
        }
    }

    fn run_for(&self, d: Duration) {
        self.lab.world.run_until(self.lab.world.world_now() + d);
        assert_eq!(self.lab.world.panics(), []);
    }

    /// Runs until `done`, at most `limit`.
    fn run_till(&self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        let end = self.lab.world.world_now() + limit;
        while !done(self) {
            let facts: Vec<_> = self.facts();
            assert!(self.lab.world.world_now() < end, "{what} did not come: {facts:#?} {:?}", lock(&self.ends));
            self.run_for(Duration::from_millis(50));
        }
    }

    fn facts(&self) -> Vec<MasterFacts> {
        self.observers.iter().map(|o| MasterFacts { tail: [].into(), ..o.facts() }).collect()
    }

    /// The one in office in the highest term.
    fn leader(&self) -> Option<usize> {
        let alive = (0..3).filter(|n| self.processes[*n].is_some());
        alive
            .filter(|n| self.observers[*n].facts().serving.is_some())
            .max_by_key(|n| self.observers[*n].facts().serving)
    }

    fn wait_for_leader(&self, limit: Duration) -> usize {
        self.run_till(limit, "a leader", |c| c.leader().is_some());
        self.leader().unwrap()
    }

    /// All running members have applied the same, and it is all that there is.
    fn wait_till_equal(&self, limit: Duration) -> MasterFacts {
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
    fn check(&self) {
        let mut hashes = BTreeMap::new();
        for facts in self.observers.iter().map(|o| o.facts()) {
            for applied in &facts.tail {
                let known = *hashes.entry(applied.id.index).or_insert(*applied);
                assert_eq!(known, *applied, "two states at one index");
            }
        }
        let mut serving: Vec<_> = self.observers.iter().filter_map(|o| o.facts().serving).collect();
        let all = serving.len();
        serving.sort_unstable();
        serving.dedup();
        assert_eq!(serving.len(), all, "two leaders in one term");
    }

    /// Starts a client that makes `count` directories under names that start with `prefix`, one after the other.
    fn write(&self, prefix: &str, count: u64) -> Arc<Mutex<Vec<(String, MasterReply)>>> {
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
            }
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        acked
    }

    /// Asks for each of these paths, with patience, and gives the answers.
    fn ask(&self, requests: Vec<MasterRequest>, limit: Duration) -> Vec<MasterReply> {
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

    fn assert_all_there(&self, acked: &[(String, MasterReply)]) {
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
struct Caller {
    channels: BTreeMap<usize, Channel<MasterProtocol>>,
    at: usize,
}

impl Caller {
    async fn ask(&mut self, request: MasterRequest) -> MasterReply {
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

fn fast() -> RaftTimes {
    RaftTimes {
        heartbeat: Duration::from_millis(200),
        election_min: Duration::from_millis(600),
        election_max: Duration::from_millis(1200),
        ..RaftTimes::default()
    }
}

fn small() -> RaftTimes {
    RaftTimes { snapshot_every: 40, keep_entries: 5, snapshot_chunk: 512, payload_entries: 16, ..fast() }
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_group_forms_fails_over_and_converges() {
    for seed in 0..8 {
        let mut c = Cluster::new(seed, fast());
        let first = c.wait_for_leader(SOON);
        let acked = c.write("d", 100);
        c.run_till(SOON, "some writes", |_| lock(&acked).len() > 20);
        let term = c.observers[first].facts().serving;
        if seed % 2 == 0 {
            c.kill(first)
        } else {
            c.power_loss(first)
        }
        let second = c.wait_for_leader(SOON);
        assert!(second != first && c.observers[second].facts().serving > term);
        c.run_till(Duration::from_secs(30), "all writes", |_| lock(&acked).len() == 100);
        if seed % 2 == 1 {
            c.lab.world.power_on(c.hosts[first]);
        }
        c.start(first);
        let end = c.wait_till_equal(SOON);
        assert!(end.applied.unwrap().index >= 100);
        c.assert_all_there(&lock(&acked));
        c.check();
    }
}

#[test]
fn default_timers_fail_over_within_their_bound() {
    let mut c = Cluster::new(3, RaftTimes::default());
    let first = c.wait_for_leader(Duration::from_secs(45));
    c.kill(first);
    let killed = c.lab.world.world_now();
    c.wait_for_leader(Duration::from_secs(60));
    let took = c.lab.world.world_now().since(killed);
    // Election timeout 10 to 20 s after the last heartbeat of a leader that sent one each 5 s, and the lease before it.
    assert!(took < Duration::from_secs(45), "{took:?}");
}

#[test]
fn a_follower_behind_the_purged_log_gets_a_snapshot() {
    for seed in 0..4 {
        let mut c = Cluster::new(seed, small());
        let leader = c.wait_for_leader(SOON);
        let lagging = (leader + 1) % 3;
        c.kill(lagging);
        let stopped_at = c.observers[lagging].facts().last_log.unwrap();
        let acked = c.write("d", 300);
        c.run_till(Duration::from_secs(60), "all writes", |_| lock(&acked).len() == 300);
        c.run_till(SOON, "a purge", |c| {
            c.leader().is_some_and(|n| c.observers[n].facts().purged.is_some_and(|id| id.index > stopped_at + 50))
        });
        c.start(lagging);
        c.wait_till_equal(Duration::from_secs(20));
        let facts = c.observers[lagging].facts();
        assert!(facts.snapshot.is_some_and(|id| id.index > stopped_at), "{facts:?}");
        c.assert_all_there(&lock(&acked)[..20]);
        // And the whole group starts again from snapshots.
        for n in 0..3 {
            c.kill(n);
            c.start(n);
        }
        c.wait_for_leader(SOON);
        c.wait_till_equal(SOON);
        c.assert_all_there(&lock(&acked)[280..]);
    }
}

#[test]
fn power_loss_of_all_three_loses_nothing_acknowledged() {
    for seed in 0..6 {
        let mut c = Cluster::new(seed, small());
        c.wait_for_leader(SOON);
        let acked = c.write("d", 1000);
        c.run_till(SOON, "some writes", |_| lock(&acked).len() > 60 + 7 * seed as usize);
        (0..3).for_each(|n| c.power_loss(n));
        let before = lock(&acked).clone();
        for n in 0..3 {
            c.lab.world.power_on(c.hosts[n]);
            c.start(n);
        }
        c.wait_for_leader(SOON);
        c.assert_all_there(&before);
        c.check();
    }
}

#[test]
fn an_isolated_leader_acknowledges_nothing_and_steps_back() {
    for seed in 0..4 {
        let c = Cluster::new(seed, fast());
        let first = c.wait_for_leader(SOON);
        c.cut_off(first, true);
        let term = c.observers[first].facts().serving;
        c.run_till(SOON, "another leader", |c| c.leader().is_some_and(|n| c.observers[n].facts().serving > term));
        let acked = c.write("d", 20);
        c.run_till(Duration::from_secs(60), "writes", |_| lock(&acked).len() == 20);
        assert!(lock(&acked).iter().all(|(_, reply)| Some(reply.term) > term));
        c.cut_off(first, false);
        c.wait_till_equal(Duration::from_secs(30));
        assert_eq!(c.observers[first].facts().serving, None);
        c.assert_all_there(&lock(&acked));
    }
}

#[test]
fn a_wiped_member_catches_up_before_it_votes() {
    for seed in 0..4 {
        let mut c = Cluster::new(seed, small());
        let leader = c.wait_for_leader(SOON);
        let acked = c.write("d", 80);
        c.run_till(SOON, "all writes", |_| lock(&acked).len() == 80);
        let wiped = (leader + 1) % 3;
        let other = (leader + 2) % 3;
        c.kill(wiped);
        c.lab.disks.wipe(c.disks[wiped]).unwrap();
        // With one of the two others gone it cannot know what it had promised: it must not help to elect.
        c.kill(other);
        c.start(wiped);
        c.run_for(Duration::from_secs(5));
        assert!(!c.observers[wiped].facts().may_vote);
        c.start(other);
        c.run_till(Duration::from_secs(20), "a vote", |c| c.observers[wiped].facts().may_vote);
        c.wait_for_leader(SOON);
        c.wait_till_equal(SOON);
        c.assert_all_there(&lock(&acked));
        assert!((0..3).all(|n| c.observers[n].facts().may_vote));
    }
}

#[test]
fn two_wiped_members_make_the_group_unavailable_and_not_empty() {
    let mut c = Cluster::new(1, fast());
    let leader = c.wait_for_leader(SOON);
    let acked = c.write("d", 10);
    c.run_till(SOON, "all writes", |_| lock(&acked).len() == 10);
    for n in (0..3).filter(|n| *n != leader) {
        c.kill(n);
        c.lab.disks.wipe(c.disks[n]).unwrap();
        c.start(n);
    }
    c.run_for(Duration::from_secs(60));
    let facts = c.facts();
    assert!(facts.iter().enumerate().all(|(n, f)| n == leader || (!f.may_vote && f.last_log.is_none())), "{facts:#?}");
    assert!(facts[leader].last_log.unwrap() >= 10);
}

#[test]
fn a_retried_operation_is_answered_from_the_cache_after_a_failover() {
    let mut c = Cluster::new(5, fast());
    let leader = c.wait_for_leader(SOON);
    let change = Change::Mkdir { path: "/once".into(), recursive: false };
    let request = MasterRequest::Change { op: OpId { client: 1, seq: 1 }, change: change.clone() };
    let first = c.ask(vec![request.clone()], SOON).remove(0);
    c.kill(leader);
    c.wait_for_leader(SOON);
    let again = c.ask(vec![request], SOON).remove(0);
    assert_eq!((again.index, &again.result), (first.index, &first.result));
    let other = MasterRequest::Change { op: OpId { client: 1, seq: 2 }, change };
    assert_eq!(c.ask(vec![other], SOON).remove(0).result, Err(FsError::AlreadyExists("/once".into())));
}

#[test]
fn an_under_store_is_loaded_when_somebody_looks() {
    let c = Cluster::new(2, fast());
    c.wait_for_leader(SOON);
    let mount = Change::Mount { path: "/m".into(), url: "http://shelf/top/".into(), read_only: true };
    let answers = c.ask(
        vec![
            MasterRequest::Change { op: OpId { client: 1, seq: 1 }, change: mount },
            MasterRequest::Stat { path: "/m/inner/b.gz".into() },
            MasterRequest::List { path: "/m".into() },
            MasterRequest::Stat { path: "/m/nothing".into() },
        ],
        SOON,
    );
    assert!(answers[0].result.is_ok(), "{answers:#?}");
    let Ok(MasterAnswer::Info(info)) = &answers[1].result else { panic!("{answers:#?}") };
    assert_eq!((info.length, info.ufs.as_ref().unwrap().url.as_str()), (2000, "http://shelf/top/inner/b.gz"));
    let Ok(MasterAnswer::Entries(entries)) = &answers[2].result else { panic!("{answers:#?}") };
    assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a.gz", "inner"]);
    assert!(matches!(answers[3].result, Err(FsError::NotFound(_))));
    c.wait_till_equal(SOON);
}

#[test]
fn a_terminated_leader_hands_over() {
    let mut c = Cluster::new(4, fast());
    let first = c.wait_for_leader(SOON);
    let told = c.lab.world.world_now();
    c.lab.world.terminate(c.processes[first].take().unwrap());
    let second = c.wait_for_leader(SOON);
    let took = c.lab.world.world_now().since(told);
    assert!(second != first && took < Duration::from_millis(600), "{took:?}");
    c.run_for(Duration::from_secs(5));
    assert_eq!(*lock(&c.ends), [format!("{first}: Ok(())")]);
    assert_eq!(c.observers[first].facts().role, Role::Down);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut c = Cluster::new(seed, small());
        let leader = c.wait_for_leader(SOON);
        let acked = c.write("d", 60);
        c.run_for(Duration::from_millis(300));
        c.kill(leader);
        c.run_till(Duration::from_secs(60), "all writes", |_| lock(&acked).len() == 60);
        c.run_for(Duration::from_secs(3));
        assert!(c.lab.world.world_now() > SimTime::ZERO);
        (c.lab.world.digest(), c.facts().iter().map(|f| f.applied).collect::<Vec<_>>())
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9).0, run(10).0);
}
