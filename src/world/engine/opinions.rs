//! What the second opinions can do, told also by a build that does not have them.
//!
//! Rows are what the crate does as it comes, seen through our thin engine over it; the engines' tests hold them to it.

use super::capability::{Capability as C, Row, no, partly, yes};

/// turmoil 0.7.2 at a tick of 1 ms.
pub const TURMOIL: &[Row] = &[
    partly(C::BlackHoledConnect, "to a host without power; a cut refuses at once"),
    no(C::Handshake, "the answer to a SYN comes with `accept`, takes no time and passes cuts"),
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
    no(C::Bandwidth, "links are as wide as need be"),
    no(C::ConnectionReset, "nothing outside reaches a stream"),
    no(C::ConnectFault, "a cut is of connections too"),
    no(C::ResolverFault, "lookups take no time and always succeed"),
    yes(C::HostClock, "drift and offset, kept by the engine"),
    no(C::SubMillisecond, "tokio's timers; a message waits for the next tick"),
    partly(C::Interleaving, "the order of hosts within a tick; tasks of a host run first in, first out"),
    partly(C::Freeze, "the engine holds the process's tasks back; connects to it stay unanswered"),
    yes(C::NewAddress, "as a new host of turmoil"),
    partly(C::NameService, "names change; answers take no time and never fail to come"),
    no(C::Idle, "it ticks on"),
];

/// madsim 0.2.34.
pub const MADSIM: &[Row] = &[
    yes(C::BlackHoledConnect, "the engine sends SYNs again for 127 s; madsim itself refuses at once"),
    partly(C::Handshake, "three milliseconds, and the round trip of a link with a rule of its own"),
    yes(C::HalfClose, "as a message of the engine's; madsim itself has none"),
    yes(C::Reset, "FIN, or RST where unread bytes are left, as messages of the engine's"),
    yes(C::SilentPowerLoss, "the engine asks madsim no more; madsim itself tells at once, and through cuts"),
    partly(C::Retransmission, "after 1 ms to 10 s, for ever: a stream never times out"),
    yes(C::Backpressure, "512 KiB, kept by the engine; madsim itself takes whatever is written"),
    yes(C::Partition, ""),
    yes(C::OneWayPartition, ""),
    partly(C::Hold, "as a cut: what was held arrives up to 10 s after the release"),
    partly(C::OneWayHold, "as a cut: what was held arrives up to 10 s after the release"),
    partly(C::LinkLatency, "the engine holds messages back; madsim has one range for all, a millisecond at least"),
    partly(C::LinkLoss, "what is lost comes later, by the engine; madsim has one rate for all"),
    partly(C::Bandwidth, "the engine holds messages back"),
    yes(C::ConnectionReset, "kept by the engine"),
    no(C::ConnectFault, "a cut is of connections too"),
    no(C::ResolverFault, "every answer takes a millisecond and is right"),
    yes(C::HostClock, "drift and offset, kept by the engine"),
    no(C::SubMillisecond, "no sleep and no message takes less than a millisecond"),
    yes(C::Interleaving, "the seed picks the next ready task; it cannot be told to go first in, first out"),
    yes(C::Freeze, "the engine holds the process's tasks back"),
    yes(C::NewAddress, ""),
    partly(C::NameService, "names change; every answer takes a millisecond"),
    partly(C::Idle, "seen after 11 s without a turn of any task"),
];
