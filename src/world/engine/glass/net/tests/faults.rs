//! Dying processes and machines, cut, lossy and held links: what the other side sees, and when.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};

use super::*;
use crate::world::engine::{LinkRule, Ratio};

fn kill(sim: &mut Sim, host: HostId) {
    sim.with(|net, cx| net.process_killed(cx, owner(host)));
}

fn power_loss(sim: &mut Sim, host: HostId) {
    sim.with(|net, cx| net.power_loss(cx, host));
}

#[test]
fn a_killed_process_says_fin_or_reset_and_its_port_refuses() {
    for (unread, first) in [(false, Ok(vec![])), (true, Err(ConnectionReset))] {
        let mut sim = Sim::new(config());
        let (client, _server) = sim.pair();
        if unread {
            sim.write(client, b"unread");
            sim.run(10 * MS);
        }
        kill(&mut sim, B);
        sim.run(10 * MS);
        assert_eq!(sim.read(client, 9), Some(first));
        let again = sim.connect(A, addr(B, 80));
        sim.run(10 * MS);
        assert_eq!(sim.connected(again), Some(Err(io::ErrorKind::ConnectionRefused)));
    }
}

#[test]
fn a_powered_off_peer_is_silent_until_the_writer_gives_up() {
    let mut sim = Sim::new(config());
    let (client, _) = sim.pair();
    power_loss(&mut sim, B);
    sim.run(3600 * SEC);
    assert_eq!(sim.read(client, 9), None, "a reader without keepalive waits for ever");
    let begin = sim.now;
    assert_eq!(sim.write(client, b"x"), Some(Ok(1)));
    let took = (sim.drain() - begin).as_secs();
    assert!((924..930).contains(&took), "{took} s");
    assert_eq!(sim.read(client, 9), Some(Err(TimedOut)));
    assert_eq!(sim.write(client, b"x"), Some(Err(BrokenPipe)));
    assert_eq!(sim.seen(NetWhat::Retransmit), 15);
    sim.close(client);
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn a_rebooted_peer_answers_old_segments_with_reset() {
    let mut sim = Sim::new(config());
    let (client, _) = sim.pair();
    power_loss(&mut sim, B);
    sim.write(client, b"into the dark");
    sim.run(2 * SEC);
    sim.net.boot(B);
    assert_eq!(sim.read(client, 9), None);
    sim.run(2 * SEC);
    assert_eq!(sim.read(client, 9), Some(Err(ConnectionReset)));
}

#[test]
fn a_stalled_writer_notices_that_the_reader_lost_power() {
    let mut sim = Sim::new(config());
    let (client, _) = sim.pair();
    while sim.write(client, &[0; 9999]).is_some() {
        sim.run(MS);
    }
    power_loss(&mut sim, B);
    sim.run(930 * SEC);
    assert_eq!(sim.write(client, b"x"), Some(Err(TimedOut)));
}

#[test]
fn what_was_on_its_way_survives_the_sender() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.write(client, b"last words");
    power_loss(&mut sim, A);
    sim.drain();
    assert_eq!(sim.read(server, 99), Some(Ok(b"last words".to_vec())));
    assert_eq!(sim.read(server, 99), None);
    sim.net.boot(A);
    sim.write(server, b"hello?");
    sim.run(10 * MS);
    assert_eq!(sim.read(server, 99), Some(Err(ConnectionReset)));
}

#[test]
fn a_stream_survives_a_short_partition() {
    for ways in [vec![(A, B)], vec![(B, A)], vec![(A, B), (B, A)]] {
        let mut sim = Sim::new(config());
        let (client, server) = sim.pair();
        ways.iter().for_each(|&(src, dst)| sim.net.block(src, dst));
        sim.write(client, b"ping");
        sim.write(server, b"pong");
        sim.run(30 * SEC);
        let passes = |src, dst| !ways.contains(&(src, dst));
        assert_eq!(sim.read(server, 9).is_some(), passes(A, B), "a cut way back does not stop the way there");
        assert_eq!(sim.read(client, 9).is_some(), passes(B, A));
        ways.iter().for_each(|&(src, dst)| sim.net.unblock(src, dst));
        sim.write(client, b"more");
        sim.run(30 * SEC);
        let all = [sim.read(server, 9), sim.read(client, 9)].map(|r| r.map_or(0, |r| r.unwrap().len()));
        assert_eq!(all, [if passes(A, B) { 4 } else { 8 }, if passes(B, A) { 0 } else { 4 }]);
        sim.run(120 * SEC); // timers that were stopped still pass by
        let fired = sim.fired;
        sim.run(3600 * SEC);
        assert_eq!(sim.fired, fired, "healed connections are quiet");
        assert!(ways.iter().all(|&(src, dst)| sim.net.link_counters(src, dst).blocked > 0));
    }
}

#[test]
fn a_segment_in_flight_is_caught_by_a_partition() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.write(client, b"caught");
    sim.run(MS / 2);
    sim.cut();
    sim.run(MS);
    sim.mend();
    assert_eq!(sim.read(server, 9), None);
    sim.run(300 * MS);
    assert_eq!(sim.read(server, 9), Some(Ok(b"caught".to_vec())), "one retransmission timeout later");
}

#[test]
fn a_long_partition_ends_with_a_timeout_at_whoever_wrote() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.cut();
    sim.write(client, b"ping");
    sim.run(930 * SEC);
    assert_eq!(sim.read(client, 9), Some(Err(TimedOut)));
    sim.mend();
    sim.run(3600 * SEC);
    assert_eq!(sim.read(server, 9), None, "half open: nobody told the other side");
    sim.write(server, b"pong");
    sim.run(10 * MS);
    assert_eq!(sim.read(server, 9), Some(Err(ConnectionReset)));
}

#[test]
fn a_receiver_that_never_hears_acks_blocked_times_its_sender_out() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.net.block(B, A);
    sim.write(client, b"ping");
    sim.run(10 * MS);
    assert_eq!(sim.read(server, 9), Some(Ok(b"ping".to_vec())));
    sim.run(930 * SEC);
    assert_eq!(sim.write(client, b"x"), Some(Err(TimedOut)));
}

#[test]
fn a_lost_window_update_is_made_up_for_by_a_probe() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    let mut written = 0;
    while let Some(n) = sim.write(client, &[0; 9999]) {
        written += n.unwrap();
        sim.run(MS);
    }
    sim.net.block(B, A);
    let first = sim.read(server, 1 << 20).unwrap().unwrap().len();
    sim.run(10 * MS);
    assert_eq!(sim.read(server, 1), None);
    sim.net.unblock(B, A);
    sim.run(SEC);
    let rest = sim.read(server, 1 << 20).unwrap().unwrap().len();
    assert_eq!(first + rest, written);
}

#[test]
fn held_segments_come_in_order_when_released() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.net.hold(A, B);
    for word in [b"one ", b"two ", b"six "] {
        sim.write(client, word);
        sim.run(100 * MS);
    }
    let late = sim.connect(A, addr(B, 80));
    sim.run(10 * SEC);
    assert_eq!((sim.read(server, 99), sim.connected(late)), (None, None));
    sim.with(|net, cx| net.release(cx, A, B));
    sim.run(10 * MS);
    assert_eq!(sim.read(server, 99), Some(Ok(b"one two six ".to_vec())));
    sim.drain();
    assert_eq!(sim.connected(late), Some(Ok(())));
    assert!(sim.net.link_counters(A, B).held >= 4);
}

#[test]
fn a_lossy_link_delivers_everything_later() {
    let mut config = config();
    config.link = LinkRule { loss: Ratio { num: 1, den: 10 }, ..config.link };
    let mut sim = Sim::new(config);
    let listener = sim.listen(B, 80);
    let client = sim.connect(A, addr(B, 80));
    sim.run(130 * SEC);
    let server = sim.accept(listener).unwrap();
    let (mut sent, mut got) = (0u32, 0u32);
    while got < 3_000_000 {
        let data: Vec<u8> = (sent..(sent + 3000).min(3_000_000)).map(|n| n as u8).collect();
        if !data.is_empty()
            && let Some(n) = sim.write(client, &data)
        {
            sent += n.unwrap() as u32;
        }
        sim.run(MS);
        if let Some(bytes) = sim.read(server, 1 << 20) {
            for byte in bytes.unwrap() {
                assert_eq!(byte, got as u8);
                got += 1;
            }
        }
    }
    assert!(sim.net.link_counters(A, B).lost > 10);
}

#[test]
fn a_port_is_free_again_while_the_peer_still_holds_its_half() {
    let mut sim = Sim::new(config());
    let (client, _held) = sim.pair();
    let port = sim.net.local(client).unwrap().port();
    sim.cut();
    sim.write(client, b"unanswered");
    sim.run(930 * SEC);
    assert_eq!(sim.read(client, 1), Some(Err(TimedOut)));
    sim.close(client);
    assert_eq!(sim.net.connections(), 1, "half open at the peer");
    let again = sim.with(|net, cx| net.listen(cx, owner(A), addr(A, port)));
    assert!(again.is_ok());
}

#[test]
fn a_seed_is_one_storm_and_seeds_differ() {
    let storm = |seed| {
        let mut config = NetConfig::default();
        config.link.loss = Ratio { num: 1, den: 20 };
        let mut sim = Sim::seeded(Seed(seed), config);
        let listener = sim.listen(B, 80);
        let clients = [0; 5].map(|_| sim.connect(A, addr(B, 80)));
        sim.run(130 * SEC);
        while let Some(server) = sim.accept(listener) {
            sim.write(server, &[1; 9000]);
        }
        for client in clients {
            sim.write(client, &[2; 99]);
        }
        (sim.drain(), sim.log)
    };
    assert_eq!(storm(1), storm(1));
    assert_ne!(storm(1), storm(2));
}

#[test]
fn reset_connections_hits_both_ends() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    assert_eq!(sim.with(|net, _| net.reset_connections(B, A)), 1);
    assert_eq!(sim.read(client, 9), Some(Err(ConnectionReset)));
    assert_eq!(sim.write(server, b"x"), Some(Err(ConnectionReset)));
    assert_eq!(sim.net.link_counters(A, B).resets, 1);
    assert_eq!(sim.with(|net, _| net.reset_connections(B, A)), 0);
}

#[test]
fn a_machine_that_moved_is_not_at_its_old_address() {
    let mut sim = Sim::new(config());
    let (client, _) = sim.pair();
    power_loss(&mut sim, B);
    let moved = Ipv4Addr::new(10, 0, 0, 77);
    sim.with(|net, cx| net.set_address(cx, B, moved));
    sim.net.boot(B);
    sim.with(|net, cx| net.listen(cx, owner(B), "0.0.0.0:80".parse().unwrap())).unwrap();
    sim.write(client, b"x");
    let old = sim.connect(A, addr(B, 80));
    let new = sim.connect(A, SocketAddrV4::new(moved, 80).into());
    sim.run(10 * SEC);
    assert_eq!(sim.connected(new), Some(Ok(())));
    assert_eq!(sim.connected(old), Some(Err(io::ErrorKind::HostUnreachable)));
    assert_eq!(sim.read(client, 9), None, "silence: nobody has the old address");
    sim.net.add_host(HostId(2), "c", ip(B));
    sim.drain();
    assert_eq!(sim.read(client, 9), Some(Err(ConnectionReset)), "its new owner knows nothing of the connection");
}
