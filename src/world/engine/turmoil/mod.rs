//! turmoil 0.7 as an engine: a second opinion on glass.
//!
//! Each of our hosts is a host of turmoil with its own paused tokio runtime; turmoil gives the clock, the timers, the order
//! of tasks and hosts, and the way of every message. A process is a group of tasks of one host. Futures and sockets lie
//! in our own tables and turmoil's tasks only point at them: so a process ends at once and in an order of its own,
//! whereas tokio drops tasks in an order that depends on whatever the thread ran before. Nothing that turmoil lacks is
//! made up here beyond clocks, pauses and counters; what is left of it is in the table of capabilities.

mod engine;
mod links;
mod machine;
mod sockets;
mod tasks;
mod timers;
mod turn;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use ::turmoil::{Builder, Sim};
use tokio::sync::Notify;

use self::links::Links;
use self::sockets::Sockets;
use self::tasks::Tasks;
use self::timers::Timers;
use super::hosts::{EPOCH, Hosts};
use super::{Budget, Exit, Panic, Stop};
use crate::base::{HostId, ProcessId, Seed, SimTime, TaskId};
use crate::trace::{Kind, Recorder};

/// turmoil's own default. A message waits for the next tick, and timers are as coarse as a millisecond anyway.
pub const TICK: Duration = Duration::from_millis(1);
/// Segments in a stream and connections that wait for `accept`; with more of these turmoil panics. `somaxconn` of Linux.
const CAPACITY: usize = 4096;
/// Longer than any run; turmoil measures in whole ticks.
const FOR_EVER: Duration = Duration::from_secs(1 << 40);
/// turmoil's links are at most so slow until a rule says otherwise.
const LATENCY: Duration = Duration::from_micros(500);

/// A world run by turmoil.
pub struct Turmoil {
    sim: RefCell<Sim<'static>>,
    core: Rc<Core>,
}

/// What the engine shares with turmoil's tasks.
struct Core {
    seed: Seed,
    budget: Budget,
    /// World time; hosts take their turns within a tick one after the other, and it never goes back.
    now: Cell<SimTime>,
    /// World time as the host sees it whose turn it is.
    local: Cell<SimTime>,
    current: Cell<Option<Running>>,
    waits_for: Cell<&'static str>,
    tasks: RefCell<Tasks>,
    hosts: RefCell<Hosts>,
    machines: RefCell<Vec<Machine>>,
    sockets: RefCell<Sockets>,
    links: RefCell<Links>,
    timers: RefCell<Timers>,
    trace: RefCell<Recorder>,
    streams: RefCell<BTreeMap<(ProcessId, String), u64>>,
    panics: RefCell<Vec<Panic>>,
    on_exit: RefCell<Option<ExitHook>>,
    steps: Cell<u64>,
    /// Polls in this tick.
    polls: Cell<u64>,
    /// Set when the tick had too many: nothing is polled any more.
    livelock: Cell<bool>,
}

type ExitHook = Box<dyn Fn(HostId, ProcessId, Exit)>;

/// The task whose code runs now.
#[derive(Clone, Copy)]
struct Running {
    process: ProcessId,
    host: HostId,
    name: &'static str,
    alive: bool,
}

/// What is to be done in the sight of a host's runtime, at its next turn.
#[derive(Default)]
struct Machine {
    bell: Rc<Notify>,
    starting: Vec<TaskId>,
    closing: Vec<sockets::Socket>,
    /// Addresses that turmoil knows as this host.
    addresses: BTreeSet<Ipv4Addr>,
}

impl Turmoil {
    /// A world without hosts, at time zero, that moves by `tick`.
    pub fn new(seed: Seed, tick: Duration, budget: Budget, trace: Recorder) -> Self {
        let sim = Builder::new()
            .epoch(SystemTime::UNIX_EPOCH + EPOCH)
            .simulation_duration(FOR_EVER)
            .tick_duration(tick)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(LATENCY)
            .tcp_capacity(CAPACITY)
            .ephemeral_ports(32768..=60999)
            .enable_random_order()
            .rng_seed(seed.stream("turmoil", 0).bits())
            .build();
        let core = Core {
            seed,
            budget,
            now: Cell::default(),
            local: Cell::default(),
            current: Cell::default(),
            waits_for: Cell::default(),
            tasks: RefCell::default(),
            hosts: RefCell::default(),
            machines: RefCell::default(),
            sockets: RefCell::default(),
            links: RefCell::default(),
            timers: RefCell::default(),
            trace: RefCell::new(trace),
            streams: RefCell::default(),
            panics: RefCell::default(),
            on_exit: RefCell::default(),
            steps: Cell::default(),
            polls: Cell::default(),
            livelock: Cell::default(),
        };
        Self { sim: RefCell::new(sim), core: Rc::new(core) }
    }

    /// A world with everything at its default, for tests.
    pub fn plain(seed: Seed) -> Self {
        Self::new(seed, TICK, Budget::default(), Recorder::default())
    }

    fn run(&self, until: SimTime) -> Stop {
        let core = &self.core;
        while core.now.get() < until {
            core.polls.set(0);
            let mut sim = self.sim.borrow_mut();
            if let Err(error) = sim.step() {
                unreachable!("a machine never ends, and yet turmoil says: {error}");
            }
            core.now.set(core.now.get().max(SimTime::ZERO + sim.elapsed()));
            drop(sim);
            core.steps.set(core.steps.get() + 1);
            if core.livelock.get() {
                return Stop::Livelock;
            }
            if core.steps.get() > core.budget.events {
                return Stop::Events;
            }
            if core.trace.borrow().written() > core.budget.trace_bytes {
                return Stop::TraceBytes;
            }
        }
        Stop::Reached
    }
}

impl Core {
    fn trace(&self, host: Option<HostId>, kind: Kind) {
        self.trace.borrow_mut().record(self.now.get(), host, kind);
    }

    /// Takes the time of the host whose turn it is.
    fn look_at_clock(&self) {
        let Some(elapsed) = ::turmoil::sim_elapsed() else { return };
        self.local.set(SimTime::ZERO + elapsed);
        self.now.set(self.now.get().max(self.local.get()));
    }

    /// Runs foreign code as `running`.
    fn within<R>(&self, running: Running, code: impl FnOnce() -> R) -> R {
        let before = self.current.replace(Some(running));
        let out = code();
        self.current.set(before);
        out
    }

    fn machine<R>(&self, host: HostId, act: impl FnOnce(&mut Machine) -> R) -> R {
        act(&mut self.machines.borrow_mut()[host.0 as usize])
    }

    /// Gives a host something to do in the sight of its runtime.
    fn order(&self, host: HostId, order: impl FnOnce(&mut Machine)) {
        self.machine(host, |machine| {
            order(machine);
            machine.bell.notify_one();
        });
    }
}
