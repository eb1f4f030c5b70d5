//! What an injected fault did to the world, how to take it back, and how to tell that it acted.

use crate::base::{HostId, SimTime};
use crate::world::disk::FaultId;

/// Takes a part of a fault back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// Mends one cut.
    Unblock(HostId, HostId),
    /// Gives a link its rule back.
    Link(HostId, HostId),
    /// Turns a disk fault off.
    Disk(FaultId),
    /// Lets the member's program go on.
    Thaw(usize),
    /// Starts the member's program again, with power if it has none. Only the heal phase and `restart_after` do it.
    Restart(usize),
    /// Kills the member's program if it still heeds its SIGTERM.
    EndGrace(usize),
}

impl Undo {
    /// Whether `heal` takes it back; a stopped program is restarted by `restart` or at the end only.
    pub const fn by_heal(self) -> bool {
        !matches!(self, Self::Restart(_) | Self::EndGrace(_))
    }
}

/// Where the proof of effect is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Counted when the fault was injected or taken back.
    Counted(u64),
    /// Segments that these directions ate since: (from, to, count at injection).
    Blocked(Vec<(HostId, HostId, u64)>),
    /// Segments that went under another rule since.
    Ruled(Vec<(HostId, HostId, u64)>),
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
    /// What the effect is counted in.
    pub counted: &'static str,
    /// Proof.
    pub effect: Effect,
    /// What is still to be taken back: when (never: by heal), which member it concerns, how.
    pub undo: Vec<(Option<SimTime>, usize, Undo)>,
}
