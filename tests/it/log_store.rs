//! The Raft log store: openraft's own storage suite, and what is acknowledged survives the loss of power.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use openraft::RaftLogReader;
use openraft::StorageError;
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::testing::{blank_ent, log_id};
use openraft::vote::RaftLeaderIdExt as _;
use stormglass::base::{HostId, Seed, SimTime, lock};
use stormglass::rt::chan::oneshot;
use stormglass::rt::time::{Duration, sleep};
use stormglass::stack::journal::JournalConfig;
use stormglass::stack::master::raft::{LogStore, Machine, SnapshotDir, TypeConfig};
use stormglass::stack::observe::Observer;
use stormglass::world::disk::{DiskConfig, DiskFault, DiskId, Odds, Pages};
use stormglass::world::engine::glass::Glass;
use stormglass::world::engine::{Stop, World};
use stormglass::world::lab::Lab;

type Vote = openraft::alias::VoteOf<TypeConfig>;

fn lab(seed: u64) -> (Lab<Glass>, HostId, DiskId) {
    let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
    let host = lab.world.add_host("master-0", [10, 0, 0, 1].into());
    let disk = lab.disks.add_disk(DiskConfig::default());
    lab.disks.mount(host, "/", disk).unwrap();
    (lab, host, disk)
}

fn run(lab: &Lab<Glass>, host: HostId, program: impl Future<Output = ()> + Send + 'static) {
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
        let snapshots = SnapshotDir::open(&format!("{dir}/snapshots")).await.unwrap();
        let (machine, _) = Machine::recover(Arc::new(snapshots), Arc::new(Observer::default()), 10).await.unwrap();
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
