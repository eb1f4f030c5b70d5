//! From SYN to `accept`: listening, connecting, the three packets, their timers, the listener's queue.
//!
//! Follows Linux: SYNs are sent again after 1, 3, 7, 15, 31 and 63 s and given up at 127 s; a full queue drops the SYN;
//! a closed port answers RST. An ACK that got lost is repaired by the first data or by the server's SYN-ACK timer.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::task::{Context, Poll, Waker};

use super::conn::{Conn, End, Holder, Phase, Side};
use super::hosts::v4;
use super::slab::SlabKey;
use super::{Ctx, Kind, Net, NetEvent, NetTrace, NetWhat, Owner, Target, errno};
use crate::base::SimTime;
use crate::rt::backend::SocketKey;
use crate::world::engine::SynPolicy;

const CLIENT: Side = 0;
const SERVER: Side = 1;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    /// Who holds it.
    pub owner: Owner,
    /// Where it listens.
    pub addr: SocketAddrV4,
    /// Established and not yet accepted, oldest first.
    pub queue: VecDeque<SlabKey>,
    /// Handshakes under way.
    pub pending: u32,
    waker: Option<Waker>,
}

impl Net {
    /// Binds and listens. Port 0 picks a free one. Errors: `AddrInUse`, `AddrNotAvailable`.
    pub fn listen(&mut self, cx: &mut Ctx<'_>, owner: Owner, addr: SocketAddr) -> io::Result<SocketKey> {
        let mut addr = v4(addr)?;
        let host = self.hosts.get_mut(owner.host).ok_or_else(|| errno(libc::ENETDOWN))?;
        if addr.port() == 0 {
            addr.set_port(host.free_port()?);
        }
        host.may_bind(addr)?;
        let key = self.listeners.insert(Listener { owner, addr, queue: VecDeque::new(), pending: 0, waker: None });
        host.listening.push((addr, key));
        let (host, bytes) = (owner.host, addr.port().into());
        cx.note(NetTrace { what: NetWhat::Listen, conn: 0, from: host, to: host, bytes, digest: 0 });
        Ok(Target::Listener(key).key())
    }

    /// The next established connection and its peer's address.
    pub fn poll_accept(
        &mut self,
        cx: &mut Ctx<'_>,
        listener: SocketKey,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(SocketKey, SocketAddr)>> {
        let Target::Listener(slot) = Target::of(listener) else { return Poll::Ready(Err(errno(libc::EINVAL))) };
        let Some(listener) = self.listeners.get_mut(slot) else { return Poll::Ready(Err(errno(libc::EBADF))) };
        while let Some(key) = listener.queue.pop_front() {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.end[SERVER].holder = Holder::Program(listener.owner);
                cx.note(conn.line(NetWhat::Accepted, SERVER, 0));
                return Poll::Ready(Ok((Target::Conn(key, SERVER).key(), SocketAddr::V4(conn.end[CLIENT].addr))));
            }
        }
        super::socket::store(&mut listener.waker, context);
        Poll::Pending
    }

    /// Sends the SYN; see [`Net::poll_connected`]. Errors: no free port (`AddrNotAvailable`), IPv6.
    pub fn connect(&mut self, cx: &mut Ctx<'_>, owner: Owner, to: SocketAddr) -> io::Result<SocketKey> {
        let mut to = v4(to)?;
        if to.ip().is_unspecified() {
            to.set_ip(Ipv4Addr::LOCALHOST);
        }
        let host = self.hosts.get_mut(owner.host).ok_or_else(|| errno(libc::ENETDOWN))?;
        let ip = if to.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { host.ip };
        let from = SocketAddrV4::new(ip, host.borrow_port()?);
        let client = End::new(owner.host, from, Phase::SynSent, Holder::Program(owner));
        let server = End::new(owner.host, to, Phase::Idle, Holder::Nobody);
        self.serial += 1;
        let key = self.conns.insert(Conn::new(self.serial, client, server, &self.config.tcp));
        self.send_syn(cx, key);
        Ok(Target::Conn(key, CLIENT).key())
    }

    /// Ready once established, or with `ConnectionRefused`, `TimedOut`, `HostUnreachable`.
    pub fn poll_connected(&mut self, stream: SocketKey, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((conn, side)) = self.held(stream) else { return Poll::Ready(Err(errno(libc::EBADF))) };
        let end = &mut conn.end[side];
        match end.phase {
            Phase::SynSent => {
                super::socket::store(&mut end.writer, context);
                Poll::Pending
            }
            Phase::Up => Poll::Ready(Ok(())),
            _ => Poll::Ready(match end.error.take() {
                Some(code) => Err(errno(code)),
                None => Ok(()),
            }),
        }
    }

    fn send_syn(&mut self, cx: &mut Ctx<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let from = conn.end[CLIENT].host;
        conn.end[CLIENT].syn_at = cx.now;
        let Some(to) = self.hosts.owner(from, *conn.end[SERVER].addr.ip()) else {
            match self.config.tcp.unreachable_after {
                Some(wait) => cx.at(cx.now + wait, NetEvent::new(Kind::Unreachable, key, CLIENT, 0)),
                None => self.arm_handshake(cx, key),
            }
            return;
        };
        conn.end[SERVER].host = to;
        conn.link = [self.links.id(from, to), self.links.id(to, from)];
        let link = conn.link[CLIENT];
        cx.note(conn.line(NetWhat::Syn, CLIENT, 0));
        match self.links.syn(link) {
            SynPolicy::Pass => self.send_handshake(cx, key, CLIENT, Kind::Syn),
            SynPolicy::Drop => self.arm_handshake(cx, key),
            SynPolicy::Refuse => match self.links.send(link, cx.now, 0) {
                Ok(there) => cx.at(there + (there - cx.now), NetEvent::new(Kind::Reset, key, SERVER, 0)),
                Err(_) => self.arm_handshake(cx, key),
            },
        }
    }

    /// Sends one of the handshake's packets; if it is lost, whoever waits for the answer has a timer.
    fn send_handshake(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side, kind: Kind) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match self.links.send(conn.link[side], cx.now, 0) {
            Ok(arrival) => {
                let flow = &mut conn.flow[side];
                let arrival = arrival.max(SimTime(flow.last_arrival.0 + 1));
                flow.last_arrival = arrival;
                flow.round_trip = (arrival - cx.now) * 2;
                cx.at(arrival, NetEvent::new(kind, key, side, 0));
            }
            Err(cause) => {
                cx.note(conn.line(cause.what(), side, 0));
                self.arm_handshake(cx, key);
            }
        }
    }

    /// A packet of the handshake did not get through: starts the timer of the end that will send again.
    fn arm_handshake(&mut self, cx: &mut Ctx<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let side = if conn.end[CLIENT].phase == Phase::SynSent { CLIENT } else { SERVER };
        let end = &mut conn.end[side];
        if matches!(end.phase, Phase::SynSent | Phase::SynReceived) && !end.armed {
            end.armed = true;
            let due = (end.syn_at + self.config.tcp.syn_wait(end.attempts)).max(cx.now);
            cx.at(due, NetEvent::new(Kind::HandshakeTimer, key, side, 0));
        }
    }

    pub(super) fn on_handshake_timer(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = &mut conn.end[side];
        end.armed = false;
        if !matches!(end.phase, Phase::SynSent | Phase::SynReceived) {
            return;
        }
        end.attempts += 1;
        let attempts = end.attempts;
        if side == CLIENT {
            if attempts <= self.config.tcp.syn_retries {
                return self.send_syn(cx, key);
            }
            cx.note(conn.line(NetWhat::TimedOut, side, 0));
            conn.kill(side, Some(libc::ETIMEDOUT));
        } else {
            end.syn_at = cx.now;
            if attempts <= self.config.tcp.synack_retries {
                return self.send_handshake(cx, key, side, Kind::SynAck);
            }
            self.leave_listener(key);
        }
        self.reap(key);
    }

    pub(super) fn on_unreachable(&mut self, cx: &mut Ctx<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.end[CLIENT].phase != Phase::SynSent {
            return;
        }
        if self.hosts.owner(conn.end[CLIENT].host, *conn.end[SERVER].addr.ip()).is_some() {
            return self.send_syn(cx, key);
        }
        cx.note(conn.line(NetWhat::Unreachable, CLIENT, 0));
        conn.kill(CLIENT, Some(libc::EHOSTUNREACH));
        self.reap(key);
    }

    /// Whether a packet of the handshake comes out at the far end; a lost one starts the timer.
    fn comes_out(&mut self, cx: &mut Ctx<'_>, event: NetEvent) -> bool {
        let Some(conn) = self.conns.get_mut(event.key) else { return false };
        let side = Side::from(event.side);
        let Err(cause) = self.links.arrive(conn.link[side], event) else { return true };
        cx.note(conn.line(cause.what(), side, 0));
        self.arm_handshake(cx, event.key);
        false
    }

    pub(super) fn on_syn(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        let key = event.key;
        if !self.comes_out(cx, event) {
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let (to, addr) = (conn.end[SERVER].host, conn.end[SERVER].addr);
        let here = self.hosts.owner(conn.end[CLIENT].host, *addr.ip()) == Some(to);
        let Some(host) = self.hosts.get(to).filter(|h| here && h.on) else {
            cx.note(conn.line(NetWhat::Silence, CLIENT, 0));
            return self.arm_handshake(cx, key);
        };
        match conn.end[SERVER].phase {
            Phase::SynReceived | Phase::Up => return self.send_handshake(cx, key, SERVER, Kind::SynAck),
            Phase::Idle => {}
            _ => return self.send_reset(cx, key, SERVER),
        }
        let found = host.listener(addr).and_then(|l| Some((l, self.listeners.get_mut(l)?)));
        let Some((slot, listener)) = found else { return self.send_reset(cx, key, SERVER) };
        if listener.queue.len() as u32 + listener.pending >= self.config.tcp.backlog {
            cx.note(conn.line(NetWhat::BacklogFull, CLIENT, 0));
            return self.arm_handshake(cx, key);
        }
        listener.pending += 1;
        let end = &mut conn.end[SERVER];
        (end.phase, end.holder, end.syn_at) = (Phase::SynReceived, Holder::Listener(slot), cx.now);
        self.send_handshake(cx, key, SERVER, Kind::SynAck);
    }

    pub(super) fn on_synack(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        let key = event.key;
        if !self.comes_out(cx, event) {
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        match conn.end[CLIENT].phase {
            Phase::SynSent => {
                conn.end[CLIENT].phase = Phase::Up;
                cx.note(conn.line(NetWhat::Connected, CLIENT, 0));
                conn.end[CLIENT].wake_writer();
                self.send_handshake(cx, key, CLIENT, Kind::Ack);
            }
            Phase::Up => self.send_handshake(cx, key, CLIENT, Kind::Ack),
            Phase::Gone if !self.hosts.answers(conn.end[SERVER].host, *conn.end[CLIENT].addr.ip()) => {
                self.arm_handshake(cx, key);
            }
            _ => self.send_reset(cx, key, CLIENT),
        }
    }

    pub(super) fn on_ack(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        if self.comes_out(cx, event) {
            self.establish(cx, event.key);
        }
    }

    /// The accepting end has proof that the connecting one is there.
    pub(super) fn establish(&mut self, cx: &mut Ctx<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Holder::Listener(slot) = conn.end[SERVER].holder else { return };
        let Some(listener) = self.listeners.get_mut(slot) else { return };
        if conn.end[SERVER].phase == Phase::SynReceived {
            conn.end[SERVER].phase = Phase::Up;
            cx.note(conn.line(NetWhat::Queued, SERVER, 0));
            listener.pending -= 1;
            listener.queue.push_back(key);
            if let Some(waker) = listener.waker.take() {
                waker.wake();
            }
        }
    }

    /// A handshake ends without success at the accepting side.
    pub(super) fn leave_listener(&mut self, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = &mut conn.end[SERVER];
        if let (Phase::SynReceived, Holder::Listener(slot)) = (end.phase, end.holder) {
            (end.phase, end.holder) = (Phase::Dead, Holder::Nobody);
            if let Some(listener) = self.listeners.get_mut(slot) {
                listener.pending -= 1;
            }
        }
    }
}
