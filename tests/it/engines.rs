//! What programs rely on whatever the engine: each engine's known trap, sprung on every engine of the build.
//!
//! | trap | whose | how it is closed |
//! |---|---|---|
//! | bytes sent into a cut are lost and their stream hangs | turmoil | requests have deadlines and leave the stream |
//! | connections that wait for `accept` beyond `tcp_capacity` panic | turmoil | the capacity is that of Linux |
//! | tasks drop in an order that depends on what the process ran before | turmoil | they lie in a table of our own |
//! | bytes leave on flush only, and each flush is a packet | madsim | a write is a packet, a flush is nothing |
//! | a restart without a kill keeps the sockets bound | madsim | power that comes back was cut by a kill |
//! | `watch` and unbiased `select` draw from a generator of the process | tokio | `rt` has its own, first come first served |
//!
//! What an engine does with sockets besides is `conformance`'s.

use std::future::Future;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stormglass::base::{HostId, Seed, SimTime, lock};
use stormglass::rt::net::{TcpListener, TcpStream};
use stormglass::rt::task::spawn;
use stormglass::rt::time::sleep;
use stormglass::rt::{Either, chan, chance, select2};
use stormglass::stack::wire::rpc::{Channel, Context, Protocol, serve};
use stormglass::trace::Digest;
use stormglass::world::engine::{EngineKind, Plan, build};
use stormglass::world::lab::Lab;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FAR: &str = "10.0.0.2:700";
const SEC: Duration = Duration::from_secs(1);

type Log = Arc<Mutex<Vec<String>>>;

/// Two machines on one engine.
struct Bench {
    lab: Lab,
    near: HostId,
    far: HostId,
    log: Log,
}

impl Bench {
    fn new(engine: EngineKind, seed: u64) -> Self {
        let seed = Seed(seed);
        let lab = Lab::of(seed, build(engine, Plan { seed, ..Plan::default() }).unwrap());
        let near = lab.world.add_host("near", [10, 0, 0, 1].into());
        let far = lab.world.add_host("far", [10, 0, 0, 2].into());
        Self { lab, near, far, log: Log::default() }
    }

    fn start(&self, host: HostId, program: impl Future<Output = ()> + Send + 'static) {
        self.lab.world.start(host, "p", Box::pin(program)).unwrap();
    }

    fn run_until(&self, second: u64) {
        self.lab.world.run_until(SimTime::from_secs(second));
        let panics = self.lab.world.panics();
        assert!(panics.is_empty(), "{}: {panics:?}", self.lab.world.kind());
    }

    fn cut(&self, cut: bool) {
        for (from, to) in [(self.near, self.far), (self.far, self.near)] {
            if cut { self.lab.world.block(from, to) } else { self.lab.world.unblock(from, to) }
        }
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.log))
    }
}

/// Runs `test` on every engine of the build.
fn on_each(test: impl Fn(EngineKind)) {
    let built = EngineKind::built();
    let asked = if cfg!(feature = "second-opinions") { 3 } else { 1 };
    assert_eq!(built.len(), asked, "built without the flags of .cargo/config.toml: {built:?}");
    built.into_iter().for_each(test);
}

async fn listen() -> TcpListener {
    TcpListener::bind(FAR.parse().unwrap()).await.unwrap()
}

async fn dial() -> TcpStream {
    TcpStream::connect(FAR.parse().unwrap()).await.unwrap()
}

struct Echo;

impl Protocol for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u16 = 1;
    type Request = u32;
    type Response = u32;
}

#[test]
fn a_request_into_a_cut_ends_at_its_deadline_and_the_next_one_is_answered() {
    on_each(|engine| {
        let bench = Bench::new(engine, 1);
        bench.start(bench.far, async {
            serve::<Echo>(listen().await, |request: u32, _: Context| async move { request }).await;
        });
        let log = bench.log.clone();
        bench.start(bench.near, async move {
            let channel = Channel::<Echo>::new(FAR);
            for (request, pause, within) in [(1, 2, 5), (2, 10, 3), (3, 0, 60)] {
                let reply = channel.call(request, SEC * within).await;
                let said = reply.map_or_else(|why| why.to_string(), |reply| reply.to_string());
                lock(&log).push(said);
                sleep(SEC * pause).await;
            }
        });
        bench.run_until(1);
        bench.cut(true);
        bench.run_until(10);
        assert_eq!(bench.said(), ["1", "no reply in time"], "{engine}");
        bench.cut(false);
        bench.run_until(100);
        assert_eq!(bench.said(), ["3"], "{engine}");
    });
}

#[test]
fn a_thousand_connections_may_wait_for_accept() {
    const MANY: usize = 1000;
    on_each(|engine| {
        let bench = Bench::new(engine, 1);
        let log = bench.log.clone();
        bench.start(bench.far, async move {
            let listener = listen().await;
            sleep(SEC * 5).await;
            let mut all = Vec::new();
            for _ in 0..MANY {
                all.push(listener.accept().await.unwrap().0);
            }
            let mut heard = 0;
            for mut stream in all {
                heard += usize::from(stream.read_u8().await.unwrap());
            }
            lock(&log).push(heard.to_string());
        });
        bench.start(bench.near, async {
            sleep(SEC).await;
            let dialled = (0..MANY).map(|_| spawn("dialler", async { dial().await.write_u8(1).await }));
            for dialler in dialled.collect::<Vec<_>>() {
                dialler.await.unwrap().unwrap();
            }
        });
        bench.run_until(60);
        assert_eq!(bench.said(), [MANY.to_string()], "{engine}");
    });
}

#[test]
fn what_is_written_arrives_unflushed_and_a_flush_is_no_packet() {
    let round_trips = |engine, flushes: usize| {
        let bench = Bench::new(engine, 1);
        let log = bench.log.clone();
        bench.start(bench.far, async {
            let (mut stream, _) = listen().await.accept().await.unwrap();
            while let Ok(byte) = stream.read_u8().await {
                stream.write_u8(byte).await.unwrap();
            }
        });
        bench.start(bench.near, async move {
            sleep(SEC).await;
            let mut stream = dial().await;
            for byte in 0..20 {
                stream.write_u8(byte).await.unwrap();
                for _ in 0..flushes {
                    stream.flush().await.unwrap();
                }
                assert_eq!(stream.read_u8().await.unwrap(), byte);
            }
            lock(&log).push("all".into());
            sleep(SEC * 100).await;
        });
        // So many flushes, at a millisecond each, would take longer.
        bench.run_until(2);
        assert_eq!(bench.said(), ["all"], "{engine} with {flushes} flushes");
        bench.lab.world.link_counters(bench.near, bench.far).sent
    };
    on_each(|engine| assert_eq!(round_trips(engine, 0), round_trips(engine, 100), "{engine}"));
}

#[test]
fn a_host_that_had_no_power_binds_its_ports_again() {
    on_each(|engine| {
        let bench = Bench::new(engine, 1);
        let world = &bench.lab.world;
        let server = |word: &'static [u8]| async move {
            let listener = listen().await;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(word).await.unwrap();
            }
        };
        let ask = |until| {
            let log = bench.log.clone();
            bench.start(bench.near, async move {
                let mut word = String::new();
                dial().await.read_to_string(&mut word).await.unwrap();
                lock(&log).push(word);
            });
            bench.run_until(until);
        };
        bench.start(bench.far, server(b"first"));
        bench.run_until(1);
        ask(2);
        bench.lab.power_loss(bench.far);
        bench.run_until(5);
        world.power_on(bench.far);
        bench.start(bench.far, server(b"second"));
        bench.run_until(6);
        ask(7);
        // A machine that never lost its power has nothing to come back from.
        world.power_on(bench.far);
        ask(8);
        assert_eq!(bench.said(), ["first", "second", "second"], "{engine}");
    });
}

/// Watchers, selects and a crowd on one lock, on two machines, one of which is killed: all that tokio may order by chance.
fn crowd(engine: EngineKind) -> (Digest, Vec<String>) {
    let bench = Bench::new(engine, 7);
    let program = |log: Log| async move {
        let (tell, told) = chan::watch::channel(0u32);
        for watcher in 0..20 {
            let (log, mut told) = (log.clone(), told.clone());
            spawn("watcher", async move {
                while told.changed().await.is_ok() {
                    let seen = *told.borrow();
                    lock(&log).push(format!("{watcher} saw {seen}"));
                }
            });
        }
        let mut chance = chance::stream("nap");
        for turn in 1..10 {
            let nap = Duration::from_millis(10);
            match select2(sleep(nap), sleep(nap)).await {
                Either::Left(()) => lock(&log).push("left".into()),
                Either::Right(()) => lock(&log).push("right".into()),
            }
            sleep(Duration::from_millis(chance.below(5))).await;
            tell.send_replace(turn);
        }
        sleep(SEC * 100).await;
    };
    bench.start(bench.near, program(bench.log.clone()));
    let killed = bench.lab.world.start(bench.far, "p", Box::pin(program(bench.log.clone()))).unwrap();
    bench.lab.world.run_until(SimTime::from_millis(60));
    bench.lab.world.kill(killed);
    bench.run_until(1);
    (bench.lab.world.digest(), bench.said())
}

#[test]
fn watchers_and_selects_are_the_same_in_every_run_of_a_process() {
    on_each(|engine| {
        let (digest, said) = crowd(engine);
        assert!(said.len() > 200 && said.iter().all(|line| line != "right"), "{engine}: {said:?}");
        for _ in 0..3 {
            // What ran before on this thread leaves its mark on tokio's counters.
            drop(crowd(EngineKind::Glass));
            let again = crowd(engine);
            assert_eq!((again.0, &again.1), (digest, &said), "{engine}");
        }
    });
}

#[test]
fn a_seed_is_one_run_in_every_process() {
    on_each(|engine| {
        #[expect(clippy::disallowed_methods, reason = "a test of the built program starts it")]
        let checked = Command::new(env!("CARGO_BIN_EXE_stormglass"))
            .args(["check", "goosefs-leader-crash", "--seeds", "3..4", "--quiet", "--engine", engine.name()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success() && said.contains("1 of 1 seeds the same"), "{engine}: {said}");
    });
}
