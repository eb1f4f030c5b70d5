//! Names: madsim's resolver has one address a name and never forgets; ours has several, and answers after a millisecond.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::madsim::time::Sleep;

use super::{Net, Socket, State};
use crate::rt::backend::SocketKey;

/// A question that a program asked.
pub struct Lookup {
    name: String,
    answered: Pin<Box<Sleep>>,
}

impl Net {
    /// Points a name at addresses, in this order; none: the name is gone. IPv6 addresses are left out.
    pub fn set_names(&mut self, name: &str, addresses: &[IpAddr]) {
        let v4 = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(ip) => ip.to_ipv4_mapped(),
        };
        let name = name.to_ascii_lowercase();
        let addresses: Vec<Ipv4Addr> = addresses.iter().filter_map(v4).collect();
        if addresses.is_empty() {
            self.names.remove(&name);
        } else {
            self.names.insert(name, addresses);
        }
    }

    fn answer(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let literal = if name == "localhost" { Some(Ipv4Addr::LOCALHOST) } else { name.parse().ok() };
        let known = literal.map(|ip| vec![ip]).or_else(|| self.names.get(name).cloned());
        known.map(|ips| ips.into_iter().map(IpAddr::V4).collect()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl State {
    pub(in super::super) fn look_up(&self, name: &str) -> SocketKey {
        let Ok(owner) = self.owner() else { return SocketKey(u64::MAX) };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let lookup = Lookup { name, answered: Box::pin(self.time.sleep(Duration::ZERO)) };
        self.net.borrow_mut().insert(owner, Socket::Lookup(lookup))
    }

    pub(in super::super) fn poll_lookup(&self, key: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<Vec<IpAddr>>> {
        let mut net = self.net.borrow_mut();
        let Some((_, Socket::Lookup(lookup))) = net.sockets.get_mut(&key.0) else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        if lookup.answered.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let name = std::mem::take(&mut lookup.name);
        net.sockets.remove(&key.0);
        Poll::Ready(net.answer(&name))
    }
}
