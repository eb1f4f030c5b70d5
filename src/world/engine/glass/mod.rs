//! Glass: our engine. Single-threaded and event-driven, with a clock in nanoseconds that jumps to the next event, and the
//! next ready task picked by the seed.
//!
//! Rules: no borrow is held while foreign code runs (a poll, a destructor, a hook). No allocation per wake. Whatever a
//! dead process's destructors ask for is refused. Time moves only when nothing is ready.

mod engine;
mod machine;
pub mod net;
pub mod queue;
mod run;
mod tasks;
mod waker;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

use self::net::{Ctx, Net, NetEvent, NetTrace};
use self::queue::Queue;
use self::tasks::Tasks;
use super::capability::{Capability as C, Row, yes};
use super::hosts::Hosts;
use super::{Budget, Exit, Panic, Schedule};
use crate::base::{HostId, ProcessId, Seed, SimTime, TaskId};
use crate::trace::{Kind, Recorder};

/// What glass can do.
pub const CAPABILITIES: &[Row] = &[
    yes(C::BlackHoledConnect, "SYNs are sent again with Linux' back-off for 127 s"),
    yes(C::Handshake, "one round trip over the link"),
    yes(C::HalfClose, ""),
    yes(C::Reset, "FIN, or RST where unread bytes are left"),
    yes(C::SilentPowerLoss, ""),
    yes(C::Retransmission, "a stream survives a short cut and times out in a long one"),
    yes(C::Backpressure, "by bytes of send and receive buffers"),
    yes(C::Partition, ""),
    yes(C::OneWayPartition, ""),
    yes(C::Hold, ""),
    yes(C::OneWayHold, ""),
    yes(C::LinkLatency, "each direction its own, any distribution"),
    yes(C::LinkLoss, "single or in bursts"),
    yes(C::Bandwidth, "segments queue"),
    yes(C::ConnectionReset, ""),
    yes(C::ConnectFault, ""),
    yes(C::ResolverFault, "no such name, silence, old answers, slow ones"),
    yes(C::HostClock, "drift and offset"),
    yes(C::SubMillisecond, "nanoseconds"),
    yes(C::Interleaving, "the seed picks the next ready task"),
    yes(C::Freeze, "the kernel goes on acknowledging until its buffers are full"),
    yes(C::NewAddress, ""),
    yes(C::NameService, "latency, a dead resolver, names that change"),
    yes(C::Idle, "a world in which nothing will ever happen is seen at once"),
];

/// A world run by the glass engine.
pub struct Glass {
    seed: Seed,
    budget: Budget,
    now: Cell<SimTime>,
    steps: Cell<u64>,
    current: Cell<Option<Running>>,
    waits_for: Cell<&'static str>,
    queue: RefCell<Queue<Due>>,
    tasks: RefCell<Tasks>,
    /// Room for the tasks that were woken; empty between two slices.
    woken: Cell<Vec<TaskId>>,
    hosts: RefCell<Hosts>,
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
    /// Whether the host's monotonic clock is the world's, as most are: then nobody need ask the host.
    on_time: bool,
}

/// What an event of the queue does.
enum Due {
    Wake(Waker),
    Net(NetEvent),
}

impl Glass {
    /// A world with everything at its default, for tests and benches.
    pub fn plain(seed: Seed) -> Self {
        Self::new(seed, Schedule::default(), Budget::default(), net::config::NetConfig::default(), Recorder::default())
    }

    /// A world without hosts, at time zero.
    pub fn new(seed: Seed, schedule: Schedule, budget: Budget, net: net::config::NetConfig, trace: Recorder) -> Self {
        // Whatever an earlier world of this thread left woken is nobody's now.
        waker::drain(&mut Vec::new());
        Self {
            seed,
            budget,
            now: Cell::new(SimTime::ZERO),
            steps: Cell::new(0),
            current: Cell::new(None),
            waits_for: Cell::new(""),
            queue: RefCell::default(),
            tasks: RefCell::new(Tasks::new(schedule, seed.stream("sched", 0))),
            woken: Cell::default(),
            hosts: RefCell::default(),
            net: RefCell::new(Net::new(seed, net)),
            trace: RefCell::new(trace),
            streams: RefCell::default(),
            panics: RefCell::default(),
            on_exit: RefCell::default(),
        }
    }

    fn trace(&self, host: Option<HostId>, kind: Kind) {
        self.trace.borrow_mut().record(self.now.get(), host, kind);
    }

    /// Lets the network act, with the queue and the trace at hand.
    fn with_net<R>(&self, act: impl FnOnce(&mut Net, &mut Ctx<'_>) -> R) -> R {
        let now = self.now.get();
        let mut queue = self.queue.borrow_mut();
        let mut trace = self.trace.borrow_mut();
        let mut ctx = Ctx {
            now,
            schedule: &mut |at, event| {
                queue.push(at.max(now), Due::Net(event));
            },
            trace: &mut |line: NetTrace| trace.record(now, Some(line.from), net_kind(line)),
        };
        act(&mut self.net.borrow_mut(), &mut ctx)
    }

    /// Acts on the network's configuration: links, faults, counters. For the harness, between runs.
    pub fn network<R>(&self, act: impl FnOnce(&mut Net, &mut Ctx<'_>) -> R) -> R {
        self.with_net(act)
    }
}

fn net_kind(line: NetTrace) -> Kind {
    Kind::Net { what: line.what.word(), peer: line.to, conn: line.conn, bytes: line.bytes as u32, digest: line.digest }
}
