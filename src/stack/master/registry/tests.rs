//! The registry's rules one by one, and random histories against its check.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::base::Seed;
use crate::stack::wire::master::WorkerCommand::*;

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn address(n: u64) -> WorkerAddress {
    WorkerAddress(format!("worker-{n}:29999"))
}

fn block(n: u64) -> BlockId {
    BlockId(1 << 24 | n)
}

fn blocks(range: std::ops::Range<u64>) -> Vec<BlockId> {
    range.map(block).collect()
}

fn all(_: BlockId) -> Known {
    Known::Yes
}

/// A registry with `n` live workers, that hold nothing, at time 0.
fn with_workers(n: u64) -> (Registry, Vec<WorkerId>) {
    let mut registry = Registry::new(RegistryTimes::default());
    let mut chance = Seed(1).stream("worker-id", 0);
    let ids: Vec<_> = (0..n).map(|n| registry.worker_id(&address(n), Duration::ZERO, &mut chance)).collect();
    for id in &ids {
        assert_eq!(registry.register(*id, vec![], &[], Duration::ZERO, all), Nothing);
    }
    (registry, ids)
}

#[test]
fn an_address_keeps_its_id_until_the_leader_changes() {
    let (mut registry, ids) = with_workers(2);
    let mut chance = Seed(2).stream("worker-id", 0);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(registry.worker_id(&address(0), secs(1), &mut chance), ids[0]);
    registry.reset();
    assert_eq!(registry.check(), Ok(()));
    assert_ne!(registry.worker_id(&address(0), secs(1), &mut chance), ids[0]);
    assert!(registry.live().is_empty(), "an id alone does not live");
}

#[test]
fn strangers_are_asked_to_register() {
    let (mut registry, _) = with_workers(1);
    let mut chance = Seed(2).stream("worker-id", 0);
    let new = registry.worker_id(&address(7), secs(1), &mut chance);
    for id in [WorkerId(3), new] {
        assert_eq!(registry.heartbeat(id, vec![], (&blocks(0..1), &[]), secs(1), all), Register);
        assert!(matches!(registry.commit(id, block(0), Known::Yes), Err(FsError::Unknown(_))));
    }
    assert_eq!(registry.register(WorkerId(3), vec![], &blocks(0..1), secs(1), all), Register);
    assert_eq!(registry.locations(block(0)), []);
    assert_eq!(registry.check(), Ok(()));
}

#[test]
fn a_registration_replaces_and_heartbeats_change() {
    let (mut registry, ids) = with_workers(2);
    registry.register(ids[0], vec![], &blocks(0..3), secs(1), all);
    registry.register(ids[1], vec![], &blocks(2..4), secs(1), all);
    assert_eq!(registry.locations(block(2)), [address(0), address(1)]);
    registry.register(ids[0], vec![], &blocks(2..3), secs(2), all);
    assert_eq!(registry.locations(block(0)), []);
    registry.heartbeat(ids[1], vec![], (&blocks(5..6), &blocks(2..3)), secs(2), all);
    assert_eq!(registry.locations(block(2)), [address(0)]);
    assert_eq!(registry.locations(block(5)), [address(1)]);
    registry.heartbeat(ids[1], vec![], (&blocks(5..6), &blocks(5..6)), secs(3), all);
    assert_eq!(registry.locations(block(5)), [address(1)], "removed first, then added");
    assert_eq!(registry.commit(ids[0], block(9), Known::Yes), Ok(()));
    assert_eq!(registry.locations(block(9)), [address(0)]);
    assert_eq!(registry.check(), Ok(()));
}

#[test]
fn silence_loses_a_worker_and_long_silence_forgets_it() {
    let (mut registry, ids) = with_workers(2);
    registry.register(ids[0], vec![], &blocks(0..2), secs(0), all);
    registry.register(ids[1], vec![], &blocks(1..2), secs(0), all);
    for (at, lost) in [(0, vec![]), (300, vec![]), (305, vec![]), (309, vec![]), (310, vec![ids[0]]), (320, vec![])] {
        registry.heartbeat(ids[1], vec![], (&[], &[]), secs(at), all);
        assert_eq!(registry.detect(secs(at)), lost, "at {at} s");
    }
    let count = |registry: &Registry| (registry.live().len(), registry.lost().len());
    assert_eq!(count(&registry), (1, 1));
    assert_eq!((registry.locations(block(0)), registry.locations(block(1))), (vec![], vec![address(1)]));
    assert_eq!(registry.heartbeat(ids[0], vec![], (&[], &[]), secs(321), all), Register);
    assert_eq!(registry.register(ids[0], vec![], &blocks(0..1), secs(322), all), Nothing);
    assert_eq!((count(&registry), registry.locations(block(0))), ((2, 0), vec![address(0)]));
    assert_eq!(
        registry.detect(secs(1000)),
        ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    registry.detect(secs(1000 + 1800));
    assert_eq!(count(&registry), (0, 2));
    registry.detect(secs(1000 + 1811));
    assert_eq!((count(&registry), registry.address(ids[0])), ((0, 0), None));
    assert_eq!(registry.check(), Ok(()));
}

#[test]
fn garbage_is_freed_until_the_worker_says_so() {
    let (mut registry, ids) = with_workers(1);
    let knows = |b: BlockId| if b == block(1) { Known::No } else { Known::Yes };
    assert_eq!(registry.register(ids[0], vec![], &blocks(0..3), secs(1), knows), Free(blocks(1..2)));
    registry.free(&blocks(0..1));
    let beat = |registry: &mut Registry, added: &[BlockId], removed: &[BlockId]| {
        registry.heartbeat(ids[0], vec![], (added, removed), secs(2), knows)
    };
    assert_eq!(beat(&mut registry, &[], &[]), Free(blocks(0..2)), "the last answer may be lost");
    assert_eq!(beat(&mut registry, &[], &blocks(0..1)), Free(blocks(1..2)));
    assert_eq!(beat(&mut registry, &[], &blocks(1..2)), Nothing);
    assert_eq!(beat(&mut registry, &blocks(1..2), &[]), Free(blocks(1..2)));
    assert_eq!(registry.locations(block(0)), []);
    assert_eq!(registry.locations(block(2)), [address(0)]);
    assert_eq!(registry.check(), Ok(()));
}

#[test]
fn a_block_whose_file_went_while_it_was_committed_is_freed() {
    let (mut registry, ids) = with_workers(1);
    registry.free(&blocks(0..1));
    assert_eq!(registry.commit(ids[0], block(0), Known::No), Ok(()));
    assert_eq!(registry.locations(block(0)), []);
    assert_eq!(registry.heartbeat(ids[0], vec![], (&[], &[]), secs(1), all), Free(blocks(0..1)));
}

#[test]
fn a_leader_that_lags_frees_nothing() {
    let (mut registry, ids) = with_workers(1);
    let lagging = |_| Known::NotYet;
    assert_eq!(registry.register(ids[0], vec![], &blocks(0..2), secs(1), lagging), Nothing);
    assert_eq!(registry.heartbeat(ids[0], vec![], (&blocks(2..3), &[]), secs(2), lagging), Nothing);
    assert_eq!(registry.locations(block(0)), [address(0)]);
    let caught_up = |b: BlockId| if b == block(1) { Known::No } else { Known::Yes };
    assert_eq!(registry.heartbeat(ids[0], vec![], (&[], &[]), secs(3), caught_up), Free(blocks(1..2)));
    assert_eq!((registry.locations(block(1)), registry.locations(block(2))), (vec![], vec![address(0)]));
    assert_eq!(registry.check(), Ok(()));
}

#[derive(Debug, Clone)]
enum Op {
    Id(u64),
    Register(usize, Vec<u64>),
    Heartbeat(usize, Vec<u64>, Vec<u64>),
    Commit(usize, u64),
    Free(Vec<u64>),
    Detect,
    Reset,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let some = || prop::collection::vec(0u64..12, 0..6);
    prop_oneof![
        2 => (0u64..4).prop_map(Op::Id),
        3 => (0usize..8, some()).prop_map(|(w, b)| Op::Register(w, b)),
        5 => (0usize..8, some(), some()).prop_map(|(w, a, r)| Op::Heartbeat(w, a, r)),
        2 => (0usize..8, 0u64..12).prop_map(|(w, b)| Op::Commit(w, b)),
        2 => some().prop_map(Op::Free),
        2 => Just(Op::Detect),
        1 => Just(Op::Reset),
        3 => prop_oneof![0u64..20, 200u64..2000].prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The places are what the live workers hold, whatever happens; freed blocks have none until reported anew.
    #[test]
    fn any_history_keeps_the_registry_whole(ops in prop::collection::vec(op(), 1..80), verdicts in prop::collection::vec(0u8..3, 12)) {
        let mut registry = Registry::new(RegistryTimes::default());
        let mut chance = Seed(3).stream("worker-id", 0);
        let (mut ids, mut now) = (vec![WorkerId(0)], Duration::ZERO);
        let knows = |b: BlockId| [Known::Yes, Known::No, Known::NotYet][usize::from(verdicts[b.sequence() as usize])];
        let list = |numbers: &[u64]| numbers.iter().map(|n| block(*n)).collect::<Vec<_>>();
        for op in ops {
            match &op {
                Op::Id(n) => ids.push(registry.worker_id(&address(*n), now, &mut chance)),
                Op::Register(w, held) => {
                    let id = ids[w % ids.len()];
                    let command = registry.register(id, vec![], &list(held), now, knows);
                    prop_assert_eq!(command == Register, !registry.is_live(id));
                }
                Op::Heartbeat(w, added, removed) => {
                    let id = ids[w % ids.len()];
                    let lived = registry.is_live(id);
                    let command = registry.heartbeat(id, vec![], (&list(added), &list(removed)), now, knows);
                    prop_assert_eq!(command == Register, !lived);
                    if let Free(doomed) = command {
                        let own = registry.address(id).cloned();
                        prop_assert!(doomed.iter().all(|b| !registry.locations(*b).iter().any(|a| Some(a) == own.as_ref())));
                    }
                }
                Op::Commit(w, b) => {
                    let id = ids[w % ids.len()];
                    prop_assert_eq!(registry.commit(id, block(*b), knows(block(*b))).is_ok(), registry.is_live(id));
                }
                Op::Free(gone) => {
                    registry.free(&list(gone));
                    prop_assert!(gone.iter().all(|b| registry.locations(block(*b)).is_empty()));
                }
                Op::Detect => drop(registry.detect(now)),
                Op::Reset => registry.reset(),
                Op::Wait(s) => now += secs(*s),
            }
            prop_assert_eq!(registry.check(), Ok(()), "after {:?}", op);
        }
    }
}
