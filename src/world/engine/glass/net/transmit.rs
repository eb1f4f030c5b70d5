//! Segments on their way: sending, arrival, loss, retransmission, reset.
//!
//! Follows Linux: what is lost is sent again after the retransmission timeout, which doubles from 200 ms to 120 s; the
//! fifteenth failure in a row ends the connection with `TimedOut`, without a RST. Differs: after a loss the sender goes
//! back to what arrived (no selective acknowledgement); a segment of several packets is repaired within a round trip
//! (fast retransmit), a small one by the timeout (no tail loss probe); zero-window probes are sent only after a window
//! update was lost or the reader's machine died.

use std::time::Duration;

use super::config::TcpConfig;
use super::conn::{Conn, Holder, Phase, Side};
use super::flow::Segment;
use super::link::Cause;
use super::slab::SlabKey;
use super::{Ctx, Kind, Net, NetEvent, NetTrace, NetWhat};
use crate::base::SimTime;

/// Four packets: the loss of the first leaves three to answer with duplicate acknowledgements.
const FAST_BYTES: u64 = 4 * 1448;

impl Cause {
    /// As the trace calls it.
    pub(super) fn what(self) -> NetWhat {
        match self {
            Self::Lost => NetWhat::Lost,
            Self::Blocked => NetWhat::Blocked,
            Self::Held => NetWhat::Held,
        }
    }
}

/// Starts the retransmission timer of `side` for something that left at `sent_at`, unless it runs.
fn arm(cx: &mut Ctx<'_>, tcp: &TcpConfig, key: SlabKey, conn: &mut Conn, side: Side, sent_at: SimTime) {
    let wait = tcp.rto(conn.flow[side].attempts, conn.flow[side].round_trip);
    arm_at(cx, key, conn, side, sent_at + wait);
}

fn arm_at(cx: &mut Ctx<'_>, key: SlabKey, conn: &mut Conn, side: Side, due: SimTime) {
    let flow = &mut conn.flow[side];
    if flow.armed || conn.end[side].phase != Phase::Up {
        return;
    }
    flow.armed = true;
    flow.timer = flow.timer.wrapping_add(1);
    cx.at(due.max(cx.now), NetEvent::new(Kind::Retry, key, side, flow.timer));
}

impl Net {
    /// Sends what may be sent in the direction of `side`.
    pub(super) fn pump(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.end[side].phase != Phase::Up {
            return;
        }
        let link = conn.link[side];
        while !conn.flow[side].recovering {
            let flow = &mut conn.flow[side];
            let Some(end) = flow.next_segment(self.config.tcp.segment) else {
                flow.stalled = flow.is_shut();
                break;
            };
            // What is written in one instant leaves as one segment.
            if let Some(last) = flow.inflight.back_mut()
                && last.sent_at == cx.now
                && end - last.start <= u64::from(self.config.tcp.segment)
                && !self.links.is_narrow(link)
            {
                (last.end, flow.sent) = (end, end);
                continue;
            }
            let bytes = end - flow.sent;
            match self.links.send(link, cx.now, bytes) {
                Ok(arrival) => {
                    let arrival = arrival.max(SimTime(flow.last_arrival.0 + 1));
                    flow.last_arrival = arrival;
                    flow.round_trip = (arrival - cx.now) * 2;
                    flow.inflight.push_back(Segment { start: flow.sent, end, sent_at: cx.now });
                    flow.sent = end;
                    cx.at(arrival, NetEvent::new(Kind::Segment, key, side, flow.epoch));
                }
                Err(cause) => {
                    flow.recovering = true;
                    let fast = cause == Cause::Lost && bytes >= FAST_BYTES && flow.round_trip > Duration::ZERO;
                    let fast_due = cx.now + flow.round_trip;
                    cx.note(conn.line(cause.what(), side, bytes));
                    if fast {
                        arm_at(cx, key, conn, side, fast_due);
                    } else {
                        arm(cx, &self.config.tcp, key, conn, side, cx.now);
                    }
                }
            }
        }
        conn.flow[side].check();
    }

    pub(super) fn on_segment(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        let (key, side) = (event.key, Side::from(event.side));
        let Some(conn) = self.conns.get_mut(key) else { return };
        let flow = &mut conn.flow[side];
        let Some(&segment) = flow.inflight.front().filter(|_| flow.epoch == event.number) else { return };
        let fate = self.links.arrive(conn.link[side], event);
        if let Err(cause) = fate {
            if cause != Cause::Held {
                flow.go_back();
                flow.recovering = true;
            }
            cx.note(conn.line(cause.what(), side, segment.end - segment.start));
            return arm(cx, &self.config.tcp, key, conn, side, segment.sent_at);
        }
        let to = 1 - side;
        match conn.end[to].phase {
            Phase::Up => self.deliver(cx, key, side),
            Phase::SynReceived => {
                self.establish(cx, key);
                self.deliver(cx, key, side);
            }
            phase => {
                flow.go_back();
                flow.recovering = true;
                arm(cx, &self.config.tcp, key, conn, side, segment.sent_at);
                let answers = self.hosts.answers(conn.end[side].host, *conn.end[to].addr.ip());
                if phase != Phase::Gone || answers {
                    self.send_reset(cx, key, to);
                } else {
                    cx.note(conn.line(NetWhat::Silence, side, segment.end - segment.start));
                }
            }
        }
    }

    /// The oldest segment from `side` is taken by the other end's kernel.
    fn deliver(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let to = 1 - side;
        let flow = &mut conn.flow[side];
        let Some(segment) = flow.inflight.pop_front() else { return };
        let fresh = segment.end.saturating_sub(flow.delivered);
        if fresh > 0 && segment.end.min(flow.written) > flow.delivered && conn.end[to].holder == Holder::Nobody {
            // Linux: data for a closed socket is answered with RST, for it can never be read.
            conn.kill(to, None);
            self.send_reset(cx, key, to);
            return;
        }
        flow.delivered += fresh;
        if self.links.acks(conn.link[to]) {
            flow.ack();
        } else {
            arm(cx, &self.config.tcp, key, conn, side, segment.sent_at);
        }
        let flow = &mut conn.flow[side];
        let resumes = flow.stalled && flow.acked == flow.delivered && flow.window() > 0;
        let (fin, room) = (flow.fin_delivered(), flow.space() * 3 >= u64::from(flow.send_buffer));
        flow.check();
        if fresh > 0 {
            conn.end[to].wake_reader();
            let bytes = fresh - u64::from(fin);
            let what = if fin { NetWhat::Fin } else { NetWhat::Data };
            cx.note(NetTrace { digest: conn.flow[side].digest(bytes), ..conn.line(what, side, bytes) });
        }
        if room {
            conn.end[side].wake_writer();
        }
        if resumes {
            conn.flow[side].stalled = false;
            self.pump(cx, key, side);
        }
        if fin {
            self.reap(key);
        }
    }

    pub(super) fn on_retry(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side, number: u32) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let flow = &mut conn.flow[side];
        if !flow.armed || flow.timer != number {
            return;
        }
        flow.armed = false;
        if conn.end[side].phase != Phase::Up || (flow.acked == flow.total() && !flow.recovering) {
            return;
        }
        flow.attempts += 1;
        if flow.attempts > self.config.tcp.retries {
            cx.note(conn.line(NetWhat::TimedOut, side, 0));
            conn.kill(side, Some(libc::ETIMEDOUT));
            return self.reap(key);
        }
        if flow.inflight.is_empty() {
            flow.go_back();
        }
        (flow.recovering, flow.stalled) = (false, false);
        let bytes = flow.total() - flow.sent;
        cx.note(conn.line(NetWhat::Retransmit, side, bytes));
        self.pump(cx, key, side);
        self.probe(cx, key, side);
    }

    /// After a retransmission that had nothing to send: an empty segment that asks for an acknowledgement.
    fn probe(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let flow = &mut conn.flow[side];
        if flow.inflight.is_empty() && !flow.recovering {
            match self.links.send(conn.link[side], cx.now, 0) {
                Ok(arrival) => {
                    let arrival = arrival.max(SimTime(flow.last_arrival.0 + 1));
                    flow.last_arrival = arrival;
                    flow.inflight.push_back(Segment { start: flow.sent, end: flow.sent, sent_at: cx.now });
                    cx.at(arrival, NetEvent::new(Kind::Segment, key, side, flow.epoch));
                }
                Err(cause) => cx.note(conn.line(cause.what(), side, 0)),
            }
        }
        arm(cx, &self.config.tcp, key, conn, side, cx.now);
    }

    /// The reader has made room for a sender that stalled: tells it, if the room is worth a packet.
    pub(super) fn update_window(&mut self, cx: &mut Ctx<'_>, key: SlabKey, sender: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let flow = &mut conn.flow[sender];
        let worth = u64::from(self.config.tcp.segment.min(flow.receive_buffer / 2).max(1));
        if !flow.stalled || flow.update_sent || flow.window() < worth || conn.end[1 - sender].phase != Phase::Up {
            return;
        }
        match self.links.send(conn.link[1 - sender], cx.now, 0) {
            Ok(arrival) => {
                flow.update_sent = true;
                cx.at(arrival, NetEvent::new(Kind::Window, key, sender, 0));
            }
            Err(cause) => {
                cx.note(conn.line(cause.what(), 1 - sender, 0));
                arm(cx, &self.config.tcp, key, conn, sender, cx.now);
            }
        }
    }

    pub(super) fn on_window(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        let (key, side) = (event.key, Side::from(event.side));
        let Some(conn) = self.conns.get_mut(key) else { return };
        match self.links.arrive(conn.link[1 - side], event) {
            Ok(()) => {
                (conn.flow[side].update_sent, conn.flow[side].stalled) = (false, false);
                self.pump(cx, key, side);
            }
            Err(cause) => {
                conn.flow[side].update_sent = cause == Cause::Held;
                cx.note(conn.line(cause.what(), 1 - side, 0));
                arm(cx, &self.config.tcp, key, conn, side, cx.now);
            }
        }
    }

    /// The reader's machine is gone: a stalled sender finds out by probing.
    pub(super) fn doubt(&mut self, cx: &mut Ctx<'_>, key: SlabKey, sender: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.flow[sender].stalled {
            arm(cx, &self.config.tcp, key, conn, sender, cx.now);
        }
    }

    /// End `from` sends a RST. A lost one is not sent again: the peer's next segment asks for another.
    pub(super) fn send_reset(&mut self, cx: &mut Ctx<'_>, key: SlabKey, from: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match self.links.send(conn.link[from], cx.now, 0) {
            Ok(arrival) => {
                let arrival = arrival.max(SimTime(conn.flow[from].last_arrival.0 + 1));
                cx.at(arrival, NetEvent::new(Kind::Reset, key, from, 0));
            }
            Err(cause) => cx.note(conn.line(cause.what(), from, 0)),
        }
        self.reap(key);
    }

    pub(super) fn on_reset(&mut self, cx: &mut Ctx<'_>, event: NetEvent) {
        let (key, side) = (event.key, Side::from(event.side));
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Err(cause) = self.links.arrive(conn.link[side], event) {
            return cx.note(conn.line(cause.what(), side, 0));
        }
        cx.note(conn.line(NetWhat::Reset, side, 0));
        self.reset_end(key, 1 - side);
        self.reap(key);
    }

    /// Ends the connection for one end as a RST does.
    pub(super) fn reset_end(&mut self, key: SlabKey, side: Side) {
        if let Some(conn) = self.conns.get_mut(key) {
            if conn.end[side].phase == Phase::SynReceived {
                return self.leave_listener(key);
            }
            conn.reset(side);
        }
    }

    /// Forgets a connection that nobody can observe any more.
    pub(super) fn reap(&mut self, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.settle();
        let client = &conn.end[0];
        if client.is_forgotten() && std::mem::take(&mut conn.port_taken) {
            // After a loss of power the port may be another connection's already.
            let host = self.hosts.get_mut(client.host).filter(|_| client.phase != Phase::Gone);
            host.into_iter().for_each(|h| h.return_port(client.addr.port()));
        }
        if conn.end.iter().all(|end| end.is_forgotten()) {
            self.conns.remove(key);
        }
    }
}
