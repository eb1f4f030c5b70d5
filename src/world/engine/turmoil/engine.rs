//! [`Engine`] for turmoil: what a task asks of its world.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::{Core, Running, Turmoil, turn};
use crate::base::seed::mix;
use crate::base::{HostId, ProcessId, SimTime, Stream, TaskId};
use crate::rt::backend::{BoxFuture, Engine, SocketKey, TimerKey};
use crate::trace::Kind;
use crate::world::engine::Panic;
use crate::world::engine::hosts::EPOCH;

impl Core {
    /// The task that asks, if its process lives.
    fn asker(&self) -> Option<Running> {
        self.current.get().filter(|running| running.alive)
    }

    fn owner(&self) -> io::Result<Running> {
        self.asker().ok_or_else(|| io::Error::other("the process is dead"))
    }

    /// Whose address it is, as seen from `from`.
    fn host_at(&self, from: HostId, addr: SocketAddr) -> Option<HostId> {
        if addr.ip().is_loopback() || addr.ip().is_unspecified() {
            return Some(from);
        }
        let hosts = self.hosts.borrow();
        let index = hosts.hosts.iter().position(|host| IpAddr::V4(host.ip) == addr.ip())?;
        Some(HostId(index as u32))
    }

    fn note_segment(&self, from: HostId, what: &'static str, conn: SocketKey, to: SocketAddr, payload: &[u8]) {
        let Some(peer) = self.host_at(from, to) else { return };
        self.links.borrow_mut().note((from, peer), payload.len() as u64);
        let digest = u64::from(crc32c::crc32c(payload));
        self.trace(Some(from), Kind::Net { what, peer, conn: conn.0, bytes: payload.len() as u32, digest });
    }
}

impl Engine for Turmoil {
    fn host(&self) -> Option<HostId> {
        self.core.current.get().map(|running| running.host)
    }

    fn process(&self) -> Option<ProcessId> {
        self.core.current.get().map(|running| running.process)
    }

    fn alive(&self) -> bool {
        self.core.current.get().is_none_or(|running| running.alive)
    }

    fn world_time(&self) -> SimTime {
        self.core.now.get()
    }

    fn now(&self) -> SimTime {
        match self.core.current.get() {
            Some(running) => self.core.hosts.borrow().host(running.host).monotonic(self.core.local.get()),
            None => self.core.now.get(),
        }
    }

    fn wall(&self) -> Duration {
        match self.core.current.get() {
            Some(running) => self.core.hosts.borrow().host(running.host).wall(self.core.local.get()),
            None => EPOCH + self.core.now.get().elapsed(),
        }
    }

    fn timer_start(&self, deadline: SimTime, waker: &Waker) -> TimerKey {
        let Some(running) = self.core.asker() else { return TimerKey(u64::MAX) };
        let at = self.core.hosts.borrow().host(running.host).world_time(deadline);
        TimerKey(self.core.timers.borrow_mut().start(at.since(self.core.local.get()), waker))
    }

    fn timer_rewake(&self, timer: TimerKey, waker: &Waker) -> bool {
        self.core.timers.borrow_mut().rewake(timer.0, waker)
    }

    fn timer_cancel(&self, timer: TimerKey) {
        self.core.timers.borrow_mut().cancel(timer.0);
    }

    fn spawn(&self, name: &'static str, future: BoxFuture) -> Option<TaskId> {
        let running = self.core.asker()?;
        let task = self.core.tasks.borrow_mut().insert(running.process, name, future, self.core.now.get());
        self.core.trace(Some(running.host), Kind::Spawn(task, name));
        turn::hand_over(&self.core, task);
        Some(task)
    }

    fn abort(&self, task: TaskId) {
        if self.core.asker().is_none() {
            return;
        }
        let waker = self.core.tasks.borrow_mut().get_mut(task).and_then(|slot| {
            slot.aborted = true;
            slot.waker.clone()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    fn waiting_for(&self, what: &'static str) {
        self.core.waits_for.set(what);
    }

    fn panicked(&self, message: &str) {
        let Some(running) = self.core.asker() else { return };
        let host = self.core.hosts.borrow().host(running.host).name.clone();
        let text = format!("task {} panicked: {message}", running.name);
        self.core.trace(Some(running.host), Kind::Harness { what: "panic", text });
        let panic = Panic { at: self.core.now.get(), host, task: running.name, message: message.into() };
        self.core.panics.borrow_mut().push(panic);
    }

    fn poll_terminated(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(running) = self.core.asker() else { return Poll::Pending };
        let mut hosts = self.core.hosts.borrow_mut();
        let process = hosts.process_mut(running.process);
        if process.terminating {
            return Poll::Ready(());
        }
        if !process.on_terminate.iter().any(|waker| waker.will_wake(cx.waker())) {
            process.on_terminate.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn stream(&self, domain: &str) -> Stream {
        let Some(running) = self.core.current.get() else { return self.core.seed.stream(domain, 0) };
        let incarnation = self.core.hosts.borrow().process(running.process).incarnation;
        let mut streams = self.core.streams.borrow_mut();
        let count = streams.entry((running.process, domain.to_owned())).or_default();
        let entity = mix(u64::from(running.host.0) << 32 | u64::from(incarnation)) ^ *count;
        *count += 1;
        self.core.seed.stream(domain, entity)
    }

    fn tcp_listen(&self, addr: SocketAddr) -> io::Result<SocketKey> {
        let Running { host, process, .. } = self.core.owner()?;
        let own = self.core.hosts.borrow().host(host).ip;
        self.core.sockets.borrow_mut().listen(host, process, own, addr)
    }

    fn tcp_poll_accept(&self, listener: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<(SocketKey, SocketAddr)>> {
        match self.core.asker() {
            Some(_) => self.core.sockets.borrow_mut().poll_accept(listener, cx),
            None => Poll::Pending,
        }
    }

    fn tcp_connect(&self, to: SocketAddr) -> io::Result<SocketKey> {
        let Running { host, process, .. } = self.core.owner()?;
        let key = self.core.sockets.borrow_mut().connect(host, process, to);
        self.core.note_segment(host, "syn", key, to, &[]);
        Ok(key)
    }

    fn tcp_poll_connected(&self, stream: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.core.asker() {
            Some(_) => self.core.sockets.borrow_mut().poll_connected(stream, cx),
            None => Poll::Pending,
        }
    }

    fn tcp_poll_read(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.core.asker() {
            Some(_) => self.core.sockets.borrow_mut().poll_read(stream, cx, buf),
            None => Poll::Pending,
        }
    }

    fn tcp_poll_write(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(running) = self.core.asker() else { return Poll::Pending };
        let written = self.core.sockets.borrow_mut().poll_write(stream, cx, buf);
        written.map_ok(|(bytes, peer)| {
            self.core.note_segment(running.host, "segment", stream, peer, &buf[..bytes]);
            bytes
        })
    }

    fn tcp_shutdown(&self, stream: SocketKey) -> io::Result<()> {
        self.core.owner()?;
        self.core.sockets.borrow_mut().shutdown(stream)
    }

    fn tcp_close(&self, socket: SocketKey) {
        if self.core.asker().is_some() {
            let socket = self.core.sockets.borrow_mut().take(socket);
            drop(socket);
        }
    }

    fn tcp_local(&self, socket: SocketKey) -> io::Result<SocketAddr> {
        self.core.sockets.borrow().local(socket)
    }

    fn tcp_peer(&self, stream: SocketKey) -> io::Result<SocketAddr> {
        self.core.sockets.borrow().peer(stream)
    }

    fn dns_start(&self, name: &str) -> SocketKey {
        match self.core.owner() {
            Ok(Running { host, process, .. }) => self.core.sockets.borrow_mut().look_up(host, process, name),
            Err(_) => SocketKey(u64::MAX),
        }
    }

    fn dns_poll(&self, lookup: SocketKey, _: &mut Context<'_>) -> Poll<io::Result<Vec<IpAddr>>> {
        match self.core.asker() {
            Some(_) => Poll::Ready(self.core.sockets.borrow_mut().found(lookup)),
            None => Poll::Pending,
        }
    }

    fn dns_cancel(&self, lookup: SocketKey) {
        self.core.sockets.borrow_mut().take(lookup);
    }

    fn log(&self, level: &'static str, target: &str, message: &str) {
        let host = self.core.current.get().map(|running| running.host);
        self.core.trace(host, Kind::Log { level, target: target.into(), message: message.into() });
    }
}
