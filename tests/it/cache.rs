//! The whole cache in a world: masters, workers, a mirror and fuse clients under load, while things break.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use stormglass::base::planted::{Bug, plant};
use stormglass::base::{self, HostId, ProcessId, Seed, SimTime, lock};
use stormglass::oracle::history::{Content, Operation};
use stormglass::oracle::judge::ORACLES;
use stormglass::oracle::observation::{FinalTree, UfsVersion};
use stormglass::oracle::record::{RunRecord, Setup};
use stormglass::rt::time::{Duration, Instant};
use stormglass::sim::scenario::Workload;
use stormglass::sim::scenario::value::Span;
use stormglass::sim::scenario::world::SpanRange;
use stormglass::sim::workload::{self, Load, LoadSpec, Recorder, scan};
use stormglass::stack::client::{ClientOptions, FileSystemClient};
use stormglass::stack::fuse::{Errno, Fuse, FuseOptions, NodeId};
use stormglass::stack::master::raft::Peer;
use stormglass::stack::master::{Master, MasterConfig, RaftTimes};
use stormglass::stack::observe::Observer;
use stormglass::stack::ufs::{WebOptions, WebStore};
use stormglass::stack::wire::master::Change;
use stormglass::stack::wire::{Medium, MountOptions, WorkerAddress};
use stormglass::stack::worker::Worker;
use stormglass::stack::worker::config::{Tuning, WorkerConfig};
use stormglass::stack::worker::store::LevelConfig;
use stormglass::stack::worker::store::plan::Level;
use stormglass::world::disk::DiskConfig;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use stormglass::world::web::{WebServer, WebTree};

const RPC: u16 = 26000;
const JOURNAL: u16 = 26002;
const DIR: &str = "/apache/hbase/stable";
const FILES: [(&str, u64); 2] = [("CHANGES.md", 112_000), ("hbase-bin.tar.gz", 1_000_017)];
const BLOCK: u64 = 16 << 10;

struct Cache {
    lab: Lab,
    masters: Vec<HostId>,
    workers: Vec<HostId>,
    clients: Vec<HostId>,
    mirror: ProcessId,
    observers: Vec<Arc<Observer>>,
    processes: BTreeMap<HostId, ProcessId>,
}

impl Cache {
    fn new(seed: u64) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let mut next = 0;
        let mut host = |name: String| {
            next += 1;
            lab.world.add_host(&name, Ipv4Addr::new(10, 0, 0, next))
        };
        let masters: Vec<HostId> = (0..3).map(|n| host(format!("master-{n}"))).collect();
        let workers: Vec<HostId> = (0..2).map(|n| host(format!("worker-{n}"))).collect();
        let clients: Vec<HostId> = (0..3).map(|n| host(format!("fuse-{n}"))).collect();
        let mirror = host("mirror".into());
        for (hosts, dir) in [(&masters, "/journal"), (&workers, "/mnt/disk1")] {
            for host in hosts {
                let disk = lab.disks.add_disk(DiskConfig::default());
                lab.disks.mount(*host, dir, disk).unwrap();
            }
        }
        let server = WebServer::new(WebTree::listing(DIR, FILES));
        let program = server.run([80, 443].map(|port| SocketAddr::from(([0, 0, 0, 0], port))).to_vec());
        let mirror = lab.world.start(mirror, "httpd", Box::pin(async move { program.await.unwrap() })).unwrap();
        let observers = vec![Arc::default(); 3];
        let mut cache = Self { lab, masters, workers, clients, mirror, observers, processes: BTreeMap::new() };
        (0..3).for_each(|n| cache.start_master(n));
        (0..2).for_each(|n| cache.start_worker(n));
        cache.run_for(15);
        cache.operator(|client| async move {
            let url = format!("https://mirror{DIR}/");
            let mount = Change::Mount { path: "/hbase".into(), url, read_only: true, options: MountOptions::default() };
            client.change(mount, client.deadline()).await.answer().unwrap();
        });
        cache
    }

    fn start(&mut self, host: HostId, program: impl Future<Output = ()> + Send + 'static) {
        let process = self.lab.world.start(host, "program", Box::pin(program)).unwrap();
        self.processes.insert(host, process);
    }

    fn start_master(&mut self, n: usize) {
        let members = (0..3u64)
            .map(|id| {
                (
                    id,
                    Peer { rpc: format!("master-{id}:{RPC}").into(), journal: format!("master-{id}:{JOURNAL}").into() },
                )
            })
            .collect();
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let mut config = MasterConfig::new(n as u64, members, (any(RPC), any(JOURNAL)), "/journal/master");
        config.raft = RaftTimes {
            heartbeat: Duration::from_millis(500),
            election_min: Duration::from_secs(1),
            election_max: Duration::from_secs(2),
            ..RaftTimes::default()
        };
        config.ufs_block_size = 1 << 16;
        self.observers[n] = Arc::default();
        let observer = self.observers[n].clone();
        self.start(self.masters[n], async move {
            let master = Master::new(config, Arc::new(WebStore::new(web())), observer);
            master.run(std::future::pending()).await.unwrap();
        });
    }

    fn start_worker(&mut self, n: usize) {
        let level = Level { medium: Medium::Hdd, high_permille: 900, low_permille: 700, quotas: vec![64 << 20] };
        let config = WorkerConfig {
            address: WorkerAddress(format!("worker-{n}:29999")),
            listen: SocketAddr::from(([0, 0, 0, 0], 29999)),
            masters: masters(),
            levels: vec![LevelConfig { level, paths: vec!["/mnt/disk1/cache".into()] }],
            tuning: Tuning::default(),
            web: web(),
        };
        self.start(self.workers[n], async move { panic!("{:?}", Worker::run(config).await) });
    }

    fn run_for(&self, seconds: u64) {
        self.lab.world.run_until(self.lab.world.world_now() + Duration::from_secs(seconds));
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
    }

    fn leader(&self) -> usize {
        let serving = |n: &usize| self.observers[*n].facts().serving;
        (0..3).filter(|n| serving(n).is_some()).max_by_key(serving).expect("somebody leads")
    }

    fn kill(&mut self, host: HostId) {
        self.lab.world.kill(self.processes.remove(&host).unwrap());
    }

    /// Runs a program on the first client's host to its end.
    fn on_client<T, F>(&self, f: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let out = Arc::new(Mutex::new(None));
        let result = out.clone();
        let program = async move {
            let got = f().await;
            *lock(&result) = Some(got);
        };
        self.lab.world.start(self.clients[0], "program", Box::pin(program)).unwrap();
        for _ in 0..600 {
            self.run_for(1);
            if let Some(got) = lock(&out).take() {
                return got;
            }
        }
        panic!("the program does not end: {:#?}", self.lab.world.pending());
    }

    fn operator<T, F>(&self, f: impl FnOnce(FileSystemClient) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.on_client(|| f(FileSystemClient::new(ClientOptions::new(masters()))))
    }

    fn fuse<T, F>(&self, f: impl FnOnce(Fuse) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.on_client(|| {
            let client = FileSystemClient::new(ClientOptions::new(masters()));
            f(Fuse::new(Arc::new(client), Arc::new(WebStore::new(web())), fuse_options()))
        })
    }
}

fn web() -> WebOptions {
    WebOptions { plain_https: true, ..WebOptions::default() }
}

fn masters() -> Vec<String> {
    (0..3).map(|n| format!("master-{n}:{RPC}")).collect()
}

fn fuse_options() -> FuseOptions {
    FuseOptions { block_size: BLOCK, ..FuseOptions::default() }
}

fn under_store() -> Vec<UfsVersion> {
    let version = |(name, _): &(&str, u64)| UfsVersion {
        path: format!("/hbase/{name}"),
        content: Content { key: format!("{DIR}/{name}"), version: 1 },
        from: SimTime::ZERO,
    };
    FILES.iter().map(version).collect()
}

/// Hosts' clocks are exact here.
fn now() -> SimTime {
    SimTime::ZERO + Instant::now().duration_since(Instant::now() - Duration::MAX)
}

async fn put(fuse: &Fuse, name: &str, size: u64) -> Result<base::Content, Errno> {
    let content = base::Content::of(name, 1);
    let (_, open) = fuse.create(NodeId::ROOT, name).await?;
    for offset in (0..size).step_by(10_000) {
        let data = content.bytes(offset, 10_000.min((size - offset) as usize));
        fuse.write(open.handle, offset, &data).await?;
    }
    fuse.flush(open.handle).await?;
    fuse.release(open.handle).await?;
    Ok(content)
}

#[test]
fn posix_operations_do_what_linux_says() {
    let cache = Cache::new(1);
    cache.fuse(|fuse| async move {
        let root = NodeId::ROOT;
        let dir = fuse.mkdir(root, "d").await.unwrap();
        assert!(dir.attr.dir);
        assert_eq!(fuse.mkdir(root, "d").await, Err(Errno::EEXIST));
        assert_eq!(fuse.lookup(root, "nope").await, Err(Errno::ENOENT));

        let (entry, open) = fuse.create(dir.node, "f").await.unwrap();
        assert_eq!(fuse.create(dir.node, "f").await.err(), Some(Errno::EEXIST));
        assert_eq!(fuse.open(entry.node, libc::O_RDONLY).await.err(), Some(Errno::EBUSY));
        let bytes = base::Content::of("f", 1).bytes(0, 3 * BLOCK as usize + 5);
        assert_eq!(fuse.write(open.handle, 0, &bytes).await, Ok(bytes.len()));
        assert_eq!(fuse.write(open.handle, 3, b"x").await, Err(Errno::EOPNOTSUPP));
        assert_eq!(fuse.getattr(entry.node).await.unwrap().size, bytes.len() as u64);
        assert_eq!(fuse.read(open.handle, 0, 1).await, Err(Errno::EBADF));
        fuse.flush(open.handle).await.unwrap();
        assert_eq!(fuse.write(open.handle, bytes.len() as u64, b"x").await, Err(Errno::EBADF));
        fuse.release(open.handle).await.unwrap();
        assert_eq!(fuse.release(open.handle).await, Err(Errno::EBADF));
        assert_eq!(fuse.lookup(dir.node, "f").await.unwrap().attr.size, bytes.len() as u64);

        let open = fuse.open(entry.node, libc::O_RDONLY).await.unwrap();
        for (offset, size) in [(0, bytes.len()), (BLOCK as usize - 1, 3), (bytes.len() - 1, 100), (bytes.len() + 7, 1)]
        {
            let want = bytes.get(offset..).map_or(&[][..], |rest| &rest[..rest.len().min(size)]);
            assert_eq!(fuse.read(open.handle, offset as u64, size as u64).await.unwrap(), want, "{size} at {offset}");
        }
        // A file that is open stays what it was, whatever becomes of its name.
        fuse.rename((dir.node, "f"), (root, "g")).await.unwrap();
        assert_eq!(fuse.lookup(dir.node, "f").await, Err(Errno::ENOENT));
        assert_eq!(fuse.node("/g").unwrap(), entry.node, "the node moved with the name");
        assert_eq!(fuse.read(open.handle, 0, 9).await.unwrap(), bytes[..9]);
        fuse.release(open.handle).await.unwrap();

        assert_eq!(fuse.unlink(root, "d").await, Err(Errno::EISDIR));
        assert_eq!(fuse.rmdir(root, "g").await, Err(Errno::ENOTDIR));
        fuse.mkdir(dir.node, "e").await.unwrap();
        assert_eq!(fuse.rmdir(root, "d").await, Err(Errno::ENOTEMPTY));
        assert_eq!(fuse.rename((root, "d"), (dir.node, "inside")).await, Err(Errno::EINVAL));
        assert_eq!(fuse.rename((root, "g"), (root, "d")).await, Err(Errno::EISDIR));
        assert_eq!(fuse.open(dir.node, libc::O_RDONLY).await.err(), Some(Errno::EISDIR));
        let open = fuse.open(entry.node, libc::O_WRONLY | libc::O_TRUNC).await.unwrap();
        fuse.release(open.handle).await.unwrap();
        assert_eq!(fuse.getattr(entry.node).await.unwrap().size, 0);
        assert_eq!(fuse.open(entry.node, libc::O_RDWR).await.err(), Some(Errno::EOPNOTSUPP));
        fuse.unlink(root, "g").await.unwrap();
        let names: Vec<String> = fuse.readdir(root).await.unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["d", "hbase"]);

        let stable = fuse.node("/hbase").unwrap();
        assert_eq!(fuse.create(stable, "new").await.err(), Some(Errno::EROFS));
        assert_eq!(fuse.unlink(stable, "CHANGES.md").await, Err(Errno::EROFS));
        let space = fuse.statfs().await.unwrap();
        assert_eq!(space.blocks * space.block_size, 2 * (64 << 20));
        assert_eq!(fuse.open_files(), 0);
    });
}

#[test]
fn a_file_of_the_under_store_is_read_through_then_cached_then_read_without_workers() {
    let mut cache = Cache::new(2);
    async fn read(fuse: Fuse) -> (bool, stormglass::stack::fuse::DataCounters) {
        let node = fuse.node("/hbase/CHANGES.md").unwrap();
        let open = fuse.open(node, libc::O_RDONLY).await.unwrap();
        let data = fuse.read(open.handle, 60_000, 20_000).await.unwrap();
        let content = base::Content::of(&format!("{DIR}/CHANGES.md"), 1);
        (data.len() == 20_000 && content.first_difference(60_000, &data).is_none(), fuse.counters())
    }
    let (right, counters) = cache.fuse(read);
    assert!(right && counters.read_through == 20_000, "{counters:?}");
    cache.run_for(3);
    let (right, counters) = cache.fuse(read);
    assert!(right && counters.cached == 20_000, "{counters:?}");
    cache.workers.clone().into_iter().for_each(|host| cache.kill(host));
    let (right, counters) = cache.fuse(read);
    assert!(right && counters.under_store == 20_000, "{counters:?}");
    cache.lab.world.kill(cache.mirror);
    let failed = cache.fuse(|fuse| async move {
        let open = fuse.open(fuse.node("/hbase/CHANGES.md").unwrap(), libc::O_RDONLY).await.unwrap();
        fuse.read(open.handle, 0, 1).await
    });
    assert_eq!(failed, Err(Errno::EIO));
}

#[test]
fn a_block_is_written_to_another_worker_and_an_unreachable_one_is_an_error_not_zeros() {
    let mut cache = Cache::new(3);
    cache.kill(cache.workers[0]);
    // The masters still count it as alive.
    let counters = cache.fuse(|fuse| async move {
        put(&fuse, "f", 8 * BLOCK).await.unwrap();
        fuse.counters()
    });
    assert_eq!(counters.written, 8 * BLOCK);
    assert!(counters.rewritten_blocks > 0, "{counters:?}");
    async fn read(fuse: Fuse) -> Result<bool, Errno> {
        let open = fuse.open(fuse.node("/f")?, libc::O_RDONLY).await?;
        let data = fuse.read(open.handle, 0, u64::MAX).await?;
        Ok(data.len() as u64 == 8 * BLOCK && base::Content::of("f", 1).first_difference(0, &data).is_none())
    }
    assert_eq!(cache.fuse(read), Ok(true));
    cache.kill(cache.workers[1]);
    assert_eq!(cache.fuse(read), Err(Errno::EIO));
    cache.start_worker(1);
    assert_eq!(cache.fuse(read), Ok(true));
    // Nobody is left to write to: an error within the budget, and the file stays incomplete.
    cache.kill(cache.workers[1]);
    let failed = cache.fuse(|fuse| async move { put(&fuse, "g", 5).await.err() });
    assert_eq!(failed, Some(Errno::EIO));
}

#[test]
fn a_listing_is_no_reason_to_read_what_is_gone_or_zeros() {
    let read = |bug: Option<Bug>| {
        let _plant = plant(bug.as_slice()).unwrap();
        Cache::new(4).fuse(|fuse| async move {
            let client = FileSystemClient::new(ClientOptions::new(masters()));
            let other = Fuse::new(Arc::new(client), Arc::new(WebStore::new(web())), fuse_options());
            put(&fuse, "f", 3 * BLOCK).await.unwrap();
            fuse.readdir(NodeId::ROOT).await.unwrap();
            other.unlink(NodeId::ROOT, "f").await.unwrap();
            put(&other, "f", BLOCK).await.unwrap();
            let open = fuse.open(fuse.node("/f").unwrap(), libc::O_RDONLY).await.unwrap();
            let data = fuse.read(open.handle, 0, u64::MAX).await.unwrap();
            (data.len() as u64, data.iter().rev().take_while(|byte| **byte == 0).count() as u64 >= BLOCK)
        })
    };
    assert_eq!(read(None), (BLOCK, false));
    assert_eq!(read(Some(Bug::ListingNotRevalidated)), (3 * BLOCK, true), "planted (J-01)");
}

/// The load of a storm; its clients can be started again.
fn carry(cache: &mut Cache, load: &Arc<Load>, number: usize) {
    let load = load.clone();
    cache.start(cache.clients[number], async move {
        let store = Arc::new(WebStore::new(web()));
        workload::run(load, number as u32, ClientOptions::new(masters()), fuse_options(), store).await;
    });
}

/// Load, a fault, the end of the load, a scan.
fn storm(seed: u64, fault: impl FnOnce(&mut Cache, &Arc<Load>)) -> (Vec<Operation>, FinalTree, Arc<Load>) {
    let mut cache = Cache::new(seed);
    let recorder = Recorder::new(Arc::new(now), under_store());
    let think_time = SpanRange { min: Span::millis(50), max: Span::millis(250) };
    let load = Load::new(LoadSpec::new(&Workload { think_time, ..Workload::default() }), recorder.clone());
    (0..3).for_each(|number| carry(&mut cache, &load, number));
    cache.run_for(20);
    fault(&mut cache, &load);
    cache.run_for(40);
    load.stop();
    for _ in (0..150).take_while(|_| load.running() > 0) {
        cache.run_for(1);
    }
    assert_eq!(load.running(), 0, "{:#?}", cache.lab.world.pending());
    let shared = recorder.clone();
    let tree = cache.on_client(|| async move {
        let client = FileSystemClient::audited(ClientOptions::new(masters()), shared.audit(99));
        let fuse = Fuse::new(Arc::new(client), Arc::new(WebStore::new(web())), fuse_options());
        scan::scan(&fuse, &fuse, &shared, 99).await.unwrap()
    });
    (recorder.operations(), tree, load)
}

fn judge(seed: u64, history: Vec<Operation>, tree: FinalTree) -> BTreeMap<&'static str, u64> {
    let setup = Setup { directories: vec!["/hbase".into()], external: vec!["/hbase".into()] };
    let record = RunRecord {
        seed,
        history,
        setup,
        final_tree: Some(tree),
        under_store: under_store(),
        ended: SimTime::from_secs(1000),
        ..RunRecord::default()
    };
    let mut checks = BTreeMap::new();
    for oracle in ORACLES.iter().filter(|oracle| ["S1", "S2", "S3", "S7"].contains(&oracle.id)) {
        let finding = (oracle.check)(&record);
        let told: Vec<String> = finding.violations.iter().map(|v| v.to_string()).collect();
        assert!(told.is_empty(), "seed {seed}, {}: {told:#?}", oracle.id);
        checks.insert(oracle.id, finding.checks);
    }
    checks
}

#[test]
fn contending_clients_see_one_history_through_a_leader_s_death() {
    for seed in 30..32 {
        let (history, tree, load) = storm(seed, |cache, _| {
            let leader = cache.leader();
            cache.kill(cache.masters[leader]);
            cache.run_for(20);
            cache.start_master(leader);
        });
        let counters = load.recorder().counters();
        assert!(history.len() > 500 && tree.entries.len() > 2, "{counters:?}");
        for kind in ["mkdir", "create", "complete", "rename", "delete", "stat", "list", "read"] {
            assert!(counters.get(&format!("{kind}.acked")).is_some_and(|n| *n > 3), "{kind}: {counters:?}");
        }
        assert!(history.iter().any(|op| op.attempts > 1), "nobody had to try again");
        assert!(
            !counters.keys().any(|name| name.ends_with("unknown")),
            "a failover is shorter than the budget: {counters:?}"
        );
        assert_eq!(load.recorder().pending(), 0);
        let checks = judge(seed, history, tree);
        assert!(checks.values().all(|n| *n > 0), "{checks:?}");
    }
}

#[test]
fn a_storm_is_the_same_storm_again() {
    let run = || storm(40, |cache, _| cache.kill(cache.workers[0]));
    let ((first, tree, load), (again, tree_again, _)) = (run(), run());
    assert_eq!(first.len(), again.len());
    assert!(first == again && tree == tree_again);
    let checks = judge(40, first, tree);
    assert!(checks.values().all(|n| *n > 0), "{checks:?} {:?}", load.failed());
}

#[test]
fn a_deposed_leader_and_a_client_that_dies_break_no_promise() {
    for seed in 50..52 {
        let (history, tree, load) = storm(seed, |cache, load| {
            let cut_off = cache.masters[cache.leader()];
            let others: Vec<HostId> = cache.masters.iter().copied().filter(|host| *host != cut_off).collect();
            let both = |other: &HostId| [(cut_off, *other), (*other, cut_off)];
            // Clients still reach it, and it believes to lead.
            others.iter().flat_map(both).for_each(|(from, to)| cache.lab.world.block(from, to));
            cache.run_for(1);
            cache.kill(cache.clients[1]);
            cache.run_for(20);
            others.iter().flat_map(both).for_each(|(from, to)| cache.lab.world.unblock(from, to));
            carry(cache, load, 1);
        });
        let later = SimTime::from_secs(70);
        let successor = history.iter().filter(|op| op.client == 1 && op.invoked > later).count();
        assert!(successor > 20, "{successor} operations after the restart");
        let ids: Vec<u64> = history.iter().filter(|op| op.client == 1).map(|op| op.op.client).collect();
        assert!(ids.first() != ids.last(), "a new process has operation ids of its own");
        assert!(load.recorder().pending() <= 1);
        let checks = judge(seed, history, tree);
        assert!(checks.values().all(|n| *n > 0), "{checks:?}");
    }
}
