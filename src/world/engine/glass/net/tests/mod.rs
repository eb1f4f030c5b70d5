//! The network under a tiny event loop made by hand: two or three hosts, a clock, nothing else.

mod dns;
mod faults;
mod handshake;
mod random;
mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::config::NetConfig;
use super::{Ctx, Net, NetEvent, NetTrace, NetWhat, Owner};
use crate::base::{HostId, ProcessId, Seed, SimTime};
use crate::rt::backend::SocketKey;
use crate::world::engine::Latency;

pub const A: HostId = HostId(0);
pub const B: HostId = HostId(1);
pub const MS: Duration = Duration::from_millis(1);
pub const SEC: Duration = Duration::from_secs(1);

/// Counts how often it was woken.
#[derive(Default)]
pub struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Sim {
    pub net: Net,
    pub now: SimTime,
    queue: BTreeMap<(SimTime, u64), NetEvent>,
    serial: u64,
    pub log: Vec<NetTrace>,
    pub fired: u64,
    bell: Arc<Bell>,
}

/// `None` while pending; errors by kind.
pub type Polled<T> = Option<Result<T, io::ErrorKind>>;

fn polled<T>(poll: Poll<io::Result<T>>) -> Polled<T> {
    match poll {
        Poll::Pending => None,
        Poll::Ready(result) => Some(result.map_err(|e| e.kind())),
    }
}

pub fn config() -> NetConfig {
    let mut config = NetConfig::default();
    config.link.latency = Latency::Const(MS);
    config
}

pub fn owner(host: HostId) -> Owner {
    Owner { host, process: ProcessId(host.0) }
}

pub fn ip(host: HostId) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + host.0 as u8)
}

pub fn addr(host: HostId, port: u16) -> SocketAddr {
    SocketAddrV4::new(ip(host), port).into()
}

impl Sim {
    /// Hosts A and B, 1 ms apart.
    pub fn new(config: NetConfig) -> Self {
        Self::seeded(Seed(11), config)
    }

    pub fn seeded(seed: Seed, config: NetConfig) -> Self {
        let mut net = Net::new(seed, config);
        net.add_host(A, "a", ip(A));
        net.add_host(B, "b", ip(B));
        let (queue, log, bell) = (BTreeMap::new(), Vec::new(), Arc::default());
        Self { net, now: SimTime::ZERO, queue, serial: 0, log, fired: 0, bell }
    }

    pub fn with<R>(&mut self, act: impl FnOnce(&mut Net, &mut Ctx<'_>) -> R) -> R {
        let (now, queue, serial, log) = (self.now, &mut self.queue, &mut self.serial, &mut self.log);
        let mut schedule = |at: SimTime, event| {
            assert!(at >= now, "an event in the past");
            *serial += 1;
            queue.insert((at, *serial), event);
        };
        let mut trace = |line| log.push(line);
        act(&mut self.net, &mut Ctx { now, schedule: &mut schedule, trace: &mut trace })
    }

    /// Fires all events of the next `span` and moves the clock to its end.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= until) {
            self.now = entry.key().0;
            let event = entry.remove();
            self.fired += 1;
            self.with(|net, cx| net.on_event(cx, event));
        }
        self.now = until;
    }

    /// Fires events until none is left; gives the time of the last one.
    pub fn drain(&mut self) -> SimTime {
        let mut last = self.now;
        while let Some(&(at, _)) = self.queue.keys().next() {
            self.run(at - self.now);
            last = at;
        }
        last
    }

    pub fn rings(&self) -> u64 {
        self.bell.0.load(Ordering::Relaxed)
    }

    fn polling<R>(&mut self, act: impl FnOnce(&mut Net, &mut Ctx<'_>, &mut Context<'_>) -> R) -> R {
        let waker = Waker::from(self.bell.clone());
        self.with(|net, cx| act(net, cx, &mut Context::from_waker(&waker)))
    }

    pub fn listen(&mut self, host: HostId, port: u16) -> SocketKey {
        self.with(|net, cx| net.listen(cx, owner(host), addr(host, port))).unwrap()
    }

    pub fn connect(&mut self, host: HostId, to: SocketAddr) -> SocketKey {
        self.with(|net, cx| net.connect(cx, owner(host), to)).unwrap()
    }

    pub fn connected(&mut self, stream: SocketKey) -> Polled<()> {
        self.polling(|net, _, context| polled(net.poll_connected(stream, context)))
    }

    pub fn accept(&mut self, listener: SocketKey) -> Option<SocketKey> {
        self.polling(|net, cx, context| polled(net.poll_accept(cx, listener, context))).map(|r| r.unwrap().0)
    }

    /// An established connection from A to a listener at B: both ends.
    pub fn pair(&mut self) -> (SocketKey, SocketKey) {
        let listener = self.listen(B, 80);
        let client = self.connect(A, addr(B, 80));
        self.run(10 * MS);
        let server = self.accept(listener).unwrap();
        assert_eq!(self.connected(client), Some(Ok(())));
        (client, server)
    }

    pub fn write(&mut self, stream: SocketKey, data: &[u8]) -> Polled<usize> {
        self.polling(|net, cx, context| polled(net.poll_write(cx, stream, context, data)))
    }

    /// Up to `n` bytes; empty at the end of the stream.
    pub fn read(&mut self, stream: SocketKey, n: usize) -> Polled<Vec<u8>> {
        let mut bytes = vec![0; n];
        let mut buf = ReadBuf::new(&mut bytes);
        let got = self.polling(|net, cx, context| polled(net.poll_read(cx, stream, context, &mut buf)));
        let filled = buf.filled().to_vec();
        got.map(|result| result.map(|()| filled))
    }

    pub fn shutdown(&mut self, stream: SocketKey) {
        self.with(|net, cx| net.shutdown(cx, stream)).unwrap();
    }

    pub fn close(&mut self, socket: SocketKey) {
        self.with(|net, cx| net.close(cx, socket));
    }

    pub fn cut(&mut self) {
        self.net.block(A, B);
        self.net.block(B, A);
    }

    pub fn mend(&mut self) {
        self.net.unblock(A, B);
        self.net.unblock(B, A);
    }

    pub fn seen(&self, what: NetWhat) -> usize {
        self.log.iter().filter(|line| line.what == what).count()
    }
}
