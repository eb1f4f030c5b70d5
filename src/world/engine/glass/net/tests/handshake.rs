//! Connecting: who answers, who does not, and when.

use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
use std::net::SocketAddr;

use super::*;
use crate::world::engine::SynPolicy;

#[test]
fn a_closed_port_refuses_after_a_round_trip() {
    let mut sim = Sim::new(config());
    let client = sim.connect(A, addr(B, 80));
    assert_eq!(sim.connected(client), None);
    assert_eq!(sim.drain(), SimTime::from_millis(2));
    assert_eq!(sim.connected(client), Some(Err(ConnectionRefused)));
    assert_eq!(sim.rings(), 1);
    sim.close(client);
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn a_handshake_takes_three_events_and_a_round_trip() {
    let mut sim = Sim::new(config());
    let listener = sim.listen(B, 80);
    assert_eq!(sim.accept(listener), None);
    let client = sim.connect(A, addr(B, 80));
    sim.run(2 * MS);
    assert_eq!((sim.connected(client), sim.accept(listener)), (Some(Ok(())), None));
    sim.drain();
    let server = sim.accept(listener).unwrap();
    assert_eq!((sim.fired, sim.rings(), sim.now), (3, 1, SimTime::from_millis(3)));
    assert_eq!(sim.net.local(client).unwrap(), sim.net.peer(server).unwrap());
    assert_eq!(sim.net.local(server).unwrap(), addr(B, 80));
}

#[test]
fn silence_is_given_up_after_127_seconds() {
    let cut: fn(&mut Sim) = |sim| sim.net.block(A, B);
    let deaf: fn(&mut Sim) = |sim| sim.net.block(B, A);
    let off: fn(&mut Sim) = |sim| sim.with(|net, cx| net.power_loss(cx, B));
    let firewall: fn(&mut Sim) = |sim| sim.net.set_syn(A, B, SynPolicy::Drop);
    for break_it in [cut, deaf, off, firewall] {
        let mut sim = Sim::new(config());
        sim.listen(B, 80);
        break_it(&mut sim);
        let client = sim.connect(A, addr(B, 80));
        sim.run(126 * SEC);
        assert_eq!(sim.connected(client), None);
        sim.run(SEC + 10 * MS);
        assert_eq!(sim.connected(client), Some(Err(TimedOut)));
        assert_eq!(sim.seen(NetWhat::Syn), 7);
    }
}

#[test]
fn nobody_at_the_address_is_unreachable_or_silent() {
    for (wait, at, error) in [(Some(3 * SEC), 3, HostUnreachable), (None, 127, TimedOut)] {
        let mut config = config();
        config.tcp.unreachable_after = wait;
        let mut sim = Sim::new(config);
        let client = sim.connect(A, "10.9.9.9:80".parse().unwrap());
        assert_eq!(sim.drain(), SimTime::from_secs(at));
        assert_eq!(sim.connected(client), Some(Err(error)));
    }
}

#[test]
fn a_healed_link_connects_with_the_next_syn() {
    let mut sim = Sim::new(config());
    let listener = sim.listen(B, 80);
    sim.net.block(B, A); // the SYN arrives, its answer does not
    let client = sim.connect(A, addr(B, 80));
    sim.run(2 * SEC);
    sim.net.unblock(B, A);
    assert_eq!(sim.connected(client), None);
    sim.run(SEC + 10 * MS);
    assert_eq!(sim.connected(client), Some(Ok(())));
    assert!(sim.accept(listener).is_some());
    assert!(sim.accept(listener).is_none(), "one connection, however many SYNs");
    assert_eq!(sim.net.link_counters(B, A).blocked, 2);
}

#[test]
fn a_lost_ack_is_repaired_by_data_or_by_the_server() {
    for writes in [true, false] {
        let mut sim = Sim::new(config());
        let listener = sim.listen(B, 80);
        let client = sim.connect(A, addr(B, 80));
        sim.run(MS);
        sim.net.block(A, B); // the SYN-ACK is on its way
        sim.run(2 * MS);
        sim.net.unblock(A, B);
        assert_eq!((sim.connected(client), sim.accept(listener)), (Some(Ok(())), None));
        if writes {
            sim.write(client, b"x");
            sim.run(10 * MS);
        } else {
            sim.run(SEC + 10 * MS);
        }
        assert!(sim.accept(listener).is_some(), "writes: {writes}");
    }
}

#[test]
fn a_server_forgets_a_client_that_vanished_in_the_handshake() {
    let mut config = config();
    config.tcp.backlog = 1;
    let mut sim = Sim::new(config);
    let listener = sim.listen(B, 80);
    sim.connect(A, addr(B, 80));
    sim.run(MS);
    sim.with(|net, cx| net.power_loss(cx, A));
    sim.drain();
    assert_eq!((sim.accept(listener), sim.net.connections()), (None, 0));
    sim.with(|net, _| net.boot(A));
    let client = sim.connect(A, addr(B, 80));
    sim.run(10 * MS);
    assert_eq!((sim.connected(client), sim.accept(listener).is_some()), (Some(Ok(())), true));
}

#[test]
fn a_full_queue_drops_syns_until_somebody_accepts() {
    let mut config = config();
    config.tcp.backlog = 2;
    let mut sim = Sim::new(config);
    let listener = sim.listen(B, 80);
    let clients = [0; 3].map(|_| sim.connect(A, addr(B, 80)));
    sim.run(500 * MS);
    assert_eq!(clients.map(|c| sim.connected(c)), [Some(Ok(())), Some(Ok(())), None]);
    assert_eq!(sim.seen(NetWhat::BacklogFull), 1);
    assert!(sim.accept(listener).is_some());
    sim.run(SEC);
    assert_eq!(sim.connected(clients[2]), Some(Ok(())));
}

#[test]
fn a_closed_listener_resets_what_it_had_not_accepted() {
    let mut sim = Sim::new(config());
    let listener = sim.listen(B, 80);
    let (early, late) = (sim.connect(A, addr(B, 80)), sim.connect(A, addr(B, 80)));
    sim.run(10 * MS);
    sim.close(listener);
    let refused = sim.connect(A, addr(B, 80));
    sim.run(10 * MS);
    assert_eq!(sim.read(early, 1), Some(Err(ConnectionReset)));
    assert_eq!(sim.read(late, 1), Some(Err(ConnectionReset)));
    assert_eq!(sim.connected(refused), Some(Err(ConnectionRefused)));
    [early, late, refused].into_iter().for_each(|c| sim.close(c));
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn a_connect_that_is_dropped_leaves_nothing_behind() {
    for after in [0, 1, 2, 3] {
        let mut sim = Sim::new(config());
        let listener = sim.listen(B, 80);
        let client = sim.connect(A, addr(B, 80));
        sim.run(after * MS);
        sim.close(client);
        sim.drain();
        if let Some(server) = sim.accept(listener) {
            assert_eq!(sim.read(server, 1), Some(Ok(vec![])));
            sim.close(server);
            sim.drain();
        }
        assert_eq!(sim.net.connections(), 0, "after {after} ms");
    }
}

#[test]
fn addresses_are_taken_and_given_as_linux_does() {
    let mut sim = Sim::new(config());
    let listen = |sim: &mut Sim, at: &str| {
        let at: SocketAddr = at.parse().unwrap();
        sim.with(|net, cx| net.listen(cx, owner(A), at)).map_err(|e| e.kind())
    };
    let first = listen(&mut sim, "0.0.0.0:80").unwrap();
    assert_eq!(listen(&mut sim, "10.0.0.1:80"), Err(AddrInUse));
    assert_eq!(listen(&mut sim, "10.0.0.2:81"), Err(AddrNotAvailable));
    assert!(listen(&mut sim, "[::1]:80").is_err());
    sim.close(first);
    assert!(listen(&mut sim, "127.0.0.1:80").is_ok() && listen(&mut sim, "10.0.0.1:80").is_ok());
    let any = listen(&mut sim, "10.0.0.1:0").unwrap();
    assert_eq!(sim.net.local(any).unwrap().port(), 32768);
    assert!(sim.net.peer(any).is_err());
    let out = sim.connect(A, addr(B, 1));
    let port = sim.net.local(out).unwrap().port();
    assert_eq!(port, 32769);
    assert_eq!(listen(&mut sim, "0.0.0.0:32769"), Err(AddrInUse));
    sim.drain();
    sim.close(out);
    assert!(listen(&mut sim, "0.0.0.0:32769").is_ok());
}

#[test]
fn ephemeral_ports_run_out_with_the_error_of_linux() {
    let mut sim = Sim::new(config());
    let all: Vec<_> = (32768..=60999).map(|_| sim.connect(A, addr(B, 80))).collect();
    let more = sim.with(|net, cx| net.connect(cx, owner(A), addr(B, 80)));
    assert_eq!(more.map_err(|e| e.kind()), Err(AddrNotAvailable));
    sim.drain();
    all.into_iter().for_each(|c| sim.close(c));
    assert!(sim.with(|net, cx| net.connect(cx, owner(A), addr(B, 80))).is_ok());
}

#[test]
fn loopback_is_quick_and_out_of_reach_of_faults() {
    let mut sim = Sim::new(config());
    let listener = sim.listen(A, 80);
    sim.net.block(A, A);
    sim.net.hold(A, A);
    let own = sim.connect(A, addr(A, 80));
    sim.run(MS);
    assert_eq!(sim.connected(own), Some(Ok(())));
    assert!(sim.accept(listener).is_some());
    let wildcard = sim.connect(A, "127.0.0.1:80".parse().unwrap());
    sim.run(MS);
    assert_eq!(sim.connected(wildcard), Some(Err(ConnectionRefused)), "the listener is on the other address");
}

#[test]
fn a_rejecting_firewall_refuses() {
    let mut sim = Sim::new(config());
    sim.listen(B, 80);
    sim.net.set_syn(A, B, SynPolicy::Refuse);
    let client = sim.connect(A, addr(B, 80));
    sim.drain();
    assert_eq!(sim.connected(client), Some(Err(ConnectionRefused)));
    assert_eq!(sim.net.link_counters(A, B).syns, 1);
}
