//! The engine by itself: order, time, ends of processes, and what a deadlock looks like.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::base::lock;
use crate::rt::chan::{Notify, mpsc, watch};
use crate::rt::task::{JoinError, Scope, spawn};
use crate::rt::time::{Duration, Instant, interval, sleep, timeout};
use crate::rt::{Either, select2};
use crate::trace::Digest;
use crate::world::engine::{Clock, Stop};
use crate::world::lab::Lab;

fn lab(seed: u64) -> (Lab, HostId) {
    let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
    let host = lab.world.add_host("a", [10, 0, 0, 1].into());
    (lab, host)
}

const MS: Duration = Duration::from_millis(1);

type Log = Arc<Mutex<Vec<(u64, String)>>>;

fn say(log: &Log, what: &str) {
    let start = Instant::now() - Duration::MAX;
    lock(log).push((Instant::now().duration_since(start).as_millis() as u64, what.to_owned()));
}

#[test]
fn time_jumps_from_event_to_event() {
    let (lab, host) = lab(1);
    let log = Log::default();
    let l = log.clone();
    let program = async move {
        let mut ticks = interval(MS * 10);
        for _ in 0..3 {
            ticks.tick().await;
            say(&l, "tick");
        }
        assert_eq!(timeout(MS * 5, sleep(MS * 6)).await.map_err(|e| e.to_string()), Err("deadline has elapsed".into()));
        say(&l, "timeout");
        assert_eq!(timeout(MS * 5, sleep(MS * 4)).await, Ok(()));
        match select2(sleep(MS), sleep(MS * 2)).await {
            Either::Left(()) => say(&l, "left"),
            Either::Right(()) => say(&l, "right"),
        }
    };
    lab.world.start(host, "p", Box::pin(program)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_secs(1)), Stop::Idle);
    let want = [(0, "tick"), (10, "tick"), (20, "tick"), (25, "timeout"), (30, "left")];
    assert_eq!(*lock(&log), want.map(|(t, s)| (t, s.to_owned())));
    assert_eq!(lab.world.world_now(), SimTime::from_secs(1));
    assert!(lab.world.panics().is_empty());
}

/// Ten tasks that share a counter and sleep by chance: everything that can differ between seeds.
fn storm(seed: u64) -> (Digest, Vec<u64>) {
    let (lab, host) = lab(seed);
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let program = async move {
        let tasks: Vec<_> = (0..10u64)
            .map(|n| {
                let order = order.clone();
                spawn("worker", async move {
                    let mut chance = crate::rt::chance::stream("nap");
                    for _ in 0..20 {
                        sleep(MS * chance.below(3) as u32).await;
                        lock(&order).push(n);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    };
    lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_secs(1));
    let order = lock(&seen).clone();
    (lab.world.digest(), order)
}

#[test]
fn a_seed_is_one_run_and_seeds_differ() {
    let runs: Vec<_> = (0..10).map(storm).collect();
    for (seed, run) in runs.iter().enumerate() {
        assert_eq!(storm(seed as u64), *run);
        assert_eq!(run.1.len(), 200);
        assert!(runs[..seed].iter().all(|other| other.0 != run.0 && other.1 != run.1));
    }
}

/// Tells when it is dropped, and tries to touch the world then.
struct Sting(Log, Arc<Notify>);

impl Drop for Sting {
    fn drop(&mut self) {
        self.1.notify_one();
        let log = self.0.clone();
        spawn("ghost", async move { say(&log, "a ghost ran") });
        lock(&self.0).push((0, "dropped".into()));
    }
}

#[test]
fn the_destructors_of_a_killed_process_reach_nothing() {
    let (lab, host) = lab(1);
    let (log, bell) = (Log::default(), Arc::new(Notify::new()));
    let sting = Sting(log.clone(), bell.clone());
    let program = async move {
        let _sting = sting;
        sleep(MS * 100).await;
    };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(5));
    let before = lab.world.events();
    lab.world.kill(p);
    assert!(!lab.world.running(p));
    assert_eq!(lab.world.run_until(SimTime::from_secs(1)), Stop::Idle);
    assert_eq!(*lock(&log), [(0, "dropped".to_owned())]);
    // The exit and nothing else.
    assert_eq!(lab.world.events(), before + 1);
}

#[test]
fn when_main_returns_its_tasks_end() {
    let (lab, host) = lab(1);
    let ticks = Arc::new(AtomicU64::new(0));
    let t = ticks.clone();
    let program = async move {
        spawn("ticker", async move {
            loop {
                sleep(MS).await;
                t.fetch_add(1, Ordering::Relaxed);
            }
        });
        sleep(MS * 10).await;
    };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_secs(1)), Stop::Idle);
    assert!(!lab.world.running(p) && (9..=10).contains(&ticks.load(Ordering::Relaxed)));
    assert!(lab.world.pending().is_empty());
}

#[test]
fn a_frozen_process_stands_still_and_wakes_late() {
    let (lab, host) = lab(1);
    let log = Log::default();
    let l = log.clone();
    let program = async move {
        sleep(MS * 10).await;
        say(&l, "woke");
        sleep(MS * 10).await;
        say(&l, "again");
    };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(5));
    lab.world.freeze(p);
    lab.world.run_until(SimTime::from_millis(50));
    assert!(lock(&log).is_empty());
    lab.world.thaw(p);
    lab.world.run_until(SimTime::from_secs(1));
    assert_eq!(*lock(&log), [(50, "woke".to_owned()), (60, "again".to_owned())]);
}

#[test]
fn aborted_and_scoped_tasks_are_dropped_and_joiners_told() {
    let (lab, host) = lab(1);
    let program = async move {
        let task = spawn("sleeper", sleep(MS * 100));
        task.abort();
        assert_eq!(task.await, Err(JoinError::Cancelled));
        let scope = Scope::new();
        let scoped = scope.spawn("sleeper", sleep(MS * 100));
        drop(scope);
        assert_eq!(scoped.await, Err(JoinError::Cancelled));
        let panics = spawn("panics", async { panic!("on purpose") });
        assert_eq!(panics.await, Err(JoinError::Panicked("on purpose".into())));
    };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(50));
    assert!(!lab.world.running(p));
    let panics: Vec<_> = lab.world.panics().into_iter().map(|p| (p.task, p.message)).collect();
    assert_eq!(panics, [("panics", "on purpose".to_owned())]);
}

#[test]
fn a_deadlock_report_names_each_wait() {
    let (lab, host) = lab(1);
    let program = async move {
        let (tx, mut rx) = mpsc::channel::<()>(1);
        let (_seen, mut watched) = watch::channel(0);
        spawn("watcher", async move { watched.changed().await.ok() });
        let _keep = tx;
        rx.recv().await;
        drop(_seen);
    };
    lab.world.start(host, "p", Box::pin(program)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_secs(60)), Stop::Idle);
    let mut report: Vec<_> = lab.world.pending().iter().map(ToString::to_string).collect();
    report.sort();
    assert_eq!(report, ["a p main: waits for a message since 0.000", "a p watcher: waits for a change since 0.000"]);
}

#[test]
fn tasks_that_only_wake_each_other_are_a_livelock() {
    let seed = Seed(1);
    let budget = Budget { polls_at_once: 1000, ..Budget::default() };
    let glass = Glass::new(seed, Schedule::Seeded, budget, Default::default(), Recorder::default());
    let lab = Lab::new(seed, glass);
    let host = lab.world.add_host("a", [10, 0, 0, 1].into());
    let program = async {
        loop {
            crate::rt::task::yield_now().await;
        }
    };
    lab.world.start(host, "p", Box::pin(program)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_secs(1)), Stop::Livelock);
    assert_eq!(lab.world.world_now(), SimTime::ZERO);
}

#[test]
fn a_fast_clock_makes_short_naps() {
    let (lab, host) = lab(1);
    lab.world.set_clock(host, Clock { drift_ppm: 250_000, offset_ns: 0 });
    let program = async { sleep(MS * 1000).await };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(799));
    assert!(lab.world.running(p));
    lab.world.run_until(SimTime::from_millis(800));
    assert!(!lab.world.running(p));
}

#[test]
fn a_program_may_heed_sigterm() {
    let (lab, host) = lab(1);
    let program = async {
        crate::rt::signal::terminated().await.unwrap();
        sleep(MS * 10).await;
    };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(50));
    assert!(lab.world.running(p));
    lab.world.terminate(p);
    lab.world.run_until(SimTime::from_millis(59));
    assert!(lab.world.running(p));
    lab.world.run_until(SimTime::from_millis(60));
    assert!(!lab.world.running(p));
}

#[test]
fn a_host_without_power_starts_nothing() {
    let (lab, host) = lab(1);
    let p = lab.world.start(host, "p", Box::pin(sleep(MS * 10))).unwrap();
    lab.world.power_loss(host);
    assert!(!lab.world.running(p));
    assert!(lab.world.start(host, "p", Box::pin(sleep(MS))).is_err());
    lab.world.power_on(host);
    assert!(lab.world.start(host, "p", Box::pin(sleep(MS))).is_ok());
}

#[test]
fn bytes_cross_the_network_and_a_killed_peer_is_seen() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::rt::net::{TcpListener, connect};

    let (lab, server) = lab(1);
    let client = lab.world.add_host("b", [10, 0, 0, 2].into());
    let echo = async {
        let listener = TcpListener::bind("10.0.0.1:7".parse().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buf = [0; 5];
        stream.read_exact(&mut buf).await.unwrap();
        stream.write_all(&buf).await.unwrap();
        sleep(MS * 1000).await;
    };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let h = heard.clone();
    let asks = async move {
        let mut stream = connect("a:7").await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        stream.read_exact(&mut buf).await.unwrap();
        lock(&h).extend_from_slice(&buf);
        assert_eq!(stream.read(&mut buf).await.unwrap(), 0);
        lock(&h).push(b'.');
    };
    let p = lab.world.start(server, "echo", Box::pin(echo)).unwrap();
    lab.world.run_until(SimTime::from_millis(1));
    lab.world.start(client, "asks", Box::pin(asks)).unwrap();
    lab.world.run_until(SimTime::from_millis(500));
    assert_eq!(*lock(&heard), b"hello");
    lab.world.kill(p);
    lab.world.run_until(SimTime::from_millis(600));
    assert_eq!(*lock(&heard), b"hello.");
    assert!(lab.world.panics().is_empty(), "{:?}", lab.world.panics());
}

#[test]
fn a_program_that_panics_ends_so() {
    let (lab, host) = lab(1);
    let exits = Arc::new(Mutex::new(Vec::new()));
    let seen = exits.clone();
    lab.world.on_exit(Box::new(move |_, _, exit| lock(&seen).push(exit)));
    let p = lab.world.start(host, "p", Box::pin(async { panic!("on purpose") })).unwrap();
    lab.world.start(host, "q", Box::pin(async { drop(spawn("t", async { panic!("alone") }).await) })).unwrap();
    lab.world.run_until(SimTime::from_secs(1));
    assert!(!lab.world.running(p));
    let mut panics: Vec<_> = lab.world.panics().into_iter().map(|p| p.message).collect();
    panics.sort();
    assert_eq!(panics, ["alone", "on purpose"]);
    let count = |exit| lock(&exits).iter().filter(|e| **e == exit).count();
    assert_eq!((count(Exit::Panicked), count(Exit::Returned)), (1, 1), "a task's panic ends the task alone");
}

#[test]
fn a_frozen_process_drops_nothing() {
    let (lab, host) = lab(1);
    let log = Log::default();
    let sting = Sting(log.clone(), Arc::new(Notify::new()));
    let program = async move {
        let sleeper = spawn("sleeper", async move {
            let _sting = sting;
            sleep(MS * 100).await;
        });
        sleep(MS * 5).await;
        sleeper.abort();
        std::future::pending::<()>().await;
    };
    let p = lab.world.start(host, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(4));
    lab.world.freeze(p);
    lab.world.run_until(SimTime::from_millis(50));
    assert!(lock(&log).is_empty());
    lab.world.thaw(p);
    lab.world.run_until(SimTime::from_millis(60));
    assert!(lock(&log).contains(&(0, "dropped".to_owned())));
}
