//! A TCP connection, whole or split in halves.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{poll_engine, world_is_over};
use crate::rt::backend::{SocketKey, simulated, with_engine};

/// A connection; closed when dropped.
#[derive(Debug)]
pub struct TcpStream(Kind);

#[derive(Debug)]
enum Kind {
    Live(tokio::net::TcpStream),
    World(Socket),
}

/// Closes the simulated socket when its last owner goes.
#[derive(Debug)]
struct Socket(SocketKey);

impl Drop for Socket {
    fn drop(&mut self) {
        with_engine(|e| e.tcp_close(self.0));
    }
}

impl Socket {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_engine("bytes", cx, |e, cx| e.tcp_poll_read(self.0, cx, buf))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        poll_engine("room to write", cx, |e, cx| e.tcp_poll_write(self.0, cx, buf))
    }

    fn shutdown(&self) -> io::Result<()> {
        with_engine(|e| e.tcp_shutdown(self.0)).unwrap_or(Ok(()))
    }
}

impl TcpStream {
    /// Opens a connection.
    ///
    /// # Errors
    /// `ConnectionRefused`; `TimedOut` after minutes of silence; `HostUnreachable`.
    #[expect(clippy::disallowed_methods, reason = "the live side of the seam")]
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        if !simulated() {
            let stream = tokio::net::TcpStream::connect(addr).await?;
            // Requests are whole frames: waiting to fill a segment only adds latency.
            stream.set_nodelay(true)?;
            return Ok(Self::live(stream));
        }
        let key = with_engine(|e| e.tcp_connect(addr)).ok_or_else(world_is_over)??;
        let socket = Socket(key);
        poll_fn(|cx| poll_engine("a handshake", cx, |e, cx| e.tcp_poll_connected(key, cx))).await?;
        Ok(Self(Kind::World(socket)))
    }

    pub(super) fn live(stream: tokio::net::TcpStream) -> Self {
        Self(Kind::Live(stream))
    }

    pub(super) fn world(key: SocketKey) -> Self {
        Self(Kind::World(Socket(key)))
    }

    /// Own address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Live(stream) => stream.local_addr(),
            Kind::World(socket) => with_engine(|e| e.tcp_local(socket.0)).ok_or_else(world_is_over)?,
        }
    }

    /// The other side's address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Live(stream) => stream.peer_addr(),
            Kind::World(socket) => with_engine(|e| e.tcp_peer(socket.0)).ok_or_else(world_is_over)?,
        }
    }

    /// Halves that different tasks may own. Dropping the write half sends FIN; the socket closes with the last half.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        match self.0 {
            Kind::Live(stream) => {
                let (read, write) = stream.into_split();
                (OwnedReadHalf(ReadKind::Live(read)), OwnedWriteHalf(WriteKind::Live(write)))
            }
            Kind::World(socket) => {
                let socket = Arc::new(socket);
                (OwnedReadHalf(ReadKind::World(socket.clone())), OwnedWriteHalf(WriteKind::World(socket)))
            }
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Live(stream) => Pin::new(stream).poll_read(cx, buf),
            Kind::World(socket) => socket.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Live(stream) => Pin::new(stream).poll_write(cx, buf),
            Kind::World(socket) => socket.poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Live(stream) => Pin::new(stream).poll_flush(cx),
            Kind::World(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Live(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::World(socket) => Poll::Ready(socket.shutdown()),
        }
    }
}

/// Reads.
#[derive(Debug)]
pub struct OwnedReadHalf(ReadKind);

#[derive(Debug)]
enum ReadKind {
    Live(tokio::net::tcp::OwnedReadHalf),
    World(Arc<Socket>),
}

/// Writes; FIN when dropped.
#[derive(Debug)]
pub struct OwnedWriteHalf(WriteKind);

#[derive(Debug)]
enum WriteKind {
    Live(tokio::net::tcp::OwnedWriteHalf),
    World(Arc<Socket>),
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            ReadKind::Live(half) => Pin::new(half).poll_read(cx, buf),
            ReadKind::World(socket) => socket.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            WriteKind::Live(half) => Pin::new(half).poll_write(cx, buf),
            WriteKind::World(socket) => socket.poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            WriteKind::Live(half) => Pin::new(half).poll_flush(cx),
            WriteKind::World(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            WriteKind::Live(half) => Pin::new(half).poll_shutdown(cx),
            WriteKind::World(socket) => Poll::Ready(socket.shutdown()),
        }
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let WriteKind::World(socket) = &self.0 {
            // An error means that the connection is gone already.
            let _ = socket.shutdown();
        }
    }
}
