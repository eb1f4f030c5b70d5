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
use stormglass::stack::fuse::{Errno, Fuse, FuseOptions, NodeId};
use stormglass::stack::master::raft::Peer;
use stormglass::stack::master::{Master, MasterConfig};
use stormglass::stack::observe::Observer;
use stormglass::stack::ufs::{Stores, WebOptions};
use stormglass::stack::wire::master::Change;
use stormglass::stack::wire::{FsError, Medium, MountOptions, WorkerAddress, WriteType};
use stormglass::stack::worker::Worker;
use stormglass::stack::worker::config::{Tuning, WorkerConfig};
use stormglass::stack::worker::store::LevelConfig;
use stormglass::stack::worker::store::plan::Level;
use stormglass::world::disk::{DiskConfig, DiskId};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use stormglass::world::s3::{Bucket, S3Faults, S3Server};
use stormglass::world::web::Ratio;

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
        Self::sized(seed, 64 << 20)
    }

    /// With a cache of `quota` bytes.
    fn sized(seed: u64, quota: u64) -> Self {
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
        jindo.start_worker(quota);
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

    fn start_worker(&self, quota: u64) {
        let level = Level { medium: Medium::Mem, high_permille: 990, low_permille: 990, quotas: vec![quota] };
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
        self.fuse_with(WriteType::default(), f)
    }

    fn fuse_with<T, F>(&self, write_type: WriteType, f: impl FnOnce(Fuse) -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let out = Arc::new(Mutex::new(None));
        let result = out.clone();
        let program = async move {
            let client = FileSystemClient::new(ClientOptions::new(vec![MASTER.into()]));
            let options = FuseOptions { block_size: 1 << 20, write_type, ..FuseOptions::default() };
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

/// A writable mount of this write type.
fn writable(write: &str) -> Change {
    let Change::Mount { path, url, mut options, .. } = mount(KEY) else { unreachable!("a mount") };
    options.options.insert(MountOptions::WRITE_TYPE[0].to_owned(), write.to_owned());
    Change::Mount { path, url, read_only: false, options }
}

impl Jindo {
    /// Serves, with such a mount.
    fn writing(seed: u64, quota: u64, write: &'static str) -> Self {
        let jindo = Self::sized(seed, quota);
        jindo.until_it_serves();
        jindo.run_for(Duration::from_secs(10));
        jindo.fuse(move |fuse| async move {
            let client = fuse.client();
            client.change(writable(write), client.deadline()).await.answer().unwrap();
            fuse.readdir(NodeId::ROOT).await.unwrap();
        });
        jindo
    }

    /// Length of an object and whether its bytes are those that were written as `name`.
    fn object(&self, key: &str, name: &str) -> Option<(u64, bool)> {
        self.store.with_bucket("data", |bucket| {
            let object = bucket.get(key)?;
            let bytes = object.bytes.range(0, object.length);
            Some((object.length, Content::of(name, 1).first_difference(0, &bytes).is_none()))
        })
    }

    fn keys(&self) -> Vec<String> {
        self.store.with_bucket("data", |bucket| bucket.iter().map(|(key, _)| key.to_owned()).collect())
    }
}

/// Writes a file of its own content; the answer of closing it.
async fn put(fuse: &Fuse, name: &str, length: usize) -> Result<(), Errno> {
    let (_, open) = fuse.create(NodeId::ROOT, name).await?;
    let bytes = Content::of(name, 1).bytes(0, length);
    for (at, piece) in bytes.chunks(100_000).enumerate() {
        fuse.write(open.handle, at as u64 * 100_000, piece).await?;
    }
    let closed = fuse.flush(open.handle).await;
    let _ = fuse.release(open.handle).await;
    closed
}

async fn get(fuse: &Fuse, path: &str, length: usize) -> Result<bytes::Bytes, Errno> {
    let open = fuse.open(fuse.node(path)?, libc::O_RDONLY).await?;
    fuse.read(open.handle, 0, length as u64).await
}

#[test]
fn asynchronous_writes_reach_the_bucket_after_the_close() {
    let jindo = Jindo::writing(11, 64 << 20, "ASYNC_THROUGH");
    jindo.store.set_faults(S3Faults { errors: Ratio { num: 1, den: 1 }, ..S3Faults::default() });
    let closed = jindo.fuse(|fuse| async move { put(&fuse, "new", 2_500_000).await });
    assert_eq!((closed, jindo.object("d/new", "new")), (Ok(()), None), "the store is away");
    jindo.run_for(Duration::from_secs(20));
    jindo.store.set_faults(S3Faults::default());
    jindo.run_for(Duration::from_secs(60));
    assert_eq!(jindo.object("d/new", "new"), Some((2_500_000, true)));
    assert_eq!(jindo.keys(), ["d/a.bin", "d/new", "d/sub/b.bin"], "nothing is left of the temporary file");
    let info = jindo.fuse(|fuse| async move { fuse.client().stat("/new", fuse.client().deadline()).await.unwrap() });
    assert_eq!(info.ufs.unwrap().url, "oss://data/d/new");
}

#[test]
fn synchronous_writes_are_in_the_bucket_when_they_are_closed() {
    for (write, write_type) in [("CACHE_THROUGH", WriteType::CacheThrough), ("THROUGH", WriteType::Through)] {
        let jindo = Jindo::writing(12, 64 << 20, write);
        let store = jindo.store.clone();
        let there = jindo.fuse_with(write_type, move |fuse| async move {
            put(&fuse, "new", 1_500_000).await.unwrap();
            store.with_bucket("data", |bucket| bucket.get("d/new").map(|object| object.length))
        });
        assert_eq!((there, jindo.object("d/new", "new")), (Some(1_500_000), Some((1_500_000, true))));
        jindo.run_for(Duration::from_secs(20));
        let before = jindo.store.counters().object_bytes;
        let bytes = jindo.fuse(|fuse| async move { get(&fuse, "/new", 1_500_000).await.unwrap() });
        assert_eq!((bytes.len(), Content::of("new", 1).first_difference(0, &bytes)), (1_500_000, None));
        let read = jindo.store.counters().object_bytes - before;
        assert_eq!(read, if write_type == WriteType::Through { 1_500_000 } else { 0 }, "{write}");
    }
}

#[test]
fn what_must_be_cached_never_reaches_the_bucket() {
    let jindo = Jindo::writing(13, 64 << 20, "MUST_CACHE");
    jindo.fuse_with(WriteType::CacheThrough, |fuse| async move { put(&fuse, "new", 100_000).await.unwrap() });
    jindo.run_for(Duration::from_secs(60));
    assert_eq!(jindo.keys(), ["d/a.bin", "d/sub/b.bin"]);
}

#[test]
fn removing_and_renaming_go_through() {
    let jindo = Jindo::writing(14, 64 << 20, "ASYNC_THROUGH");
    jindo.fuse(|fuse| async move { put(&fuse, "one", 10_000).await.unwrap() });
    jindo.run_for(Duration::from_secs(10));
    jindo.fuse(|fuse| async move {
        let root = NodeId::ROOT;
        fuse.rename((root, "one"), (root, "two")).await.unwrap();
        // Not in the bucket yet, and removed or renamed before it is.
        put(&fuse, "gone", 10_000).await.unwrap();
        fuse.unlink(root, "gone").await.unwrap();
        put(&fuse, "early", 10_000).await.unwrap();
        fuse.rename((root, "early"), (root, "late")).await.unwrap();
        fuse.rename((root, "sub"), (root, "moved")).await.unwrap();
        assert_eq!(get(&fuse, "/two", 10_000).await.unwrap().len(), 10_000);
        let moved = fuse.node("/moved").unwrap();
        assert_eq!(fuse.readdir(moved).await.unwrap().len(), 1);
        assert_eq!(get(&fuse, "/moved/b.bin", 70_000).await.unwrap().len(), 70_000);
    });
    jindo.run_for(Duration::from_secs(20));
    assert_eq!(jindo.keys(), ["d/a.bin", "d/late", "d/moved/b.bin", "d/two"]);
    assert_eq!(
        (jindo.object("d/two", "one"), jindo.object("d/late", "early")),
        (Some((10_000, true)), Some((10_000, true)))
    );
    jindo.fuse(|fuse| async move {
        let moved = fuse.node("/moved").unwrap();
        assert_eq!(fuse.rmdir(NodeId::ROOT, "moved").await, Err(Errno::ENOTEMPTY));
        fuse.unlink(moved, "b.bin").await.unwrap();
        fuse.rmdir(NodeId::ROOT, "moved").await.unwrap();
        fuse.unlink(NodeId::ROOT, "a.bin").await.unwrap();
    });
    assert_eq!(jindo.keys(), ["d/late", "d/two"]);
}

#[test]
fn a_master_that_starts_again_goes_on_with_what_is_not_persisted() {
    let mut jindo = Jindo::writing(15, 64 << 20, "ASYNC_THROUGH");
    jindo.store.set_faults(S3Faults { throttle: Ratio { num: 1, den: 1 }, ..S3Faults::default() });
    jindo.fuse(|fuse| async move { put(&fuse, "new", 2_500_000).await.unwrap() });
    jindo.restart_master(|_| ());
    jindo.until_it_serves();
    jindo.store.set_faults(S3Faults::default());
    jindo.run_for(Duration::from_secs(60));
    assert_eq!(jindo.object("d/new", "new"), Some((2_500_000, true)));
}

/// Two files that do not fit together, one after the other and none of them persisted: what becomes of the first one.
fn crowded(seed: u64) -> (Result<(), Errno>, Result<usize, Errno>) {
    let jindo = Jindo::writing(seed, 4 << 20, "ASYNC_THROUGH");
    jindo.store.set_faults(S3Faults { errors: Ratio { num: 1, den: 1 }, ..S3Faults::default() });
    jindo.fuse(|fuse| async move {
        put(&fuse, "first", 2 << 20).await.unwrap();
        let second = put(&fuse, "second", 3 << 20).await;
        (second, get(&fuse, "/first", 2 << 20).await.map(|bytes| bytes.len()))
    })
}

#[test]
fn what_is_not_persisted_is_not_evicted() {
    assert_eq!(crowded(16), (Err(Errno::ENOSPC), Ok(2 << 20)));
}

#[test]
fn planted_a_pin_that_comes_late_loses_what_was_acknowledged() {
    let _bug = plant(&[Bug::LatePin]).unwrap();
    assert_eq!(crowded(16), (Ok(()), Err(Errno::EIO)));
}
