//! Tasks: spawn with a name, join, abort, and scopes that take their tasks with them.
//!
//! A task belongs to the process that spawned it and dies with it: its future is dropped, and nothing that its
//! destructors do reaches the world any more. A panic ends the task alone, as on tokio, and is told to the engine.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;

use super::backend::{BoxFuture, with_engine};
pub use super::time::yield_now;
use super::wait::note;
use crate::base::{TaskId, lock};

/// Why a task gave no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Aborted, or its process died.
    #[error("task was cancelled")]
    Cancelled,
    /// Panicked, with the panic's message.
    #[error("task panicked: {0}")]
    Panicked(String),
}

impl JoinError {
    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }
}

struct State<T> {
    slot: Mutex<Slot<T>>,
}

struct Slot<T> {
    output: Option<Result<T, JoinError>>,
    finished: bool,
    joiner: Option<Waker>,
}

impl<T> State<T> {
    fn finish(&self, output: Result<T, JoinError>) {
        let mut slot = lock(&self.slot);
        if !slot.finished {
            slot.finished = true;
            slot.output = Some(output);
            let joiner = slot.joiner.take();
            drop(slot);
            joiner.into_iter().for_each(Waker::wake);
        }
    }
}

trait Finished: Send + Sync {
    fn finished(&self) -> bool;
}

impl<T: Send> Finished for State<T> {
    fn finished(&self) -> bool {
        lock(&self.slot).finished
    }
}

/// Marks the task as cancelled if it goes before it has an output.
struct FinishOnDrop<T>(Arc<State<T>>);

impl<T> Drop for FinishOnDrop<T> {
    fn drop(&mut self) {
        self.0.finish(Err(JoinError::Cancelled));
    }
}

/// The output of a spawned task. Dropping it lets the task run on.
pub struct JoinHandle<T>(Handle<T>);

enum Handle<T> {
    Live(tokio::task::JoinHandle<T>),
    World { state: Arc<State<T>>, task: Option<TaskId> },
}

/// Aborts a task from elsewhere.
#[derive(Clone)]
pub struct AbortHandle(Abort);

#[derive(Clone)]
enum Abort {
    Live(tokio::task::AbortHandle),
    World { task: Option<TaskId>, state: Arc<dyn Finished> },
}

impl AbortHandle {
    /// Asks for the task to be dropped; nothing if it has ended.
    pub fn abort(&self) {
        match &self.0 {
            Abort::Live(handle) => handle.abort(),
            Abort::World { task: Some(task), .. } => {
                with_engine(|e| e.abort(*task));
            }
            Abort::World { task: None, .. } => {}
        }
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Abort::Live(handle) => handle.is_finished(),
            Abort::World { state, .. } => state.finished(),
        }
    }
}

/// Starts `future` as a task of the calling process. The name is for traces and deadlock reports.
#[expect(clippy::disallowed_methods, reason = "the live side of the seam")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if !super::backend::simulated() {
        // Boxed, so that tokio's part of a task is compiled once a type of output and not once a task.
        let future: Pin<Box<dyn Future<Output = F::Output> + Send>> = Box::pin(future);
        return JoinHandle(Handle::Live(tokio::spawn(future)));
    }
    let slot = Slot { output: None, finished: false, joiner: None };
    let state = Arc::new(State { slot: Mutex::new(slot) });
    let finish = FinishOnDrop(state.clone());
    // No `async` block: it would keep room for the future twice, where it is captured and where it runs.
    let body: BoxFuture = Box::pin(AssertUnwindSafe(future).catch_unwind().map(move |output| {
        finish.0.finish(output.map_err(|panic| JoinError::Panicked(report_panic(&*panic))));
    }));
    let task = with_engine(|e| e.spawn(name, body)).flatten();
    JoinHandle(Handle::World { state, task })
}

/// Tells the engine of a caught panic and gives its message.
pub(crate) fn report_panic(panic: &(dyn Any + Send)) -> String {
    let message = panic_message(panic);
    with_engine(|e| e.panicked(&message));
    message
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

impl<T: Send + 'static> JoinHandle<T> {
    /// Asks for the task to be dropped.
    pub fn abort(&self) {
        self.abort_handle().abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.abort_handle().is_finished()
    }

    /// A handle that can abort but not join.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(match &self.0 {
            Handle::Live(handle) => Abort::Live(handle.abort_handle()),
            Handle::World { state, task } => Abort::World { task: *task, state: state.clone() },
        })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Handle::Live(handle) => Pin::new(handle).poll(cx).map(|joined| joined.map_err(live_error)),
            Handle::World { state, .. } => {
                let mut slot = lock(&state.slot);
                if let Some(output) = slot.output.take() {
                    return Poll::Ready(output);
                }
                slot.joiner = Some(cx.waker().clone());
                note("a task's end");
                Poll::Pending
            }
        }
    }
}

fn live_error(error: tokio::task::JoinError) -> JoinError {
    match error.try_into_panic() {
        Ok(panic) => JoinError::Panicked(panic_message(&*panic)),
        Err(_) => JoinError::Cancelled,
    }
}

/// Tasks that end when their scope does: dropping it aborts them all, in the order in which they were spawned.
#[derive(Default)]
pub struct Scope {
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    handles: Vec<AbortHandle>,
    sweep_at: usize,
}

impl Scope {
    /// An empty scope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that lives no longer than the scope.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = spawn(name, future);
        let mut tasks = lock(&self.tasks);
        // Forget ended tasks whenever the list has doubled: constant cost a spawn.
        if tasks.handles.len() >= tasks.sweep_at.max(16) {
            tasks.handles.retain(|task| !task.is_finished());
            tasks.sweep_at = tasks.handles.len() * 2;
        }
        tasks.handles.push(handle.abort_handle());
        handle
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        for task in std::mem::take(&mut *lock(&self.tasks)).handles {
            task.abort();
        }
    }
}
