//! A listening TCP socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use super::{TcpStream, poll_engine, world_is_over};
use crate::rt::backend::{SocketKey, simulated, with_engine};

/// Accepts connections; closed when dropped.
#[derive(Debug)]
pub struct TcpListener(Kind);

#[derive(Debug)]
enum Kind {
    Live(tokio::net::TcpListener),
    World(SocketKey),
}

impl TcpListener {
    /// Binds and listens; port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    #[expect(clippy::disallowed_methods, reason = "the live side of the seam")]
    pub async fn bind(addr: SocketAddr) -> io::Result<Self> {
        if simulated() {
            let key = with_engine(|e| e.tcp_listen(addr)).ok_or_else(world_is_over)??;
            return Ok(Self(Kind::World(key)));
        }
        tokio::net::TcpListener::bind(addr).await.map(|l| Self(Kind::Live(l)))
    }

    /// The next connection and its peer.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            Kind::Live(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream::live(stream), peer))
            }
            Kind::World(key) => {
                let accepted = poll_fn(|cx| poll_engine("a connection", cx, |e, cx| e.tcp_poll_accept(*key, cx)));
                let (stream, peer) = accepted.await?;
                Ok((TcpStream::world(stream), peer))
            }
        }
    }

    /// Own address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Live(listener) => listener.local_addr(),
            Kind::World(key) => with_engine(|e| e.tcp_local(*key)).ok_or_else(world_is_over)?,
        }
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if let Kind::World(key) = self.0 {
            with_engine(|e| e.tcp_close(key));
        }
    }
}
