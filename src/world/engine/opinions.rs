//! What the second opinions can do, told also by a build that does not have them.
//!
//! Rows are what the crate does as it comes, seen through our thin engine over it; the engines' tests hold them to it.

use super::capability::{Capability as C, Row, no, partly, yes};

/// turmoil 0.7.2 at a tick of 1 ms.
pub const TURMOIL: &[Row] = &[
    partly(C::BlackHoledConnect, "to a host without power; a cut refuses at once"),
    no(C::Handshake, "the answer to a SYN takes no time and passes cuts"),
    yes(C::HalfClose, ""),
    yes(C::Reset, "FIN, or RST where unread bytes are left"),
    yes(C::SilentPowerLoss, "the engine drops the sockets out of turmoil's sight, whose own crash sends FIN"),
    no(C::Retransmission, "bytes sent into a cut are gone and their stream hangs"),
    partly(C::Backpressure, "by segments, 4096 of any size"),
    yes(C::Partition, ""),
    yes(C::OneWayPartition, ""),
    yes(C::Hold, ""),
    no(C::OneWayHold, "a hold is of both directions"),
    partly(C::LinkLatency, "both directions alike, whole milliseconds, exponential between lowest and highest"),
    no(C::LinkLoss, "a loss breaks the link and every stream on it"),
    no(C::Bandwidth, ""),
    no(C::ConnectionReset, ""),
    yes(C::HostClock, "drift and offset, kept by the engine"),
    no(C::SubMillisecond, "tokio's timers; a message waits for the next tick"),
    partly(C::Interleaving, "the order of hosts within a tick; tasks of a host run first in, first out"),
    yes(C::Freeze, "the engine holds the process's tasks back"),
    yes(C::NewAddress, "as a new host of turmoil"),
    partly(C::NameService, "names change; answers take no time and never fail to come"),
    no(C::Idle, "it ticks on"),
];

/// madsim 0.2.34.
pub const MADSIM: &[Row] = &[
    partly(C::BlackHoledConnect, "not built yet"),
    partly(C::Handshake, "not built yet"),
    partly(C::HalfClose, "not built yet"),
    partly(C::Reset, "not built yet"),
    partly(C::SilentPowerLoss, "not built yet"),
    partly(C::Retransmission, "not built yet"),
    partly(C::Backpressure, "not built yet"),
    partly(C::Partition, "not built yet"),
    partly(C::OneWayPartition, "not built yet"),
    partly(C::Hold, "not built yet"),
    partly(C::OneWayHold, "not built yet"),
    partly(C::LinkLatency, "not built yet"),
    partly(C::LinkLoss, "not built yet"),
    partly(C::Bandwidth, "not built yet"),
    partly(C::ConnectionReset, "not built yet"),
    partly(C::HostClock, "not built yet"),
    partly(C::SubMillisecond, "not built yet"),
    partly(C::Interleaving, "not built yet"),
    partly(C::Freeze, "not built yet"),
    partly(C::NewAddress, "not built yet"),
    partly(C::NameService, "not built yet"),
    partly(C::Idle, "not built yet"),
];
