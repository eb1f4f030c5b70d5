//! Lookups: answers, failures, staleness, caches.

use std::io::ErrorKind::{NotFound, TimedOut};
use std::net::IpAddr;

use super::*;
use crate::world::engine::DnsFault;

fn start(sim: &mut Sim, name: &str) -> SocketKey {
    sim.with(|net, cx| net.dns_start(cx, owner(A), name))
}

fn poll(sim: &mut Sim, lookup: SocketKey) -> Polled<Vec<IpAddr>> {
    sim.polling(|net, _, context| polled(net.dns_poll(lookup, context)))
}

/// Looks up and waits; the answer's last octets.
fn lookup(sim: &mut Sim, name: &str) -> Result<Vec<u8>, io::ErrorKind> {
    let key = start(sim, name);
    sim.drain();
    let octet = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    };
    poll(sim, key).unwrap().map(|ips| ips.iter().map(octet).collect())
}

#[test]
fn names_of_hosts_and_of_services_resolve_in_order() {
    let mut sim = Sim::new(config());
    sim.net.set_dns("masters", &[ip(B).into(), ip(A).into()]);
    let key = start(&mut sim, "Masters.");
    assert_eq!(poll(&mut sim, key), None);
    assert!(sim.drain() > SimTime::ZERO);
    assert_eq!(sim.rings(), 1);
    assert_eq!(poll(&mut sim, key), Some(Ok(vec![ip(B).into(), ip(A).into()])));
    assert!(matches!(poll(&mut sim, key), Some(Err(_))), "the key is freed");
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![2]));
    assert_eq!(lookup(&mut sim, "nobody"), Err(NotFound));
    sim.net.set_dns("masters", &[]);
    assert_eq!(lookup(&mut sim, "masters"), Err(NotFound));
}

#[test]
fn literals_need_no_resolver() {
    let mut sim = Sim::new(config());
    sim.net.dns_fault(A, Some(DnsFault::Silent));
    for (name, want) in [("10.0.0.9", 9), ("localhost", 1)] {
        let key = start(&mut sim, name);
        assert!(matches!(poll(&mut sim, key), Some(Ok(ips)) if ips.len() == 1), "{name} {want}");
    }
}

#[test]
fn a_broken_resolver_fails_in_its_way_and_counts() {
    let mut sim = Sim::new(config());
    sim.net.dns_fault(A, Some(DnsFault::NxDomain));
    assert_eq!(lookup(&mut sim, "b"), Err(NotFound));
    sim.net.dns_fault(A, Some(DnsFault::Silent));
    let begin = sim.now;
    assert_eq!(lookup(&mut sim, "b"), Err(TimedOut));
    assert_eq!(sim.now - begin, 10 * SEC);
    sim.net.dns_fault(A, Some(DnsFault::Stale));
    sim.net.set_dns("b", &[Ipv4Addr::new(10, 0, 0, 99).into()]);
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![2]));
    assert_eq!(sim.net.dns_affected(A), 3);
    sim.net.dns_fault(A, None);
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![99]));
    sim.net.dns_latency(A, Some(Latency::Const(3 * SEC)));
    let begin = sim.now;
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![99]));
    assert_eq!((sim.now - begin, sim.net.dns_affected(A)), (3 * SEC, 4));
}

#[test]
fn a_cache_keeps_an_old_answer_until_it_expires_or_the_power_goes() {
    let mut config = config();
    config.dns_ttl = 30 * SEC;
    let mut sim = Sim::new(config);
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![2]));
    sim.net.set_dns("b", &[Ipv4Addr::new(10, 0, 0, 99).into()]);
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![2]));
    sim.run(31 * SEC);
    assert_eq!(lookup(&mut sim, "b"), Ok(vec![99]));
    sim.net.set_dns("b", &[]);
    sim.with(|net, cx| net.power_loss(cx, A));
    sim.net.boot(A);
    assert_eq!(lookup(&mut sim, "b"), Err(NotFound));
}

#[test]
fn a_lookup_ends_with_its_process() {
    let mut sim = Sim::new(config());
    let (cancelled, killed) = (start(&mut sim, "b"), start(&mut sim, "b"));
    sim.net.dns_cancel(cancelled);
    sim.with(|net, cx| net.process_killed(cx, owner(A)));
    sim.drain();
    assert!(matches!((poll(&mut sim, cancelled), poll(&mut sim, killed)), (Some(Err(_)), Some(Err(_)))));
    assert_eq!(sim.seen(NetWhat::Lookup), 0);
}
