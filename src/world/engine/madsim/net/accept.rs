//! Listening and accepting. madsim binds in a millisecond or so; until then connections are refused.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::madsim::net::{TcpListener, TcpStream};

use super::{Net, Socket, State};
use crate::base::HostId;
use crate::rt::backend::SocketKey;
use crate::world::engine::madsim::here;

/// Linux's first ephemeral port.
const EPHEMERAL: u16 = 32_768;

/// A listening socket.
pub struct Listener {
    pub addr: SocketAddr,
    bound: Bound,
    /// Connections that wait to be accepted, in order.
    backlog: VecDeque<u64>,
    acceptor: Option<Waker>,
    /// None while it is polled, or when nobody has asked.
    accepting: Option<Accepting>,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>>>>;

enum Bound {
    NotYet,
    Yes(Rc<TcpListener>),
    Failed(io::ErrorKind),
}

impl Net {
    /// The bound listener that takes connections to `to` on a host.
    pub(super) fn listener(&self, host: HostId, to: SocketAddr) -> Option<u64> {
        let takes = |listener: &Listener| {
            let addr = listener.addr;
            addr.port() == to.port()
                && (addr.ip() == to.ip() || addr.ip().is_unspecified())
                && matches!(listener.bound, Bound::Yes(_))
        };
        let found = self.sockets.iter().find(|(_, (owner, socket))| match socket {
            Socket::Listener(listener) => owner.host == host && takes(listener),
            _ => false,
        });
        found.map(|(key, _)| *key)
    }

    pub(super) fn backlog(&mut self, listener: u64) -> Option<&mut VecDeque<u64>> {
        match self.sockets.get_mut(&listener) {
            Some((_, Socket::Listener(listener))) => Some(&mut listener.backlog),
            _ => None,
        }
    }

    fn taken(&self, host: HostId, port: u16) -> bool {
        self.sockets.values().any(|(owner, socket)| match socket {
            Socket::Listener(listener) => owner.host == host && listener.addr.port() == port,
            _ => false,
        })
    }
}

impl State {
    pub(in super::super) fn tcp_listen(&self, mut addr: SocketAddr) -> io::Result<SocketKey> {
        let owner = self.owner()?;
        let own = self.hosts.borrow().host(owner.host).ip;
        if !addr.ip().is_unspecified() && !addr.ip().is_loopback() && addr.ip() != own {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let key = {
            let mut net = self.net.borrow_mut();
            if addr.port() == 0 {
                let free = (EPHEMERAL..=u16::MAX).find(|port| !net.taken(owner.host, *port));
                addr.set_port(free.ok_or(io::ErrorKind::AddrInUse)?);
            } else if net.taken(owner.host, addr.port()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let listener =
                Listener { addr, bound: Bound::NotYet, backlog: VecDeque::new(), acceptor: None, accepting: None };
            net.insert(owner, Socket::Listener(listener))
        };
        // The kernel binds, whatever the program does meanwhile.
        self.on_node(owner.host, async move {
            let bound = TcpListener::bind(addr).await;
            here().bound(key, bound);
        });
        Ok(key)
    }

    fn bound(&self, key: SocketKey, bound: io::Result<TcpListener>) {
        let mut net = self.net.borrow_mut();
        let Some((_, Socket::Listener(listener))) = net.sockets.get_mut(&key.0) else { return };
        listener.bound = match bound {
            Ok(bound) => Bound::Yes(Rc::new(bound)),
            Err(error) => Bound::Failed(error.kind()),
        };
        let waker = listener.acceptor.take();
        drop(net);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(in super::super) fn poll_accept(
        &self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(SocketKey, SocketAddr)>> {
        let owner = self.owner()?;
        let mut accepting = match self.net.borrow_mut().sockets.get_mut(&key.0) {
            Some((_, Socket::Listener(listener))) => match listener.next(cx) {
                Ok(Some(accepting)) => accepting,
                Ok(None) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            },
            _ => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
        };
        let accepted = accepting.as_mut().poll(cx);
        let mut net = self.net.borrow_mut();
        let Some((_, Socket::Listener(listener))) = net.sockets.get_mut(&key.0) else { return Poll::Pending };
        let Poll::Ready(accepted) = accepted else {
            listener.accepting = Some(accepting);
            return Poll::Pending;
        };
        let conn = listener.backlog.pop_front();
        let (tcp, peer) = accepted?;
        let Some(conn) = conn else { unreachable!("madsim accepts what was put before the listener") };
        net.next += 1;
        let stream = SocketKey(net.next);
        net.add_stream(stream, owner, (conn, 1), tcp)?;
        Poll::Ready(Ok((stream, peer)))
    }
}

impl Listener {
    /// Connections that nobody will accept any more.
    pub(super) fn take_backlog(&mut self) -> VecDeque<u64> {
        std::mem::take(&mut self.backlog)
    }

    /// What to poll for the next connection; none as long as madsim has not bound.
    fn next(&mut self, cx: &Context<'_>) -> io::Result<Option<Accepting>> {
        match &self.bound {
            Bound::NotYet => {
                self.acceptor = Some(cx.waker().clone());
                Ok(None)
            }
            Bound::Failed(kind) => Err((*kind).into()),
            Bound::Yes(listener) => {
                let listener = listener.clone();
                Ok(Some(self.accepting.take().unwrap_or_else(|| Box::pin(async move { listener.accept().await }))))
            }
        }
    }
}
