//! One direction of a connection: bytes written by one end, on their way to the other.
//!
//! Rule, kept by `check`: read <= delivered <= sent <= written (+1 for a FIN), acked <= delivered, and the ring holds
//! exactly what is written and not read. Bytes are copied once in and once out; delivery only moves a cursor.
//! Differs: no congestion window and no slow start; a sender sees the receiver's free buffer without delay unless it
//! stalled on it; an acknowledgement takes no time (but a cut way back eats it).

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::SimTime;

/// An idle ring larger than this gives its memory back.
const RING_KEPT: usize = 16 << 10;

/// A segment on its way: the sequence number after its last byte.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Where it begins.
    pub start: u64,
    /// Cursor `delivered` after arrival. A FIN counts as one byte.
    pub end: u64,
    /// When it left.
    pub sent_at: SimTime,
}

/// Cursors are counts of bytes since the connection began.
#[derive(Debug)]
pub struct Flow {
    ring: VecDeque<u8>,
    /// Taken by the receiving program.
    pub read: u64,
    /// Arrived at the receiving kernel, in order.
    pub delivered: u64,
    /// Known to the sender to have arrived.
    pub acked: u64,
    /// Left the sender.
    pub sent: u64,
    /// Taken from the sending program.
    pub written: u64,
    /// The sender has ended its direction; the FIN comes after what is written.
    pub fin: bool,
    /// On their way, oldest first.
    pub inflight: VecDeque<Segment>,
    /// Arrivals of an older epoch are void: the sender went back.
    pub epoch: u32,
    /// Latest arrival so far; the next is later.
    pub last_arrival: SimTime,
    /// The last trip there and back that was seen.
    pub round_trip: Duration,
    /// The sender waits for the receiver to read.
    pub stalled: bool,
    /// A window update is on its way to the sender.
    pub update_sent: bool,
    /// Retransmission timer: stale events carry an older number.
    pub timer: u32,
    /// The timer runs.
    pub armed: bool,
    /// Sending is suspended until the timer fires: something was lost.
    pub recovering: bool,
    /// Retransmissions since the last acknowledgement.
    pub attempts: u32,
    /// Buffer at the sender, in bytes.
    pub send_buffer: u32,
    /// Buffer at the receiver, in bytes.
    pub receive_buffer: u32,
}

impl Flow {
    /// An empty direction with its two buffers, in bytes.
    pub fn new(send_buffer: u32, receive_buffer: u32) -> Self {
        Self {
            ring: VecDeque::new(),
            read: 0,
            delivered: 0,
            acked: 0,
            sent: 0,
            written: 0,
            fin: false,
            inflight: VecDeque::new(),
            epoch: 0,
            last_arrival: SimTime::ZERO,
            round_trip: Duration::ZERO,
            stalled: false,
            update_sent: false,
            timer: 0,
            armed: false,
            recovering: false,
            attempts: 0,
            send_buffer,
            receive_buffer,
        }
    }

    /// The end of everything, FIN included.
    pub fn total(&self) -> u64 {
        self.written + u64::from(self.fin)
    }

    /// Bytes that the receiving program can take now.
    pub fn readable(&self) -> u64 {
        self.delivered.min(self.written) - self.read
    }

    /// The FIN has arrived.
    pub fn fin_delivered(&self) -> bool {
        self.fin && self.delivered > self.written
    }

    /// The sender knows that everything arrived, FIN included.
    pub fn finished(&self) -> bool {
        self.fin && self.acked > self.written
    }

    /// Bytes that the sending program may write now.
    pub fn space(&self) -> u64 {
        u64::from(self.send_buffer).saturating_sub(self.written - self.acked.min(self.written))
    }

    /// Bytes that the receiver has room for beyond what was sent.
    pub fn window(&self) -> u64 {
        (self.read + u64::from(self.receive_buffer)).saturating_sub(self.sent)
    }

    /// Takes what fits of `data`; gives how much.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let n = usize::try_from(self.space()).unwrap_or(usize::MAX).min(data.len());
        self.ring.extend(&data[..n]);
        self.written += n as u64;
        n
    }

    /// Moves readable bytes to `put`, at most `limit`; gives how many.
    pub fn read(&mut self, limit: usize, mut put: impl FnMut(&[u8])) -> usize {
        let n = usize::try_from(self.readable()).unwrap_or(usize::MAX).min(limit);
        let (front, back) = self.ring.as_slices();
        let first = n.min(front.len());
        put(&front[..first]);
        if n > first {
            put(&back[..n - first]);
        }
        self.ring.drain(..n);
        if self.ring.is_empty() && self.ring.capacity() > RING_KEPT {
            self.ring = VecDeque::new();
        }
        self.read += n as u64;
        n
    }

    /// CRC32C of the last `bytes` that were delivered.
    pub fn digest(&self, bytes: u64) -> u64 {
        let end = self.readable() as usize;
        let (front, back) = self.ring.as_slices();
        let start = end - (bytes as usize).min(end);
        let in_front = &front[start.min(front.len())..end.min(front.len())];
        let in_back = &back[start.saturating_sub(front.len())..end.saturating_sub(front.len())];
        crc32c::crc32c_append(crc32c::crc32c(in_front), in_back).into()
    }

    /// The end of the next segment of at most `limit` bytes, if there is something to send and room for it.
    pub fn next_segment(&self, limit: u32) -> Option<u64> {
        let bytes = (self.written - self.sent.min(self.written)).min(self.window()).min(limit.into());
        let end = self.sent + bytes;
        let end = if self.fin && end == self.written { end + 1 } else { end };
        (end > self.sent).then_some(end)
    }

    /// Something is written that the receiver has no room for.
    pub fn is_shut(&self) -> bool {
        self.sent < self.written && self.window() == 0
    }

    /// Goes back to what has arrived: everything on its way is void.
    pub fn go_back(&mut self) {
        self.sent = self.delivered;
        self.inflight.clear();
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// An acknowledgement of all that arrived reaches the sender.
    pub fn ack(&mut self) {
        self.acked = self.delivered;
        self.attempts = 0;
        if !self.recovering {
            self.disarm();
        }
    }

    /// Stops the retransmission timer.
    pub fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.timer = self.timer.wrapping_add(1);
        }
    }

    /// The sending kernel forgets what it has not sent.
    pub fn forget_unsent(&mut self) {
        if self.sent <= self.written {
            self.fin = false;
            self.written = self.sent;
            self.ring.truncate((self.written - self.read) as usize);
        }
        self.disarm();
        self.stalled = false;
    }

    /// The ordered facts; only our own bug breaks them.
    pub fn check(&self) {
        debug_assert!(self.read <= self.written && self.read <= self.delivered, "{self:?}");
        debug_assert!(self.acked <= self.delivered && self.delivered <= self.sent, "{self:?}");
        debug_assert!(self.sent <= self.total(), "{self:?}");
        debug_assert_eq!(self.ring.len() as u64, self.written - self.read);
        debug_assert!(self.inflight.back().is_none_or(|s| s.end <= self.sent), "{self:?}");
    }
}
