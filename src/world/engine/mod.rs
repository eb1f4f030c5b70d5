//! Engines: what gives a world its time, its tasks and its network.
//!
//! [`World`] is the whole of what the harness asks of an engine; disks, volumes, under-stores, Kubernetes, faults and
//! oracles stand above it and are shared by all engines. `glass` is ours.

pub mod capability;
pub mod glass;
mod hosts;
pub mod kind;
mod latency;
mod link;
#[cfg(all(feature = "second-opinions", madsim))]
pub mod madsim;
pub mod opinions;
#[cfg(feature = "second-opinions")]
pub mod turmoil;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

pub use self::capability::{Capability, Row, Support};
pub use self::kind::{EngineKind, Plan, Unavailable, build};
pub use self::latency::Latency;
pub use self::link::{Burst, DnsFault, LinkCounters, LinkRule, Ratio, SynPolicy};
use crate::base::{HostId, ProcessId, SimTime};
use crate::rt::backend::{BoxFuture, Engine};
use crate::trace::{Digest, Event, Kind, Listener};

/// How a host's clocks differ from the world's.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Parts per million by which the monotonic clock runs fast (or slow, if negative). Above -1,000,000.
    pub drift_ppm: i64,
    /// Nanoseconds by which the wall clock is ahead (or behind).
    pub offset_ns: i64,
}

/// What bounds a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Timer and network events and polls.
    pub events: u64,
    /// Bytes of the trace file.
    pub trace_bytes: u64,
    /// Polls without time moving on.
    pub polls_at_once: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { events: 500_000_000, trace_bytes: 8 << 30, polls_at_once: 1_000_000 }
    }
}

/// How the next ready task is picked, where an engine can choose.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// By the seed's scheduling stream, so that seeds explore interleavings.
    #[default]
    Seeded,
    /// First ready, first run.
    Fifo,
}

/// Why the world stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The time asked for is reached.
    Reached,
    /// Nothing is scheduled and nothing is ready: no task will ever run again by itself.
    Idle,
    /// The budget of events is spent.
    Events,
    /// The budget of trace bytes is spent.
    TraceBytes,
    /// Tasks wake each other without time moving on.
    Livelock,
}

/// A task that has not ended, for the deadlock report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its host's name.
    pub host: String,
    /// Its process's name.
    pub process: String,
    /// Its own name.
    pub task: &'static str,
    /// What it waits for.
    pub waits_for: &'static str,
    /// Since when.
    pub since: SimTime,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, process, task, waits_for, since } = self;
        write!(f, "{host} {process} {task}: waits for {waits_for} since {since:.3}")
    }
}

/// A panic of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// When.
    pub at: SimTime,
    /// Where.
    pub host: String,
    /// Task name.
    pub task: &'static str,
    /// Message of the panic.
    pub message: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Its main future returned.
    Returned,
    /// Its main future panicked.
    Panicked,
    /// Killed (SIGKILL): the kernel closes its sockets and keeps its written pages.
    Killed,
    /// The power went: nothing says good-bye, unsynced data go.
    PowerLoss,
}

impl Exit {
    /// One word for traces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Panicked => "panicked",
            Self::Killed => "killed",
            Self::PowerLoss => "power-loss",
        }
    }
}

/// A simulated world as the harness sees it. All calls come from outside of tasks.
///
/// What an engine cannot do is in its table of capabilities, which whoever asks for it looks at first: a call that is
/// beyond the engine changes nothing.
pub trait World: Engine {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;
    /// What the engine can do; a row for every [`Capability`].
    fn capabilities(&self) -> &'static [Row];
    /// Whether, and how far, the engine can do it.
    fn can(&self, capability: Capability) -> Support {
        capability::support(self.capabilities(), capability)
    }

    /// World time, whatever the hosts' clocks show.
    fn world_now(&self) -> SimTime {
        self.world_time()
    }
    /// Adds a host that is powered and runs nothing. `name` resolves to `ip`.
    fn add_host(&self, name: &str, ip: Ipv4Addr) -> HostId;
    /// The host's name.
    fn host_name(&self, host: HostId) -> String;
    /// Gives a restarted host another address; `name` resolves to it from now on.
    fn set_address(&self, host: HostId, ip: Ipv4Addr);
    /// Drift and offset now.
    fn clock(&self, host: HostId) -> Clock;
    /// Sets drift and offset from now on. The monotonic clock goes on from where it is; the wall clock jumps.
    fn set_clock(&self, host: HostId, clock: Clock);
    /// Adds or replaces a name; no addresses make it unknown.
    fn set_dns(&self, name: &str, addresses: &[IpAddr]);

    /// Cuts the direction `from` to `to`. Cuts count: as many [`World::unblock`] mend it.
    fn block(&self, from: HostId, to: HostId);
    /// Takes one cut back.
    fn unblock(&self, from: HostId, to: HostId);
    /// Keeps everything in that direction until released. Holds count as cuts do.
    fn hold(&self, from: HostId, to: HostId);
    /// Takes one hold back; with the last one everything held arrives.
    fn release(&self, from: HostId, to: HostId);
    /// The rule that a direction has of its own, if it has one.
    fn link(&self, from: HostId, to: HostId) -> Option<LinkRule>;
    /// The rule of every link that has none of its own.
    fn default_link(&self) -> LinkRule;
    /// Gives a direction a rule of its own, or the default back.
    fn set_link(&self, from: HostId, to: HostId, rule: Option<LinkRule>);
    /// Sets the rule of every link that has none of its own.
    fn set_default_link(&self, rule: LinkRule);
    /// Resets all connections between two hosts, as a middlebox that lost its state; gives their number.
    fn reset_connections(&self, a: HostId, b: HostId) -> u64;
    /// Sets what happens to attempts to connect from `from` to `to`; connections that stand go on.
    fn set_syn_policy(&self, _from: HostId, _to: HostId, _policy: SynPolicy) {}
    /// Breaks the resolver of a host, or mends it.
    fn set_dns_fault(&self, _host: HostId, _fault: Option<DnsFault>) {}
    /// Gives the resolver of a host a latency of its own, or the default back.
    fn set_dns_latency(&self, _host: HostId, _latency: Option<Latency>) {}
    /// Lookups of a host that a fault or a latency of its own changed so far.
    fn dns_affected(&self, _host: HostId) -> u64 {
        0
    }
    /// What a direction carried since the world began, and what faults did to it.
    fn link_counters(&self, from: HostId, to: HostId) -> LinkCounters;

    /// Starts a program on a powered host. It ends when `program` returns, and takes its tasks with it.
    ///
    /// # Errors
    /// `HostUnreachable` if the host has no power.
    fn start(&self, host: HostId, name: &str, program: BoxFuture) -> io::Result<ProcessId>;
    /// Whether the process lives.
    fn running(&self, process: ProcessId) -> bool;
    /// How many processes have ended so far, by themselves or not; none from an engine that does not count them.
    fn ended(&self) -> Option<u64> {
        None
    }
    /// The host of a process.
    fn host_of(&self, process: ProcessId) -> HostId;
    /// SIGTERM: the program is told; it may take its time.
    fn terminate(&self, process: ProcessId);
    /// SIGKILL.
    fn kill(&self, process: ProcessId);
    /// All processes of the host are gone without a word, and so is its kernel.
    fn power_loss(&self, host: HostId);
    /// The kernel of a host that lost power is up again; nothing runs on it.
    fn power_on(&self, host: HostId);
    /// Stops a process in its tracks (a GC pause); the kernel goes on for it.
    fn freeze(&self, process: ProcessId);
    /// Lets a frozen process go on; gives how many of its tasks had become ready meanwhile.
    fn thaw(&self, process: ProcessId) -> usize;
    /// Called when a process ends, so that whoever keeps state for it can let go. One hook a world.
    fn on_exit(&self, hook: Box<dyn Fn(HostId, ProcessId, Exit)>);

    /// Runs until world time `until`, or until something stops it.
    fn run_until(&self, until: SimTime) -> Stop;
    /// Tasks that have not ended.
    fn pending(&self) -> Vec<Pending>;
    /// Panics so far.
    fn panics(&self) -> Vec<Panic>;
    /// Ends all processes; what their destructors do reaches nothing.
    fn shut_down(&self);

    /// Adds an event of the harness to the trace.
    fn record(&self, host: Option<HostId>, kind: Kind);
    /// Hash of the trace so far.
    fn digest(&self) -> Digest;
    /// Events of the trace so far.
    fn events(&self) -> u64;
    /// The last events, oldest first.
    fn recent(&self) -> Vec<Event>;
    /// Tells `listener` of every text in the trace from now on.
    fn listen(&self, listener: Listener);
    /// Ends the trace file.
    ///
    /// # Errors
    /// The first write that failed.
    fn finish_trace(&self) -> io::Result<()>;
}
