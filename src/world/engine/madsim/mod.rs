//! madsim 0.2 as an engine: a second opinion on glass.
//!
//! madsim gives the clock, the timers, the order of ready tasks and the way of every message; each host is one of its
//! nodes. Processes are groups of tasks of ours within a node. The futures of tasks lie in our own table and madsim's tasks
//! only point at them, so that a process ends at once and in an order of its own, whatever madsim does with its tasks.
//! What madsim lacks is added where a program would notice and it costs little (half close, reset, power loss without a
//! word, silent connects); what is left of it is in the table of capabilities. Runs repeat from the first one of a process
//! on: madsim draws everything from one generator, so a seed means the same only within one build.

mod engine;
mod machine;
mod net;
mod run;
mod tasks;
mod timers;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ::madsim::net::NetSim;
use ::madsim::runtime::{NodeHandle, Runtime};
use ::madsim::time::TimeHandle;

use self::net::Net;
use self::tasks::Tasks;
use self::timers::Timers;
use super::hosts::Hosts;
use super::{Budget, Exit, Panic, Stop};
use crate::base::{HostId, ProcessId, Seed, SimTime};
use crate::trace::{Kind, Recorder};

/// A world run by madsim.
pub struct Madsim(Rc<State>);

impl Deref for Madsim {
    type Target = Rc<State>;

    fn deref(&self) -> &Rc<State> {
        &self.0
    }
}

/// What the engine and its tasks share.
pub struct State {
    seed: Seed,
    budget: Budget,
    runtime: Runtime,
    time: TimeHandle,
    links: Arc<NetSim>,
    steps: Cell<u64>,
    /// The second of the world, and the polls in it.
    polls: Cell<(u64, u64)>,
    /// When a task was last polled.
    polled: Cell<SimTime>,
    stop: Cell<Option<Stop>>,
    on_stop: RefCell<Option<Waker>>,
    /// Tasks whose turn came after the budget was spent.
    parked: RefCell<Vec<Waker>>,
    current: Cell<Option<Running>>,
    waits_for: Cell<&'static str>,
    timers: RefCell<Timers>,
    tasks: RefCell<Tasks>,
    hosts: RefCell<Hosts>,
    /// madsim's side of each host; a reboot is a new one.
    nodes: RefCell<Vec<NodeHandle>>,
    net: RefCell<Net>,
    trace: RefCell<Recorder>,
    streams: RefCell<BTreeMap<(ProcessId, String), u64>>,
    panics: RefCell<Vec<Panic>>,
    on_exit: RefCell<Option<ExitHook>>,
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

impl Madsim {
    /// A world without hosts, at time zero.
    pub fn new(seed: Seed, budget: Budget, trace: Recorder) -> Self {
        let runtime = Runtime::with_seed_and_config(seed.fork("madsim", 0).0, Default::default());
        let (time, links) = runtime.block_on(async { (TimeHandle::current(), NetSim::current()) });
        let state = State {
            seed,
            budget,
            runtime,
            time,
            links,
            steps: Cell::new(0),
            polls: Cell::new((0, 0)),
            polled: Cell::new(SimTime::ZERO),
            stop: Cell::new(None),
            on_stop: RefCell::default(),
            parked: RefCell::default(),
            current: Cell::new(None),
            waits_for: Cell::new(""),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            hosts: RefCell::default(),
            nodes: RefCell::default(),
            net: RefCell::default(),
            trace: RefCell::new(trace),
            streams: RefCell::default(),
            panics: RefCell::default(),
            on_exit: RefCell::default(),
        };
        state.net.borrow_mut().links.seed = seed;
        state.apply_default_link();
        Self(Rc::new(state))
    }

    /// A world with everything at its default, for tests and benches.
    pub fn plain(seed: Seed) -> Self {
        Self::new(seed, Budget::default(), Recorder::default())
    }
}

impl State {
    fn trace(&self, host: Option<HostId>, kind: Kind) {
        let now = self.elapsed();
        self.trace.borrow_mut().record(now, host, kind);
    }

    /// madsim's clock.
    fn elapsed(&self) -> SimTime {
        SimTime::ZERO + self.time.elapsed()
    }

    /// The task that asks, if its process lives.
    fn asker(&self) -> Option<Running> {
        self.current.get().filter(|running| running.alive)
    }

    /// Runs foreign code as `running`.
    fn within<R>(&self, running: Running, code: impl FnOnce() -> R) -> R {
        let before = self.current.replace(Some(running));
        let out = code();
        self.current.set(before);
        out
    }
}

thread_local! {
    static HERE: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

/// Makes `state` the world of this thread's madsim tasks until the guard is dropped.
fn enter(state: Rc<State>) -> Entered {
    Entered(HERE.with(|here| here.replace(Some(state))))
}

struct Entered(Option<Rc<State>>);

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.with(|here| *here.borrow_mut() = self.0.take());
    }
}

/// The world whose tasks run; they run within [`State::run`] only.
fn here() -> Rc<State> {
    let state = HERE.with(|here| here.borrow().clone());
    let Some(state) = state else { unreachable!("madsim polls only while the world runs") };
    state
}
