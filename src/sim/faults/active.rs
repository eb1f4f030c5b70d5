//! What an injected fault did to the world, how to take it back, and how to tell that it acted.

use crate::base::{HostId, SimTime};
use crate::world::disk::FaultId;
use crate::world::engine::LinkCounters;

/// Takes a part of a fault back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// Mends one cut.
    Unblock(HostId, HostId),
    /// Lets what was held pass.
    Release(HostId, HostId),
    /// Takes this fault's rule off a link.
    Link(HostId, HostId),
    /// Lets connects of a direction pass again.
    Connects(HostId, HostId),
    /// Mends a host's resolver.
    Dns(HostId),
    /// Turns a disk fault off.
    Disk(FaultId),
    /// Lets the member's program go on.
    Thaw(usize),
    /// Starts the member's program again, with power if it has none. Only the heal phase and `restart_after` do it.
    Restart(usize),
    /// Kills the member's program if it still heeds its SIGTERM: the start that was told, and no later one.
    EndGrace(usize, u32),
}

impl Undo {
    /// Whether `heal` takes it back; a stopped program is restarted by `restart` or at the end only.
    pub const fn by_heal(self) -> bool {
        !matches!(self, Self::Restart(_) | Self::EndGrace(..))
    }

    /// The direction that is free of the fault afterwards.
    pub const fn link(self) -> Option<(HostId, HostId)> {
        match self {
            Self::Unblock(from, to) | Self::Release(from, to) | Self::Link(from, to) | Self::Connects(from, to) => {
                Some((from, to))
            }
            Self::Dns(_) | Self::Disk(_) | Self::Thaw(_) | Self::Restart(_) | Self::EndGrace(..) => None,
        }
    }
}

/// A number of a link's counters.
pub type Counter = fn(&LinkCounters) -> u64;

/// What a direction counted while a fault was on it.
#[derive(Debug, Clone, Copy)]
pub struct LinkSpan {
    /// Who sends.
    pub from: HostId,
    /// Who should receive.
    pub to: HostId,
    /// The counter when the fault began.
    pub before: u64,
    /// The counter when it ended; none while it lasts.
    pub after: Option<u64>,
}

/// What a host's lookups counted while a fault was on its resolver.
#[derive(Debug, Clone, Copy)]
pub struct LookupSpan {
    /// Who asks.
    pub host: HostId,
    /// The counter when the fault began.
    pub before: u64,
    /// The counter when it ended; none while it lasts.
    pub after: Option<u64>,
}

/// Where the proof of effect is counted.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Counted when the fault was injected or taken back.
    Counted(u64),
    /// Segments of these directions, from the fault's beginning to its end.
    Links(Counter, Vec<LinkSpan>),
    /// Lookups that hosts' resolvers spoiled, from the fault's beginning to its end.
    Lookups(Vec<LookupSpan>),
    /// Calls that disk faults spoiled.
    Disk(Vec<FaultId>),
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Active {
    /// In the scenario's words.
    pub fault: String,
    /// Names of the hosts it was aimed at.
    pub hosts: Vec<String>,
    /// When.
    pub at: SimTime,
    /// Whether a disk under it takes no writes.
    pub refuses_writes: bool,
    /// What the effect is counted in.
    pub counted: &'static str,
    /// Proof.
    pub effect: Effect,
    /// What is still to be taken back: when (never: by heal), which member it concerns, how.
    pub undo: Vec<(Option<SimTime>, usize, Undo)>,
    /// Why it was left out, if the engine cannot express it.
    pub skipped: Option<String>,
}
