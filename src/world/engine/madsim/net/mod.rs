//! Sockets over madsim's TCP, and what it lacks added where a program would notice.
//!
//! Every message on a stream carries a tag: data, FIN or RST. So half close, and the end that a closing socket or a dying
//! process leaves behind, travel as data do: they take the link's time and wait where it is cut, while madsim's own end of
//! file comes at once and through partitions. A machine without power is silent because nobody asks madsim about it any
//! more. A link with a rule of its own gives its messages a time before which they do not arrive. Each write is a message of its own, sent at once; flushing does nothing.
//! Differs: what was under way when a machine lost its power is lost with it; no stream ever times out.

mod accept;
mod dial;
mod dns;
mod flow;
mod links;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::Waker;

use ::madsim::net::TcpStream;
use ::madsim::time::Sleep;
use bytes::BytesMut;

use self::accept::Listener;
use self::dial::Dial;
use self::dns::Lookup;
use self::links::Links;
use super::State;
use crate::base::{HostId, ProcessId};
use crate::rt::backend::SocketKey;
use crate::trace::Kind;

/// Whose a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub host: HostId,
    pub process: ProcessId,
}

/// All sockets, connections, links and names of a world.
#[derive(Default)]
pub(super) struct Net {
    next: u64,
    sockets: BTreeMap<u64, (Owner, Socket)>,
    conns: BTreeMap<u64, Conn>,
    pub links: Links,
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Room for one message.
    scratch: Vec<u8>,
}

enum Socket {
    Listener(Listener),
    Dial(Dial),
    Stream(Box<Stream>),
    Lookup(Lookup),
}

/// One end of a connection, as its program has it.
struct Stream {
    conn: u64,
    /// 0 connected, 1 accepted.
    side: usize,
    tcp: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
    unread: BytesMut,
    /// FIN was read: nothing more will come.
    ended: bool,
    /// FIN was sent.
    shut: bool,
    /// A write found the other end closed.
    refused: bool,
    /// RST was read.
    broke: bool,
    /// Until when what was taken from madsim has not arrived.
    gate: Option<Pin<Box<Sleep>>>,
    reader: Option<Waker>,
}

/// A connection, as the world knows it.
struct Conn {
    hosts: [HostId; 2],
    ends: [End; 2],
}

#[derive(Default)]
struct End {
    key: Option<SocketKey>,
    closed: bool,
    /// RST has arrived, by fault or from a machine that knows nothing of the connection.
    reset: bool,
    /// The other machine lost its power after the connection began.
    dark: bool,
    /// Something was sent into the dark.
    unanswered: bool,
    /// Bytes sent from here that the other end has not taken.
    unread: usize,
    /// Who waits for room for more.
    writer: Option<Waker>,
}

impl Net {
    fn insert(&mut self, owner: Owner, socket: Socket) -> SocketKey {
        self.next += 1;
        self.sockets.insert(self.next, (owner, socket));
        SocketKey(self.next)
    }

    fn stream(&mut self, key: SocketKey) -> io::Result<&mut Stream> {
        match self.sockets.get_mut(&key.0) {
            Some((_, Socket::Stream(stream))) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn add_stream(
        &mut self,
        key: SocketKey,
        owner: Owner,
        (conn, side): (u64, usize),
        tcp: TcpStream,
    ) -> io::Result<()> {
        let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.ends[side].key = Some(key);
        }
        let stream = Stream {
            conn,
            side,
            tcp,
            local,
            peer,
            unread: BytesMut::new(),
            ended: false,
            shut: false,
            refused: false,
            broke: false,
            gate: None,
            reader: None,
        };
        self.sockets.insert(key.0, (owner, Socket::Stream(Box::new(stream))));
        Ok(())
    }

    pub fn local(&self, key: SocketKey) -> io::Result<SocketAddr> {
        match self.sockets.get(&key.0) {
            Some((_, Socket::Listener(listener))) => Ok(listener.addr),
            Some((_, Socket::Stream(stream))) => Ok(stream.local),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub fn peer(&self, key: SocketKey) -> io::Result<SocketAddr> {
        match self.sockets.get(&key.0) {
            Some((_, Socket::Stream(stream))) => Ok(stream.peer),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Marks one end of a connection as reset and gives who waits for it.
    fn reset(&mut self, conn: u64, side: usize) -> Vec<Waker> {
        let Some(found) = self.conns.get_mut(&conn) else { return Vec::new() };
        let end = &mut found.ends[side];
        end.reset = true;
        let (key, writer) = (end.key, end.writer.take());
        let reader = key.and_then(|key| self.stream(key).ok()?.reader.take());
        reader.into_iter().chain(writer).collect()
    }

    /// Forgets one end of a connection; gives who waited for it to take more.
    fn end_closed(&mut self, conn: u64, side: usize) -> Option<Waker> {
        let found = self.conns.get_mut(&conn)?;
        found.ends[side].closed = true;
        let writer = found.ends[1 - side].writer.take();
        if found.ends.iter().all(|end| end.closed) {
            self.conns.remove(&conn);
        }
        writer
    }
}

impl State {
    fn note(&self, what: &'static str, (from, to): (HostId, HostId), conn: u64, bytes: usize, digest: u64) {
        self.trace(Some(from), Kind::Net { what, peer: to, conn, bytes: bytes as u32, digest });
    }

    /// Resets all connections between two hosts; gives their number.
    pub(super) fn reset_between(&self, a: HostId, b: HostId) -> u64 {
        let mut net = self.net.borrow_mut();
        let between = |conn: &&u64| {
            let hosts = net.conns[*conn].hosts;
            hosts == [a, b] || hosts == [b, a]
        };
        let found: Vec<u64> = net.conns.keys().filter(between).copied().collect();
        let mut wakers = Vec::new();
        for conn in &found {
            wakers.extend((0..2).flat_map(|side| net.reset(*conn, side)));
        }
        for (from, to) in [(a, b), (b, a)] {
            net.links.get(from, to).counters.resets += found.len() as u64;
        }
        drop(net);
        wakers.into_iter().for_each(Waker::wake);
        found.len() as u64
    }

    /// A machine has lost its power: its peers hear nothing any more.
    pub(super) fn go_dark(&self, host: HostId) {
        let mut net = self.net.borrow_mut();
        for conn in net.conns.values_mut() {
            for side in 0..2 {
                if conn.hosts[side] == host {
                    conn.ends[1 - side].dark = true;
                }
            }
        }
    }

    /// A machine is up again: who was sending to it hears that it knows nothing of the connection.
    pub(super) fn answer_strangers(&self, host: HostId) {
        let mut net = self.net.borrow_mut();
        let mut strangers = Vec::new();
        for (number, conn) in &net.conns {
            let sides = (0..2).filter(|side| conn.hosts[1 - side] == host && conn.ends[*side].unanswered);
            strangers.extend(sides.map(|side| (*number, side, conn.hosts[side])));
        }
        let mut wakers = Vec::new();
        for (conn, side, from) in strangers {
            if net.links.is_open(from, host) {
                wakers.extend(net.reset(conn, side));
            }
        }
        drop(net);
        wakers.into_iter().for_each(Waker::wake);
    }
}
