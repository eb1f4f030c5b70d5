//! TCP and DNS with tokio's names and real socket errors.
//!
//! Addresses are IPv4 in a world. Every wait can last for ever (a partition is silent), so callers keep deadlines.

mod listener;
mod stream;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

pub use listener::TcpListener;
pub use stream::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

use super::backend::{Engine, SocketKey, with_engine};
use super::wait::note;

/// The addresses of `host:port`, in the resolver's order.
///
/// # Errors
/// `InvalidInput` without a port; `NotFound` for an unknown name; `TimedOut` when no resolver answers.
#[expect(clippy::disallowed_methods, reason = "the live side of the seam")]
pub async fn lookup_host(host_port: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(addr) = host_port.parse::<SocketAddr>() {
        return Ok(vec![addr]);
    }
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{host_port}` is not host:port"));
    let (name, port) = host_port.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let Some(key) = with_engine(|e| e.dns_start(name)) else {
        return Ok(tokio::net::lookup_host(host_port).await?.collect());
    };
    let lookup = Lookup { key, done: false };
    let found = lookup.wait().await?;
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// Connects to `host:port`: each of its addresses in turn.
///
/// # Errors
/// As [`lookup_host`], or the last connect's.
pub async fn connect(host_port: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host_port}` has no address"));
    for addr in lookup_host(host_port).await? {
        match TcpStream::connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

struct Lookup {
    key: SocketKey,
    done: bool,
}

impl Lookup {
    async fn wait(mut self) -> io::Result<Vec<IpAddr>> {
        let found = poll_fn(|cx| poll_engine("a name lookup", cx, |e, cx| e.dns_poll(self.key, cx))).await;
        self.done = true;
        found
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if !self.done {
            with_engine(|e| e.dns_cancel(self.key));
        }
    }
}

/// Polls the engine; without one (the world is over) nothing is ever ready.
fn poll_engine<T>(
    what: &'static str,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&dyn Engine, &mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let polled = with_engine(|e| poll(e, cx)).unwrap_or(Poll::Pending);
    if polled.is_pending() {
        note(what);
    }
    polled
}

fn world_is_over() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the world is over")
}
