//! Bytes on a connection: each message is a tag, the time before which it does not arrive, and up to 64 KiB.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Net, Socket, State, Stream};
use crate::base::{HostId, ProcessId, SimTime};
use crate::rt::backend::SocketKey;

/// Payload of one message, as segmentation offload hands it over.
const MESSAGE: usize = 64 << 10;

/// Bytes under way and unread at which a writer waits: the buffers of both kernels.
const WINDOW: usize = 512 << 10;

const DATA: u8 = 0;
const FIN: u8 = 1;
const RST: u8 = 2;

/// Tag and time.
const HEAD: usize = 9;

impl Stream {
    /// Takes the next message from madsim; gives its bytes and when it is due. An error is the end of a connection that
    /// nobody accepted.
    fn next_message(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<(usize, SimTime)> {
        scratch.resize(HEAD + MESSAGE, 0);
        let mut buf = ReadBuf::new(scratch);
        // madsim gives no more than one message at a time, and all of it if there is room.
        if Pin::new(&mut self.tcp).poll_read(cx, &mut buf).is_pending() {
            return Poll::Pending;
        }
        let Some((&[tag, ref due @ ..], data)) = buf.filled().split_first_chunk::<HEAD>() else {
            self.broke = true;
            return Poll::Ready((0, SimTime::ZERO));
        };
        self.unread.extend_from_slice(data);
        self.ended |= tag == FIN;
        self.broke |= tag == RST;
        Poll::Ready((data.len(), SimTime(u64::from_le_bytes(*due))))
    }

    /// Hands a message to madsim. False if the other end is closed.
    fn send(&mut self, tag: u8, due: SimTime, data: &[u8]) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut tcp = Pin::new(&mut self.tcp);
        // madsim gathers until it is flushed.
        for part in [&[tag][..], &due.0.to_le_bytes(), data] {
            let _ = tcp.as_mut().poll_write(cx, part);
        }
        !matches!(tcp.poll_flush(cx), Poll::Ready(Err(_)))
    }

    /// Whether what was taken from madsim is due.
    fn pass_gate(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = self.gate.as_mut().is_some_and(|gate| gate.as_mut().poll(cx).is_pending());
        if !waits {
            self.gate = None;
        }
        !waits
    }

    fn serve(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..n]);
        self.unread.advance(n);
    }

    /// A reset is told once; then the connection is at its end.
    fn broken(&mut self) -> io::Error {
        self.unread.clear();
        (self.broke, self.ended, self.shut) = (false, true, true);
        io::ErrorKind::ConnectionReset.into()
    }
}

impl Net {
    /// Whether the end is to be told of a reset now.
    fn takes_reset(&mut self, conn: u64, side: usize) -> bool {
        self.conns.get_mut(&conn).is_some_and(|conn| std::mem::take(&mut conn.ends[side].reset))
    }

    fn is_dark(&self, conn: u64, side: usize) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.ends[side].dark)
    }

    fn sent_into_the_dark(&mut self, conn: u64, side: usize) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.ends[side].unanswered = true;
        }
    }

    /// Takes room for `n` bytes, or notes who waits for it. An end that its program closed is never full.
    fn takes(&mut self, conn: u64, side: usize, n: usize, cx: &Context<'_>) -> bool {
        let Some(conn) = self.conns.get_mut(&conn) else { return true };
        let closed = conn.ends[1 - side].closed;
        let end = &mut conn.ends[side];
        if end.unread >= WINDOW && (end.dark || !closed) {
            end.writer = Some(cx.waker().clone());
            return false;
        }
        end.unread += n;
        true
    }

    /// What an end had sent has arrived; gives who waited for room.
    fn arrived(&mut self, conn: u64, side: usize, n: usize) -> Option<Waker> {
        let end = &mut self.conns.get_mut(&conn)?.ends[side];
        end.unread = end.unread.saturating_sub(n);
        if end.unread < WINDOW { end.writer.take() } else { None }
    }

    fn path(&self, conn: u64, side: usize) -> (HostId, HostId) {
        self.conns.get(&conn).map_or((HostId(0), HostId(0)), |conn| (conn.hosts[side], conn.hosts[1 - side]))
    }
}

impl State {
    pub(in super::super) fn poll_read(
        &self,
        key: SocketKey,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut net = self.net.borrow_mut();
        let (conn, side) = net.stream(key).map(|stream| (stream.conn, stream.side))?;
        if net.takes_reset(conn, side) {
            return Poll::Ready(Err(net.stream(key)?.broken()));
        }
        let dark = net.is_dark(conn, side);
        let mut scratch = std::mem::take(&mut net.scratch);
        let mut taken = 0;
        let stream = net.stream(key)?;
        stream.reader = Some(cx.waker().clone());
        let mut arrived = stream.pass_gate(cx);
        if arrived && stream.unread.is_empty() && !stream.ended && !stream.broke {
            let next = if dark { Poll::Pending } else { stream.next_message(cx, &mut scratch) };
            arrived = next.is_ready();
            if let Poll::Ready((bytes, due)) = next {
                taken = bytes;
                let wait = due.since(self.elapsed());
                if !wait.is_zero() {
                    stream.gate = Some(Box::pin(self.time.sleep(wait)));
                    arrived = stream.pass_gate(cx);
                }
            }
        }
        let told = match arrived {
            false => Poll::Pending,
            true if stream.broke => Poll::Ready(Err(stream.broken())),
            true => {
                stream.serve(buf);
                Poll::Ready(Ok(()))
            }
        };
        net.scratch = scratch;
        let writer = net.arrived(conn, 1 - side, taken);
        drop(net);
        writer.into_iter().for_each(Waker::wake);
        told
    }

    pub(in super::super) fn poll_write(
        &self,
        key: SocketKey,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let data = &data[..data.len().min(MESSAGE)];
        let mut net = self.net.borrow_mut();
        let (conn, side) = net.stream(key).map(|stream| (stream.conn, stream.side))?;
        if net.takes_reset(conn, side) {
            return Poll::Ready(Err(net.stream(key)?.broken()));
        }
        let (from, to) = net.path(conn, side);
        let stream = net.stream(key)?;
        if stream.shut || stream.refused {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !net.takes(conn, side, data.len(), cx) {
            return Poll::Pending;
        }
        let mut rst = Vec::new();
        if net.is_dark(conn, side) {
            net.sent_into_the_dark(conn, side);
            net.links.count(from, to, data.len() as u64, self.elapsed());
            if self.hosts.borrow().host(to).powered && net.links.is_open(from, to) {
                rst = net.reset(conn, side);
            }
        } else {
            // A write to a closed end succeeds; what comes back makes the next one fail, once it can come back.
            let due = net.links.count(from, to, data.len() as u64, self.elapsed());
            let sent = net.stream(key)?.send(DATA, due, data);
            if !sent && net.links.is_open(from, to) {
                net.stream(key)?.refused = true;
            }
        }
        drop(net);
        self.note("segment", (from, to), conn, data.len(), crc32c::crc32c(data).into());
        rst.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(data.len()))
    }

    /// FIN after what was written.
    pub(in super::super) fn shut(&self, key: SocketKey) -> io::Result<()> {
        let mut net = self.net.borrow_mut();
        let stream = net.stream(key)?;
        if std::mem::replace(&mut stream.shut, true) {
            return Ok(());
        }
        let (conn, side) = (stream.conn, stream.side);
        let path = net.path(conn, side);
        let due = net.links.count(path.0, path.1, 0, self.elapsed());
        net.stream(key)?.send(FIN, due, &[]);
        drop(net);
        self.note("fin", path, conn, 0, 0);
        Ok(())
    }

    /// The program let go of a socket.
    pub(in super::super) fn close(&self, key: SocketKey) {
        self.let_go(key, false);
    }

    /// A process has ended and its kernel closes what it had; without power it says nothing.
    pub(in super::super) fn close_all(&self, process: ProcessId, silent: bool) {
        let net = self.net.borrow();
        let of_process = net.sockets.iter().filter(|(_, (owner, _))| owner.process == process);
        let keys: Vec<u64> = of_process.map(|(key, _)| *key).collect();
        drop(net);
        keys.into_iter().for_each(|key| self.let_go(SocketKey(key), silent));
    }

    fn let_go(&self, key: SocketKey, silent: bool) {
        let mut net = self.net.borrow_mut();
        let Some((_, mut socket)) = net.sockets.remove(&key.0) else { return };
        let (mut said, mut woken) = (None, None);
        match &mut socket {
            Socket::Stream(stream) => {
                let (conn, side) = (stream.conn, stream.side);
                let path = net.path(conn, side);
                // What the other end sent and nobody took: in our buffer, in madsim's, or still under way.
                let untaken = net.conns.get(&conn).is_some_and(|conn| conn.ends[1 - side].unread > 0);
                let unread = untaken || !stream.unread.is_empty();
                if !silent && (unread || !stream.shut) {
                    let due = net.links.count(path.0, path.1, 0, self.elapsed());
                    stream.send(if unread { RST } else { FIN }, due, &[]);
                    said = Some((if unread { "rst" } else { "fin" }, path, conn));
                }
                woken = net.end_closed(conn, side);
            }
            // madsim drops what nobody accepted; the other ends find out by themselves.
            Socket::Listener(listener) => {
                let waiting = listener.take_backlog();
                waiting.into_iter().for_each(|conn| drop(net.end_closed(conn, 1)));
            }
            Socket::Dial(_) | Socket::Lookup(_) => {}
        }
        drop(net);
        if let Some((what, path, conn)) = said {
            self.note(what, path, conn, 0, 0);
        }
        drop(socket);
        woken.into_iter().for_each(Waker::wake);
    }
}
