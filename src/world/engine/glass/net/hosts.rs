//! The machines as the network sees them: address, power, listening and borrowed ports.
//!
//! An address belongs to one machine at a time; the last to take it has it. Ports are judged as Linux does with
//! SO_REUSEADDR, which tokio sets. What runs on a machine is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use super::slab::SlabKey;
use super::{Ctx, Net, errno};
use crate::base::HostId;

/// Linux' `ip_local_port_range`.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// One machine.
#[derive(Debug)]
pub struct Host {
    /// Its name, also in DNS.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Powered and booted.
    pub on: bool,
    /// Listening ports: address (unspecified for all), port, listener.
    pub listening: Vec<(SocketAddrV4, SlabKey)>,
    /// Ports of connections that this host began.
    borrowed: BTreeSet<u16>,
    next_port: u16,
}

impl Host {
    /// The listener that takes a SYN to `addr`: the exact address before the unspecified one.
    pub fn listener(&self, addr: SocketAddrV4) -> Option<SlabKey> {
        let find = |ip| self.listening.iter().find(|(a, _)| a.port() == addr.port() && *a.ip() == ip);
        find(*addr.ip()).or_else(|| find(Ipv4Addr::UNSPECIFIED)).map(|(_, key)| *key)
    }

    /// Whether `addr` may be bound, as Linux judges with SO_REUSEADDR set.
    pub fn may_bind(&self, addr: SocketAddrV4) -> io::Result<()> {
        let ip = *addr.ip();
        if !(ip.is_unspecified() || ip.is_loopback() || ip == self.ip) {
            return Err(errno(libc::EADDRNOTAVAIL));
        }
        let overlaps = |other: Ipv4Addr| other == ip || other.is_unspecified() || ip.is_unspecified();
        let taken = self.listening.iter().any(|(a, _)| a.port() == addr.port() && overlaps(*a.ip()));
        if taken || self.borrowed.contains(&addr.port()) {
            return Err(errno(libc::EADDRINUSE));
        }
        Ok(())
    }

    /// The next free port of the ephemeral range. Differs: Linux derives the first try from a hash of the addresses.
    pub fn free_port(&mut self) -> io::Result<u16> {
        for _ in EPHEMERAL {
            let port = self.next_port;
            self.next_port = if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            if !self.borrowed.contains(&port) && !self.listening.iter().any(|(a, _)| a.port() == port) {
                return Ok(port);
            }
        }
        Err(errno(libc::EADDRNOTAVAIL))
    }

    /// Takes a port for an outgoing connection.
    pub fn borrow_port(&mut self) -> io::Result<u16> {
        let port = self.free_port()?;
        self.borrowed.insert(port);
        Ok(port)
    }

    /// Gives it back.
    pub fn return_port(&mut self, port: u16) {
        self.borrowed.remove(&port);
    }

    /// The kernel's memory is gone.
    pub fn forget(&mut self) {
        self.on = false;
        self.listening.clear();
        self.borrowed.clear();
    }
}

/// All machines, by id and by address.
#[derive(Debug, Default)]
pub struct Hosts {
    all: BTreeMap<HostId, Host>,
    by_ip: BTreeMap<Ipv4Addr, HostId>,
}

impl Hosts {
    /// The machine, if there is one of that id.
    pub fn get(&self, id: HostId) -> Option<&Host> {
        self.all.get(&id)
    }

    /// The machine, if there is one of that id.
    pub fn get_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.all.get_mut(&id)
    }

    /// Who has the address, as seen from `from`.
    pub fn owner(&self, from: HostId, ip: Ipv4Addr) -> Option<HostId> {
        if ip.is_loopback() || ip.is_unspecified() { Some(from) } else { self.by_ip.get(&ip).copied() }
    }

    /// Whether some kernel is up at the address to answer for it.
    pub fn answers(&self, from: HostId, ip: Ipv4Addr) -> bool {
        self.owner(from, ip).and_then(|h| self.get(h)).is_some_and(|h| h.on)
    }
}

impl Net {
    /// Adds a machine, powered and booted, and its name to DNS. An address that another machine has moves to this one.
    pub fn add_host(&mut self, id: HostId, name: &str, ip: Ipv4Addr) {
        let host = Host {
            name: name.to_owned(),
            ip,
            on: true,
            listening: Vec::new(),
            borrowed: BTreeSet::new(),
            next_port: *EPHEMERAL.start(),
        };
        self.hosts.all.insert(id, host);
        self.hosts.by_ip.insert(ip, id);
        self.set_dns(name, &[IpAddr::V4(ip)]);
    }

    /// Gives a machine another address and points its name there. Its kernel starts anew: listeners and
    /// connections of the old address fall silent as with a power loss.
    pub fn set_address(&mut self, cx: &mut Ctx<'_>, id: HostId, ip: Ipv4Addr) {
        let was_on = self.is_on(id);
        self.power_loss(cx, id);
        let Some(host) = self.hosts.all.get_mut(&id) else { return };
        host.on = was_on;
        let old = std::mem::replace(&mut host.ip, ip);
        let name = host.name.clone();
        if self.hosts.by_ip.get(&old) == Some(&id) {
            self.hosts.by_ip.remove(&old);
        }
        self.hosts.by_ip.insert(ip, id);
        self.set_dns(&name, &[IpAddr::V4(ip)]);
    }

    /// The machine's address.
    pub fn address(&self, id: HostId) -> Option<Ipv4Addr> {
        self.hosts.get(id).map(|h| h.ip)
    }

    /// A kernel comes up. It knows nothing of former connections and answers their segments with RST.
    pub fn boot(&mut self, id: HostId) {
        if let Some(host) = self.hosts.get_mut(id) {
            host.on = true;
        }
    }

    /// Whether the machine's kernel is up.
    pub fn is_on(&self, id: HostId) -> bool {
        self.hosts.get(id).is_some_and(|h| h.on)
    }
}

/// The IPv4 form of an address, also of an IPv4-mapped one.
pub fn v4(addr: SocketAddr) -> io::Result<SocketAddrV4> {
    match addr {
        SocketAddr::V4(v4) => Ok(v4),
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => Ok(SocketAddrV4::new(ip, v6.port())),
            None => Err(errno(libc::EAFNOSUPPORT)),
        },
    }
}
