//! Three masters in a world: they form a group, lose members and disks, and keep what they acknowledged.

mod cluster;
mod workers;

use std::collections::BTreeSet;

use stormglass::base::{Seed, SimTime, lock};
use stormglass::rt::time::Duration;
use stormglass::stack::master::RaftTimes;
use stormglass::stack::observe::Role;
use stormglass::stack::wire::master::{Change, MasterAnswer, MasterRequest};
use stormglass::stack::wire::{FsError, MountOptions, OpId};
use stormglass::world::disk::DiskFault;

use cluster::{Cluster, SOON, fast, small};

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
fn default_timers_fail_over_as_alluxios_do() {
    for seed in 0..6 {
        let mut c = Cluster::new(seed, RaftTimes::default());
        let first = c.wait_for_leader(SOON);
        c.run_for(Duration::from_secs(30));
        assert_eq!(c.leader(), Some(first), "heartbeats keep a leader");
        c.kill(first);
        let killed = c.lab.world.world_now();
        c.wait_for_leader(Duration::from_secs(60));
        let took = c.lab.world.world_now().since(killed);
        // 10 to 20 s after the last heartbeat, which is up to 5 s old; a tick of 1 s on top.
        assert!(took > Duration::from_secs(5) && took < Duration::from_secs(22), "{took:?}");
    }
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
fn changes_of_many_clients_are_made_once_each_across_a_change_of_leader() {
    for seed in 0..4 {
        let c = Cluster::new(seed, fast());
        let first = c.wait_for_leader(SOON);
        let acked: Vec<_> = (0..12).map(|n| c.write(&format!("{n}-"), 20)).collect();
        let count = || acked.iter().map(|acked| lock(acked).len()).sum::<usize>();
        c.run_till(SOON, "some writes", |_| count() > 60);
        // What is under way at this leader now, and what waits for that, is not committed here.
        c.cut_off(first, true);
        let term = c.observers[first].facts().serving;
        c.run_till(SOON, "another leader", |c| c.leader().is_some_and(|n| c.observers[n].facts().serving > term));
        c.cut_off(first, false);
        c.run_till(Duration::from_secs(60), "all writes", |_| count() == 240);
        let all: Vec<_> = acked.iter().flat_map(|acked| lock(acked).clone()).collect();
        let entries: BTreeSet<u64> = all.iter().map(|(_, reply)| reply.index).collect();
        assert_eq!(entries.len(), all.len(), "an entry each");
        c.assert_all_there(&all);
        c.wait_till_equal(Duration::from_secs(30));
        c.check();
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
    let mount = Change::Mount {
        path: "/m".into(),
        url: "http://shelf/top/".into(),
        read_only: true,
        options: MountOptions::default(),
    };
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

#[test]
fn a_full_disk_stops_its_member_and_no_other() {
    for seed in 0..4 {
        let mut c = Cluster::new(seed, fast());
        let leader = c.wait_for_leader(SOON);
        // A follower's disk, or the leader's own.
        let full = (leader + seed as usize) % 3;
        let fault = c.lab.disks.inject(c.disks[full], DiskFault::Full { free: 2000 }).unwrap();
        let acked = c.write("d", 200);
        c.run_till(Duration::from_secs(60), "all writes", |_| lock(&acked).len() == 200);
        assert!(c.lab.disks.hits(fault) > 0 && !c.lab.world.running(c.processes[full].unwrap()));
        assert!(lock(&c.ends)[0].starts_with(&format!("{full}: Err(Raft(")), "{:?}", lock(&c.ends));
        c.lab.disks.clear(fault);
        c.start(full);
        c.wait_till_equal(SOON);
        c.assert_all_there(&lock(&acked));
    }
}

#[test]
fn a_frozen_leader_wakes_and_does_not_serve_the_past() {
    for seed in 0..4 {
        let c = Cluster::new(seed, RaftTimes::default());
        let first = c.wait_for_leader(SOON);
        let frozen = c.processes[first].unwrap();
        c.lab.world.freeze(frozen);
        let term = c.observers[first].facts().serving;
        c.run_till(Duration::from_secs(60), "another leader", |c| {
            c.leader().is_some_and(|n| c.observers[n].facts().serving > term)
        });
        let acked = c.write("d", 5);
        c.run_till(Duration::from_secs(60), "writes", |_| lock(&acked).len() == 5);
        c.lab.world.thaw(frozen);
        c.wait_till_equal(Duration::from_secs(60));
        assert_eq!(c.observers[first].facts().serving, None);
        c.assert_all_there(&lock(&acked));
    }
}

#[test]
fn the_planted_standby_answers_what_it_has() {
    let c = Cluster::new(6, fast());
    let leader = c.wait_for_leader(SOON);
    let standby = (leader + 1) % 3;
    let stat = |path: &str| vec![MasterRequest::Stat { path: path.into() }];
    assert!(c.ask(stat("/"), SOON)[0].result.is_ok());
    c.cut_off(standby, true);
    let acked = c.write("d", 1);
    c.run_till(SOON, "a write", |_| lock(&acked).len() == 1);
    assert!(matches!(c.ask_one(standby, stat("/d0")).result, Err(FsError::NotLeader { .. } | FsError::Unavailable(_))));
    let _plant = stormglass::base::planted::plant(&[stormglass::base::planted::Bug::StandbyReads]).unwrap();
    assert_eq!(c.ask_one(standby, stat("/d0")).result, Err(FsError::NotFound("/d0".into())));
}

/// Faults by chance, at most one member down or cut off at a time, any number frozen; then all heals.
fn storm(seed: u64) {
    let mut c = Cluster::new(seed, small());
    c.wait_for_leader(SOON);
    let acked = c.write_slowly("d", 100_000, Duration::from_millis(20));
    let mut chance = Seed(seed).stream("storm", 0);
    for _ in 0..12 {
        let n = chance.below(3) as usize;
        let lasts = chance.duration(Duration::from_millis(1), Duration::from_secs(4));
        match chance.below(5) {
            0 => {
                c.kill(n);
                c.run_for(lasts);
                c.start(n);
            }
            1 => {
                c.power_loss(n);
                c.run_for(lasts);
                c.lab.world.power_on(c.hosts[n]);
                c.start(n);
            }
            2 => {
                c.cut_off(n, true);
                c.run_for(lasts);
                c.cut_off(n, false);
            }
            3 => {
                let to = c.hosts[(n + 1 + chance.below(2) as usize) % 3];
                c.lab.world.block(c.hosts[n], to);
                c.run_for(lasts);
                c.lab.world.unblock(c.hosts[n], to);
            }
            _ => {
                let frozen = c.processes[n].unwrap();
                c.lab.world.freeze(frozen);
                c.run_for(lasts);
                c.lab.world.thaw(frozen);
            }
        }
        c.run_for(chance.duration(Duration::ZERO, Duration::from_secs(1)));
        c.check();
    }
    c.run_till(Duration::from_secs(30), "a leader", |c| c.leader().is_some());
    let count = lock(&acked).len();
    c.run_till(Duration::from_secs(30), "more writes", |_| lock(&acked).len() > count + 5);
    assert_eq!(*lock(&c.ends), [] as [String; 0]);
    let sample: Vec<_> = lock(&acked).iter().step_by(1 + count / 100).cloned().collect();
    c.assert_all_there(&sample);
}

#[test]
fn a_storm_of_faults_loses_nothing_acknowledged() {
    (0..4).for_each(storm);
}
