//! Sockets: turmoil's own, kept by number.
//!
//! Rule: a socket is opened, used and closed in the sight of its host's runtime. One that is dropped out of turmoil's
//! sight says nothing to anybody, which is what a power loss is.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use ::turmoil::net::{TcpListener, TcpStream};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::base::{HostId, ProcessId};
use crate::rt::backend::SocketKey;

type Waiting<T> = Pin<Box<dyn Future<Output = io::Result<T>>>>;
/// A new connection: its key, local address and peer.
type Accepted = Poll<io::Result<(SocketKey, SocketAddr)>>;

/// One socket of a process.
pub(super) struct Socket {
    pub host: HostId,
    pub process: ProcessId,
    local: Option<SocketAddr>,
    kind: Kind,
}

enum Kind {
    Listener { listener: Rc<TcpListener>, accepting: Option<Waiting<(TcpStream, SocketAddr)>> },
    Connecting { to: SocketAddr, connecting: Waiting<TcpStream> },
    Stream { read: OwnedReadHalf, write: OwnedWriteHalf, peer: SocketAddr, shut: bool },
    Lookup { name: String },
}

impl Socket {
    /// Whether turmoil's host would keep its port if it went out of sight.
    pub fn listens(&self) -> bool {
        matches!(self.kind, Kind::Listener { .. })
    }
}

/// All sockets of a world, and its names.
#[derive(Default)]
pub(super) struct Sockets {
    next: u64,
    all: BTreeMap<u64, Socket>,
    names: BTreeMap<String, Vec<IpAddr>>,
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

impl Sockets {
    fn add(&mut self, host: HostId, process: ProcessId, local: Option<SocketAddr>, kind: Kind) -> SocketKey {
        let key = self.next;
        self.next += 1;
        self.all.insert(key, Socket { host, process, local, kind });
        SocketKey(key)
    }

    /// Takes a socket out, to be dropped where nothing is borrowed.
    pub fn take(&mut self, key: SocketKey) -> Option<Socket> {
        self.all.remove(&key.0)
    }

    /// Takes out all that `of` names, oldest first.
    pub fn take_all(&mut self, of: impl Fn(&Socket) -> bool) -> Vec<Socket> {
        let keys: Vec<u64> = self.all.iter().filter(|(_, socket)| of(socket)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.all.remove(&key)).collect()
    }

    /// turmoil binds to all addresses or to loopback; the own address is the former.
    pub fn listen(
        &mut self,
        host: HostId,
        process: ProcessId,
        own: Ipv4Addr,
        addr: SocketAddr,
    ) -> io::Result<SocketKey> {
        let ip = match addr.ip() {
            IpAddr::V4(ip) if ip == own || ip.is_unspecified() => Ipv4Addr::UNSPECIFIED,
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST,
            _ => return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)),
        };
        let bound = TcpListener::bind((ip, addr.port())).now_or_never();
        let listener = bound.unwrap_or_else(|| unreachable!("turmoil binds without waiting"))?;
        let local = SocketAddr::new(addr.ip(), listener.local_addr()?.port());
        Ok(self.add(host, process, Some(local), Kind::Listener { listener: Rc::new(listener), accepting: None }))
    }

    pub fn poll_accept(&mut self, key: SocketKey, cx: &mut Context<'_>) -> Accepted {
        let Some(Socket { host, process, kind: Kind::Listener { listener, accepting }, .. }) = self.all.get_mut(&key.0)
        else {
            return Poll::Ready(Err(gone()));
        };
        let (host, process) = (*host, *process);
        let waiting = accepting.get_or_insert_with(|| {
            let listener = listener.clone();
            Box::pin(async move { listener.accept().await })
        });
        let Poll::Ready(accepted) = waiting.as_mut().poll(cx) else { return Poll::Pending };
        *accepting = None;
        Poll::Ready(accepted.and_then(|(stream, peer)| {
            let local = stream.local_addr()?;
            let (read, write) = stream.into_split();
            let kind = Kind::Stream { read, write, peer, shut: false };
            Ok((self.add(host, process, Some(local), kind), peer))
        }))
    }

    pub fn connect(&mut self, host: HostId, process: ProcessId, to: SocketAddr) -> SocketKey {
        let connecting: Waiting<TcpStream> = Box::pin(TcpStream::connect(to));
        self.add(host, process, None, Kind::Connecting { to, connecting })
    }

    pub fn poll_connected(&mut self, key: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.all.get_mut(&key.0) else { return Poll::Ready(Err(gone())) };
        let Kind::Connecting { connecting, to } = &mut socket.kind else { return Poll::Ready(Ok(())) };
        let peer = *to;
        let Poll::Ready(connected) = connecting.as_mut().poll(cx) else { return Poll::Pending };
        Poll::Ready(connected.and_then(|stream| {
            socket.local = Some(stream.local_addr()?);
            let (read, write) = stream.into_split();
            socket.kind = Kind::Stream { read, write, peer, shut: false };
            Ok(())
        }))
    }

    pub fn poll_read(&mut self, key: SocketKey, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.all.get_mut(&key.0).map(|socket| &mut socket.kind) {
            Some(Kind::Stream { read, .. }) => Pin::new(read).poll_read(cx, buf),
            _ => Poll::Ready(Err(gone())),
        }
    }

    /// Gives the peer as well, if something was written.
    pub fn poll_write(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        match self.all.get_mut(&key.0).map(|socket| &mut socket.kind) {
            Some(Kind::Stream { write, peer, .. }) => {
                Pin::new(write).poll_write(cx, buf).map(|written| written.map(|bytes| (bytes, *peer)))
            }
            _ => Poll::Ready(Err(gone())),
        }
    }

    /// FIN; a second one is nothing.
    pub fn shutdown(&mut self, key: SocketKey) -> io::Result<()> {
        let Some(Kind::Stream { write, shut, .. }) = self.all.get_mut(&key.0).map(|socket| &mut socket.kind) else {
            return Err(gone());
        };
        if std::mem::replace(shut, true) {
            return Ok(());
        }
        match Pin::new(write).poll_shutdown(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => unreachable!("turmoil sends a FIN without waiting"),
        }
    }

    pub fn local(&self, key: SocketKey) -> io::Result<SocketAddr> {
        self.all.get(&key.0).and_then(|socket| socket.local).ok_or_else(gone)
    }

    pub fn peer(&self, key: SocketKey) -> io::Result<SocketAddr> {
        match self.all.get(&key.0).map(|socket| &socket.kind) {
            Some(Kind::Stream { peer, .. } | Kind::Connecting { to: peer, .. }) => Ok(*peer),
            Some(_) => Err(io::Error::from_raw_os_error(libc::ENOTCONN)),
            None => Err(gone()),
        }
    }

    pub fn set_name(&mut self, name: &str, addresses: &[IpAddr]) {
        self.names.insert(name.into(), addresses.into());
    }

    pub fn look_up(&mut self, host: HostId, process: ProcessId, name: &str) -> SocketKey {
        self.add(host, process, None, Kind::Lookup { name: name.into() })
    }

    /// What the name means now.
    pub fn found(&mut self, key: SocketKey) -> io::Result<Vec<IpAddr>> {
        let Some(Socket { kind: Kind::Lookup { name }, .. }) = self.all.remove(&key.0) else { return Err(gone()) };
        let found = self.names.get(&name).filter(|addresses| !addresses.is_empty()).cloned();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("`{name}` is not known")))
    }
}
