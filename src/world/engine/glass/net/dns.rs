//! Names: records, each machine's resolver cache, and what a resolver can do wrong.
//!
//! Differs: the resolver is not a machine; its questions cross no link and are answered after a drawn latency. There
//! are no search domains: names are looked up as they are given.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Poll, Waker};

use super::slab::SlabKey;
use super::{Ctx, Kind, Net, NetEvent, NetTrace, NetWhat, Owner, Target, errno};
use crate::base::{HostId, Seed, SimTime, Stream};
use crate::rt::backend::SocketKey;
use crate::world::engine::{DnsFault, Latency};

type Records = BTreeMap<String, Vec<Ipv4Addr>>;

/// One machine's resolver.
#[derive(Debug)]
struct Resolver {
    stream: Stream,
    latency: Option<Latency>,
    fault: Option<DnsFault>,
    stale: Records,
    /// Answers and when they expire.
    cache: BTreeMap<String, (SimTime, Vec<Ipv4Addr>)>,
    /// Lookups that a fault (or a latency of its own) changed.
    affected: u64,
}

/// All names.
#[derive(Debug)]
pub struct Dns {
    seed: Seed,
    records: Records,
    resolvers: BTreeMap<HostId, Resolver>,
}

/// A question that a program asked.
#[derive(Debug)]
pub struct Lookup {
    /// Who asked.
    pub owner: Owner,
    serial: u64,
    name: String,
    silent: bool,
    answer: Option<Result<Vec<Ipv4Addr>, io::ErrorKind>>,
    waker: Option<Waker>,
}

impl Dns {
    /// No names yet.
    pub fn new(seed: Seed) -> Self {
        Self { seed, records: Records::new(), resolvers: BTreeMap::new() }
    }

    fn resolver(&mut self, host: HostId) -> &mut Resolver {
        self.resolvers.entry(host).or_insert_with(|| Resolver {
            stream: self.seed.stream("net/dns", host.0.into()),
            latency: None,
            fault: None,
            stale: Records::new(),
            cache: BTreeMap::new(),
            affected: 0,
        })
    }

    fn answer(&mut self, host: HostId, name: &str, now: SimTime, ttl: std::time::Duration) -> Option<Vec<Ipv4Addr>> {
        let fresh = self.records.get(name).cloned();
        let resolver = self.resolver(host);
        if let Some((expires, ips)) = resolver.cache.get(name)
            && now < *expires
        {
            return Some(ips.clone());
        }
        let answer = match resolver.fault {
            None => fresh,
            Some(DnsFault::Stale) => {
                let stale = resolver.stale.get(name).cloned();
                resolver.affected += u64::from(stale != fresh);
                stale
            }
            Some(_) => {
                resolver.affected += 1;
                None
            }
        };
        if let Some(ips) = &answer
            && !ttl.is_zero()
        {
            resolver.cache.insert(name.to_owned(), (now + ttl, ips.clone()));
        }
        answer
    }
}

impl Net {
    /// Points a name at addresses, in this order. None: the name is gone.
    /// IPv6 addresses are left out.
    pub fn set_dns(&mut self, name: &str, addresses: &[IpAddr]) {
        let v4 = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(ip) => ip.to_ipv4_mapped(),
        };
        let name = name.to_ascii_lowercase();
        let ips: Vec<Ipv4Addr> = addresses.iter().filter_map(v4).collect();
        if ips.is_empty() {
            self.dns.records.remove(&name);
        } else {
            self.dns.records.insert(name, ips);
        }
    }

    /// Breaks or mends a machine's resolver.
    pub fn dns_fault(&mut self, host: HostId, fault: Option<DnsFault>) {
        let stale = if fault == Some(DnsFault::Stale) { self.dns.records.clone() } else { Records::new() };
        let resolver = self.dns.resolver(host);
        (resolver.fault, resolver.stale) = (fault, stale);
    }

    /// Gives a machine's resolver a latency of its own, or the default back.
    pub fn dns_latency(&mut self, host: HostId, latency: Option<Latency>) {
        self.dns.resolver(host).latency = latency;
    }

    /// Lookups of this machine that a fault changed so far.
    pub fn dns_affected(&mut self, host: HostId) -> u64 {
        self.dns.resolver(host).affected
    }

    /// A machine's cached answers are gone with its power.
    pub(super) fn dns_forget(&mut self, host: HostId) {
        self.dns.resolver(host).cache.clear();
    }

    /// Starts a lookup of a host name (no port).
    pub fn dns_start(&mut self, cx: &mut Ctx<'_>, owner: Owner, name: &str) -> SocketKey {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let literal = if name == "localhost" { Some(Ipv4Addr::LOCALHOST) } else { name.parse().ok() };
        self.serial += 1;
        let mut lookup = Lookup {
            owner,
            serial: self.serial,
            name,
            silent: false,
            answer: literal.map(|ip| Ok(vec![ip])),
            waker: None,
        };
        if lookup.answer.is_some() {
            return Target::Lookup(self.lookups.insert(lookup)).key();
        }
        let (default, timeout) = (self.config.dns_latency, self.config.dns_timeout);
        let resolver = self.dns.resolver(owner.host);
        let cached = resolver.cache.get(&lookup.name).is_some_and(|(expires, _)| cx.now < *expires);
        lookup.silent = resolver.fault == Some(DnsFault::Silent) && !cached;
        // Who asks may give up before a silent resolver's time is over: the question counts, not its end.
        resolver.affected += u64::from(lookup.silent || (resolver.latency.is_some() && !cached));
        let wait = match lookup.silent {
            true => timeout,
            false if cached => std::time::Duration::ZERO,
            false => resolver.latency.unwrap_or(default).draw(&mut resolver.stream).min(timeout),
        };
        let key = self.lookups.insert(lookup);
        cx.at(cx.now + wait, NetEvent::new(Kind::Lookup, key, 0, 0));
        Target::Lookup(key).key()
    }

    pub(super) fn on_lookup(&mut self, cx: &mut Ctx<'_>, key: SlabKey) {
        let Some(lookup) = self.lookups.get_mut(key) else { return };
        let host = lookup.owner.host;
        let answer = match lookup.silent {
            true => Err(io::ErrorKind::TimedOut),
            false => {
                let ips = self.dns.answer(host, &lookup.name, cx.now, self.config.dns_ttl);
                ips.ok_or(io::ErrorKind::NotFound)
            }
        };
        let bytes = answer.as_ref().map_or(0, |ips| ips.len() as u64);
        cx.note(NetTrace { what: NetWhat::Lookup, conn: lookup.serial, from: host, to: host, bytes, digest: 0 });
        lookup.answer = Some(answer);
        if let Some(waker) = lookup.waker.take() {
            waker.wake();
        }
    }

    /// The lookup's addresses, in order; `NotFound` for an unknown name, `TimedOut` with a dead resolver. Frees the key
    /// when ready.
    pub fn dns_poll(&mut self, lookup: SocketKey, context: &mut Context<'_>) -> Poll<io::Result<Vec<IpAddr>>> {
        let Target::Lookup(key) = Target::of(lookup) else { return Poll::Ready(Err(errno(libc::EINVAL))) };
        let Some(lookup) = self.lookups.get_mut(key) else { return Poll::Ready(Err(errno(libc::EBADF))) };
        let Some(answer) = lookup.answer.take() else {
            super::socket::store(&mut lookup.waker, context);
            return Poll::Pending;
        };
        self.lookups.remove(key);
        Poll::Ready(match answer {
            Ok(ips) => Ok(ips.into_iter().map(IpAddr::V4).collect()),
            Err(kind) => {
                let why =
                    if kind == io::ErrorKind::NotFound { "Name or service not known" } else { "Temporary failure" };
                Err(io::Error::new(kind, format!("failed to lookup address information: {why}")))
            }
        })
    }

    /// Frees a lookup that nobody waits for any more.
    pub fn dns_cancel(&mut self, lookup: SocketKey) {
        if let Target::Lookup(key) = Target::of(lookup) {
            self.lookups.remove(key);
        }
    }
}
