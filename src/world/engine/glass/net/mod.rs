//! The simulated network: kernels, links and names, as a pure state machine.
//!
//! Rule: nothing here waits or does I/O. The engine calls in with the time and a place to schedule events, gives the
//! events back when they are due, and polls with std's wakers (woken from inside the calls, so the engine's wakers
//! must only push to a queue of their own). Stale keys and events of an older generation change nothing.
//!
//! TCP follows Linux: refused, black-holed and timed-out handshakes, buffers and backpressure, half close, FIN versus
//! RST, retransmission in time. One event per segment in the healthy case. `Differs:` no TIME_WAIT, no keepalive, no
//! congestion control, no IPv6; a segment is up to 64 KiB and its acknowledgement is implicit in its arrival.

pub mod config;
mod conn;
pub mod dns;
mod faults;
mod flow;
mod handshake;
mod hosts;
mod link;
mod slab;
mod socket;
mod transmit;

#[cfg(test)]
mod tests;

use std::io;

use self::config::NetConfig;
use self::conn::{Conn, Side};
use self::dns::{Dns, Lookup};
use self::handshake::Listener;
use self::hosts::Hosts;
use self::link::Links;
use self::slab::{Slab, SlabKey};
use crate::base::{HostId, ProcessId, Seed, SimTime};
use crate::rt::backend::SocketKey;

/// The program that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its machine.
    pub host: HostId,
    /// Its incarnation.
    pub process: ProcessId,
}

/// What every call may need of the engine.
pub struct Ctx<'a> {
    /// World time.
    pub now: SimTime,
    /// Arranges for [`Net::on_event`] at that time. Events of the same time come in the order of these calls.
    pub schedule: &'a mut dyn FnMut(SimTime, NetEvent),
    /// Takes what happened.
    pub trace: &'a mut dyn FnMut(NetTrace),
}

impl Ctx<'_> {
    fn at(&mut self, time: SimTime, event: NetEvent) {
        (self.schedule)(time, event);
    }

    fn note(&mut self, line: NetTrace) {
        (self.trace)(line);
    }
}

/// Something that is due: opaque to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetEvent {
    key: SlabKey,
    /// Epoch of a flow or number of a timer, where the kind has one.
    number: u32,
    kind: Kind,
    side: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A segment from `side` arrives at the other end.
    Segment,
    /// A SYN, SYN-ACK or ACK of the handshake arrives; `side` sent it.
    Syn,
    SynAck,
    Ack,
    /// The handshake timer of `side` fires.
    HandshakeTimer,
    /// Nobody answered for the address.
    Unreachable,
    /// A RST from `side` arrives at the other end.
    Reset,
    /// A window update arrives at `side`.
    Window,
    /// The retransmission timer of `side` fires.
    Retry,
    /// The resolver has answered, or was given up.
    Lookup,
}

impl NetEvent {
    fn new(kind: Kind, key: SlabKey, side: Side, number: u32) -> Self {
        Self { key, number, kind, side: side as u8 }
    }
}

/// One thing that happened, for the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetTrace {
    /// What.
    pub what: NetWhat,
    /// Serial number of the connection (of the lookup for names).
    pub conn: u64,
    /// Who sent or did it.
    pub from: HostId,
    /// The other side.
    pub to: HostId,
    /// Payload bytes where there are some.
    pub bytes: u64,
    /// CRC32C of payload that arrived, else 0.
    pub digest: u64,
}

/// What can happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetWhat {
    /// A port listens; `bytes` is its number.
    Listen,
    /// A SYN left.
    Syn,
    /// The connecting end is established.
    Connected,
    /// The accepting end is established and waits for `accept`.
    Queued,
    /// A program took it from the queue.
    Accepted,
    /// Bytes arrived.
    Data,
    /// The last bytes and the FIN arrived.
    Fin,
    /// A segment was lost by chance.
    Lost,
    /// A segment was eaten by a partition.
    Blocked,
    /// A segment is held by a fault.
    Held,
    /// A segment found no kernel that is up.
    Silence,
    /// A segment was sent again.
    Retransmit,
    /// A RST arrived.
    Reset,
    /// An end gave up: `TimedOut`.
    TimedOut,
    /// An end gave up: `HostUnreachable`.
    Unreachable,
    /// A SYN was dropped because the listener's queue is full.
    BacklogFull,
    /// A lookup ended; `bytes` is the number of addresses.
    Lookup,
}

impl NetWhat {
    /// One word for traces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Syn => "syn",
            Self::Connected => "connected",
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Data => "data",
            Self::Fin => "fin",
            Self::Lost => "lost",
            Self::Blocked => "blocked",
            Self::Held => "held",
            Self::Silence => "silence",
            Self::Retransmit => "retransmit",
            Self::Reset => "reset",
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
            Self::BacklogFull => "backlog-full",
            Self::Lookup => "lookup",
        }
    }
}

/// All machines' kernels, the links between them and the resolver.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
    hosts: Hosts,
    links: Links,
    conns: Slab<Conn>,
    listeners: Slab<Listener>,
    lookups: Slab<Lookup>,
    dns: Dns,
    serial: u64,
}

/// What a key names. Two low bits of it are the kind, thirty the slot, the high half the generation.
enum Target {
    Conn(SlabKey, Side),
    Listener(SlabKey),
    Lookup(SlabKey),
}

impl Target {
    fn key(self) -> SocketKey {
        let (key, tag) = match self {
            Self::Conn(key, side) => (key, side as u64),
            Self::Listener(key) => (key, 2),
            Self::Lookup(key) => (key, 3),
        };
        SocketKey(u64::from(key.generation) << 32 | u64::from(key.slot) << 2 | tag)
    }

    fn of(key: SocketKey) -> Self {
        let slab = SlabKey { slot: (key.0 as u32) >> 2, generation: (key.0 >> 32) as u32 };
        match key.0 & 3 {
            2 => Self::Listener(slab),
            3 => Self::Lookup(slab),
            side => Self::Conn(slab, side as Side),
        }
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Net {
    /// A network without hosts. `seed` is the run's: links, hosts and resolver fork their chance from it.
    pub fn new(seed: Seed, config: NetConfig) -> Self {
        Self {
            config,
            hosts: Hosts::default(),
            links: Links::new(seed, config.link, config.loopback),
            conns: Slab::default(),
            listeners: Slab::default(),
            lookups: Slab::default(),
            dns: Dns::new(seed),
            serial: 0,
        }
    }

    /// The parameters.
    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// Connections of which some kernel or program still knows.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// An event is due.
    pub fn on_event(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        let (key, side) = (event.key, Side::from(event.side & 1));
        match event.kind {
            Kind::Segment => self.on_segment(cx, event),
            Kind::Syn => self.on_syn(cx, event),
            Kind::SynAck => self.on_synack(cx, event),
            Kind::Ack => self.on_ack(cx, event),
            Kind::HandshakeTimer => self.on_handshake_timer(cx, key, side),
            Kind::Unreachable => self.on_unreachable(cx, key),
            Kind::Reset => self.on_reset(cx, event),
            Kind::Window => self.on_window(cx, event),
            Kind::Retry => self.on_retry(cx, key, side, event.number),
            Kind::Lookup => self.on_lookup(cx, key),
        }
    }
}
