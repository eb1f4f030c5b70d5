//! Machines: power, processes, their beginnings and ends; [`World`] for madsim.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures_util::FutureExt;

use super::{Madsim, Running, State};
use crate::base::{HostId, ProcessId, SimTime, TaskId};
use crate::rt::backend::BoxFuture;
use crate::trace::{Digest, Event, Kind, Listener};
use crate::world::engine::hosts::Process;
use crate::world::engine::{
    Clock, EngineKind, Exit, LinkCounters, LinkRule, Panic, Pending, Row, Stop, World, opinions,
};

impl State {
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
        self.close_all(process, exit == Exit::PowerLoss);
        let hook = self.on_exit.borrow_mut().take();
        if let Some(hook) = hook {
            hook(host, process, exit);
            self.on_exit.borrow_mut().get_or_insert(hook);
        }
    }

    fn drop_tasks(&self, process: ProcessId, host: HostId) {
        let of_process = self.tasks.borrow().of_process(process);
        for task in of_process {
            let mut tasks = self.tasks.borrow_mut();
            let name = tasks.get_mut(task).map_or("", |slot| slot.name);
            let (future, waker) = tasks.remove(task);
            drop(tasks);
            self.within(Running { process, host, name, alive: false }, || drop(future));
            // madsim's side of it finds nothing any more, and ends.
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl World for Madsim {
    fn kind(&self) -> EngineKind {
        EngineKind::Madsim
    }

    fn capabilities(&self) -> &'static [Row] {
        opinions::MADSIM
    }

    fn add_host(&self, name: &str, ip: Ipv4Addr) -> HostId {
        let host = self.hosts.borrow_mut().add(name, ip);
        let node = self.runtime.create_node().name(name).ip(ip.into()).build();
        self.nodes.borrow_mut().push(node);
        self.net.borrow_mut().set_names(name, &[ip.into()]);
        host
    }

    fn host_name(&self, host: HostId) -> String {
        self.hosts.borrow().host(host).name.clone()
    }

    fn set_address(&self, host: HostId, ip: Ipv4Addr) {
        let name = {
            let mut hosts = self.hosts.borrow_mut();
            let machine = hosts.host_mut(host);
            machine.ip = ip;
            machine.name.clone()
        };
        self.links.set_ip(self.node(host), ip.into());
        self.net.borrow_mut().set_names(&name, &[ip.into()]);
    }

    fn clock(&self, host: HostId) -> Clock {
        self.hosts.borrow().host(host).clock
    }

    fn set_clock(&self, host: HostId, clock: Clock) {
        let now = self.elapsed();
        self.hosts.borrow_mut().host_mut(host).set_clock(clock, now);
    }

    fn set_dns(&self, name: &str, addresses: &[IpAddr]) {
        self.net.borrow_mut().set_names(name, addresses);
    }

    fn block(&self, from: HostId, to: HostId) {
        self.cut(from, to, |link| link.blocks += 1);
    }

    fn unblock(&self, from: HostId, to: HostId) {
        self.cut(from, to, |link| link.blocks = link.blocks.saturating_sub(1));
    }

    fn hold(&self, from: HostId, to: HostId) {
        self.cut(from, to, |link| link.holds += 1);
    }

    fn release(&self, from: HostId, to: HostId) {
        self.cut(from, to, |link| link.holds = link.holds.saturating_sub(1));
    }

    fn link(&self, from: HostId, to: HostId) -> Option<LinkRule> {
        self.net.borrow_mut().links.get(from, to).rule
    }

    fn default_link(&self) -> LinkRule {
        self.net.borrow().links.default
    }

    fn set_link(&self, from: HostId, to: HostId, rule: Option<LinkRule>) {
        self.net.borrow_mut().links.get(from, to).rule = rule;
    }

    fn set_default_link(&self, rule: LinkRule) {
        self.net.borrow_mut().links.default = rule;
        self.apply_default_link();
    }

    fn reset_connections(&self, a: HostId, b: HostId) -> u64 {
        self.reset_between(a, b)
    }

    fn link_counters(&self, from: HostId, to: HostId) -> LinkCounters {
        self.net.borrow_mut().links.get(from, to).counters
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
        hosts.processes.push(Process {
            host,
            name: name.into(),
            incarnation,
            main: TaskId(u64::MAX),
            alive: true,
            panicked,
            frozen: false,
            stalled: Vec::new(),
            terminating: false,
            on_terminate: Vec::new(),
        });
        drop(hosts);
        self.trace(Some(host), Kind::Boot(process, name.into()));
        let main = self.add_task(Running { process, host, name: "main", alive: true }, Box::pin(main));
        self.hosts.borrow_mut().process_mut(process).main = main;
        Ok(process)
    }

    fn running(&self, process: ProcessId) -> bool {
        self.hosts.borrow().process(process).alive
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
        wakers.into_iter().for_each(Waker::wake);
    }

    fn kill(&self, process: ProcessId) {
        self.end_process(process, Exit::Killed);
    }

    fn power_loss(&self, host: HostId) {
        if !std::mem::replace(&mut self.hosts.borrow_mut().host_mut(host).powered, false) {
            return;
        }
        let node = self.node(host);
        self.links.clog_node(node);
        self.go_dark(host);
        let processes = self.hosts.borrow().on_host(host);
        for process in processes {
            self.end_process(process, Exit::PowerLoss);
        }
        self.runtime.handle().kill(node);
    }

    fn power_on(&self, host: HostId) {
        if std::mem::replace(&mut self.hosts.borrow_mut().host_mut(host).powered, true) {
            return;
        }
        let node = self.node(host);
        self.runtime.handle().restart(node);
        self.links.unclog_node(node);
        if let Some(fresh) = self.runtime.handle().get_node(node) {
            self.nodes.borrow_mut()[host.0 as usize] = fresh;
        }
        self.answer_strangers(host);
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
        let wakers: Vec<Waker> = {
            let tasks = self.tasks.borrow();
            let late = tasks.live().filter(|(task, _)| stalled.contains(&task.slot()));
            late.filter_map(|(_, slot)| slot.waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
        stalled.len()
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
