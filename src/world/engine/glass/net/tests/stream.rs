//! Established connections on a healthy network: order, ends, errors, buffers.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};

use super::*;
use crate::world::engine::LinkRule;

#[test]
fn a_request_and_its_reply_are_two_events() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    let before = sim.fired;
    assert_eq!(sim.read(server, 9), None);
    sim.write(client, b"head ");
    sim.write(client, b"body");
    sim.run(MS);
    assert_eq!(sim.read(server, 9), Some(Ok(b"head body".to_vec())));
    sim.write(server, b"reply");
    sim.run(MS);
    assert_eq!(sim.read(client, 9), Some(Ok(b"reply".to_vec())));
    assert_eq!((sim.fired - before, sim.rings()), (2, 1));
}

#[test]
fn half_close_ends_one_direction_only() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.write(client, b"last");
    sim.shutdown(client);
    sim.run(10 * MS);
    assert_eq!(sim.write(client, b"x"), Some(Err(BrokenPipe)));
    assert_eq!(sim.read(server, 9), Some(Ok(b"last".to_vec())));
    assert_eq!(sim.read(server, 9), Some(Ok(vec![])));
    sim.write(server, b"answer");
    sim.run(10 * MS);
    assert_eq!(sim.read(client, 9), Some(Ok(b"answer".to_vec())));
    sim.close(server);
    sim.run(10 * MS);
    assert_eq!(sim.read(client, 9), Some(Ok(vec![])));
    sim.close(client);
    sim.drain();
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn writing_to_a_closed_peer_works_once() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.close(server);
    sim.run(10 * MS);
    assert_eq!(sim.write(client, b"x"), Some(Ok(1)));
    sim.run(10 * MS);
    assert_eq!(sim.write(client, b"x"), Some(Err(BrokenPipe)));
    assert_eq!(sim.read(client, 1), Some(Ok(vec![])), "the FIN came before the RST");
    sim.close(client);
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn closing_with_unread_bytes_resets() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.write(client, b"unread");
    sim.write(server, b"before");
    sim.run(10 * MS);
    sim.close(server);
    sim.run(10 * MS);
    assert_eq!(sim.read(client, 9), Some(Ok(b"before".to_vec())), "what arrived before the RST stays readable");
    assert_eq!(sim.read(client, 9), Some(Err(ConnectionReset)));
    assert_eq!(sim.read(client, 9), Some(Ok(vec![])));
    assert_eq!(sim.write(client, b"x"), Some(Err(BrokenPipe)));
    assert_eq!(sim.net.peer(client).map_err(|e| e.kind()), Err(NotConnected));
    sim.shutdown(client);
    sim.close(client);
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn an_error_is_told_once_by_whoever_asks_first() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.write(client, b"unread");
    sim.run(10 * MS);
    sim.close(server);
    sim.run(10 * MS);
    assert_eq!(sim.write(client, b"x"), Some(Err(ConnectionReset)));
    assert_eq!(sim.write(client, b"x"), Some(Err(BrokenPipe)));
    assert_eq!(sim.read(client, 9), Some(Ok(vec![])));
}

#[test]
fn what_was_written_before_close_arrives() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    let data: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    assert_eq!(sim.write(client, &data), Some(Ok(200_000)));
    sim.close(client);
    let mut got = Vec::new();
    loop {
        sim.run(MS);
        match sim.read(server, 7000) {
            Some(Ok(bytes)) if bytes.is_empty() => break,
            Some(Ok(bytes)) => got.extend(bytes),
            other => assert_eq!(other, None),
        }
    }
    assert!(got == data);
    sim.close(server);
    sim.drain();
    assert_eq!(sim.net.connections(), 0);
}

#[test]
fn a_slow_reader_stops_the_writer_and_lets_it_go_on() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    let tcp = sim.net.config().tcp;
    let chunk = vec![7; 10_000];
    let mut written = 0;
    while let Some(n) = sim.write(client, &chunk) {
        written += n.unwrap();
        sim.run(MS);
    }
    assert_eq!(written as u32, tcp.send_buffer + tcp.receive_buffer, "a frozen reader's kernel takes this much");
    let fired = sim.fired;
    sim.run(3600 * SEC);
    assert_eq!(sim.fired, fired, "a stalled connection costs nothing");
    let (rings, mut read) = (sim.rings(), 0);
    while let Some(bytes) = sim.read(server, 10_000) {
        read += bytes.unwrap().len();
        sim.run(2 * MS);
    }
    assert_eq!((read, sim.rings() > rings), (written, true));
    assert_eq!(sim.write(client, &chunk), Some(Ok(10_000)));
}

#[test]
fn bandwidth_makes_a_transfer_take_its_time() {
    let mut config = config();
    config.link = LinkRule { bandwidth: Some(10_000_000), ..config.link };
    let mut sim = Sim::new(config);
    let (client, server) = sim.pair();
    let begin = sim.now;
    let (mut sent, mut got) = (0, 0);
    while got < 1_000_000 {
        if sent < 1_000_000
            && let Some(n) = sim.write(client, &vec![0; (1_000_000 - sent).min(50_000)])
        {
            sent += n.unwrap();
        }
        sim.run(MS / 10);
        if let Some(bytes) = sim.read(server, 1 << 20) {
            got += bytes.unwrap().len();
        }
    }
    let took = (sim.now - begin).as_millis();
    assert!((100..110).contains(&took), "{took} ms for 1 MB at 10 MB/s");
}

#[test]
fn stale_keys_reach_nothing() {
    let mut sim = Sim::new(config());
    let (client, server) = sim.pair();
    sim.close(client);
    sim.close(client);
    assert!(matches!(sim.write(client, b"x"), Some(Err(_))));
    assert!(sim.with(|net, cx| net.shutdown(cx, client)).is_err());
    sim.run(10 * MS);
    sim.close(server);
    sim.drain();
    assert_eq!((sim.net.connections(), sim.net.local(client).is_err()), (0, true));
}

#[test]
fn the_trace_tells_what_arrived() {
    let mut sim = Sim::new(config());
    let (client, _) = sim.pair();
    sim.write(client, b"hello");
    sim.run(MS);
    let line = *sim.log.last().unwrap();
    let want =
        NetTrace { what: NetWhat::Data, conn: 1, from: A, to: B, bytes: 5, digest: crc32c::crc32c(b"hello").into() };
    assert_eq!(line, want);
}
