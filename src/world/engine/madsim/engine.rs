//! [`Engine`] for madsim: what a task asks of its world.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::net::Owner;
use super::{Madsim, Running, State};
use crate::base::seed::mix;
use crate::base::{HostId, ProcessId, SimTime, Stream, TaskId};
use crate::rt::backend::{BoxFuture, Engine, SocketKey, TimerKey};
use crate::trace::Kind;
use crate::world::engine::Panic;
use crate::world::engine::hosts::EPOCH;

impl State {
    pub(super) fn owner(&self) -> io::Result<Owner> {
        let running = self.asker().ok_or_else(|| io::Error::other("the process is dead"))?;
        Ok(Owner { host: running.host, process: running.process })
    }
}

impl Engine for Madsim {
    fn host(&self) -> Option<HostId> {
        self.current.get().map(|running| running.host)
    }

    fn process(&self) -> Option<ProcessId> {
        self.current.get().map(|running| running.process)
    }

    fn alive(&self) -> bool {
        self.current.get().is_none_or(|running| running.alive)
    }

    fn world_time(&self) -> SimTime {
        self.elapsed()
    }

    fn now(&self) -> SimTime {
        let world = self.elapsed();
        match self.current.get() {
            Some(running) => self.hosts.borrow().host(running.host).monotonic(world),
            None => world,
        }
    }

    fn wall(&self) -> Duration {
        let world = self.elapsed();
        match self.current.get() {
            Some(running) => self.hosts.borrow().host(running.host).wall(world),
            None => EPOCH + world.elapsed(),
        }
    }

    fn timer_start(&self, deadline: SimTime, waker: &Waker) -> TimerKey {
        let Some(running) = self.asker() else { return TimerKey(u64::MAX) };
        let at = self.hosts.borrow().host(running.host).world_time(deadline);
        self.arm(at, waker)
    }

    fn timer_rewake(&self, timer: TimerKey, waker: &Waker) -> bool {
        self.timers.borrow_mut().rewake(timer, waker)
    }

    fn timer_cancel(&self, timer: TimerKey) {
        let forgotten = self.timers.borrow_mut().take(timer);
        drop(forgotten);
    }

    fn spawn(&self, name: &'static str, future: BoxFuture) -> Option<TaskId> {
        let running = self.asker()?;
        Some(self.add_task(Running { name, ..running }, future))
    }

    fn abort(&self, task: TaskId) {
        if self.asker().is_none() {
            return;
        }
        let waker = self.tasks.borrow_mut().get_mut(task).and_then(|slot| {
            slot.aborted = true;
            slot.waker.clone()
        });
        // One that has not been polled yet has its first turn to come.
        waker.into_iter().for_each(Waker::wake);
    }

    fn waiting_for(&self, what: &'static str) {
        self.waits_for.set(what);
    }

    fn panicked(&self, message: &str) {
        let Some(running) = self.asker() else { return };
        let host = self.hosts.borrow().host(running.host).name.clone();
        let text = format!("task {} panicked: {message}", running.name);
        self.trace(Some(running.host), Kind::Harness { what: "panic", text });
        let panic = Panic { at: self.elapsed(), host, task: running.name, message: message.into() };
        self.panics.borrow_mut().push(panic);
    }

    fn poll_terminated(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(running) = self.asker() else { return Poll::Pending };
        let mut hosts = self.hosts.borrow_mut();
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
        let Some(running) = self.current.get() else { return self.seed.stream(domain, 0) };
        let incarnation = self.hosts.borrow().process(running.process).incarnation;
        let mut streams = self.streams.borrow_mut();
        let count = streams.entry((running.process, domain.to_owned())).or_default();
        let entity = mix(u64::from(running.host.0) << 32 | u64::from(incarnation)) ^ *count;
        *count += 1;
        self.seed.stream(domain, entity)
    }

    fn tcp_listen(&self, addr: SocketAddr) -> io::Result<SocketKey> {
        State::tcp_listen(self, addr)
    }

    fn tcp_poll_accept(&self, listener: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<(SocketKey, SocketAddr)>> {
        if self.asker().is_some() { self.poll_accept(listener, cx) } else { Poll::Pending }
    }

    fn tcp_connect(&self, to: SocketAddr) -> io::Result<SocketKey> {
        State::tcp_connect(self, to)
    }

    fn tcp_poll_connected(&self, stream: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.asker().is_some() { self.poll_connected(stream, cx) } else { Poll::Pending }
    }

    fn tcp_poll_read(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.asker().is_some() { self.poll_read(stream, cx, buf) } else { Poll::Pending }
    }

    fn tcp_poll_write(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.asker().is_some() { self.poll_write(stream, cx, buf) } else { Poll::Pending }
    }

    fn tcp_shutdown(&self, stream: SocketKey) -> io::Result<()> {
        self.owner()?;
        self.shut(stream)
    }

    fn tcp_close(&self, socket: SocketKey) {
        if self.asker().is_some() {
            self.close(socket);
        }
    }

    fn tcp_local(&self, socket: SocketKey) -> io::Result<SocketAddr> {
        self.net.borrow().local(socket)
    }

    fn tcp_peer(&self, stream: SocketKey) -> io::Result<SocketAddr> {
        self.net.borrow().peer(stream)
    }

    fn dns_start(&self, name: &str) -> SocketKey {
        if self.asker().is_some() { self.look_up(name) } else { SocketKey(u64::MAX) }
    }

    fn dns_poll(&self, lookup: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<Vec<IpAddr>>> {
        if self.asker().is_some() { self.poll_lookup(lookup, cx) } else { Poll::Pending }
    }

    fn dns_cancel(&self, lookup: SocketKey) {
        if self.asker().is_some() {
            self.close(lookup);
        }
    }

    fn log(&self, level: &'static str, target: &str, message: &str) {
        let host = self.current.get().map(|running| running.host);
        self.trace(host, Kind::Log { level, target: target.into(), message: message.into() });
    }
}
