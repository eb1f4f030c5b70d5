//! The Raft log store: openraft's own storage suite, and what is acknowledged survives the loss of power.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use openraft::StorageError;
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::testing::{blank_ent, log_id};
use openraft::{RaftLogReader as _, type_config::TypeConfigExt as _};
use stormglass::base::{HostId, Seed, lock};
use stormglass::rt::time::{Duration, sleep};
use stormglass::stack::journal::{JournalConfig, SnapshotStore};
use stormglass::stack::master::raft::{LogStore, Machine, TypeConfig};
use stormglass::stack::observe::Observer;
use stormglass::world::disk::{DiskConfig, DiskFault, DiskId, Odds, Pages};
use stormglass::world::engine::Stop;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

type Vote = openraft::alias::VoteOf<TypeConfig>;

const DIR: &str = "/master/journal";

fn lab(seed: u64) -> (Lab, HostId, DiskId) {
    let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
    let host = lab.world.add_host("master-0", [10, 0, 0, 1].into());
    let disk = lab.disks.add_disk(DiskConfig::default());
    lab.disks.mount(host, "/", disk).unwrap();
    (lab, host, disk)
}

fn run(lab: &Lab, host: HostId, program: impl Future<Output = ()> + Send + 'static) {
    lab.world.start(host, "test", Box::pin(program)).unwrap();
    let until = lab.world.world_now() + Duration::from_secs(600);
    assert_ne!(lab.world.run_until(until), Stop::Livelock);
    assert_eq!(lab.world.panics(), []);
}

/// A store in a directory of its own each time.
struct Builder(AtomicU64);

impl StoreBuilder<TypeConfig, LogStore, Machine, ()> for Builder {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<TypeConfig>> {
        let dir = format!("/master/{}", self.0.fetch_add(1, Ordering::Relaxed));
        // Small segments, so that the suite crosses their borders.
        let (log, _) = LogStore::open(&format!("{dir}/journal"), JournalConfig { segment_bytes: 300 }).await.unwrap();
        let snapshots = SnapshotStore::open(&format!("{dir}/snapshots"), 1).await.unwrap();
        let (machine, _) = Machine::recover(snapshots, Arc::new(Observer::default()), 10).await.unwrap();
        Ok(((), log, machine))
    }
}

#[test]
fn openrafts_suite_passes() {
    let (lab, host, _) = lab(1);
    let passed = Arc::new(Mutex::new(false));
    let done = passed.clone();
    run(&lab, host, async move {
        Suite::test_all(Builder(AtomicU64::new(0))).await.unwrap();
        *lock(&done) = true;
    });
    assert!(*lock(&passed), "the suite did not end");
}

fn flushed() -> (IOFlushed<TypeConfig>, impl Future<Output = bool> + Send) {
    let (tell, told) = TypeConfig::oneshot();
    (IOFlushed::signal(tell), async move { matches!(told.await, Ok(Ok(()))) })
}

/// Appends, votes, truncates and purges by chance until it is stopped; keeps what was acknowledged.
async fn churn(acked: Arc<Mutex<Acked>>) {
    let mut chance = stormglass::rt::chance::stream("churn");
    let (mut log, _) = LogStore::open(DIR, JournalConfig { segment_bytes: 4000 }).await.unwrap();
    let (mut next, mut term) = (0, 1);
    loop {
        let n = chance.range(1..=4);
        let entries: Vec<_> = (next..next + n).map(|index| blank_ent::<TypeConfig>(term, 0, index)).collect();
        next += n;
        let (callback, done) = flushed();
        log.append(entries, callback).await.unwrap();
        if chance.ratio(2, 3) {
            // Others gather behind it.
            continue;
        }
        assert!(done.await);
        lock(&acked).last = Some((term, next - 1));
        match chance.below(6) {
            0 => {
                term += 1;
                log.save_vote(&Vote::new(term, 0)).await.unwrap();
                lock(&acked).vote = term;
            }
            1 if next > 4 => {
                next -= 2;
                // From here on the end may be either until the next append is acknowledged.
                lock(&acked).last = None;
                let term = term_of(&mut log, next - 1).await;
                log.truncate_after(Some(log_id::<TypeConfig>(term, 0, next - 1))).await.unwrap();
            }
            2 if next > 20 => {
                let upto = next - 15;
                let term = term_of(&mut log, upto).await;
                if term > 0 {
                    log.purge(log_id::<TypeConfig>(term, 0, upto)).await.unwrap();
                }
            }
            3 => sleep(Duration::from_micros(chance.below(900))).await,
            _ => log.save_committed(None).await.unwrap(),
        }
    }
}

async fn term_of(log: &mut LogStore, index: u64) -> u64 {
    let mut reader = log.get_log_reader().await;
    let found = reader.try_get_log_entries(index..=index).await.unwrap();
    found.first().map_or(0, |entry| entry.log_id().committed_leader_id().term)
}

#[derive(Default, Clone, Copy)]
struct Acked {
    /// Term and index of an acknowledged entry that nothing asked to drop since.
    last: Option<(u64, u64)>,
    vote: u64,
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power() {
    for seed in 0..40 {
        let (lab, host, _) = lab(seed);
        let acked = Arc::new(Mutex::new(Acked::default()));
        let mut chance = Seed(seed).stream("stop", 0);
        lab.world.start(host, "churn", Box::pin(churn(acked.clone()))).unwrap();
        lab.world.run_until(lab.world.world_now() + Duration::from_micros(chance.range(2_000..=60_000)));
        assert_eq!(lab.world.panics(), [], "seed {seed}");
        lab.power_loss(host);
        lab.world.power_on(host);
        run(&lab, host, async move {
            let (mut log, _) = LogStore::open(DIR, JournalConfig { segment_bytes: 4000 }).await.unwrap();
            let state = log.get_log_state().await.unwrap();
            let mut reader = log.get_log_reader().await;
            let entries = reader.try_get_log_entries(..).await.unwrap();
            let Acked { last, vote } = *lock(&acked);
            assert_eq!(entries.last().map(|entry| entry.log_id()), state.last_log_id.filter(|_| !entries.is_empty()));
            let indexes: Vec<u64> = entries.iter().map(|entry| entry.log_id().index).collect();
            assert!(indexes.windows(2).all(|pair| pair[0] + 1 == pair[1]), "seed {seed}: a hole in {indexes:?}");
            if let Some((term, index)) = last {
                assert_eq!(term_of(&mut log, index).await, term, "seed {seed}: {index} is gone");
            }
            let found = reader.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id().term);
            assert!(found >= vote, "seed {seed}: the vote went back from {vote} to {found}");
        });
    }
}

#[test]
fn appends_that_wait_share_one_sync() {
    let (lab, host, _) = lab(1);
    let taken = Arc::new(Mutex::new(Duration::ZERO));
    let time = taken.clone();
    run(&lab, host, async move {
        let (mut log, _) = LogStore::open(DIR, JournalConfig::default()).await.unwrap();
        let start = stormglass::rt::time::Instant::now();
        let mut waiting = Vec::new();
        for index in 0..100 {
            let (callback, done) = flushed();
            log.append([blank_ent::<TypeConfig>(1, 0, index)], callback).await.unwrap();
            waiting.push(done);
            let mut reader = log.get_log_reader().await;
            assert_eq!(reader.try_get_log_entries(0..).await.unwrap().len() as u64, index + 1, "readable at once");
        }
        for done in waiting {
            assert!(done.await);
        }
        *lock(&time) = start.elapsed();
    });
    // A sync of the default disk takes 0.3 ms: one for what was first, one for all the others.
    let taken = *lock(&taken);
    assert!(taken < Duration::from_millis(1), "{taken:?}");
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let (lab, host, disk) = lab(1);
    let (ready, results) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (tell, given) = (ready.clone(), results.clone());
    let program = async move {
        let (mut log, _) = LogStore::open(DIR, JournalConfig::default()).await.unwrap();
        *lock(&tell) = true;
        sleep(Duration::from_secs(1)).await;
        let (callback, done) = flushed();
        log.append([blank_ent::<TypeConfig>(1, 0, 0)], callback).await.unwrap();
        let first = done.await;
        let vote = log.save_vote(&Vote::new(7, 0)).await.is_ok();
        let (callback, _done) = flushed();
        let second = log.append([blank_ent::<TypeConfig>(1, 0, 1)], callback).await.is_ok();
        lock(&given).extend([first, vote, second]);
    };
    lab.world.start(host, "log", Box::pin(program)).unwrap();
    lab.world.run_until(lab.world.world_now() + Duration::from_millis(500));
    assert!(*lock(&ready));
    let fault = DiskFault::SyncError { under: DIR.into(), odds: Odds::ONCE, pages: Pages::Lost };
    let fault = lab.disks.inject(disk, fault).unwrap();
    lab.world.run_until(lab.world.world_now() + Duration::from_secs(5));
    assert_eq!((lab.disks.hits(fault), lock(&results).as_slice()), (1, &[false, false, false][..]));
}
