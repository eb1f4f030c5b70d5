//! A connection: two ends and the two directions between them, in one place.
//!
//! Rule: each end is judged by its own kernel only. What the other side knows arrives by event, never by looking
//! across, except for the simplifications that `flow.rs` names.

use std::net::SocketAddrV4;
use std::task::Waker;

use super::config::TcpConfig;
use super::flow::Flow;
use super::link::LinkId;
use super::slab::SlabKey;
use super::{NetTrace, NetWhat, Owner};
use crate::base::{HostId, SimTime};

/// One end of a connection: 0 connected, 1 accepted. Also the direction that this end sends.
pub type Side = usize;

/// What an end's kernel thinks of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The accepting side before a SYN came.
    Idle,
    /// SYN sent.
    SynSent,
    /// SYN-ACK sent.
    SynReceived,
    /// Established, half closes included.
    Up,
    /// The kernel has forgotten it, or keeps only the error for its program. It answers segments with RST.
    Dead,
    /// The kernel itself is gone with its power.
    Gone,
}

/// Who holds an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A program, until it closes.
    Program(Owner),
    /// A listener's queue, until accepted.
    Listener(SlabKey),
    /// Nobody: the kernel finishes what was written.
    Nobody,
}

/// One end.
#[derive(Debug)]
pub struct End {
    /// Its machine.
    pub host: HostId,
    /// Its address.
    pub addr: SocketAddrV4,
    /// Its state.
    pub phase: Phase,
    /// Who holds it.
    pub holder: Holder,
    /// An errno that the program has not been told yet.
    pub error: Option<i32>,
    /// Waits for bytes or their end.
    pub reader: Option<Waker>,
    /// Waits for the handshake or for room.
    pub writer: Option<Waker>,
    /// The handshake's retransmission timer runs.
    pub armed: bool,
    /// SYNs or SYN-ACKs sent again so far.
    pub attempts: u32,
    /// When the last of them left.
    pub syn_at: SimTime,
}

impl End {
    /// An end in `phase`.
    pub fn new(host: HostId, addr: SocketAddrV4, phase: Phase, holder: Holder) -> Self {
        Self {
            host,
            addr,
            phase,
            holder,
            error: None,
            reader: None,
            writer: None,
            armed: false,
            attempts: 0,
            syn_at: SimTime::ZERO,
        }
    }

    /// Wakes whoever waits for the end to become readable.
    pub fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Wakes whoever waits for the handshake or for room.
    pub fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Nobody can observe this end any more.
    pub fn is_forgotten(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Dead | Phase::Gone) && self.holder == Holder::Nobody
    }
}

/// Two ends and what travels between them. `flow[s]` and `link[s]` lead from end `s` to the other.
#[derive(Debug)]
pub struct Conn {
    /// Number since the world began; shown by traces.
    pub serial: u64,
    /// The ends.
    pub end: [End; 2],
    /// The directions.
    pub flow: [Flow; 2],
    /// Their links.
    pub link: [LinkId; 2],
    /// The connecting machine's port is still taken.
    pub port_taken: bool,
}

impl Conn {
    /// A connection of which only the connecting end exists so far.
    pub fn new(serial: u64, client: End, server: End, tcp: &TcpConfig) -> Self {
        let flow = || Flow::new(tcp.send_buffer, tcp.receive_buffer);
        Self { serial, end: [client, server], flow: [flow(), flow()], link: [LinkId::LOOPBACK; 2], port_taken: true }
    }

    /// A trace line about something that end `from` sent or did.
    pub fn line(&self, what: NetWhat, from: Side, bytes: u64) -> NetTrace {
        let (src, dst) = (self.end[from].host, self.end[1 - from].host);
        NetTrace { what, conn: self.serial, from: src, to: dst, bytes, digest: 0 }
    }

    /// Ends the connection in the eyes of end `side`; its program learns `error`.
    pub fn kill(&mut self, side: Side, error: Option<i32>) {
        let end = &mut self.end[side];
        end.phase = Phase::Dead;
        end.error = error;
        end.wake_reader();
        end.wake_writer();
        self.flow[side].forget_unsent();
    }

    /// A RST reached end `side`. A program that has seen the peer's FIN gets `EPIPE`, as from Linux' `tcp_reset`.
    pub fn reset(&mut self, side: Side) {
        let error = match self.end[side].phase {
            Phase::SynSent => libc::ECONNREFUSED,
            Phase::Up if self.flow[1 - side].fin_delivered() => libc::EPIPE,
            Phase::Up | Phase::SynReceived => libc::ECONNRESET,
            Phase::Idle | Phase::Dead | Phase::Gone => return,
        };
        self.kill(side, Some(error));
    }

    /// The power of end `side` is lost.
    pub fn vanish(&mut self, side: Side) {
        let end = &mut self.end[side];
        end.phase = Phase::Gone;
        end.holder = Holder::Nobody;
        (end.reader, end.writer, end.error) = (None, None, None);
        self.flow[side].forget_unsent();
    }

    /// A kernel is through with an end whose program let go, whose FIN arrived, and that will hear nothing more.
    /// `Differs:` no TIME_WAIT; FIN_WAIT2 ends when the peer's kernel has forgotten the connection, not after 60 s.
    pub fn settle(&mut self) {
        for side in 0..2 {
            let peer_gone = matches!(self.end[1 - side].phase, Phase::Dead | Phase::Gone);
            let heard_all = self.flow[1 - side].fin_delivered() || peer_gone;
            let end = &mut self.end[side];
            if end.phase == Phase::Up && end.holder == Holder::Nobody && self.flow[side].finished() && heard_all {
                end.phase = Phase::Dead;
            }
        }
    }
}
