//! The engine by itself: time, ends of processes, sockets, cuts, and that a seed is one run.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::base::lock;
use crate::rt::net::{TcpListener, TcpStream, lookup_host};
use crate::rt::task::spawn;
use crate::rt::time::{Duration, Instant, interval, sleep, timeout, wall};
use crate::trace::Digest;
use crate::world::engine::{Clock, Latency, LinkRule};
use crate::world::lab::Lab;

const MS: Duration = Duration::from_millis(1);
const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];

type Log = Arc<Mutex<Vec<String>>>;

fn lab(seed: u64) -> (Lab, HostId, HostId) {
    let lab = Lab::new(Seed(seed), Turmoil::plain(Seed(seed)));
    let (a, b) = (lab.world.add_host("a", A.into()), lab.world.add_host("b", B.into()));
    (lab, a, b)
}

fn said(log: &Log) -> Vec<String> {
    std::mem::take(&mut *lock(log))
}

/// Answers every connection with what it sends, and ends with it.
async fn echo(log: Log) {
    let listener = TcpListener::bind(([0, 0, 0, 0], 7).into()).await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let log = log.clone();
        spawn("echo", async move {
            let mut buf = [0; 64];
            loop {
                match stream.read(&mut buf).await {
                    Ok(0) => break lock(&log).push("end".into()),
                    Ok(n) => stream.write_all(&buf[..n]).await.unwrap(),
                    Err(error) => break lock(&log).push(format!("{:?}", error.kind())),
                }
            }
        });
    }
}

async fn call(stream: &mut TcpStream) -> std::io::Result<u8> {
    stream.write_all(b"x").await?;
    let mut buf = [0; 1];
    stream.read_exact(&mut buf).await.map(|_| buf[0])
}

#[test]
fn time_goes_by_ticks_and_timers_are_met() {
    let (lab, a, _) = lab(1);
    let log = Log::default();
    let l = log.clone();
    let program = async move {
        let start = Instant::now();
        let mut ticks = interval(MS * 10);
        for _ in 0..3 {
            ticks.tick().await;
            lock(&l).push(format!("{}", start.elapsed().as_millis()));
        }
        assert!(timeout(MS * 5, sleep(MS * 7)).await.is_err());
        assert!(timeout(MS * 5, sleep(MS * 3)).await.is_ok());
        lock(&l).push(format!("{}", start.elapsed().as_millis()));
    };
    lab.world.start(a, "p", Box::pin(program)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_millis(200)), Stop::Reached);
    assert_eq!(said(&log), ["0", "10", "20", "28"]);
    assert_eq!((lab.now(), lab.world.panics()), (SimTime::from_millis(200), vec![]));
}

#[test]
fn a_clock_that_runs_fast_wakes_early_and_a_jump_moves_the_wall_only() {
    let (lab, a, _) = lab(1);
    lab.world.set_clock(a, Clock { drift_ppm: 250_000, offset_ns: 5_000_000_000 });
    let log = Log::default();
    let l = log.clone();
    let program = async move {
        sleep(Duration::from_secs(10)).await;
        let ahead = wall() - EPOCH - Duration::from_secs(5);
        lock(&l).push(format!("{} {}", crate::rt::backend::world_now().as_millis(), ahead.as_millis()));
    };
    lab.world.start(a, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_secs(9));
    let said = said(&log);
    let [line] = said.as_slice() else { panic!("{said:?}") };
    let (world, local) = line.split_once(' ').unwrap();
    assert!(["8000", "8001"].contains(&world), "{line}");
    assert!(local.starts_with("1000"), "{line}");
}

/// Tells when it is dropped, and tries to touch the world then.
struct Sting(Log);

impl Drop for Sting {
    fn drop(&mut self) {
        let log = self.0.clone();
        spawn("ghost", async move { lock(&log).push("a ghost ran".into()) });
        lock(&self.0).push("dropped".into());
    }
}

#[test]
fn the_destructors_of_a_killed_process_reach_nothing_and_its_peers_are_told() {
    let (lab, a, b) = lab(1);
    let (log, here) = (Log::default(), Log::default());
    lab.world.start(b, "echo", Box::pin(echo(log.clone()))).unwrap();
    let sting = Sting(here.clone());
    let program = async move {
        let _sting = sting;
        let mut stream = crate::rt::net::connect("b:7").await.unwrap();
        assert_eq!(call(&mut stream).await.unwrap(), b'x');
        sleep(MS * 1000).await;
    };
    let p = lab.world.start(a, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(50));
    lab.world.kill(p);
    assert_eq!(said(&here), ["dropped"]);
    lab.world.run_until(SimTime::from_millis(60));
    assert_eq!((said(&here), said(&log)), (vec![], vec!["end".to_string()]));
    assert!(!lab.world.running(p) && lab.world.panics().is_empty());
}

#[test]
fn a_power_loss_is_silent_and_the_host_comes_back_with_its_ports_free() {
    let (lab, a, b) = lab(1);
    let log = Log::default();
    lab.world.start(b, "echo", Box::pin(echo(log.clone()))).unwrap();
    let l = log.clone();
    let program = async move {
        let mut stream = TcpStream::connect((B, 7).into()).await.unwrap();
        assert_eq!(call(&mut stream).await.unwrap(), b'x');
        sleep(MS * 100).await;
        let silent = timeout(MS * 200, call(&mut stream)).await.is_err();
        let dark = timeout(MS * 200, TcpStream::connect((B, 7).into())).await.is_err();
        lock(&l).push(format!("{silent} {dark}"));
        sleep(MS * 500).await;
        let reset = timeout(MS * 100, call(&mut stream)).await.unwrap().unwrap_err().kind();
        lock(&l).push(format!("{reset:?}"));
        let mut again = TcpStream::connect((B, 7).into()).await.unwrap();
        assert_eq!(call(&mut again).await.unwrap(), b'x');
        lock(&l).push("again".into());
    };
    lab.world.start(a, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(60));
    lab.power_loss(b);
    assert!(lab.world.start(b, "echo", Box::pin(echo(log.clone()))).is_err(), "no power");
    lab.world.run_until(SimTime::from_millis(700));
    assert_eq!(said(&log), ["true true"]);
    lab.world.power_on(b);
    lab.world.start(b, "echo", Box::pin(echo(Log::default()))).unwrap();
    lab.world.run_until(SimTime::from_secs(3));
    let said = said(&log);
    assert!(matches!(said[0].as_str(), "ConnectionReset" | "BrokenPipe"), "{said:?}");
    assert_eq!((said.last().map(String::as_str), lab.world.panics()), (Some("again"), vec![]));
}

#[test]
fn a_cut_counts_what_it_eats_and_a_connect_into_it_is_refused() {
    let (lab, a, b) = lab(1);
    let log = Log::default();
    lab.world.start(b, "echo", Box::pin(echo(log.clone()))).unwrap();
    let l = log.clone();
    let program = async move {
        let mut stream = TcpStream::connect((B, 7).into()).await.unwrap();
        sleep(MS * 100).await;
        assert!(timeout(MS * 100, call(&mut stream)).await.is_err());
        let refused = TcpStream::connect((B, 7).into()).await.map(|_| ()).unwrap_err().kind();
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        sleep(MS * 200).await;
        let mut again = TcpStream::connect((B, 7).into()).await.unwrap();
        assert_eq!(call(&mut again).await.unwrap(), b'x');
        lock(&l).push("mended".into());
    };
    lab.world.start(a, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(50));
    lab.world.block(a, b);
    lab.world.block(a, b);
    lab.world.run_until(SimTime::from_millis(300));
    assert_eq!(lab.world.link_counters(a, b).blocked, 2);
    lab.world.unblock(a, b);
    lab.world.unblock(a, b);
    lab.world.run_until(SimTime::from_secs(1));
    // The first stream has a hole for ever: its end is never heard.
    assert_eq!((said(&log), lab.world.panics()), (vec!["mended".to_string(), "end".to_string()], vec![]));
}

#[test]
fn a_hold_keeps_and_a_slow_link_delays() {
    let (lab, a, b) = lab(1);
    let log = Log::default();
    lab.world.start(b, "echo", Box::pin(echo(log.clone()))).unwrap();
    let slow = LinkRule { latency: Latency::Const(MS * 40), ..LinkRule::default() };
    lab.world.set_link(a, b, Some(slow));
    let l = log.clone();
    let program = async move {
        let mut stream = TcpStream::connect((B, 7).into()).await.unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            assert_eq!(call(&mut stream).await.unwrap(), b'x');
            lock(&l).push((start.elapsed().as_millis() / 10).to_string());
            sleep(MS * 100).await;
        }
    };
    lab.world.start(a, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(150));
    lab.world.hold(a, b);
    lab.world.run_until(SimTime::from_millis(650));
    assert_eq!(lab.world.link_counters(a, b).held, 1);
    lab.world.release(a, b);
    lab.world.run_until(SimTime::from_secs(1));
    let said = said(&log);
    assert_eq!(said[0], "8", "both directions are slow: {said:?}");
    assert!(said[1].parse::<u64>().unwrap() >= 40, "held for so long: {said:?}");
}

#[test]
fn a_frozen_process_does_nothing_and_a_new_address_is_found_by_name() {
    let (lab, a, b) = lab(1);
    let log = Log::default();
    let l = log.clone();
    let beat = async move {
        let mut ticks = interval(MS * 10);
        loop {
            ticks.tick().await;
            lock(&l).push("beat".into());
        }
    };
    let p = lab.world.start(a, "p", Box::pin(beat)).unwrap();
    lab.world.run_until(SimTime::from_millis(25));
    lab.world.freeze(p);
    let before = said(&log).len();
    lab.world.run_until(SimTime::from_millis(300));
    assert_eq!((before > 1, said(&log).len()), (true, 0));
    assert_eq!(lab.world.thaw(p), 1);
    lab.world.run_until(SimTime::from_millis(330));
    assert!(!said(&log).is_empty());
    lab.world.kill(p);

    lab.world.set_address(b, [10, 0, 0, 77].into());
    lab.world.start(b, "echo", Box::pin(echo(log.clone()))).unwrap();
    let l = log.clone();
    let program = async move {
        let found = lookup_host("b:7").await.unwrap();
        let mut stream = TcpStream::connect(found[0]).await.unwrap();
        assert_eq!(call(&mut stream).await.unwrap(), b'x');
        assert_eq!(lookup_host("c:7").await.unwrap_err().kind(), ErrorKind::NotFound);
        lock(&l).push(found[0].to_string());
    };
    lab.world.start(a, "p", Box::pin(program)).unwrap();
    lab.world.run_until(SimTime::from_millis(500));
    assert_eq!(said(&log), ["10.0.0.77:7", "end"]);
}

#[test]
fn tasks_that_wake_each_other_for_ever_are_stopped() {
    let budget = Budget { polls_at_once: 1_000, ..Budget::default() };
    let lab = Lab::new(Seed(1), Turmoil::new(Seed(1), TICK, budget, Recorder::default()));
    let a = lab.world.add_host("a", A.into());
    let spin = async {
        loop {
            crate::rt::time::yield_now().await;
        }
    };
    lab.world.start(a, "p", Box::pin(spin)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_secs(1)), Stop::Livelock);
}

/// Clients and a server on three hosts, with one of them killed.
fn storm(seed: u64) -> Digest {
    let (lab, a, b) = lab(seed);
    let c = lab.world.add_host("c", [10, 0, 0, 3].into());
    lab.world.start(b, "echo", Box::pin(echo(Log::default()))).unwrap();
    let client = || async {
        let mut chance = crate::rt::chance::stream("nap");
        let mut stream = TcpStream::connect((B, 7).into()).await.unwrap();
        loop {
            sleep(MS * chance.below(20) as u32).await;
            let _ = timeout(MS * 50, call(&mut stream)).await;
        }
    };
    lab.world.start(a, "p", Box::pin(client())).unwrap();
    let p = lab.world.start(c, "p", Box::pin(client())).unwrap();
    lab.world.run_until(SimTime::from_millis(200));
    lab.world.kill(p);
    lab.world.run_until(SimTime::from_millis(400));
    lab.world.digest()
}

#[test]
fn a_seed_is_one_run_and_seeds_differ() {
    let runs: Vec<Digest> = (0..4).map(storm).collect();
    for (seed, run) in runs.iter().enumerate() {
        assert_eq!(storm(seed as u64), *run);
        assert!(!runs[..seed].contains(run));
    }
}
