//! The loop is madsim's: it runs until a sleep of the harness's own ends, or until the budget does.
//!
//! Differs: madsim's clock moves by 50 to 99 ns with every poll, so a world stops up to some microseconds after the time
//! asked for, and tasks that wake each other are told by how many polls a second of the world takes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Running, State, enter, here};
use crate::base::{HostId, SimTime, TaskId};
use crate::rt::backend::BoxFuture;
use crate::trace::Kind;
use crate::world::engine::{Exit, Stop};

/// A message that finds its link cut is tried again within 10 s: a world that was quiet for longer has none under way.
const QUIET: Duration = Duration::from_secs(11);

/// What madsim polls for a task of ours.
struct Body(TaskId);

impl Future for Body {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        here().turn(self.0, cx)
    }
}

impl State {
    /// Adds a task of a live process; madsim picks its turns.
    pub(super) fn add_task(&self, running: Running, future: BoxFuture) -> TaskId {
        let task = self.tasks.borrow_mut().insert(running.process, running.name, future, self.elapsed());
        self.trace(Some(running.host), Kind::Spawn(task, running.name));
        self.on_node(running.host, Body(task));
        task
    }

    /// Gives madsim a task of its own on a host.
    pub(super) fn on_node(&self, host: HostId, task: impl Future<Output = ()> + Send + 'static) {
        // madsim reads a clock at each spawn and shows it to nobody: that is no escape of a program's.
        let before = self.current.take();
        self.nodes.borrow()[host.0 as usize].spawn(task);
        self.current.set(before);
    }

    pub(super) fn run(self: &Rc<Self>, until: SimTime) -> Stop {
        let _here = enter(self.clone());
        self.stop.set(None);
        let parked = self.parked.take();
        parked.into_iter().for_each(Waker::wake);
        let wait = until.since(self.elapsed());
        if !wait.is_zero() {
            let mut sleep = pin!(self.time.sleep(wait));
            // The shortest sleep of madsim's is a millisecond; the harness may stop at any nanosecond.
            sleep.as_mut().reset(self.time.now_instant() + wait);
            self.runtime.block_on(poll_fn(|cx| {
                if self.stop.get().is_some() {
                    return Poll::Ready(());
                }
                *self.on_stop.borrow_mut() = Some(cx.waker().clone());
                sleep.as_mut().poll(cx)
            }));
        }
        let idle = self.timers.borrow().is_empty() && self.elapsed().since(self.polled.get()) > QUIET;
        self.stop.get().unwrap_or(if idle { Stop::Idle } else { Stop::Reached })
    }

    /// Counts a poll, and ends the run if the budget is spent.
    fn count_poll(&self) {
        let now = self.elapsed();
        self.polled.set(now);
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        let (second, before) = self.polls.get();
        let polls = if second == now.0 / 1_000_000_000 { before + 1 } else { 1 };
        self.polls.set((now.0 / 1_000_000_000, polls));
        let over = || self.trace.borrow().written() > self.budget.trace_bytes;
        let stop = if polls > self.budget.polls_at_once {
            Stop::Livelock
        } else if steps > self.budget.events {
            Stop::Events
        } else if steps.is_multiple_of(1024) && over() {
            Stop::TraceBytes
        } else {
            return;
        };
        self.stop.set(Some(stop));
        let waker = self.on_stop.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Gives a task its turn: a poll, or its end if it was aborted.
    fn turn(&self, task: TaskId, cx: &mut Context<'_>) -> Poll<()> {
        if self.stop.get().is_some() {
            // madsim looks for the end of a run only when nobody is ready.
            self.parked.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        let mut tasks = self.tasks.borrow_mut();
        let Some(slot) = tasks.get_mut(task) else { return Poll::Ready(()) };
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        let mut hosts = self.hosts.borrow_mut();
        let process = hosts.process_mut(slot.process);
        if process.frozen {
            if !process.stalled.contains(&task.slot()) {
                process.stalled.push(task.slot());
            }
            return Poll::Pending;
        }
        let running = Running { process: slot.process, host: process.host, name: slot.name, alive: process.alive };
        if slot.aborted {
            let parts = tasks.remove(task);
            drop((tasks, hosts));
            self.trace(Some(running.host), Kind::End(task));
            self.within(running, || drop(parts));
            return Poll::Ready(());
        }
        let Some(mut future) = slot.future.take() else { return Poll::Pending };
        drop((tasks, hosts));
        self.count_poll();
        self.trace(Some(running.host), Kind::Poll(task));
        self.waits_for.set("something that the world does not know");
        let done = self.within(running, || future.as_mut().poll(cx).is_ready());
        if done {
            let parts = self.tasks.borrow_mut().remove(task);
            self.trace(Some(running.host), Kind::End(task));
            self.within(running, || drop((future, parts)));
            self.end_with_main(running, task);
            return Poll::Ready(());
        }
        if let Some(slot) = self.tasks.borrow_mut().get_mut(task) {
            slot.future = Some(future);
            slot.waits_for = self.waits_for.get();
            slot.since = self.elapsed();
        }
        Poll::Pending
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
}
