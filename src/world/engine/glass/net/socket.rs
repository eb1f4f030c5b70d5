//! What a program does with its sockets: read, write, shut down, close, ask for addresses.
//!
//! Follows Linux: bytes that arrived before a RST can still be read; an error is told once, after it reads see the end
//! and writes `BrokenPipe`; closing with unread bytes sends RST, else FIN after what was written.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use super::conn::{Conn, Holder, Phase, Side};
use super::slab::SlabKey;
use super::{Ctx, Net, Target, errno};
use crate::rt::backend::SocketKey;

/// Keeps the waker of `context`, without a copy if it is the one kept already.
pub fn store(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

impl Net {
    /// The connection and the end that a program still holds under this key.
    pub(super) fn held(&mut self, stream: SocketKey) -> Option<(&mut Conn, Side)> {
        let Target::Conn(key, side) = Target::of(stream) else { return None };
        let conn = self.conns.get_mut(key)?;
        matches!(conn.end[side].holder, Holder::Program(_)).then_some((conn, side))
    }

    /// As `AsyncRead::poll_read`: no bytes and `Ok` is end of stream. Errors: `ConnectionReset`, `TimedOut`.
    pub fn poll_read(
        &mut self,
        cx: &mut Ctx<'_>,
        stream: SocketKey,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some((conn, side)) = self.held(stream) else { return Poll::Ready(Err(errno(libc::EBADF))) };
        let flow = &mut conn.flow[1 - side];
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if flow.readable() > 0 {
            flow.read(buf.remaining(), |bytes| buf.put_slice(bytes));
            if flow.stalled {
                let Target::Conn(key, side) = Target::of(stream) else { return Poll::Ready(Ok(())) };
                self.update_window(cx, key, 1 - side);
            }
            return Poll::Ready(Ok(()));
        }
        let ended = flow.fin_delivered();
        let end = &mut conn.end[side];
        match end.phase {
            _ if ended => Poll::Ready(Ok(())),
            Phase::Up | Phase::SynSent => {
                store(&mut end.reader, context);
                Poll::Pending
            }
            _ => Poll::Ready(end.error.take().map_or(Ok(()), |code| Err(errno(code)))),
        }
    }

    /// As `AsyncWrite::poll_write`. Errors: `ConnectionReset`, `BrokenPipe`, `TimedOut`.
    pub fn poll_write(
        &mut self,
        cx: &mut Ctx<'_>,
        stream: SocketKey,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some((conn, side)) = self.held(stream) else { return Poll::Ready(Err(errno(libc::EBADF))) };
        let (end, flow) = (&mut conn.end[side], &mut conn.flow[side]);
        if flow.fin || !matches!(end.phase, Phase::Up | Phase::SynSent) {
            return Poll::Ready(Err(errno(end.error.take().unwrap_or(libc::EPIPE))));
        }
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = flow.write(data);
        if n == 0 {
            store(&mut end.writer, context);
            return Poll::Pending;
        }
        if let Target::Conn(key, side) = Target::of(stream) {
            self.pump(cx, key, side);
        }
        Poll::Ready(Ok(n))
    }

    /// Half close: FIN after what was written. On a dead connection nothing, as tokio makes of `ENOTCONN`.
    pub fn shutdown(&mut self, cx: &mut Ctx<'_>, stream: SocketKey) -> io::Result<()> {
        let Some((conn, side)) = self.held(stream) else { return Err(errno(libc::EBADF)) };
        if conn.end[side].phase == Phase::Up {
            conn.flow[side].fin = true;
            if let Target::Conn(key, side) = Target::of(stream) {
                self.pump(cx, key, side);
            }
        }
        Ok(())
    }

    /// The program let go of a stream, listener or lookup. Nothing for a stale key.
    pub fn close(&mut self, cx: &mut Ctx<'_>, socket: SocketKey) {
        match Target::of(socket) {
            Target::Conn(key, side) => {
                if self.held(socket).is_some() {
                    self.close_end(cx, key, side);
                }
            }
            Target::Listener(key) => self.close_listener(cx, key),
            Target::Lookup(key) => drop(self.lookups.remove(key)),
        }
    }

    /// Nobody holds the end any more.
    pub(super) fn close_end(&mut self, cx: &mut Ctx<'_>, key: SlabKey, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = &mut conn.end[side];
        end.holder = Holder::Nobody;
        (end.reader, end.writer) = (None, None);
        match end.phase {
            Phase::Up if conn.flow[1 - side].readable() > 0 => {
                conn.kill(side, None);
                self.send_reset(cx, key, side);
            }
            Phase::Up => {
                conn.flow[side].fin = true;
                self.pump(cx, key, side);
            }
            Phase::SynSent => conn.kill(side, None),
            _ => {}
        }
        self.reap(key);
    }

    /// The port answers with RST from now on; so do connections that were not accepted.
    pub(super) fn close_listener(&mut self, cx: &mut Ctx<'_>, slot: SlabKey) {
        let Some(listener) = self.listeners.remove(slot) else { return };
        if let Some(host) = self.hosts.get_mut(listener.owner.host) {
            host.listening.retain(|(_, key)| *key != slot);
        }
        for key in self.conns.keys_where(|c| c.end[1].holder == Holder::Listener(slot)) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            conn.end[1].holder = Holder::Nobody;
            if matches!(conn.end[1].phase, Phase::Up | Phase::SynReceived) {
                conn.kill(1, None);
                self.send_reset(cx, key, 1);
            }
            self.reap(key);
        }
    }

    /// Own address. Errors: `EBADF` for a stale key.
    pub fn local(&self, socket: SocketKey) -> io::Result<SocketAddr> {
        let addr = match Target::of(socket) {
            Target::Conn(key, side) => self.conns.get(key).map(|c| c.end[side].addr),
            Target::Listener(key) => self.listeners.get(key).map(|l| l.addr),
            Target::Lookup(_) => None,
        };
        addr.map(SocketAddr::V4).ok_or_else(|| errno(libc::EBADF))
    }

    /// The other side's address. Errors: `NotConnected` for a listener and for a connection that ended in an error.
    pub fn peer(&self, stream: SocketKey) -> io::Result<SocketAddr> {
        let Target::Conn(key, side) = Target::of(stream) else { return Err(errno(libc::ENOTCONN)) };
        let conn = self.conns.get(key).ok_or_else(|| errno(libc::EBADF))?;
        match conn.end[side].phase {
            Phase::Up => Ok(SocketAddr::V4(conn.end[1 - side].addr)),
            _ => Err(errno(libc::ENOTCONN)),
        }
    }
}
