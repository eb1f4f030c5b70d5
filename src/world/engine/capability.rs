//! What engines can do, as a table that programs ask and people read.
//!
//! Rule: a fault that needs what an engine lacks is skipped by name, never done by halves in silence. `Partly` is done,
//! and the remark says what differs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a scenario or a check may need of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// A connect into a cut or to a dead host stays unanswered.
    BlackHoledConnect,
    /// A connect takes a round trip.
    Handshake,
    /// One direction ends, the other goes on.
    HalfClose,
    /// Peers of a killed process learn it at once, by FIN or RST.
    Reset,
    /// Peers of a host without power learn nothing.
    SilentPowerLoss,
    /// What was lost on the way is sent again.
    Retransmission,
    /// A sender waits for a receiver that does not read.
    Backpressure,
    /// Cut both directions.
    Partition,
    /// Cut one direction.
    OneWayPartition,
    /// Keep back both directions and let all arrive later.
    Hold,
    /// Keep back one direction.
    OneWayHold,
    /// Each link as slow as it is told.
    LinkLatency,
    /// Each link as lossy as it is told; streams survive.
    LinkLoss,
    /// Links have a width.
    Bandwidth,
    /// Reset what connects two hosts, from outside.
    ConnectionReset,
    /// Refuse or drop attempts to connect, and leave alone what is connected.
    ConnectFault,
    /// A host's resolver can be broken or slow.
    ResolverFault,
    /// Each host has its own clock.
    HostClock,
    /// Time is finer than a millisecond.
    SubMillisecond,
    /// Seeds explore orders of tasks.
    Interleaving,
    /// A process stands still and its kernel does not.
    Freeze,
    /// A host comes back under another address.
    NewAddress,
    /// Names are looked up, change, and may not be answered.
    NameService,
    /// The engine tells that nothing will ever happen again.
    Idle,
}

impl Capability {
    /// All, in the order of the table.
    pub const ALL: [Self; 24] = [
        Self::BlackHoledConnect,
        Self::Handshake,
        Self::HalfClose,
        Self::Reset,
        Self::SilentPowerLoss,
        Self::Retransmission,
        Self::Backpressure,
        Self::Partition,
        Self::OneWayPartition,
        Self::Hold,
        Self::OneWayHold,
        Self::LinkLatency,
        Self::LinkLoss,
        Self::Bandwidth,
        Self::ConnectionReset,
        Self::ConnectFault,
        Self::ResolverFault,
        Self::HostClock,
        Self::SubMillisecond,
        Self::Interleaving,
        Self::Freeze,
        Self::NewAddress,
        Self::NameService,
        Self::Idle,
    ];

    /// In a few words, as the table has it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::BlackHoledConnect => "black-holed connect",
            Self::Handshake => "handshake takes a round trip",
            Self::HalfClose => "half close",
            Self::Reset => "a killed process's peers are told",
            Self::SilentPowerLoss => "silent power loss",
            Self::Retransmission => "retransmission",
            Self::Backpressure => "backpressure",
            Self::Partition => "partition",
            Self::OneWayPartition => "partition of one direction",
            Self::Hold => "held links",
            Self::OneWayHold => "one direction held",
            Self::LinkLatency => "latency per link",
            Self::LinkLoss => "loss per link",
            Self::Bandwidth => "bandwidth",
            Self::ConnectionReset => "connections reset from outside",
            Self::ConnectFault => "connects refused or dropped",
            Self::ResolverFault => "broken resolver",
            Self::HostClock => "a clock per host",
            Self::SubMillisecond => "time below a millisecond",
            Self::Interleaving => "interleaving by seed",
            Self::Freeze => "frozen process",
            Self::NewAddress => "a new address after a restart",
            Self::NameService => "name service",
            Self::Idle => "a dead world is noticed",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// Whether an engine can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// As real systems do.
    Yes,
    /// In a way; the remark says what differs.
    Partly,
    /// Not at all.
    No,
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        })
    }
}

/// What one engine can do of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Of what.
    pub capability: Capability,
    /// Whether.
    pub support: Support,
    /// How, or what differs; may be empty.
    pub remark: &'static str,
}

/// A row of something that the engine can do.
pub const fn yes(capability: Capability, remark: &'static str) -> Row {
    Row { capability, support: Support::Yes, remark }
}

/// A row of something that the engine can do in a way.
pub const fn partly(capability: Capability, remark: &'static str) -> Row {
    Row { capability, support: Support::Partly, remark }
}

/// A row of something that the engine cannot do.
pub const fn no(capability: Capability, remark: &'static str) -> Row {
    Row { capability, support: Support::No, remark }
}

/// What the table says; a capability without a row is not there.
pub fn support(table: &[Row], capability: Capability) -> Support {
    table.iter().find(|row| row.capability == capability).map_or(Support::No, |row| row.support)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::engine::EngineKind;

    #[test]
    fn every_engine_has_a_row_for_each_capability_in_order_and_says_why_not() {
        for kind in EngineKind::ALL {
            let table = kind.capabilities();
            let order: Vec<Capability> = table.iter().map(|row| row.capability).collect();
            assert_eq!(order, Capability::ALL, "{kind}");
            let silent = table.iter().find(|row| row.support != Support::Yes && row.remark.is_empty());
            assert_eq!(silent, None, "{kind} does not say why");
        }
    }

    #[test]
    fn a_missing_row_is_no() {
        assert_eq!(support(&[partly(Capability::Hold, "x")], Capability::Hold), Support::Partly);
        assert_eq!(support(&[], Capability::Hold), Support::No);
    }
}
