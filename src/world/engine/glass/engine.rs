//! [`Engine`] for glass: what a task asks of its world.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::net::Owner;
use super::queue::EventKey;
use super::{Due, Glass, Running};
use crate::base::seed::mix;
use crate::base::{HostId, ProcessId, SimTime, Stream, TaskId};
use crate::rt::backend::{BoxFuture, Engine, SocketKey, TimerKey};
use crate::trace::Kind;
use crate::world::engine::Panic;

impl Glass {
    /// The task that asks, if its process lives.
    fn asker(&self) -> Option<Running> {
        self.current.get().filter(|running| running.alive)
    }

    fn owner(&self) -> io::Result<Owner> {
        let running = self.asker().ok_or_else(|| io::Error::other("the process is dead"))?;
        Ok(Owner { host: running.host, process: running.process })
    }

    /// A socket call of a live task; pending for ever in a dead one.
    fn poll_net<T>(
        &self,
        act: impl FnOnce(&mut super::net::Net, &mut super::net::Ctx<'_>, Owner) -> Poll<T>,
    ) -> Poll<T> {
        match self.owner() {
            Ok(owner) => self.with_net(|net, ctx| act(net, ctx, owner)),
            Err(_) => Poll::Pending,
        }
    }
}

impl Engine for Glass {
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
        self.now.get()
    }

    fn now(&self) -> SimTime {
        let world = self.now.get();
        match self.current.get() {
            Some(running) if !running.on_time => self.hosts.borrow().host(running.host).monotonic(world),
            _ => world,
        }
    }

    fn wall(&self) -> Duration {
        let world = self.now.get();
        match self.current.get() {
            Some(running) => self.hosts.borrow().host(running.host).wall(world),
            None => crate::world::engine::hosts::EPOCH + world.elapsed(),
        }
    }

    fn timer_start(&self, deadline: SimTime, waker: &Waker) -> TimerKey {
        let at = match self.asker() {
            Some(running) if running.on_time => deadline,
            Some(running) => self.hosts.borrow().host(running.host).world_time(deadline),
            None => return TimerKey(u64::MAX),
        };
        TimerKey(self.queue.borrow_mut().push(at.max(self.now.get()), Due::Wake(waker.clone())).0)
    }

    fn timer_rewake(&self, timer: TimerKey, waker: &Waker) -> bool {
        match self.queue.borrow_mut().get_mut(EventKey(timer.0)) {
            Some(Due::Wake(armed)) => {
                armed.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    fn timer_cancel(&self, timer: TimerKey) {
        self.queue.borrow_mut().cancel(EventKey(timer.0));
    }

    fn spawn(&self, name: &'static str, future: BoxFuture) -> Option<TaskId> {
        let running = self.asker()?;
        let task = self.tasks.borrow_mut().insert(running.process, name, future, self.now.get());
        self.trace(Some(running.host), Kind::Spawn(task, name));
        Some(task)
    }

    fn abort(&self, task: TaskId) {
        if self.asker().is_none() {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        if let Some(slot) = tasks.get_mut(task) {
            slot.aborted = true;
            tasks.wake(task);
        }
    }

    fn waiting_for(&self, what: &'static str) {
        self.waits_for.set(what);
    }

    fn panicked(&self, message: &str) {
        let Some(running) = self.asker() else { return };
        let host = self.hosts.borrow().host(running.host).name.clone();
        let text = format!("task {} panicked: {message}", running.name);
        self.trace(Some(running.host), Kind::Harness { what: "panic", text });
        let panic = Panic { at: self.now.get(), host, task: running.name, message: message.into() };
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
        let owner = self.owner()?;
        self.with_net(|net, ctx| net.listen(ctx, owner, addr))
    }

    fn tcp_poll_accept(&self, listener: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<(SocketKey, SocketAddr)>> {
        self.poll_net(|net, ctx, _| net.poll_accept(ctx, listener, cx))
    }

    fn tcp_connect(&self, to: SocketAddr) -> io::Result<SocketKey> {
        let owner = self.owner()?;
        self.with_net(|net, ctx| net.connect(ctx, owner, to))
    }

    fn tcp_poll_connected(&self, stream: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_net(|net, _, _| net.poll_connected(stream, cx))
    }

    fn tcp_poll_read(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_net(|net, ctx, _| net.poll_read(ctx, stream, cx, buf))
    }

    fn tcp_poll_write(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_net(|net, ctx, _| net.poll_write(ctx, stream, cx, buf))
    }

    fn tcp_shutdown(&self, stream: SocketKey) -> io::Result<()> {
        self.owner()?;
        self.with_net(|net, ctx| net.shutdown(ctx, stream))
    }

    fn tcp_close(&self, socket: SocketKey) {
        if self.asker().is_some() {
            self.with_net(|net, ctx| net.close(ctx, socket));
        }
    }

    fn tcp_local(&self, socket: SocketKey) -> io::Result<SocketAddr> {
        self.net.borrow().local(socket)
    }

    fn tcp_peer(&self, stream: SocketKey) -> io::Result<SocketAddr> {
        self.net.borrow().peer(stream)
    }

    fn dns_start(&self, name: &str) -> SocketKey {
        match self.owner() {
            Ok(owner) => self.with_net(|net, ctx| net.dns_start(ctx, owner, name)),
            Err(_) => SocketKey(u64::MAX),
        }
    }

    fn dns_poll(&self, lookup: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<Vec<IpAddr>>> {
        self.poll_net(|net, _, _| net.dns_poll(lookup, cx))
    }

    fn dns_cancel(&self, lookup: SocketKey) {
        if self.asker().is_some() {
            self.with_net(|net, _| net.dns_cancel(lookup));
        }
    }

    fn log(&self, level: &'static str, target: &str, message: &str) {
        let host = self.current.get().map(|running| running.host);
        self.trace(host, Kind::Log { level, target: target.into(), message: message.into() });
    }
}
