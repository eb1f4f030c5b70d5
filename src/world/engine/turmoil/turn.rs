//! A task's turn, and turmoil's side of a host: the tasks of turmoil that stand for ours.
#![expect(clippy::disallowed_methods, reason = "turmoil's tasks are tokio's")]

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::{Core, Running};
use crate::base::{HostId, TaskId};
use crate::rt::backend::BoxFuture;
use crate::trace::Kind;
use crate::world::engine::Exit;

/// Stands for one of our tasks in turmoil.
struct Proxy {
    core: Rc<Core>,
    task: TaskId,
}

impl Future for Proxy {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.core.turn(self.task, cx)
    }
}

/// Hands a task to the runtime in which this is called.
pub(super) fn hand_over(core: &Rc<Core>, task: TaskId) {
    tokio::task::spawn_local(Proxy { core: core.clone(), task });
}

/// The software of a host, as turmoil calls it: starts and closes what it is told to, and never ends by itself.
pub(super) async fn machine(core: Rc<Core>, host: HostId) -> ::turmoil::Result {
    let door = Door { core: core.clone(), host };
    let bell = core.machine(host, |machine| machine.bell.clone());
    loop {
        door.close();
        for task in core.machine(host, |machine| std::mem::take(&mut machine.starting)) {
            hand_over(&core, task);
        }
        bell.notified().await;
    }
}

/// Closes the last sockets of a host in the sight of its runtime, also when turmoil drops that.
struct Door {
    core: Rc<Core>,
    host: HostId,
}

impl Door {
    fn close(&self) {
        // Taken out first: nothing may be borrowed while turmoil sends the FINs.
        drop(self.core.machine(self.host, |machine| std::mem::take(&mut machine.closing)));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

enum Next {
    Poll(BoxFuture),
    Abort(Option<BoxFuture>),
}

impl Core {
    /// Gives a task its turn: a poll, or its end if it was aborted.
    fn turn(&self, task: TaskId, cx: &mut Context<'_>) -> Poll<()> {
        self.look_at_clock();
        if self.livelock.get() {
            return Poll::Pending;
        }
        let Some((running, next)) = self.next(task, cx) else {
            // Gone, or its process is frozen and its waker is kept.
            return if self.tasks.borrow_mut().get_mut(task).is_some() { Poll::Pending } else { Poll::Ready(()) };
        };
        self.count();
        let mut future = match next {
            Next::Poll(future) => future,
            Next::Abort(future) => {
                self.trace(Some(running.host), Kind::End(task));
                self.within(running, || drop(future));
                return Poll::Ready(());
            }
        };
        self.trace(Some(running.host), Kind::Poll(task));
        self.waits_for.set("something that the world does not know");
        let done = self.within(running, || future.as_mut().poll(cx).is_ready());
        if done {
            self.tasks.borrow_mut().remove(task);
            self.trace(Some(running.host), Kind::End(task));
            self.within(running, || drop(future));
            self.end_with_main(running, task);
            return Poll::Ready(());
        }
        if let Some(slot) = self.tasks.borrow_mut().get_mut(task) {
            slot.future = Some(future);
            slot.waits_for = self.waits_for.get();
            slot.since = self.now.get();
        }
        Poll::Pending
    }

    fn count(&self) {
        self.polls.set(self.polls.get() + 1);
        self.steps.set(self.steps.get() + 1);
        if self.polls.get() > self.budget.polls_at_once {
            self.livelock.set(true);
        }
    }

    /// What the task is to do, with its future taken out of the table.
    fn next(&self, task: TaskId, cx: &mut Context<'_>) -> Option<(Running, Next)> {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.get_mut(task)?;
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            slot.waker = Some(cx.waker().clone());
        }
        let mut hosts = self.hosts.borrow_mut();
        let process = hosts.process_mut(slot.process);
        if process.frozen {
            if !std::mem::replace(&mut slot.stalled, true) {
                process.stalled.push(task.slot());
            }
            return None;
        }
        let running = Running { process: slot.process, host: process.host, name: slot.name, alive: process.alive };
        if slot.aborted {
            return Some((running, Next::Abort(tasks.remove(task).0)));
        }
        Some((running, Next::Poll(slot.future.take()?)))
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
