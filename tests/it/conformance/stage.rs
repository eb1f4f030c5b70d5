//! The two grounds that a row plays on: a world of two machines on any engine, and two real processes on loopback.
//!
//! `near` runs in the test itself and gives orders. In the world the loop below carries them out between steps; on the
//! kernel the test's own binary is started again, with its part in the environment, so that signals to it are real.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stormglass::base::{Seed, lock};
use stormglass::rt::net::{TcpListener, TcpStream};
use stormglass::rt::time::{sleep, timeout};
#[cfg(feature = "second-opinions")]
use stormglass::trace::Recorder;
#[cfg(feature = "second-opinions")]
use stormglass::world::engine::{Budget, turmoil::Turmoil};
use stormglass::world::engine::{EngineKind, Plan, World, build};
use stormglass::world::lab::Lab;

use super::Told;
use super::table::{Row, TABLE};

/// What `near` can have done around it.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    StartFar(SocketAddr),
    KillFar,
    TerminateFar,
    FreezeFar,
    ThawFar,
    PowerOffFar,
    PowerOnFar,
    Cut,
    Mend,
}

/// The ground that a row plays on.
#[derive(Clone)]
pub enum Stage {
    World(Arc<Mutex<Vec<Order>>>),
    Kernel { row: &'static str, far: Arc<Mutex<Far>> },
}

/// The other process, ended with the row.
#[derive(Default)]
pub struct Far(Option<Child>);

impl Drop for Far {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const NEAR: &str = "10.0.0.1:0";
const FAR_CLOSED: &str = "10.0.0.2:9";
const PEER_ROW: &str = "STORMGLASS_CONFORMANCE_ROW";
const PEER_ADDR: &str = "STORMGLASS_CONFORMANCE_ADDR";

impl Stage {
    pub async fn order(&self, order: Order) -> io::Result<()> {
        match self {
            Self::World(orders) => {
                sleep(5 * STEP).await; // what was sent has arrived, as over loopback
                lock(orders).push(order);
                sleep(2 * STEP).await;
                Ok(())
            }
            Self::Kernel { row, far } => match order {
                Order::StartFar(addr) => {
                    lock(far).0 = Some(start_process(row, addr)?);
                    Ok(())
                }
                Order::KillFar => {
                    *lock(far) = Far::default();
                    Ok(())
                }
                Order::TerminateFar => signal(far, "-TERM"),
                Order::FreezeFar => {
                    signal(far, "-STOP")?;
                    while !is_stopped(far)? {}
                    Ok(())
                }
                Order::ThawFar => signal(far, "-CONT"),
                _ => panic!("{order:?}: loopback has neither power nor links"),
            },
        }
    }

    pub async fn listen(&self) -> io::Result<TcpListener> {
        let addr = if matches!(self, Self::World(_)) { NEAR } else { "127.0.0.1:0" };
        TcpListener::bind(addr.parse().unwrap()).await
    }

    /// A listener and the first connection of `far`.
    pub async fn meet(&self) -> io::Result<(TcpListener, TcpStream)> {
        let listener = self.listen().await?;
        self.order(Order::StartFar(listener.local_addr()?)).await?;
        let (stream, _) = listener.accept().await?;
        Ok((listener, stream))
    }

    /// An address that nobody listens at: another machine's where there is one.
    pub async fn closed_port(&self) -> io::Result<SocketAddr> {
        match self {
            Self::World(_) => Ok(FAR_CLOSED.parse().unwrap()),
            Self::Kernel { .. } => self.listen().await?.local_addr(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a real peer that can be killed is a real process")]
fn start_process(row: &str, addr: SocketAddr) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["conformance::the_kernel_keeps_the_table", "--exact"])
        .env(PEER_ROW, row)
        .env(PEER_ADDR, addr.to_string())
        .stdout(Stdio::null())
        .spawn()
}

#[expect(clippy::disallowed_methods, reason = "a signal to a real process")]
fn signal(far: &Mutex<Far>, name: &str) -> io::Result<()> {
    let id = far_id(far).to_string();
    let sent = Command::new("kill").args([name, &id]).status()?;
    assert!(sent.success(), "kill {name}: {sent}");
    Ok(())
}

/// Whether the other process stands still: a signal is sent before it has arrived.
#[expect(clippy::disallowed_methods, reason = "the state of a real process is a file")]
fn is_stopped(far: &Mutex<Far>) -> io::Result<bool> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", far_id(far)))?;
    Ok(stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T')))
}

fn far_id(far: &Mutex<Far>) -> u32 {
    lock(far).0.as_ref().map(Child::id).unwrap()
}

/// How often the world stops to take orders.
const STEP: Duration = Duration::from_millis(10);

/// What `near` tells of a row that does not end.
pub const HANGS: &str = "hangs";

/// World time after which a row hangs: the longest one takes 20 min.
const PATIENCE: Duration = Duration::from_secs(21 * 60);

/// An empty world. turmoil ticks through every minute of a row; a tick a step is enough for words.
fn world(engine: EngineKind, seed: Seed) -> Rc<dyn World> {
    #[cfg(feature = "second-opinions")]
    if engine == EngineKind::Turmoil {
        return Rc::new(Turmoil::new(seed, STEP, Budget::default(), Recorder::default()));
    }
    build(engine, Plan { seed, ..Plan::default() }).unwrap()
}

pub fn in_world(engine: EngineKind, row: &Row, seed: Seed) -> Told {
    let lab = Lab::of(seed, world(engine, seed));
    let world = &lab.world;
    let near = world.add_host("near", [10, 0, 0, 1].into());
    let far = world.add_host("far", [10, 0, 0, 2].into());
    let (orders, told) = (Arc::default(), Arc::new(Mutex::new(None)));
    let (program, out) = ((row.near)(Stage::World(Arc::clone(&orders))), told.clone());
    let program = async move {
        let told = program.await;
        *lock(&out) = Some(told);
    };
    world.start(near, "near", Box::pin(program)).unwrap();
    let mut peer = None;
    while lock(&told).is_none() {
        world.run_until(world.world_now() + STEP);
        if world.world_now().elapsed() > PATIENCE {
            return vec![HANGS.to_owned()];
        }
        if let Some(panic) = world.panics().first() {
            return vec![format!("panics: {}", panic.message)];
        }
        let due: Vec<Order> = std::mem::take(&mut *lock(&orders));
        for order in due {
            match order {
                Order::StartFar(addr) => {
                    let program = (row.far)(addr);
                    let program = async move {
                        // Its ends are near's to tell.
                        let _ = program.await;
                    };
                    peer = Some(world.start(far, "far", Box::pin(program)).unwrap());
                }
                Order::KillFar => peer.take().into_iter().for_each(|p| world.kill(p)),
                Order::TerminateFar => peer.into_iter().for_each(|p| world.terminate(p)),
                Order::FreezeFar => peer.into_iter().for_each(|p| world.freeze(p)),
                Order::ThawFar => peer.into_iter().for_each(|p| _ = world.thaw(p)),
                Order::PowerOffFar => world.power_loss(far),
                Order::PowerOnFar => world.power_on(far),
                Order::Cut => [(near, far), (far, near)].into_iter().for_each(|(a, b)| world.block(a, b)),
                Order::Mend => [(near, far), (far, near)].into_iter().for_each(|(a, b)| world.unblock(a, b)),
            }
        }
    }
    let told = lock(&told).take().unwrap();
    told.unwrap_or_else(|error: io::Error| vec![format!("fails: {:?}", error.kind())])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn on_kernel(row: &Row) -> Told {
    let stage = Stage::Kernel { row: row.name, far: Arc::default() };
    let play = async { timeout(Duration::from_secs(120), (row.near)(stage)).await };
    match runtime().block_on(play) {
        Ok(told) => told.unwrap(),
        Err(_) => panic!("{}: hangs", row.name),
    }
}

/// Plays `far` if this process was started as the other side of a row.
#[expect(clippy::disallowed_methods, reason = "the other process learns its part from its environment")]
pub fn plays_far() -> bool {
    let (Ok(row), Ok(addr)) = (std::env::var(PEER_ROW), std::env::var(PEER_ADDR)) else { return false };
    let row = TABLE.iter().find(|r| r.name == row).unwrap();
    // Its ends are near's to tell.
    let _ = runtime().block_on((row.far)(addr.parse().unwrap()));
    true
}
