//! madsim held to what its table of capabilities says, and to what programs rely on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::base::lock;
use crate::rt::net::{TcpListener, TcpStream, connect, lookup_host};
use crate::rt::task::spawn;
use crate::rt::time::{Instant, interval, sleep, timeout};
use crate::rt::{Either, select2};
use crate::trace::Digest;
use crate::world::engine::{Clock, Latency, LinkRule, Ratio, World};
use crate::world::lab::Lab;

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// Milliseconds and what was seen.
type Log = Arc<Mutex<Vec<(u64, String)>>>;

fn say(log: &Log, what: &str) {
    let start = Instant::now() - Duration::MAX;
    lock(log).push((Instant::now().duration_since(start).as_millis() as u64, what.to_owned()));
}

fn said(log: &Log) -> Vec<String> {
    lock(log).iter().map(|(_, what)| what.clone()).collect()
}

/// Two machines.
struct Bench {
    lab: Lab,
    near: HostId,
    far: HostId,
    log: Log,
}

const FAR: &str = "10.0.0.2:700";

impl Bench {
    fn new(seed: u64) -> Self {
        let lab = Lab::new(Seed(seed), Madsim::plain(Seed(seed)));
        let near = lab.world.add_host("near", [10, 0, 0, 1].into());
        let far = lab.world.add_host("far", [10, 0, 0, 2].into());
        Self { lab, near, far, log: Log::default() }
    }

    fn world(&self) -> &dyn World {
        &*self.lab.world
    }

    fn run(&self, time: Duration) -> Stop {
        self.world().run_until(self.lab.now() + time)
    }

    fn start(&self, host: HostId, program: impl Future<Output = ()> + Send + 'static) -> ProcessId {
        self.world().start(host, "p", Box::pin(program)).unwrap()
    }

    fn cut(&self) {
        [(self.near, self.far), (self.far, self.near)].iter().for_each(|(a, b)| self.world().block(*a, *b));
    }

    fn mend(&self) {
        [(self.near, self.far), (self.far, self.near)].iter().for_each(|(a, b)| self.world().unblock(*a, *b));
    }

    /// `far` sends back what it hears.
    fn echo(&self) -> ProcessId {
        self.start(self.far, async {
            let listener = TcpListener::bind(FAR.parse().unwrap()).await.unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                spawn("echo", async move {
                    let mut buf = [0; 1000];
                    while let Ok(n @ 1..) = stream.read(&mut buf).await {
                        stream.write_all(&buf[..n]).await.unwrap();
                    }
                });
            }
        })
    }

    /// `near` connects, writes, and tells what it reads until it reads no more.
    fn hear(&self) {
        let log = self.log.clone();
        self.start(self.near, async move {
            let mut stream = dial().await.unwrap();
            say(&log, "connected");
            stream.write_all(b"hello").await.unwrap();
            while told_read(&mut stream, &log).await {}
        });
    }
}

async fn dial() -> std::io::Result<TcpStream> {
    sleep(MS * 10).await;
    TcpStream::connect(FAR.parse().unwrap()).await
}

async fn told_read(stream: &mut TcpStream, log: &Log) -> bool {
    let mut buf = [0; 100];
    match stream.read(&mut buf).await {
        Ok(0) => say(log, "end"),
        Ok(n) => say(log, &String::from_utf8_lossy(&buf[..n])),
        Err(error) => say(log, &format!("{:?}", error.kind())),
    }
    lock(log).last().is_some_and(|(_, what)| !matches!(what.as_str(), "end" | "ConnectionReset"))
}

#[test]
fn timers_fire_in_order() {
    let bench = Bench::new(1);
    let log = bench.log.clone();
    bench.start(bench.near, async move {
        let mut ticks = interval(MS * 10);
        for _ in 0..3 {
            ticks.tick().await;
            say(&log, "tick");
        }
        assert!(timeout(MS * 5, sleep(MS * 6)).await.is_err());
        say(&log, "timeout");
        assert_eq!(timeout(MS * 5, sleep(MS * 4)).await, Ok(()));
        match select2(sleep(MS), sleep(MS * 2)).await {
            Either::Left(()) => say(&log, "left"),
            Either::Right(()) => say(&log, "right"),
        }
    });
    assert_eq!(bench.run(SEC), Stop::Reached);
    let want = [(0, "tick"), (10, "tick"), (20, "tick"), (25, "timeout"), (30, "left")];
    assert_eq!(*lock(&bench.log), want.map(|(t, s)| (t, s.to_owned())));
    assert!((SEC..SEC + MS).contains(&bench.lab.now().elapsed()));
    assert_eq!(bench.run(SEC * 20), Stop::Idle);
    assert!(bench.world().panics().is_empty());
}

/// Ten tasks that sleep by chance, and ten echoes: everything that can differ between seeds.
fn storm(seed: u64) -> (Digest, Vec<u64>) {
    let bench = Bench::new(seed);
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    bench.echo();
    bench.start(bench.near, async move {
        let tasks: Vec<_> = (0..10u64)
            .map(|n| {
                let order = order.clone();
                spawn("worker", async move {
                    let mut chance = crate::rt::chance::stream("nap");
                    let mut stream = dial().await.unwrap();
                    for _ in 0..20 {
                        sleep(MS * chance.below(3) as u32).await;
                        stream.write_all(b"x").await.unwrap();
                        stream.read_u8().await.unwrap();
                        lock(&order).push(n);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    bench.run(SEC * 2);
    let order = lock(&seen).clone();
    (bench.world().digest(), order)
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

#[test]
fn a_killed_process_runs_no_more_and_its_destructors_reach_nothing() {
    struct Sting(Log);
    impl Drop for Sting {
        fn drop(&mut self) {
            let log = self.0.clone();
            spawn("ghost", async move { say(&log, "a ghost ran") });
            lock(&self.0).push((0, "dropped".into()));
        }
    }
    let bench = Bench::new(1);
    let (sting, ticks) = (Sting(bench.log.clone()), Arc::new(AtomicU64::new(0)));
    let ticked = ticks.clone();
    let p = bench.start(bench.near, async move {
        let _sting = sting;
        spawn("ticker", async move {
            loop {
                sleep(MS).await;
                ticked.fetch_add(1, Ordering::Relaxed);
            }
        });
        sleep(SEC * 100).await;
    });
    bench.run(MS * 50);
    bench.world().kill(p);
    let (events, before) = (bench.world().events(), ticks.load(Ordering::Relaxed));
    assert!(!bench.world().running(p) && before > 30);
    assert_eq!(bench.run(SEC * 20), Stop::Idle);
    assert_eq!((said(&bench.log), ticks.load(Ordering::Relaxed)), (vec!["dropped".to_owned()], before));
    assert_eq!((bench.world().events(), bench.world().pending()), (events, Vec::new()));
}

#[test]
fn when_main_returns_its_tasks_end_and_an_aborted_task_ends_alone() {
    let bench = Bench::new(1);
    let log = bench.log.clone();
    let p = bench.start(bench.near, async move {
        let one = spawn("one", sleep(SEC * 100));
        spawn("two", sleep(SEC * 100));
        sleep(MS * 5).await;
        one.abort();
        say(&log, &format!("{:?}", one.await));
    });
    bench.run(MS * 50);
    assert_eq!(said(&bench.log), ["Err(Cancelled)"]);
    assert!(!bench.world().running(p) && bench.world().pending().is_empty());
}

#[test]
fn a_connect_is_refused_where_nobody_listens_and_unanswered_in_the_dark() {
    let bench = Bench::new(1);
    let log = bench.log.clone();
    bench.start(bench.near, async move {
        for port in [FAR, "10.0.0.9:1", FAR] {
            let began = Instant::now();
            let error = TcpStream::connect(port.parse().unwrap()).await.unwrap_err();
            say(&log, &format!("{:?} after {} s", error.kind(), began.elapsed().as_secs()));
            if port != FAR {
                sleep(SEC * 10).await;
            }
        }
    });
    bench.run(SEC * 10);
    bench.world().power_loss(bench.far);
    bench.run(SEC * 200);
    let want = ["ConnectionRefused after 0 s", "HostUnreachable after 3 s", "TimedOut after 127 s"];
    assert_eq!(said(&bench.log), want);
}

#[test]
fn a_cut_holds_data_connects_and_ends_until_it_is_mended() {
    let bench = Bench::new(1);
    let echo = bench.echo();
    bench.hear();
    bench.run(SEC);
    assert_eq!(said(&bench.log), ["connected", "hello"]);
    bench.cut();
    let sent = bench.world().link_counters(bench.near, bench.far);
    bench.world().kill(echo);
    bench.hear();
    bench.run(SEC * 30);
    assert_eq!(said(&bench.log), ["connected", "hello"]);
    assert!(bench.world().link_counters(bench.near, bench.far).blocked > sent.blocked);
    bench.mend();
    bench.echo();
    bench.run(SEC * 60);
    let mut heard = said(&bench.log);
    heard.sort_unstable();
    assert_eq!(heard, ["connected", "connected", "end", "hello", "hello"]);
}

#[test]
fn cuts_count_and_one_direction_is_enough() {
    let bench = Bench::new(1);
    bench.echo();
    let world = bench.world();
    world.block(bench.far, bench.near);
    world.hold(bench.far, bench.near);
    world.unblock(bench.far, bench.near);
    bench.hear();
    bench.run(SEC * 40);
    assert_eq!(said(&bench.log), [""; 0]);
    world.release(bench.far, bench.near);
    bench.run(SEC * 40);
    assert_eq!(said(&bench.log), ["connected", "hello"]);
}

#[test]
fn a_killed_process_ends_its_connections_and_its_port_is_free() {
    let bench = Bench::new(1);
    let echo = bench.echo();
    bench.hear();
    bench.run(SEC);
    bench.world().kill(echo);
    bench.echo();
    bench.run(SEC);
    bench.hear();
    bench.run(SEC);
    assert_eq!(said(&bench.log), ["connected", "hello", "end", "connected", "hello"]);
}

#[test]
fn power_loss_is_silence_until_somebody_writes_to_who_is_back() {
    let bench = Bench::new(1);
    bench.echo();
    let log = bench.log.clone();
    bench.start(bench.near, async move {
        let mut stream = dial().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        told_read(&mut stream, &log).await;
        assert!(timeout(SEC * 100, stream.read_u8()).await.is_err());
        say(&log, "silence");
        stream.write_all(b"there?").await.unwrap();
        while told_read(&mut stream, &log).await {}
        assert!(stream.write_all(b"x").await.is_err());
        let mut again = dial().await.unwrap();
        again.write_all(b"again").await.unwrap();
        told_read(&mut again, &log).await;
    });
    bench.run(SEC);
    bench.world().power_loss(bench.far);
    assert!(bench.world().start(bench.far, "p", Box::pin(async {})).is_err());
    bench.run(SEC * 50);
    bench.world().power_on(bench.far);
    bench.echo();
    bench.run(SEC * 100);
    assert_eq!(said(&bench.log), ["hello", "silence", "ConnectionReset", "again"]);
}

#[test]
fn a_machine_that_comes_back_resets_who_had_written_meanwhile() {
    let bench = Bench::new(1);
    bench.echo();
    let log = bench.log.clone();
    bench.start(bench.near, async move {
        let mut stream = dial().await.unwrap();
        sleep(SEC * 2).await;
        stream.write_all(b"into the dark").await.unwrap();
        told_read(&mut stream, &log).await;
    });
    bench.run(SEC);
    bench.world().power_loss(bench.far);
    bench.run(SEC * 50);
    assert_eq!(said(&bench.log), [""; 0]);
    bench.world().power_on(bench.far);
    bench.run(SEC);
    assert_eq!(said(&bench.log), ["ConnectionReset"]);
}

#[test]
fn half_close_lets_the_other_direction_go_on() {
    let bench = Bench::new(1);
    let log = bench.log.clone();
    bench.start(bench.far, async move {
        let listener = TcpListener::bind(FAR.parse().unwrap()).await.unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_string(), "10.0.0.1");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        stream.write_all(format!("{} bytes", heard.len()).as_bytes()).await.unwrap();
    });
    bench.start(bench.near, async move {
        let mut stream = dial().await.unwrap();
        stream.write_all(&vec![7; 200_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(stream.write_all(b"x").await.is_err());
        while told_read(&mut stream, &log).await {}
    });
    bench.run(SEC);
    assert_eq!(said(&bench.log), ["200000 bytes", "end"]);
}

#[test]
fn a_frozen_process_stands_still_and_loses_nothing() {
    let bench = Bench::new(1);
    let echo = bench.echo();
    bench.run(MS * 5);
    bench.world().freeze(echo);
    bench.hear();
    bench.run(SEC * 5);
    assert_eq!(said(&bench.log), ["connected"]);
    assert!(bench.world().thaw(echo) > 0);
    bench.run(SEC);
    assert_eq!(said(&bench.log), ["connected", "hello"]);
}

#[test]
fn a_writer_waits_for_a_reader_that_stands_still() {
    let bench = Bench::new(1);
    let log = bench.log.clone();
    let reader = bench.start(bench.far, async {
        let listener = TcpListener::bind(FAR.parse().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        sleep(SEC).await;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), 2_000_000);
    });
    bench.start(bench.near, async move {
        let mut stream = dial().await.unwrap();
        stream.write_all(&vec![7; 2_000_000]).await.unwrap();
        say(&log, "written");
    });
    bench.run(MS * 500);
    bench.world().freeze(reader);
    bench.run(SEC * 20);
    assert_eq!(said(&bench.log), [""; 0]);
    bench.world().thaw(reader);
    bench.run(SEC * 5);
    assert_eq!(said(&bench.log), ["written"]);
    assert!(!bench.world().running(reader) && bench.world().panics().is_empty(), "{:?}", bench.world().panics());
}

#[test]
fn connections_can_be_reset_from_outside() {
    let bench = Bench::new(1);
    bench.echo();
    bench.hear();
    bench.run(SEC);
    assert_eq!(bench.world().reset_connections(bench.near, bench.far), 1);
    bench.run(SEC);
    assert_eq!(said(&bench.log), ["connected", "hello", "ConnectionReset"]);
    assert_eq!(bench.world().link_counters(bench.near, bench.far).resets, 1);
    assert_eq!(bench.world().reset_connections(bench.near, bench.far), 0);
}

#[test]
fn names_follow_a_machine_that_moves() {
    let bench = Bench::new(1);
    let echo = bench.echo();
    let log = bench.log.clone();
    let ask = |name: &'static str| {
        let log = log.clone();
        bench.start(bench.near, async move {
            match lookup_host(name).await {
                Ok(found) => say(&log, &format!("{found:?}")),
                Err(error) => say(&log, &format!("{:?}", error.kind())),
            }
        });
        bench.run(MS * 10);
    };
    ask("far:1");
    ask("nobody:1");
    bench.world().kill(echo);
    bench.world().set_address(bench.far, [10, 0, 0, 7].into());
    bench.world().set_dns("both", &[[10, 0, 0, 1].into(), [10, 0, 0, 7].into()]);
    ask("FAR.:1");
    ask("both:1");
    assert_eq!(said(&log), ["[10.0.0.2:1]", "NotFound", "[10.0.0.7:1]", "[10.0.0.1:1, 10.0.0.7:1]"]);
    bench.start(bench.far, async {
        let listener = TcpListener::bind("0.0.0.0:700".parse().unwrap()).await.unwrap();
        let second = TcpListener::bind("10.0.0.7:700".parse().unwrap()).await.map(drop).map_err(|e| e.kind());
        assert_eq!(second, Err(std::io::ErrorKind::AddrInUse));
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"here").await.unwrap();
    });
    bench.start(bench.near, async move {
        let mut stream = connect("far:700").await.unwrap();
        while told_read(&mut stream, &log).await {}
    });
    bench.run(SEC);
    assert_eq!(said(&bench.log)[4..], ["here", "end"]);
    assert!(bench.world().panics().is_empty(), "{:?}", bench.world().panics());
}

#[test]
fn a_link_of_its_own_is_as_slow_lossy_and_narrow_as_it_is_told() {
    let began = |rule: Option<LinkRule>| {
        let bench = Bench::new(1);
        bench.echo();
        let world = bench.world();
        world.set_link(bench.near, bench.far, rule);
        assert_eq!((world.link(bench.near, bench.far), world.link(bench.far, bench.near)), (rule, None));
        let log = bench.log.clone();
        bench.start(bench.near, async move {
            let mut stream = dial().await.unwrap();
            let began = Instant::now();
            for _ in 0..20 {
                stream.write_all(&[7; 1000]).await.unwrap();
                let mut heard = [0; 1000];
                stream.read_exact(&mut heard).await.unwrap();
            }
            let took = began.elapsed().as_millis();
            say(&log, &took.to_string());
        });
        bench.run(SEC * 100);
        assert_eq!(world.link_counters(bench.near, bench.far).ruled > 0, rule.is_some());
        said(&bench.log)[0].parse::<u64>().unwrap()
    };
    let latency = Latency::Const(MS * 100);
    let plain = LinkRule { latency: Latency::Const(Duration::ZERO), ..LinkRule::default() };
    assert!((40..100).contains(&began(None)));
    assert!((2000..2100).contains(&began(Some(LinkRule { latency, ..plain }))));
    assert!((1000..1100).contains(&began(Some(LinkRule { bandwidth: Some(20_000), ..plain }))));
    let half = Ratio { num: 1, den: 2 };
    assert!(began(Some(LinkRule { loss: half, ..plain })) > 1000);
}

#[test]
fn each_machine_has_its_clock() {
    let bench = Bench::new(1);
    bench.world().set_clock(bench.near, Clock { drift_ppm: 100_000, offset_ns: 5_000_000_000 });
    let log = bench.log.clone();
    bench.start(bench.near, async move {
        sleep(SEC * 11).await;
        say(&log, &format!("{}", crate::rt::time::wall().as_secs()));
    });
    bench.run(MS * 9_990);
    assert_eq!(said(&bench.log), [""; 0]);
    bench.run(MS * 20);
    let wall = crate::world::engine::hosts::EPOCH.as_secs() + 11 + 5;
    assert_eq!(*lock(&bench.log), [(11_000, wall.to_string())]);
}

#[test]
fn tasks_that_wake_each_other_for_ever_end_the_run() {
    let budget = Budget { polls_at_once: 10_000, ..Budget::default() };
    let world = Madsim::new(Seed(1), budget, Recorder::default());
    let lab = Lab::new(Seed(1), world);
    let host = lab.world.add_host("a", [10, 0, 0, 1].into());
    let spin = async {
        loop {
            crate::rt::time::yield_now().await;
        }
    };
    lab.world.start(host, "p", Box::pin(spin)).unwrap();
    assert_eq!(lab.world.run_until(SimTime::from_secs(100)), Stop::Livelock);
}
