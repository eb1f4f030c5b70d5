//! Object stores against the S3 server, both inside a world.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use stormglass::base::{Content, HostId, Secret, Seed, lock};
use stormglass::rt::interpose;
use stormglass::stack::ufs::{Stores, UfsError, UnderStore, WebOptions};
use stormglass::stack::wire::{MountInfo, MountOptions};
use stormglass::world::engine::Clock;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use stormglass::world::s3::{Bucket, S3Faults, S3Server};
use stormglass::world::web::Ratio;

const ID: &str = "AN-ACCESS-KEY-ID";
const KEY: &str = "a-secret-access-key";

struct Bench {
    lab: Lab,
    server: Arc<S3Server>,
    client: HostId,
}

fn bench(seed: u64) -> Bench {
    let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
    let store = lab.world.add_host("store", [10, 0, 0, 9].into());
    let client = lab.world.add_host("client", [10, 0, 0, 1].into());
    let mut bucket = Bucket::default();
    for (key, length) in
        [("d/CHANGES.md", 112_000), ("d/a b+%c", 3_000_017), ("d/empty", 0), ("d/sub/deep", 5), ("x", 1)]
    {
        bucket.seed("data", key, length, 1_618_864_380);
    }
    let buckets = BTreeMap::from([("data".to_owned(), bucket)]);
    let server = S3Server::new(buckets, BTreeMap::from([(ID.to_owned(), Secret::new(KEY))]));
    let program = server.clone().run(vec![SocketAddr::from(([10, 0, 0, 9], 80))]);
    lab.world.start(store, "s3", Box::pin(async move { program.await.unwrap() })).unwrap();
    Bench { lab, server, client }
}

/// A mount of the bucket's directory with this key.
fn mount(key: &str) -> MountInfo {
    let secrets = [("fs.oss.accessKeyId", ID), ("fs.oss.accessKeySecret", key)];
    let options = MountOptions {
        options: BTreeMap::from([("fs.oss.endpoint".to_owned(), "store".to_owned())]),
        secrets: secrets.map(|(name, value)| (name.to_owned(), Secret::new(value))).into(),
    };
    MountInfo { path: "/".into(), url: "oss://data/d".into(), read_only: false, options }
}

impl Bench {
    /// Runs a client program to its end and gives its result.
    fn client<T, F, Fut>(&self, key: &str, f: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(Stores) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let result = Arc::new(Mutex::new(None));
        let (out, mount) = (result.clone(), mount(key));
        let program = async move {
            let store = Stores::new(WebOptions::default());
            store.learn(&[mount]);
            let got = f(store).await;
            *lock(&out) = Some(got);
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        let end = self.lab.world.world_now() + Duration::from_secs(600);
        self.lab.world.run_until(end);
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
        lock(&result).take().expect("the client came to an end")
    }
}

#[test]
fn a_bucket_lists_and_reads_as_a_file_tree() {
    let bench = bench(1);
    interpose::begin(Seed(1));
    let entries = bench.client(KEY, |store: Stores| async move {
        let entries = store.list("oss://data/d").await.unwrap();
        assert_eq!(store.list("oss://data/d/").await.as_ref(), Ok(&entries));
        assert_eq!(store.list("oss://data/d/sub/").await.unwrap().len(), 1);
        let file = entries[0].clone();
        assert_eq!(store.stat("oss://data/d/CHANGES.md").await, Ok(file));
        let big = entries[1].clone();
        for (offset, length) in [(0, 1), (65_535, 3), (0, 3_000_017), (2_999_000, 1_017), (3_000_017, 0)] {
            let bytes = store.read("oss://data/d/a b+%c", &big.fingerprint, offset, length).await.unwrap();
            let content = Content::of("/data/d/a b+%c", 1);
            assert_eq!((bytes.len() as u64, content.first_difference(offset, &bytes)), (length, None));
        }
        let nothing = store.stat("oss://data/d/nothing").await;
        assert!(matches!(nothing, Err(UfsError::NotFound(_))), "{nothing:?}");
        let outside = store.stat("oss://data/x").await;
        assert!(matches!(outside, Err(UfsError::Refused { .. })), "{outside:?}");
        entries
    });
    let escapes = interpose::end();
    let rows: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.dir, e.length)).collect();
    let want = [("CHANGES.md", false, 112_000), ("a b+%c", false, 3_000_017), ("empty", false, 0), ("sub", true, 0)];
    assert_eq!(rows, want);
    assert!(entries.iter().all(|e| e.dir == e.fingerprint.is_empty()));
    assert_eq!(escapes.1, 0, "nobody asked the operating system for the time");
}

#[test]
fn a_wrong_key_is_refused_and_shown_to_nobody() {
    let bench = bench(2);
    let error =
        bench.client("another-key", |store: Stores| async move { store.list("oss://data/d").await.unwrap_err() });
    let said = format!("{error} {error:?}");
    assert!(matches!(error, UfsError::Refused { .. }) && said.contains("SignatureDoesNotMatch"), "{said}");
    assert!(!said.contains("another-key") && !said.contains(ID), "{said}");
    assert_eq!(bench.server.counters().refused, 1, "and is not tried again");
}

#[test]
fn a_clock_far_off_is_refused() {
    let bench = bench(3);
    bench.lab.world.set_clock(bench.client, Clock { offset_ns: 1000 * 1_000_000_000, ..Clock::default() });
    let error = bench.client(KEY, |store: Stores| async move { store.list("oss://data/d").await.unwrap_err() });
    assert!(error.to_string().contains("RequestTimeTooSkewed"), "{error}");
}

#[test]
fn what_is_written_is_read_back_and_renamed_and_removed() {
    let bench = bench(4);
    let big = Content::of("/written", 1).bytes(0, 20_000_000);
    let written = Bytes::from(big);
    let sent = written.clone();
    bench.client(KEY, move |store: Stores| async move {
        for (name, bytes) in [("small", sent.slice(..1000)), ("big", sent.clone()), ("none", Bytes::new())] {
            let url = format!("oss://data/d/new/{name}");
            let mut writer = store.create(&url).await.unwrap();
            for piece in bytes.chunks(3_000_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            assert!(matches!(store.stat(&url).await, Err(UfsError::NotFound(_))), "not before it is closed");
            let entry = writer.close().await.unwrap();
            assert_eq!((entry.name.as_str(), entry.length), (name, bytes.len() as u64));
            assert_eq!(store.read(&url, &entry.fingerprint, 0, entry.length).await, Ok(bytes));
        }
        store.rename("oss://data/d/new/big", "oss://data/d/CHANGES.md", false).await.unwrap();
        assert_eq!(store.stat("oss://data/d/CHANGES.md").await.unwrap().length, 20_000_000);
        store.rename("oss://data/d/new/", "oss://data/d/moved/", true).await.unwrap();
        let names =
            |entries: Vec<stormglass::stack::ufs::UfsEntry>| entries.into_iter().map(|e| e.name).collect::<Vec<_>>();
        assert_eq!(names(store.list("oss://data/d/new/").await.unwrap()), [""; 0]);
        assert_eq!(names(store.list("oss://data/d/moved/").await.unwrap()), ["none", "small"]);
        store.delete("oss://data/d/moved/", true).await.unwrap();
        store.delete("oss://data/d/sub/deep", false).await.unwrap();
        store.delete("oss://data/d/sub/deep", false).await.unwrap();
        assert_eq!(names(store.list("oss://data/d").await.unwrap()), ["CHANGES.md", "a b+%c", "empty"]);
    });
    bench.server.with_bucket("data", |bucket| {
        let object = bucket.get("d/CHANGES.md").unwrap();
        assert_eq!(object.bytes.range(0, object.length), written);
        assert_eq!(bucket.uploads(), 0);
        assert!(bucket.get("x").is_some(), "what lies beside the mount is untouched");
    });
}

#[test]
fn a_long_listing_comes_in_pages() {
    let bench = bench(5);
    bench.server.with_bucket("data", |bucket| {
        (0..2500).for_each(|n| bucket.seed("data", &format!("d/many/{n:05}"), 1, 0));
    });
    let got = bench.client(KEY, |store: Stores| async move { store.list("oss://data/d/many").await.unwrap() });
    assert_eq!(got.len(), 2500);
    assert!(got.is_sorted_by_key(|entry| entry.name.clone()));
    assert_eq!(bench.server.counters().listings, 3);
}

#[test]
fn faults_are_survived_and_counted() {
    let bench = bench(6);
    let odds = Ratio { num: 1, den: 8 };
    bench.server.set_faults(S3Faults { errors: odds, throttle: odds, truncate: odds, ..S3Faults::default() });
    bench.client(KEY, |store: Stores| async move {
        let entry = store.stat("oss://data/d/a b+%c").await.unwrap();
        for piece in 0..30 {
            let bytes = store.read("oss://data/d/a b+%c", &entry.fingerprint, piece * 100_000, 100_000).await.unwrap();
            assert_eq!(Content::of("/data/d/a b+%c", 1).first_difference(piece * 100_000, &bytes), None);
        }
    });
    let counters = bench.server.counters();
    assert!(counters.errors > 0 && counters.throttled > 0 && counters.truncated > 0, "{counters:?}");

    bench.server.set_faults(S3Faults { stale_listing: true, ..S3Faults::default() });
    let (stale, lost) = bench.client(KEY, |store: Stores| async move {
        store.delete("oss://data/d/empty", false).await.unwrap();
        let stale = store.list("oss://data/d").await.unwrap();
        (stale, store.stat("oss://data/d/empty").await)
    });
    assert_eq!((stale.len(), bench.server.counters().stale), (4, 1));
    assert!(matches!(lost, Err(UfsError::NotFound(_))));

    bench.server.set_faults(S3Faults { lose_answer: Ratio { num: 1, den: 4 }, ..S3Faults::default() });
    bench.client(KEY, |store: Stores| async move {
        for n in 0..16 {
            store.delete(&format!("oss://data/d/none-{n}"), false).await.unwrap();
        }
    });
    assert!(bench.server.counters().lost_answers > 0);
}

#[test]
fn a_file_that_is_replaced_is_another_version() {
    let bench = bench(7);
    let entry = bench.client(KEY, |store: Stores| async move { store.stat("oss://data/d/CHANGES.md").await.unwrap() });
    bench.server.with_bucket("data", |bucket| bucket.seed("data", "d/CHANGES.md", 112_000, 1_618_864_380));
    let read = bench.client(KEY, move |store: Stores| async move {
        store.read("oss://data/d/CHANGES.md", &entry.fingerprint, 0, 100).await
    });
    assert!(matches!(read, Err(UfsError::Changed(_))), "{read:?}");
}
