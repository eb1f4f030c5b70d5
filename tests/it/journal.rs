//! The journal against every legal crash state of the disk.
//!
//! A random series of commits runs while the world is stopped again and again, syncs under way included. From each stop,
//! the states that a power loss may leave are walked; from each, recovery must give exactly what was acknowledged, or
//! that and the batch under way, and must have made it durable.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use stormglass::base::{HostId, Seed, lock};
use stormglass::rt::time::{Duration, sleep};
use stormglass::stack::journal::{Batch, Journal, JournalConfig, JournalError, Slot, SnapshotMeta, SnapshotStore};
use stormglass::world::disk::{ByStream, DiskConfig, DiskFault, DiskId, FileSystem, Odds, Oldest, Pages, Timing};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const JOURNAL: &str = "/master/journal";
const SNAPSHOTS: &str = "/master/snapshots";
const VOTE: Slot = Slot(0);
/// Small, so that a few commits fill one.
const CONFIG: JournalConfig = JournalConfig { segment_bytes: 2000 };

#[derive(Debug, Clone)]
enum Op {
    /// Entries of these sizes.
    Append(Vec<usize>),
    /// Drop so many of the last entries, then append one.
    Replace(u64),
    /// Purge so many of the first entries (possibly beyond the end).
    Purge(u64),
    Vote,
    Snapshot(usize),
    /// Close and open again.
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => prop::collection::vec(prop_oneof![0usize..40, 300usize..1300], 1..4).prop_map(Op::Append),
        2 => (1u64..6).prop_map(Op::Replace),
        2 => (1u64..8).prop_map(Op::Purge),
        2 => Just(Op::Vote),
        1 => (0usize..1500).prop_map(Op::Snapshot),
        1 => Just(Op::Reopen),
    ]
}

/// What a reader of the disk must find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    first: u64,
    next: u64,
    /// Epoch, and how many bytes of what.
    entries: BTreeMap<u64, (u64, usize, u8)>,
    vote: u64,
    snapshot: Option<(u64, Vec<u8>)>,
}

impl Model {
    fn append(&mut self, batch: &mut Batch, size: usize) {
        let byte = 0x40 | (self.next as u8 & 0x3f);
        batch.append(self.next, self.vote, &vec![byte; size]);
        self.entries.insert(self.next, (self.vote, size, if size > 0 { byte } else { 0 }));
        self.next += 1;
    }

    /// The batch that `op` commits, and the state after it.
    fn batch(&mut self, op: &Op) -> Batch {
        let mut batch = Batch::new();
        match op {
            Op::Append(sizes) => sizes.iter().for_each(|size| self.append(&mut batch, *size)),
            Op::Replace(n) => {
                self.next = self.next.saturating_sub(*n).max(self.first);
                batch.truncate(self.next);
                self.entries.split_off(&self.next);
                self.append(&mut batch, 5);
            }
            Op::Purge(n) => {
                self.first += n;
                self.next = self.next.max(self.first);
                self.entries = self.entries.split_off(&self.first);
                batch.purge(self.first);
            }
            Op::Vote => {
                self.vote += 1;
                batch.put(VOTE, &self.vote.to_le_bytes());
            }
            Op::Snapshot(_) | Op::Reopen => {}
        }
        batch
    }
}

#[derive(Debug, Clone, Default)]
struct Progress {
    acked: Model,
    under_way: Option<Model>,
    done: bool,
}

type Shared = Arc<Mutex<Progress>>;

async fn drive(ops: Vec<Op>, progress: Shared) {
    let mut journal = Journal::open(JOURNAL, CONFIG).await.unwrap().0;
    let snapshots = SnapshotStore::open(SNAPSHOTS, 1).await.unwrap();
    for op in ops {
        let mut model = lock(&progress).acked.clone();
        let batch = model.batch(&op);
        if let Op::Snapshot(size) = op {
            model.snapshot = Some((model.first, vec![7; size]));
        }
        lock(&progress).under_way = Some(model.clone());
        match (op, &model.snapshot) {
            (Op::Snapshot(_), Some((index, data))) => {
                snapshots.save(SnapshotMeta { index: *index, epoch: 0 }, b"tag", data).await.unwrap();
            }
            (Op::Reopen, _) => {
                drop(journal);
                journal = Journal::open(JOURNAL, CONFIG).await.unwrap().0;
            }
            _ => journal.commit(&batch).await.unwrap(),
        }
        *lock(&progress) = Progress { acked: model, under_way: None, done: false };
    }
    lock(&progress).done = true;
}

/// What recovery finds.
async fn recover() -> Result<Model, JournalError> {
    let (journal, _) = Journal::open(JOURNAL, CONFIG).await?;
    let snapshots = SnapshotStore::open(SNAPSHOTS, 1).await?;
    let mut model = Model { first: journal.first_index(), next: journal.next_index(), ..Model::default() };
    model.vote = journal.slot(VOTE).map_or(0, |vote| u64::from_le_bytes(vote.try_into().unwrap()));
    for entry in journal.reader().read(0..u64::MAX, usize::MAX).await? {
        let byte = entry.payload.first().copied().unwrap_or_default();
        assert!(entry.payload.iter().all(|other| *other == byte), "a mixture of entries");
        model.entries.insert(entry.index, (entry.epoch, entry.payload.len(), byte));
    }
    model.snapshot = snapshots.newest().await?.map(|(meta, tag, data)| {
        assert_eq!(tag, b"tag");
        (meta.index, data)
    });
    Ok(model)
}

struct Bench {
    lab: Lab,
    host: HostId,
    disk: DiskId,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let host = lab.world.add_host("master-0", [10, 0, 0, 1].into());
        let timing = Timing { read: Duration::ZERO, sync: Duration::from_micros(100), bandwidth: 0 };
        let disk = lab.disks.add_disk(DiskConfig { timing, ..DiskConfig::default() });
        lab.disks.mount(host, "/", disk).unwrap();
        Self { lab, host, disk }
    }

    fn fs(&self) -> FileSystem {
        self.lab.disks.file_system(self.disk).unwrap()
    }

    /// Runs a program to its end and gives what it gave.
    fn run<T: Send + 'static>(&self, program: impl Future<Output = T> + Send + 'static) -> T {
        let given = Arc::new(Mutex::new(None));
        let place = given.clone();
        let body = async move { *lock(&place) = Some(program.await) };
        self.lab.world.start(self.host, "program", Box::pin(body)).unwrap();
        let until = self.lab.world.world_now() + Duration::from_secs(1);
        self.lab.world.run_until(until);
        assert_eq!(self.lab.world.panics(), []);
        lock(&given).take().unwrap()
    }

    fn recover_from(&self, state: &FileSystem) -> Result<Model, JournalError> {
        self.lab.disks.put_file_system(self.disk, state.clone()).unwrap();
        self.run(recover())
    }
}

/// Stops the world every 60 microseconds (a sync takes 100) and gives what the disk and the model are then.
fn stops(ops: Vec<Op>) -> Vec<(FileSystem, Progress)> {
    let bench = Bench::new(1);
    let progress = Shared::default();
    let process = bench.lab.world.start(bench.host, "journal", Box::pin(drive(ops, progress.clone()))).unwrap();
    let mut stops = Vec::new();
    while bench.lab.world.running(process) {
        bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_micros(60));
        stops.push((bench.fs(), lock(&progress).clone()));
    }
    assert_eq!(bench.lab.world.panics(), []);
    assert!(lock(&progress).done);
    stops
}

/// Recovers from one state; the result must be legal, durable, and open for more.
fn check(bench: &Bench, state: &FileSystem, progress: &Progress) -> Result<(), TestCaseError> {
    let found = bench.recover_from(state);
    let found = found.map_err(|error| TestCaseError::fail(format!("refused a legal crash state: {error}")))?;
    let legal = found == progress.acked || progress.under_way.as_ref() == Some(&found);
    // An open or a snapshot under way changes nothing or one thing.
    prop_assert!(legal, "found {found:?}\nwant {progress:?}");
    let mut again = bench.fs();
    again.crash(&mut Oldest);
    prop_assert_eq!(bench.recover_from(&again).ok(), Some(found.clone()), "what recovery gave was not durable");
    let more = bench.run(async move {
        let mut journal = Journal::open(JOURNAL, CONFIG).await.unwrap().0;
        let mut model = found;
        for _ in 0..3 {
            let batch = model.batch(&Op::Append(vec![900]));
            journal.commit(&batch).await.unwrap();
        }
        drop(journal);
        (recover().await.unwrap(), model)
    });
    prop_assert_eq!(&more.0, &more.1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_legal_crash_state_is_recovered(ops in prop::collection::vec(op(), 1..12), seed: u64) {
        let stops = stops(ops);
        let bench = Bench::new(seed);
        let mut chance = Seed(seed).stream("crash", 0);
        for (fs, progress) in &stops {
            for state in fs.crash_states(24) {
                check(&bench, &state, progress)?;
            }
            // The walk is depth first; chance reaches the rest of a large tree.
            for _ in 0..8 {
                let mut state = fs.clone();
                state.crash(&mut ByStream::new(&mut chance, 0, u64::MAX));
                check(&bench, &state, progress)?;
            }
            // A killed process: the page cache survives, and then the power goes.
            check(&bench, fs, progress)?;
        }
    }
}

fn entries(n: u64) -> Vec<Op> {
    (0..n).map(|_| Op::Append(vec![700])).collect()
}

/// A journal of several segments, synced, and its segments' paths.
fn several_segments(bench: &Bench) -> (Model, Vec<String>) {
    let progress = Shared::default();
    bench.run(drive(entries(8), progress.clone()));
    let mut files: Vec<String> = bench.fs().walk().into_keys().filter(|path| path.ends_with(".journal")).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    (lock(&progress).acked.clone(), files)
}

#[test]
fn rot_in_any_byte_is_refused_with_its_place() {
    let bench = Bench::new(1);
    let (_, files) = several_segments(&bench);
    let good = bench.fs();
    for file in &files {
        for offset in (0..good.contents(file).unwrap().len() as u64).step_by(97) {
            bench.lab.disks.put_file_system(bench.disk, good.clone()).unwrap();
            bench.lab.disks.rot(bench.disk, file, offset, 0x10).unwrap();
            match bench.run(recover()) {
                Err(JournalError::Corrupt { file: named, offset: at, .. }) => {
                    assert_eq!(&named, file);
                    assert!(at <= offset, "{at} {offset}");
                }
                other => panic!("rot at byte {offset} of {file}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_lost_segment_is_missed_wherever_it_was() {
    let bench = Bench::new(1);
    let (_, files) = several_segments(&bench);
    let good = bench.fs();
    for (i, file) in files.iter().enumerate() {
        bench.lab.disks.put_file_system(bench.disk, good.clone()).unwrap();
        bench.lab.disks.lose_entry(bench.disk, file).unwrap();
        let refused = bench.run(recover()).unwrap_err();
        assert!(matches!(refused, JournalError::Missing { segment, .. } if segment == i as u64 + 1), "{refused}");
    }
}

/// After a failed sync Linux shows pages that it will not write again. The journal must not go on, and what the next
/// recovery reads in those pages must be made durable before it is promised.
#[test]
fn a_failed_sync_is_never_taken_for_a_good_one() {
    for pages in [Pages::Lost, Pages::Dirty] {
        let bench = Bench::new(1);
        let progress = Shared::default();
        bench.run(drive(entries(2), progress.clone()));
        let odds = Odds { num: 1, den: 1, limit: 2 };
        let mut model = lock(&progress).acked.clone();
        let batch = model.batch(&Op::Append(vec![100]));
        let fault = DiskFault::SyncError { under: JOURNAL.into(), odds, pages };
        let fault = bench.lab.disks.inject(bench.disk, fault).unwrap();
        // The first sync that fails is recovery's own.
        let refused = bench.run(async { Journal::open(JOURNAL, CONFIG).await.map(|_| ()) });
        assert!(matches!(refused, Err(JournalError::Io { what: "sync", .. })), "{refused:?}");
        bench.lab.disks.clear(fault);
        let second = batch.clone();
        let (opened, go) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(false)));
        let (tell, wait) = (opened.clone(), go.clone());
        let results = Arc::new(Mutex::new(Vec::new()));
        let given = results.clone();
        let program = async move {
            let mut journal = Journal::open(JOURNAL, CONFIG).await.unwrap().0;
            *lock(&tell) = true;
            while !*lock(&wait) {
                sleep(Duration::from_millis(1)).await;
            }
            for batch in [batch, second] {
                let result = journal.commit(&batch).await;
                lock(&given).push(result);
            }
        };
        bench.lab.world.start(bench.host, "journal", Box::pin(program)).unwrap();
        let soon = |bench: &Bench| bench.lab.world.world_now() + Duration::from_millis(50);
        bench.lab.world.run_until(soon(&bench));
        assert!(*lock(&opened));
        let fault = DiskFault::SyncError { under: JOURNAL.into(), odds: Odds::ONCE, pages };
        let fault = bench.lab.disks.inject(bench.disk, fault).unwrap();
        *lock(&go) = true;
        bench.lab.world.run_until(soon(&bench));
        assert_eq!(bench.lab.disks.hits(fault), 1);
        let results = lock(&results);
        assert!(matches!(results[0], Err(JournalError::Io { what: "sync", .. })), "{results:?}");
        assert!(matches!(results[1], Err(JournalError::Failed(_))), "{results:?}");
        // The page cache still shows the batch; the next recovery may keep it if it makes it durable.
        let found = bench.run(recover()).unwrap();
        assert_eq!(found, model, "{pages:?}");
        let mut powerless = bench.fs();
        powerless.crash(&mut Oldest);
        assert_eq!(bench.recover_from(&powerless).unwrap(), model, "{pages:?}");
    }
}

#[test]
fn a_full_disk_fails_the_commit_and_costs_nothing_acknowledged() {
    let bench = Bench::new(1);
    let progress = Shared::default();
    bench.run(drive(entries(2), progress.clone()));
    let fault = bench.lab.disks.inject(bench.disk, DiskFault::Full { free: 500 }).unwrap();
    let mut model = lock(&progress).acked.clone();
    let batch = model.batch(&Op::Append(vec![900]));
    let refused = bench.run(async move {
        let mut journal = Journal::open(JOURNAL, CONFIG).await.unwrap().0;
        journal.commit(&batch).await
    });
    let full = |kind| kind == std::io::ErrorKind::StorageFull;
    assert!(matches!(&refused, Err(JournalError::Io { error, .. }) if full(error.kind)), "{refused:?}");
    assert!(bench.lab.disks.hits(fault) > 0);
    assert_eq!(bench.run(recover()).unwrap(), lock(&progress).acked);
    bench.lab.disks.clear_all();
    assert_eq!(bench.run(recover()).unwrap(), lock(&progress).acked);
}
