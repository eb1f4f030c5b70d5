//! Machines: power, processes, their beginnings and ends; [`World`] for turmoil.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures_util::FutureExt;

use super::{Core, Machine, Running, Turmoil, turn};
use crate::base::{HostId, ProcessId, SimTime, TaskId};
use crate::rt::backend::BoxFuture;
use crate::trace::{Digest, Event, Kind, Listener};
use crate::world::engine::hosts::Process;
use crate::world::engine::{
    Clock, EngineKind, Exit, LinkCounters, LinkRule, Panic, Pending, Row, Stop, World, opinions,
};

impl Core {
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
            p.host
        };
        self.trace(Some(host), Kind::Exit(process, exit.word()));
        self.drop_tasks(process, host);
        let sockets = self.sockets.borrow_mut().take_all(|socket| socket.process == process);
        if exit != Exit::PowerLoss {
            self.order(host, |machine| machine.closing.extend(sockets));
        } else {
            // Streams end here, out of turmoil's sight; a port has to be given back.
            let (listeners, streams): (Vec<_>, Vec<_>) = sockets.into_iter().partition(|socket| socket.listens());
            drop(streams);
            self.order(host, |machine| machine.closing.extend(listeners));
        }
        let hook = self.on_exit.borrow_mut().take();
        if let Some(hook) = hook {
            hook(host, process, exit);
            self.on_exit.borrow_mut().get_or_insert(hook);
        }
    }

    fn drop_tasks(&self, process: ProcessId, host: HostId) {
        let all = self.tasks.borrow().of_process(process);
        for task in all {
            let mut tasks = self.tasks.borrow_mut();
            let name = tasks.get_mut(task).map_or("", |slot| slot.name);
            let (future, waker) = tasks.remove(task);
            drop(tasks);
            self.within(Running { process, host, name, alive: false }, || drop(future));
            // Who stands for it finds that it is gone.
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Turmoil {
    fn address(&self, host: HostId) -> Ipv4Addr {
        self.core.hosts.borrow().host(host).ip
    }

    /// Makes turmoil's link between two hosts what it is to be.
    fn apply(&self, a: HostId, b: HostId) {
        if a != b {
            let (ip_a, ip_b) = (self.address(a), self.address(b));
            self.core.links.borrow().apply(&self.sim.borrow(), (a, ip_a), (b, ip_b));
        }
    }

    fn apply_all(&self, a: HostId) {
        let all = self.core.hosts.borrow().hosts.len() as u32;
        (0..all).map(HostId).for_each(|b| self.apply(a, b));
    }

    /// Makes turmoil know a host's address, or starts the software of one that it knows already.
    fn settle(&self, host: HostId, ip: Ipv4Addr) {
        let core = self.core.clone();
        let new = self.core.machine(host, |machine| machine.addresses.insert(ip));
        if new {
            self.sim.borrow_mut().host(IpAddr::V4(ip), move || turn::machine(core.clone(), host));
        } else {
            self.sim.borrow_mut().bounce(IpAddr::V4(ip));
        }
        self.apply_all(host);
    }

    /// The kernel of a host is gone, and with it whatever turmoil runs there.
    fn unplug(&self, host: HostId) {
        let processes = self.core.hosts.borrow().on_host(host);
        for process in processes {
            self.core.end_process(process, Exit::PowerLoss);
        }
        self.sim.borrow_mut().crash(IpAddr::V4(self.address(host)));
    }
}

impl World for Turmoil {
    fn kind(&self) -> EngineKind {
        EngineKind::Turmoil
    }

    fn capabilities(&self) -> &'static [Row] {
        opinions::TURMOIL
    }

    fn add_host(&self, name: &str, ip: Ipv4Addr) -> HostId {
        let host = self.core.hosts.borrow_mut().add(name, ip);
        self.core.machines.borrow_mut().push(Machine::default());
        self.core.sockets.borrow_mut().set_name(name, &[IpAddr::V4(ip)]);
        self.settle(host, ip);
        host
    }

    fn host_name(&self, host: HostId) -> String {
        self.core.hosts.borrow().host(host).name.clone()
    }

    fn set_address(&self, host: HostId, ip: Ipv4Addr) {
        let (powered, name) = {
            let hosts = self.core.hosts.borrow();
            (hosts.host(host).powered, hosts.host(host).name.clone())
        };
        if powered {
            self.unplug(host);
        }
        self.core.hosts.borrow_mut().host_mut(host).ip = ip;
        self.core.sockets.borrow_mut().set_name(&name, &[IpAddr::V4(ip)]);
        self.settle(host, ip);
        if !powered {
            self.sim.borrow_mut().crash(IpAddr::V4(ip));
        }
    }

    fn clock(&self, host: HostId) -> Clock {
        self.core.hosts.borrow().host(host).clock
    }

    fn set_clock(&self, host: HostId, clock: Clock) {
        self.core.hosts.borrow_mut().host_mut(host).set_clock(clock, self.core.now.get());
    }

    fn set_dns(&self, name: &str, addresses: &[IpAddr]) {
        self.core.sockets.borrow_mut().set_name(name, addresses);
    }

    fn block(&self, from: HostId, to: HostId) {
        self.core.links.borrow_mut().cut((from, to), true);
        self.apply(from, to);
    }

    fn unblock(&self, from: HostId, to: HostId) {
        self.core.links.borrow_mut().cut((from, to), false);
        self.apply(from, to);
    }

    fn hold(&self, from: HostId, to: HostId) {
        self.core.links.borrow_mut().hold((from, to), true);
        self.apply(from, to);
    }

    fn release(&self, from: HostId, to: HostId) {
        self.core.links.borrow_mut().hold((from, to), false);
        self.apply(from, to);
    }

    fn link(&self, from: HostId, to: HostId) -> Option<LinkRule> {
        self.core.links.borrow().own((from, to))
    }

    fn default_link(&self) -> LinkRule {
        self.core.links.borrow().default
    }

    fn set_link(&self, from: HostId, to: HostId, rule: Option<LinkRule>) {
        self.core.links.borrow_mut().set_own((from, to), rule);
        self.apply(from, to);
    }

    fn set_default_link(&self, rule: LinkRule) {
        self.core.links.borrow_mut().default = rule;
        let all = self.core.hosts.borrow().hosts.len() as u32;
        (0..all).map(HostId).for_each(|a| (a.0 + 1..all).map(HostId).for_each(|b| self.apply(a, b)));
    }

    fn reset_connections(&self, _: HostId, _: HostId) -> u64 {
        0
    }

    fn link_counters(&self, from: HostId, to: HostId) -> LinkCounters {
        self.core.links.borrow().counters((from, to))
    }

    fn start(&self, host: HostId, name: &str, program: BoxFuture) -> io::Result<ProcessId> {
        let core = &self.core;
        let mut hosts = core.hosts.borrow_mut();
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
        let main = core.tasks.borrow_mut().insert(process, "main", Box::pin(main), core.now.get());
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
        core.trace(Some(host), Kind::Boot(process, name.into()));
        core.trace(Some(host), Kind::Spawn(main, "main"));
        core.order(host, |machine| machine.starting.push(main));
        Ok(process)
    }

    fn running(&self, process: ProcessId) -> bool {
        self.core.hosts.borrow().process(process).alive
    }

    fn host_of(&self, process: ProcessId) -> HostId {
        self.core.hosts.borrow().process(process).host
    }

    fn terminate(&self, process: ProcessId) {
        let wakers = {
            let mut hosts = self.core.hosts.borrow_mut();
            let p = hosts.process_mut(process);
            p.terminating = true;
            std::mem::take(&mut p.on_terminate)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn kill(&self, process: ProcessId) {
        self.core.end_process(process, Exit::Killed);
    }

    fn power_loss(&self, host: HostId) {
        if std::mem::replace(&mut self.core.hosts.borrow_mut().host_mut(host).powered, false) {
            self.unplug(host);
        }
    }

    fn power_on(&self, host: HostId) {
        if !std::mem::replace(&mut self.core.hosts.borrow_mut().host_mut(host).powered, true) {
            self.sim.borrow_mut().bounce(IpAddr::V4(self.address(host)));
        }
    }

    fn freeze(&self, process: ProcessId) {
        self.core.hosts.borrow_mut().process_mut(process).frozen = true;
    }

    fn thaw(&self, process: ProcessId) -> usize {
        let stalled = {
            let mut hosts = self.core.hosts.borrow_mut();
            let p = hosts.process_mut(process);
            p.frozen = false;
            std::mem::take(&mut p.stalled)
        };
        for &index in &stalled {
            let waker = self.core.tasks.borrow_mut().waker(index);
            waker.into_iter().for_each(Waker::wake);
        }
        stalled.len()
    }

    fn on_exit(&self, hook: Box<dyn Fn(HostId, ProcessId, Exit)>) {
        *self.core.on_exit.borrow_mut() = Some(hook);
    }

    fn run_until(&self, until: SimTime) -> Stop {
        debug_assert!(self.core.current.get().is_none(), "the harness runs the world, not a task");
        self.run(until)
    }

    fn pending(&self) -> Vec<Pending> {
        let hosts = self.core.hosts.borrow();
        let tasks = self.core.tasks.borrow();
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
        self.core.panics.borrow().clone()
    }

    fn shut_down(&self) {
        let all = self.core.hosts.borrow().processes.len() as u32;
        for process in (0..all).map(ProcessId) {
            self.core.end_process(process, Exit::Killed);
        }
    }

    fn record(&self, host: Option<HostId>, kind: Kind) {
        self.core.trace(host, kind);
    }

    fn digest(&self) -> Digest {
        self.core.trace.borrow().digest()
    }

    fn events(&self) -> u64 {
        self.core.trace.borrow().count()
    }

    fn recent(&self) -> Vec<Event> {
        self.core.trace.borrow().recent().cloned().collect()
    }

    fn listen(&self, listener: Listener) {
        self.core.trace.borrow_mut().listen(listener);
    }

    fn finish_trace(&self) -> io::Result<()> {
        self.core.trace.borrow_mut().finish()
    }
}
