//! One master, one worker, a fuse client and an object store: as JindoFS runs with its metadata on a volume.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use stormglass::base::planted::{Bug, plant};
use stormglass::base::{Content, HostId, ProcessId, Secret, Seed, lock};
use stormglass::rt::time::Duration;
use stormglass::stack::client::{ClientOptions, FileSystemClient};
use stormglass::stack::fuse::{Fuse, FuseOptions, NodeId};
use stormglass::stack::master::raft::Peer;
use stormglass::stack::master::{Master, MasterConfig};
use stormglass::stack::observe::Observer;
use stormglass::stack::ufs::{Stores, WebOptions};
use stormglass::stack::wire::master::Change;
use stormglass::stack::wire::{FsError, Medium, MountOptions, WorkerAddress};
use stormglass::stack::worker::Worker;
use stormglass::stack::worker::config::{Tuning, WorkerConfig};
use stormglass::stack::worker::store::LevelConfig;
use stormglass::stack::worker::store::plan::Level;
use stormglass::world::disk::{DiskConfig, DiskId};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use stormglass::world::s3::{Bucket, S3Server};

const ID: &str = "AN-ACCESS-KEY-ID";
const KEY: &str = "a-secret-access-key";
const MASTER: &str = "demo-jindofs-master-0:8101";

struct Jindo {
    lab: Lab,
    store: Arc<S3Server>,
    master: HostId,
    worker: HostId,
    client: HostId,
    disk: DiskId,
    observer: Arc<Observer>,
    running: Option<ProcessId>,
    moves: u8,
}

impl Jindo {
    fn new(seed: u64) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let host = |name: &str, last| lab.world.add_host(name, Ipv4Addr::new(10, 0, 0, last));
        let (master, worker) = (host("demo-jindofs-master-0", 1), host("worker", 2));
        let (client, oss) = (host("client", 3), host("oss", 4));
        let disk = lab.disks.add_disk(DiskConfig::default());
        lab.disks.mount(master, "/root/jindofsx-meta", disk).unwrap();
        let cache = lab.disks.add_disk(DiskConfig::default());
        lab.disks.mount(worker, "/dev/shm", cache).unwrap();
        let mut bucket = Bucket::default();
        bucket.seed("data", "d/a.bin", 3_000_000, 1_618_864_380);
        bucket.seed("data", "d/sub/b.bin", 70_000, 1_618_864_380);
        let keys = BTreeMap::from([(ID.to_owned(), Secret::new(KEY))]);
        let store = S3Server::new(BTreeMap::from([("data".to_owned(), bucket)]), keys);
        let serve = store.clone().run(vec![SocketAddr::from(([0, 0, 0, 0], 80))]);
        lab.world.start(oss, "s3", Box::pin(async move { serve.await.unwrap() })).unwrap();
        let mut jindo =
            Self { lab, store, master, worker, client, disk, observer: Arc::default(), running: None, moves: 0 };
        jindo.start_master();
        jindo.start_worker();
        jindo
    }

    fn start_master(&mut self) {
        let peer = Peer { rpc: MASTER.into(), journal: "demo-jindofs-master-0:8103".into() };
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let dir = "/root/jindofsx-meta/server";
        let mut config = MasterConfig::new(1, BTreeMap::from([(1, peer)]), (any(8101), any(8103)), dir);
        config.ufs_block_size = 1 << 20;
        self.observer = Arc::default();
        let master = Master::new(config, Arc::new(Stores::new(WebOptions::default())), self.observer.clone());
        let program = async move { master.run(std::future::pending()).await.unwrap() };
        self.running = Some(self.lab.world.start(self.master, "master", Box::pin(program)).unwrap());
    }

    fn start_worker(&self) {
        let level = Level { medium: Medium::Mem, high_permille: 990, low_permille: 990, quotas: vec![64 << 20] };
        let config = WorkerConfig {
            address: WorkerAddress("worker:6101".into()),
            listen: SocketAddr::from(([0, 0, 0, 0], 6101)),
            masters: vec![MASTER.into()],
            levels: vec![LevelConfig { level, paths: vec!["/dev/shm/cache".into()] }],
            tuning: Tuning::default(),
            web: WebOptions::default(),
        };
        let program = async move { panic!("{:?}", Worker::run(config).await) };
        self.lab.world.start(self.worker, "worker", Box::pin(program)).unwrap();
    }

    /// Kills the master and starts it again under another address, after `meanwhile`.
    fn restart_master(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.lab.world.kill(self.running.take().unwrap());
        self.moves += 1;
        self.lab.world.set_address(self.master, Ipv4Addr::new(10, 0, 1, self.moves));
        meanwhile(self);
        self.start_master();
    }

    fn run_for(&self, span: Duration) {
        self.lab.world.run_until(self.lab.world.world_now() + span);
        assert_eq!(self.lab.world.panics(), []);
    }

    /// Seconds until the master serves.
    fn until_it_serves(&self) -> f64 {
        let began = self.lab.world.world_now();
        for _ in 0..600 {
            if self.observer.facts().serving.is_some() {
                return self.lab.world.world_now().since(began).as_secs_f64();
            }
            self.run_for(Duration::from_millis(50));
        }
        panic!("the master does not serve: {:?}", self.observer.facts());
    }

    /// Runs a program with a mount on the client's host to its end.
    fn fuse<T, F>(&self, f: impl FnOnce(Fuse) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let out = Arc::new(Mutex::new(None));
        let result = out.clone();
        let program = async move {
            let client = FileSystemClient::new(ClientOptions::new(vec![MASTER.into()]));
            let options = FuseOptions { block_size: 1 << 20, ..FuseOptions::default() };
            let got = f(Fuse::new(Arc::new(client), Arc::new(Stores::new(WebOptions::default())), options)).await;
            *lock(&result) = Some(got);
        };
        self.lab.world.start(self.client, "program", Box::pin(program)).unwrap();
        for _ in 0..600 {
            self.run_for(Duration::from_secs(1));
            if let Some(got) = lock(&out).take() {
                return got;
            }
        }
        panic!("the program does not end: {:#?}", self.lab.world.pending());
    }

    /// Mounts the bucket's directory as the root.
    fn mount(&self) {
        self.fuse(|fuse| async move {
            let client = fuse.client();
            client.change(mount(KEY), client.deadline()).await.answer().unwrap();
        });
    }

    /// Names and lengths of the root, and the bytes of a file compared with what they should be.
    fn read_all(&self) -> Vec<(String, u64)> {
        self.fuse(|fuse| async move {
            let rows = fuse.readdir(NodeId::ROOT).await.unwrap();
            let open = fuse.open(fuse.node("/a.bin").unwrap(), libc::O_RDONLY).await.unwrap();
            for offset in (0..3_000_000).step_by(500_000) {
                let bytes = fuse.read(open.handle, offset, 500_000).await.unwrap();
                assert_eq!(bytes.len(), 500_000);
                assert_eq!(Content::of("/data/d/a.bin", 1).first_difference(offset, &bytes), None);
            }
            rows.into_iter().map(|row| (row.name, row.attr.size)).collect()
        })
    }
}

fn mount(key: &str) -> Change {
    let secrets = [("fs.oss.accessKeyId", ID), ("fs.oss.accessKeySecret", key)];
    let options = MountOptions {
        options: BTreeMap::from([("fs.oss.endpoint".to_owned(), "oss".to_owned())]),
        secrets: secrets.map(|(name, value)| (name.to_owned(), Secret::new(value))).into(),
    };
    Change::Mount { path: "/".into(), url: "oss://data/d".into(), read_only: true, options }
}

fn rows() -> Vec<(String, u64)> {
    vec![("a.bin".to_owned(), 3_000_000), ("sub".to_owned(), 0)]
}

#[test]
fn a_bucket_is_read_through_the_cache_and_its_keys_are_hidden() {
    let jindo = Jindo::new(1);
    assert!(jindo.until_it_serves() < 3.0, "a single master need not wait for others");
    jindo.mount();
    assert_eq!(jindo.read_all(), rows());
    let cold = jindo.store.counters();
    assert_eq!(jindo.read_all(), rows());
    let warm = jindo.store.counters();
    assert_eq!((cold.object_bytes, warm.object_bytes - cold.object_bytes), (3_000_000, 0));
    assert_eq!(cold.refused, 0);
    let (shown, told) = jindo.fuse(|fuse| async move {
        let client = fuse.client();
        let shown = client.mounts(false, client.deadline()).await.unwrap().remove(0);
        (shown, client.mounts(true, client.deadline()).await.unwrap().remove(0))
    });
    assert_eq!(shown.options.secrets["fs.oss.accessKeySecret"].expose(), "");
    assert_eq!(told.options.secrets["fs.oss.accessKeySecret"].expose(), KEY);
    assert!(!format!("{told:?} {:?}", mount(KEY)).contains(KEY));
}

#[test]
fn a_wrong_key_says_so() {
    let jindo = Jindo::new(2);
    let refused = jindo.fuse(|fuse| async move {
        let client = fuse.client();
        client.change(mount("another-key"), client.deadline()).await.answer().unwrap();
        client.list("/", client.deadline()).await
    });
    let said = format!("{refused:?}");
    assert!(matches!(refused, Err(FsError::Io(_))) && said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(!said.contains("another-key") && !said.contains(ID), "{said}");
}

#[test]
fn all_metadata_come_back_from_the_volume_under_another_address() {
    let mut jindo = Jindo::new(3);
    jindo.until_it_serves();
    jindo.mount();
    jindo.read_all();
    let before = jindo.observer.facts();
    jindo.restart_master(|_| ());
    assert!(jindo.until_it_serves() < 5.0);
    assert_eq!(jindo.read_all(), rows());
    let mounts = jindo.fuse(|fuse| async move { fuse.client().mounts(true, fuse.client().deadline()).await.unwrap() });
    assert_eq!(mounts[0].url, "oss://data/d");
    assert_eq!(jindo.store.counters().object_bytes, 3_000_000, "the worker's blocks are known still");
    assert!(jindo.observer.facts().term > before.term && !jindo.observer.facts().outdated);
    assert_eq!(jindo.observer.facts().live_workers, 1);
}

#[test]
fn an_empty_volume_makes_a_new_cluster() {
    let mut jindo = Jindo::new(4);
    jindo.until_it_serves();
    jindo.mount();
    jindo.read_all();
    // Several terms, so that the new cluster's are lower.
    jindo.restart_master(|_| ());
    jindo.until_it_serves();
    jindo.run_for(Duration::from_secs(5));
    jindo.restart_master(|jindo| jindo.lab.disks.wipe(jindo.disk).unwrap());
    jindo.until_it_serves();
    jindo.run_for(Duration::from_secs(10));
    assert_eq!((jindo.observer.facts().live_workers, jindo.observer.facts().outdated), (1, false));
    let listed = jindo.fuse(|fuse| async move { fuse.client().list("/", fuse.client().deadline()).await.unwrap() });
    assert_eq!(listed, [], "nothing is left of the old one");
    jindo.mount();
    assert_eq!(jindo.read_all(), rows());
}

/// What a client is told of `/new` after the volume was put back to before it was made.
fn put_back(seed: u64) -> (Result<(), FsError>, bool, Jindo) {
    let mut jindo = Jindo::new(seed);
    jindo.until_it_serves();
    jindo.mount();
    jindo.run_for(Duration::from_secs(5));
    let old = jindo.lab.disks.snapshot(jindo.disk).unwrap();
    jindo.fuse(|fuse| async move {
        let change = Change::Mount {
            path: "/sub2".into(),
            url: "oss://data/d/sub".into(),
            read_only: true,
            options: MountOptions::default(),
        };
        fuse.client().change(change, fuse.client().deadline()).await.answer().unwrap();
    });
    jindo.run_for(Duration::from_secs(5));
    jindo.restart_master(|jindo| jindo.lab.disks.restore(jindo.disk, &old).unwrap());
    let stat = jindo.fuse(|fuse| async move { fuse.client().stat("/sub2", fuse.client().deadline()).await });
    let outdated = jindo.observer.facts().outdated;
    (stat.map(drop), outdated, jindo)
}

#[test]
fn a_journal_that_was_put_back_is_noticed_and_refuses_to_serve() {
    let (stat, outdated, mut jindo) = put_back(5);
    let Err(FsError::Unavailable(why)) = stat else { panic!("{stat:?}") };
    assert!(outdated && why.contains("is an old one") && why.contains("put the latest journal back"), "{why}");
    // An empty volume is no old state: a new cluster forms, and the worker joins it.
    jindo.restart_master(|jindo| jindo.lab.disks.wipe(jindo.disk).unwrap());
    jindo.until_it_serves();
    jindo.run_for(Duration::from_secs(10));
    assert_eq!((jindo.observer.facts().live_workers, jindo.observer.facts().outdated), (1, false));
}

#[test]
fn planted_a_master_that_trusts_its_old_journal_forgets_what_it_acknowledged() {
    let _bug = plant(&[Bug::JournalRollbackUnnoticed]).unwrap();
    let (stat, outdated, _) = put_back(5);
    assert_eq!(stat, Err(FsError::NotFound("/sub2".into())));
    assert!(!outdated);
}
