//! Connecting: SYNs as Linux sends them, each of which madsim answers.
//!
//! madsim refuses a connection at once where a link is cut or a message is lost. Here a SYN into silence is lost, and sent
//! again after 1, 2, 4, … seconds, until `TimedOut` after 127 s (tcp_syn_retries is 6).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::madsim::net::TcpStream;
use ::madsim::time::sleep;

use super::{Conn, End, Socket, State};
use crate::base::HostId;
use crate::rt::backend::SocketKey;
use crate::world::engine::madsim::here;

const SYN_RETRIES: u32 = 6;
const SYN_TIMEOUT: Duration = Duration::from_secs(1);
/// Linux asks three times, a second each, who has the address.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);

/// A connection that is being opened.
pub struct Dial {
    /// None while it is polled.
    dialling: Option<Dialling>,
}

/// Gives madsim's stream and the number of the connection.
type Dialling = Pin<Box<dyn Future<Output = io::Result<(TcpStream, u64)>>>>;

/// What a SYN meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// No machine has the address.
    Nowhere,
    /// A cut link or a machine without power.
    Silence(HostId),
    /// Nobody listens.
    Closed,
    /// This host listens.
    Open(HostId),
}

impl State {
    pub(in super::super) fn tcp_connect(&self, to: SocketAddr) -> io::Result<SocketKey> {
        let owner = self.owner()?;
        let dial = Dial { dialling: Some(Box::pin(dial(owner.host, to))) };
        Ok(self.net.borrow_mut().insert(owner, Socket::Dial(dial)))
    }

    pub(in super::super) fn poll_connected(&self, key: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let owner = self.owner()?;
        let dialling = match self.net.borrow_mut().sockets.get_mut(&key.0) {
            Some((_, Socket::Dial(dial))) => dial.dialling.take(),
            Some((_, Socket::Stream(_))) => return Poll::Ready(Ok(())),
            _ => None,
        };
        let Some(mut dialling) = dialling else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        // The dialling looks at the network itself: nothing is borrowed here.
        let Poll::Ready(dialled) = dialling.as_mut().poll(cx) else {
            if let Some((_, Socket::Dial(dial))) = self.net.borrow_mut().sockets.get_mut(&key.0) {
                dial.dialling = Some(dialling);
            }
            return Poll::Pending;
        };
        drop(dialling);
        let (tcp, conn) = dialled?;
        Poll::Ready(self.net.borrow_mut().add_stream(key, owner, (conn, 0), tcp))
    }

    fn host_at(&self, from: HostId, ip: IpAddr) -> Option<HostId> {
        if ip.is_loopback() {
            return Some(from);
        }
        let hosts = self.hosts.borrow();
        hosts.hosts.iter().position(|host| IpAddr::V4(host.ip) == ip).map(|i| HostId(i as u32))
    }

    fn route(&self, from: HostId, to: SocketAddr) -> Route {
        let Some(host) = self.host_at(from, to.ip()) else { return Route::Nowhere };
        let net = self.net.borrow();
        if !self.hosts.borrow().host(host).powered || !net.links.is_open(from, host) {
            Route::Silence(host)
        } else if net.listener(host, to).is_some() {
            Route::Open(host)
        } else {
            Route::Closed
        }
    }

    fn count_syn(&self, from: HostId, to: HostId) {
        self.net.borrow_mut().links.count(from, to, 0, self.elapsed());
        self.note("syn", (from, to), 0, 0, 0);
    }

    /// How much longer than madsim's a handshake takes.
    fn round_trip(&self, from: HostId, to: HostId) -> Duration {
        let (mut net, now) = (self.net.borrow_mut(), self.elapsed());
        let there = net.links.count(from, to, 0, now);
        net.links.count(to, from, 0, there.max(now)).since(now)
    }

    /// madsim has just put the connection before the listener.
    fn established(&self, from: HostId, host: HostId, to: SocketAddr) -> Option<u64> {
        let mut net = self.net.borrow_mut();
        let conn = net.next + 1;
        let listener = net.listener(host, to)?;
        let backlog = net.backlog(listener)?;
        backlog.push_back(conn);
        net.next = conn;
        net.conns.insert(conn, Conn { hosts: [from, host], ends: [End::default(), End::default()] });
        drop(net);
        self.note("established", (from, host), conn, 0, 0);
        Some(conn)
    }
}

async fn dial(from: HostId, to: SocketAddr) -> io::Result<(TcpStream, u64)> {
    let (tcp, conn, round_trip) = handshake(from, to).await?;
    if !round_trip.is_zero() {
        sleep(round_trip).await;
    }
    Ok((tcp, conn))
}

async fn handshake(from: HostId, to: SocketAddr) -> io::Result<(TcpStream, u64, Duration)> {
    let mut wait = SYN_TIMEOUT;
    for _ in 0..=SYN_RETRIES {
        let route = here().route(from, to);
        match route {
            Route::Nowhere => {
                sleep(UNREACHABLE_AFTER).await;
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            Route::Silence(host) => here().count_syn(from, host),
            Route::Closed | Route::Open(_) => {
                let tried = TcpStream::connect(to).await;
                match (tried, here().route(from, to)) {
                    (Ok(tcp), Route::Open(host)) => {
                        if let Some(conn) = here().established(from, host, to) {
                            return Ok((tcp, conn, here().round_trip(from, host)));
                        }
                    }
                    (_, Route::Closed) => return Err(io::ErrorKind::ConnectionRefused.into()),
                    // Lost, as any message may be.
                    _ => {}
                }
            }
        }
        sleep(wait).await;
        wait *= 2;
    }
    Err(io::ErrorKind::TimedOut.into())
}
