//! The web under-store against the mirror, both inside a world.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stormglass::base::{Content, HostId, Seed, SimTime, lock};
use stormglass::rt::time::sleep;
use stormglass::stack::ufs::retry::RetryPolicy;
use stormglass::stack::ufs::{UfsError, UnderStore, WebOptions, WebStore};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use stormglass::world::web::{Ratio, WebFaults, WebServer, WebTree};

const DIR: &str = "/apache/hbase/stable";
const URL: &str = "https://mirror/apache/hbase/stable/";

struct Bench {
    lab: Lab,
    server: Arc<WebServer>,
    mirror: HostId,
    client: HostId,
}

fn small_tree() -> WebTree {
    let mut tree = WebTree::listing(DIR, [("CHANGES.md", 112_000), ("a b & c.gz", 3_000_017), ("empty", 0)]);
    tree.put(&format!("{DIR}/sub/deep.txt"), 5);
    tree
}

fn bench(seed: u64, tree: WebTree) -> Bench {
    let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
    let mirror = lab.world.add_host("mirror", [10, 0, 0, 9].into());
    let client = lab.world.add_host("client", [10, 0, 0, 1].into());
    let server = WebServer::new(tree);
    let addrs = [80, 443].map(|port| SocketAddr::from(([10, 0, 0, 9], port)));
    let program = server.clone().run(addrs.to_vec());
    lab.world.start(mirror, "httpd", Box::pin(async move { program.await.unwrap() })).unwrap();
    Bench { lab, server, mirror, client }
}

impl Bench {
    /// Runs a client program to its end and gives its result.
    fn client<T: Send + 'static>(&self, options: WebOptions, f: impl AsyncClient<T>) -> T {
        let result = Arc::new(Mutex::new(None));
        let out = result.clone();
        let program = async move {
            let got = f.run(WebStore::new(options)).await;
            *lock(&out) = Some(got);
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        let end = self.lab.world.world_now() + Duration::from_secs(600);
        self.lab.world.run_until(end);
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
        lock(&result).take().expect("the client came to an end")
    }
}

trait AsyncClient<T>: Send + 'static {
    fn run(self, store: WebStore) -> impl Future<Output = T> + Send;
}

impl<T, F, Fut> AsyncClient<T> for F
where
    F: FnOnce(WebStore) -> Fut + Send + 'static,
    Fut: Future<Output = T> + Send,
{
    fn run(self, store: WebStore) -> impl Future<Output = T> + Send {
        self(store)
    }
}

fn plain() -> WebOptions {
    WebOptions { plain_https: true, ..WebOptions::default() }
}

#[test]
fn a_mirror_lists_and_reads_as_a_file_tree() {
    let bench = bench(1, small_tree());
    let (entries, sub) = bench.client(plain(), |store: WebStore| async move {
        (store.list(URL).await.unwrap(), store.list(&format!("{URL}sub")).await.unwrap())
    });
    let rows: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.dir, e.length)).collect();
    let want =
        [("CHANGES.md", false, 112_000), ("a b & c.gz", false, 3_000_017), ("empty", false, 0), ("sub", true, 0)];
    assert_eq!(rows, want);
    assert_eq!(sub.len(), 1);
    assert!(entries.iter().all(|e| e.dir == e.fingerprint.is_empty()));

    let file = entries[1].clone();
    bench.client(plain(), move |store: WebStore| async move {
        let url = format!("{URL}a%20b%20%26%20c.gz");
        assert_eq!(store.stat(&url).await.as_ref(), Ok(&file));
        let content = Content::of(&format!("{DIR}/a b & c.gz"), 1);
        for (offset, length) in [(0, 1), (65_535, 3), (0, 3_000_017), (2_999_000, 1_017), (3_000_017, 0)] {
            let bytes = store.read(&url, &file.fingerprint, offset, length).await.unwrap();
            assert_eq!((bytes.len() as u64, content.first_difference(offset, &bytes)), (length, None));
        }
        let beyond = store.read(&url, &file.fingerprint, 3_000_000, 18).await;
        assert!(matches!(beyond, Err(UfsError::Malformed { .. } | UfsError::Changed(_))), "{beyond:?}");
        assert_eq!(store.stat(&format!("{URL}nothing")).await, Err(UfsError::NotFound(format!("{URL}nothing"))));
        assert!(matches!(store.list(&format!("{URL}nothing/")).await, Err(UfsError::NotFound(_))));
        assert!(matches!(store.list("s3://bucket/").await, Err(UfsError::Unsupported(_))));
    });
}

#[test]
fn without_the_models_leave_https_is_refused_with_the_reason() {
    let bench = bench(1, small_tree());
    let refused = bench.client(WebOptions::default(), |store: WebStore| async move {
        (store.list(URL).await.unwrap_err(), store.stat(&format!("{URL}empty")).await.unwrap_err())
    });
    for error in [refused.0, refused.1] {
        assert!(matches!(&error, UfsError::Unsupported(why) if why.contains("live https")), "{error:?}");
    }
    let http = bench.client(WebOptions::default(), |store: WebStore| async move {
        store.list("http://mirror/apache/hbase/stable/").await
    });
    assert_eq!(http.map(|e| e.len()), Ok(4));
}

/// A file is replaced again and again while it is read in pieces: every piece is of the version asked for, or an error.
#[test]
fn a_changing_file_is_never_a_mixture() {
    for (seed, etags) in [(1, true), (2, false), (3, true)] {
        let bench = bench(seed, small_tree());
        bench.server.set_etags(etags);
        let path = format!("{DIR}/CHANGES.md");
        let server = bench.server.clone();
        let changed = path.clone();
        let changes = async move {
            for round in 0..40u64 {
                sleep(Duration::from_millis(25)).await;
                server.with_tree(|tree| tree.put(&changed, 112_000 - round % 2));
            }
        };
        bench.lab.world.start(bench.mirror, "editor", Box::pin(changes)).unwrap();
        let server = bench.server.clone();
        let (reads, refused) = bench.client(plain(), move |store: WebStore| async move {
            let url = format!("{URL}CHANGES.md");
            let (mut reads, mut refused) = (0, 0);
            for _ in 0..30 {
                let before = server.with_tree(|tree| tree.file(&path).unwrap());
                let entry = store.stat(&url).await.unwrap();
                let after = server.with_tree(|tree| tree.file(&path).unwrap());
                for offset in (0..100_000).step_by(20_000) {
                    match store.read(&url, &entry.fingerprint, offset, 10_000).await {
                        Ok(bytes) => {
                            let legal = (before.version..=after.version)
                                .any(|v| Content::of(&path, v).first_difference(offset, &bytes).is_none());
                            assert!(legal, "bytes of a version that the fingerprint does not name");
                            reads += 1;
                        }
                        Err(UfsError::Changed(_)) => refused += 1,
                        Err(other) => panic!("{other}"),
                    }
                    sleep(Duration::from_millis(3)).await;
                }
            }
            (reads, refused)
        });
        assert!(reads > 20 && refused > 5, "etags {etags}: {reads} reads, {refused} refused");
    }
}

#[test]
fn a_sick_mirror_costs_time_but_no_bytes() {
    for seed in 1..=5 {
        let bench = bench(seed, small_tree());
        let third = Ratio { num: 1, den: 3 };
        bench.server.set_faults(WebFaults { unavailable: third, truncate: third, delay: Duration::from_millis(20) });
        let policy = RetryPolicy { tries: 50, total: Duration::from_secs(120), ..RetryPolicy::default() };
        bench.client(WebOptions { plain_https: true, retry: policy }, |store: WebStore| async move {
            assert_eq!(store.list(URL).await.unwrap().len(), 4);
            let url = format!("{URL}CHANGES.md");
            let entry = store.stat(&url).await.unwrap();
            let content = Content::of(&format!("{DIR}/CHANGES.md"), 1);
            for offset in (0..112_000).step_by(16_000) {
                let bytes = store.read(&url, &entry.fingerprint, offset, 16_000).await.unwrap();
                assert_eq!((bytes.len(), content.first_difference(offset, &bytes)), (16_000, None));
            }
        });
        let did = bench.server.counters();
        assert!(did.unavailable > 0 && did.truncated > 0 && did.delayed == did.requests, "{did:?}");
    }
}

#[test]
fn a_dead_mirror_is_an_error_within_the_budget() {
    let bench = bench(1, small_tree());
    bench.lab.world.power_loss(bench.mirror);
    let started = bench.lab.world.world_now();
    let (error, took) = bench.client(plain(), |store: WebStore| async move {
        let start = stormglass::rt::time::Instant::now();
        (store.list(URL).await.unwrap_err(), start.elapsed())
    });
    assert!(matches!(error, UfsError::Unavailable { .. }), "{error:?}");
    assert!(took <= Duration::from_secs(31), "{took:?}");
    assert_eq!(started, SimTime::ZERO);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let digest = |seed| {
        let bench = bench(seed, small_tree());
        bench.server.set_faults(WebFaults { unavailable: Ratio { num: 1, den: 4 }, ..WebFaults::default() });
        bench.client(plain(), |store: WebStore| async move {
            let _ = store.list(URL).await;
        });
        bench.lab.world.digest()
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}
