//! Machines: power, processes, their beginnings and ends; [`World`] for glass.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;

use super::net::Owner;
use super::{Glass, Running};
use crate::base::{HostId, ProcessId, SimTime, TaskId};
use crate::rt::backend::BoxFuture;
use crate::trace::{Digest, Event, Kind, Listener};
use crate::world::engine::hosts::Process;
use crate::world::engine::{
    Clock, DnsFault, EngineKind, Exit, Latency, LinkCounters, LinkRule, Panic, Pending, Row, Stop, SynPolicy, World,
};

impl Glass {
    /// Ends a process: its tasks are dropped with nothing in reach, then its kernel lets go of its sockets.
    pub(super) fn end_process(&self, process: ProcessId, exit: Exit) {
        let host = {
            let mut hosts = self.hosts.borrow_mut();
            let p = hosts.process_mut(process);
            if !p.alive {
                return;
            }
            p.alive = false;
            p.stalled.clear();
            p.on_terminate.clear();
            let host = p.host;
            hosts.ended += 1;
            host
        };
        self.trace(Some(host), Kind::Exit(process, exit.word()));
        self.drop_tasks(process, host);
        if exit != Exit::PowerLoss {
            self.with_net(|net, ctx| net.process_killed(ctx, Owner { host, process }));
        }
        let hook = self.on_exit.borrow_mut().take();
        if let Some(hook) = hook {
            hook(host, process, exit);
            self.on_exit.borrow_mut().get_or_insert(hook);
        }
    }

    fn drop_tasks(&self, process: ProcessId, host: HostId) {
        let indexes = self.tasks.borrow().of_process(process);
        for index in indexes {
            let mut tasks = self.tasks.borrow_mut();
            let name = tasks.by_index(index).1.name;
            let future = tasks.remove(index);
            drop(tasks);
            self.within(Running { process, host, name, alive: false, on_time: false }, || drop(future));
        }
    }
}

impl World for Glass {
    fn kind(&self) -> EngineKind {
        EngineKind::Glass
    }

    fn capabilities(&self) -> &'static [Row] {
        super::CAPABILITIES
    }

    fn add_host(&self, name: &str, ip: Ipv4Addr) -> HostId {
        let host = self.hosts.borrow_mut().add(name, ip);
        self.with_net(|net, _| net.add_host(host, name, ip));
        host
    }

    fn host_name(&self, host: HostId) -> String {
        self.hosts.borrow().host(host).name.clone()
    }

    fn set_address(&self, host: HostId, ip: Ipv4Addr) {
        self.hosts.borrow_mut().host_mut(host).ip = ip;
        self.with_net(|net, ctx| net.set_address(ctx, host, ip));
    }

    fn clock(&self, host: HostId) -> Clock {
        self.hosts.borrow().host(host).clock
    }

    fn set_clock(&self, host: HostId, clock: Clock) {
        self.hosts.borrow_mut().host_mut(host).set_clock(clock, self.now.get());
    }

    fn set_dns(&self, name: &str, addresses: &[IpAddr]) {
        self.with_net(|net, _| net.set_dns(name, addresses));
    }

    fn block(&self, from: HostId, to: HostId) {
        self.with_net(|net, _| net.block(from, to));
    }

    fn unblock(&self, from: HostId, to: HostId) {
        self.with_net(|net, _| net.unblock(from, to));
    }

    fn hold(&self, from: HostId, to: HostId) {
        self.with_net(|net, _| net.hold(from, to));
    }

    fn release(&self, from: HostId, to: HostId) {
        self.with_net(|net, ctx| net.release(ctx, from, to));
    }

    fn link(&self, from: HostId, to: HostId) -> Option<LinkRule> {
        self.with_net(|net, _| net.link(from, to))
    }

    fn default_link(&self) -> LinkRule {
        self.net.borrow().default_link()
    }

    fn set_link(&self, from: HostId, to: HostId, rule: Option<LinkRule>) {
        self.with_net(|net, _| net.set_link(from, to, rule));
    }

    fn set_default_link(&self, rule: LinkRule) {
        self.with_net(|net, _| net.set_default_link(rule));
    }

    fn reset_connections(&self, a: HostId, b: HostId) -> u64 {
        self.with_net(|net, _| net.reset_connections(a, b))
    }

    fn set_syn_policy(&self, from: HostId, to: HostId, policy: SynPolicy) {
        self.with_net(|net, _| net.set_syn(from, to, policy));
    }

    fn set_dns_fault(&self, host: HostId, fault: Option<DnsFault>) {
        self.with_net(|net, _| net.dns_fault(host, fault));
    }

    fn set_dns_latency(&self, host: HostId, latency: Option<Latency>) {
        self.with_net(|net, _| net.dns_latency(host, latency));
    }

    fn dns_affected(&self, host: HostId) -> u64 {
        self.with_net(|net, _| net.dns_affected(host))
    }

    fn link_counters(&self, from: HostId, to: HostId) -> LinkCounters {
        self.with_net(|net, _| net.link_counters(from, to))
    }

    fn start(&self, host: HostId, name: &str, program: BoxFuture) -> io::Result<ProcessId> {
        let mut hosts = self.hosts.borrow_mut();
        let machine = hosts.host_mut(host);
        if !machine.powered {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        let incarnation = machine.incarnations;
        machine.incarnations += 1;
        let process = ProcessId(hosts.processes.len() as u32);
        let panicked = Arc::new(AtomicBool::new(false));
        let tell = panicked.clone();
        let main = AssertUnwindSafe(program).catch_unwind().map(move |ended| {
            if let Err(panic) = ended {
                tell.store(true, Ordering::Relaxed);
                crate::rt::task::report_panic(&*panic);
            }
        });
        let main = self.tasks.borrow_mut().insert(process, "main", Box::pin(main), self.now.get());
        hosts.processes.push(Process {
            host,
            name: name.into(),
            incarnation,
            main,
            alive: true,
            panicked,
            frozen: false,
            stalled: Vec::new(),
            terminating: false,
            on_terminate: Vec::new(),
        });
        drop(hosts);
        self.trace(Some(host), Kind::Boot(process, name.into()));
        self.trace(Some(host), Kind::Spawn(main, "main"));
        Ok(process)
    }

    fn running(&self, process: ProcessId) -> bool {
        self.hosts.borrow().process(process).alive
    }

    fn ended(&self) -> Option<u64> {
        Some(self.hosts.borrow().ended)
    }

    fn host_of(&self, process: ProcessId) -> HostId {
        self.hosts.borrow().process(process).host
    }

    fn terminate(&self, process: ProcessId) {
        let wakers = {
            let mut hosts = self.hosts.borrow_mut();
            let p = hosts.process_mut(process);
            p.terminating = true;
            std::mem::take(&mut p.on_terminate)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    fn kill(&self, process: ProcessId) {
        self.end_process(process, Exit::Killed);
    }

    fn power_loss(&self, host: HostId) {
        if !std::mem::replace(&mut self.hosts.borrow_mut().host_mut(host).powered, false) {
            return;
        }
        let processes = self.hosts.borrow().on_host(host);
        for process in processes {
            self.end_process(process, Exit::PowerLoss);
        }
        self.with_net(|net, ctx| net.power_loss(ctx, host));
    }

    fn power_on(&self, host: HostId) {
        if !std::mem::replace(&mut self.hosts.borrow_mut().host_mut(host).powered, true) {
            self.with_net(|net, _| net.boot(host));
        }
    }

    fn freeze(&self, process: ProcessId) {
        self.hosts.borrow_mut().process_mut(process).frozen = true;
    }

    fn thaw(&self, process: ProcessId) -> usize {
        let stalled = {
            let mut hosts = self.hosts.borrow_mut();
            let p = hosts.process_mut(process);
            p.frozen = false;
            std::mem::take(&mut p.stalled)
        };
        let mut tasks = self.tasks.borrow_mut();
        let late = stalled.len();
        for index in stalled {
            let (task, slot) = tasks.by_index(index);
            slot.queued = false;
            tasks.wake(task);
        }
        late
    }

    fn on_exit(&self, hook: Box<dyn Fn(HostId, ProcessId, Exit)>) {
        *self.on_exit.borrow_mut() = Some(hook);
    }

    fn run_until(&self, until: SimTime) -> Stop {
        debug_assert!(self.current.get().is_none(), "the harness runs the world, not a task");
        self.run(until)
    }

    fn pending(&self) -> Vec<Pending> {
        let hosts = self.hosts.borrow();
        let tasks = self.tasks.borrow();
        let pending = |(_, slot): (TaskId, &super::tasks::Slot)| {
            let process = hosts.process(slot.process);
            Pending {
                host: hosts.host(process.host).name.clone(),
                process: process.name.clone(),
                task: slot.name,
                waits_for: slot.waits_for,
                since: slot.since,
            }
        };
        tasks.live().map(pending).collect()
    }

    fn panics(&self) -> Vec<Panic> {
        self.panics.borrow().clone()
    }

    fn shut_down(&self) {
        let all = self.hosts.borrow().processes.len() as u32;
        for process in (0..all).map(ProcessId) {
            self.end_process(process, Exit::Killed);
        }
    }

    fn record(&self, host: Option<HostId>, kind: Kind) {
        self.trace(host, kind);
    }

    fn digest(&self) -> Digest {
        self.trace.borrow().digest()
    }

    fn events(&self) -> u64 {
        self.trace.borrow().count()
    }

    fn recent(&self) -> Vec<Event> {
        self.trace.borrow().recent().cloned().collect()
    }

    fn listen(&self, listener: Listener) {
        self.trace.borrow_mut().listen(listener);
    }

    fn finish_trace(&self) -> io::Result<()> {
        self.trace.borrow_mut().finish()
    }
}
