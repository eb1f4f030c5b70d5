//! The loop: ready tasks first, in the order that the seed picks; then the next event.

use std::sync::atomic::Ordering;
use std::task::Context;

use super::waker::{drain, waker};
use super::{Due, Glass, Running};
use crate::base::{SimTime, TaskId};
use crate::trace::Kind;
use crate::world::engine::{Exit, Stop};

impl Glass {
    pub(super) fn run(&self, until: SimTime) -> Stop {
        // A harness looks fifty times a simulated second: the list outlives its slice.
        let mut woken = self.woken.take();
        let stop = self.run_with(&mut woken, until);
        self.woken.set(woken);
        stop
    }

    fn run_with(&self, woken: &mut Vec<TaskId>, until: SimTime) -> Stop {
        let mut polls_at_once = 0;
        loop {
            self.take_woken(woken);
            let picked = self.tasks.borrow_mut().pick();
            if let Some(index) = picked {
                self.turn(index);
                polls_at_once += 1;
            } else if self.next_event(until) {
                polls_at_once = 0;
            } else {
                let idle = self.queue.borrow().is_empty();
                self.now.set(self.now.get().max(until));
                return if idle { Stop::Idle } else { Stop::Reached };
            }
            self.steps.set(self.steps.get() + 1);
            if let Some(stop) = self.spent(polls_at_once) {
                return stop;
            }
        }
    }

    fn spent(&self, polls_at_once: u64) -> Option<Stop> {
        let steps = self.steps.get();
        if polls_at_once > self.budget.polls_at_once {
            return Some(Stop::Livelock);
        }
        if steps > self.budget.events {
            return Some(Stop::Events);
        }
        // The trace file is looked at now and then: it cannot grow much in between.
        let over = steps.is_multiple_of(1024) && self.trace.borrow().written() > self.budget.trace_bytes;
        over.then_some(Stop::TraceBytes)
    }

    fn take_woken(&self, woken: &mut Vec<TaskId>) {
        drain(woken);
        if woken.is_empty() {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        for task in woken.drain(..) {
            tasks.wake(task);
        }
    }

    /// Moves time to the next event that is due by `until`, and fires all events of that moment.
    fn next_event(&self, until: SimTime) -> bool {
        let Some((at, due)) = self.queue.borrow_mut().pop_due(until) else { return false };
        debug_assert!(at >= self.now.get(), "time went back");
        self.now.set(at.max(self.now.get()));
        self.fire(due);
        loop {
            let same = self.queue.borrow_mut().pop_due(at);
            match same {
                Some((_, due)) => self.fire(due),
                None => return true,
            }
        }
    }

    fn fire(&self, due: Due) {
        match due {
            Due::Wake(waker) => waker.wake(),
            Due::Net(event) => self.with_net(|net, ctx| net.on_event(ctx, event)),
        }
    }

    /// Gives the task at `index` its turn: a poll, or its end if it was aborted.
    fn turn(&self, index: u32) {
        let mut tasks = self.tasks.borrow_mut();
        let (task, slot) = tasks.by_index(index);
        slot.queued = false;
        let mut hosts = self.hosts.borrow_mut();
        let on_time = hosts.on_time(slot.process);
        let process = hosts.process_mut(slot.process);
        if process.frozen {
            // Counted as queued, so that a second wake does not list it twice.
            slot.queued = true;
            process.stalled.push(index);
            return;
        }
        let running =
            Running { process: slot.process, host: process.host, name: slot.name, alive: process.alive, on_time };
        if slot.aborted {
            let future = tasks.remove(index);
            drop((tasks, hosts));
            self.trace(Some(running.host), Kind::End(task));
            self.within(running, || drop(future));
            return;
        }
        let Some(mut future) = slot.future.take() else { return };
        drop((tasks, hosts));
        self.trace(Some(running.host), Kind::Poll(task));
        self.waits_for.set("something that the world does not know");
        let waker = waker(task);
        let done = self.within(running, || future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        if done {
            self.tasks.borrow_mut().remove(index);
            self.trace(Some(running.host), Kind::End(task));
            self.within(running, || drop(future));
            self.end_with_main(running, task);
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        let (_, slot) = tasks.by_index(index);
        slot.future = Some(future);
        slot.waits_for = self.waits_for.get();
        slot.since = self.now.get();
    }

    /// A process ends with its main task.
    fn end_with_main(&self, running: Running, task: TaskId) {
        let exit = {
            let hosts = self.hosts.borrow();
            let process = hosts.process(running.process);
            if process.main != task {
                return;
            }
            if process.panicked.load(Ordering::Relaxed) { Exit::Panicked } else { Exit::Returned }
        };
        self.end_process(running.process, exit);
    }

    /// Runs foreign code as `running`.
    pub(super) fn within<R>(&self, running: Running, code: impl FnOnce() -> R) -> R {
        let before = self.current.replace(Some(running));
        let out = code();
        self.current.set(before);
        out
    }
}
