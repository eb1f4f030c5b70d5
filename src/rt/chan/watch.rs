//! One value, many watchers, woken in the order in which they began to wait.
//!
//! tokio's signatures. Differs: wake order is first in, first out, where tokio's is random.

use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use crate::base::lock;
use crate::rt::wait::note;

struct Shared<T> {
    value: RwLock<T>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    version: u64,
    senders: usize,
    receivers: usize,
    next_id: u64,
    waiters: Vec<(u64, Waker)>,
}

/// Sets the value.
pub struct Sender<T>(Arc<Shared<T>>);

/// Sees the value.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    id: u64,
    seen: u64,
}

/// Every receiver is gone; the value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("channel closed")]
pub struct SendError<T>(pub T);

/// Every sender is gone and there is nothing new to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("channel closed")]
pub struct RecvError;

/// A borrowed value; do not hold it across an await.
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A channel that begins with `value`, which its first receiver counts as seen.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let state = State { senders: 1, ..State::default() };
    let sender = Sender(Arc::new(Shared { value: RwLock::new(value), state: Mutex::new(state) }));
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Shared<T> {
    fn borrow(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn changed(&self) {
        let mut state = lock(&self.state);
        state.version += 1;
        if state.waiters.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        for (_, waker) in waiters {
            waker.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Sets the value and wakes the watchers.
    ///
    /// # Errors
    /// When there is no receiver; the value is not set then.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if lock(&self.0.state).receivers == 0 {
            return Err(SendError(value));
        }
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        self.0.changed();
        Ok(())
    }

    /// Sets the value whether or not anybody watches, and gives the old one.
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_if_modified(|current| {
            std::mem::swap(current, &mut value);
            true
        });
        value
    }

    /// Changes the value in place.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place; watchers are woken only if `modify` says that it did.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.0.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            self.0.changed();
        }
        modified
    }

    /// The value now.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    /// A new receiver that counts the present value as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = lock(&self.0.state);
        state.receivers += 1;
        state.next_id += 1;
        Receiver { shared: self.0.clone(), id: state.next_id, seen: state.version }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.0.state).senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.senders -= 1;
        if state.senders == 0 {
            let waiters = std::mem::take(&mut state.waiters);
            drop(state);
            for (_, waker) in waiters {
                waker.wake();
            }
        }
    }
}

impl<T> Receiver<T> {
    /// Waits for a value that this receiver has not seen, and marks it seen.
    ///
    /// # Errors
    /// When all senders are gone and nothing new is left.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let mut state = lock(&self.shared.state);
        if state.version != self.seen {
            self.seen = state.version;
            return Poll::Ready(Ok(()));
        }
        if state.senders == 0 {
            return Poll::Ready(Err(RecvError));
        }
        match state.waiters.iter_mut().find(|(id, _)| *id == self.id) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => state.waiters.push((self.id, cx.waker().clone())),
        }
        drop(state);
        note("a change");
        Poll::Pending
    }

    /// Waits until `condition` holds for the value.
    ///
    /// # Errors
    /// When all senders are gone and it does not hold.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        loop {
            self.seen = lock(&self.shared.state).version;
            if condition(&self.shared.borrow()) {
                return Ok(self.shared.borrow());
            }
            self.changed().await?;
        }
    }

    /// The value now, not marked as seen.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow()
    }

    /// The value now, marked as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = lock(&self.shared.state).version;
        self.shared.borrow()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let mut state = lock(&self.shared.state);
        state.receivers += 1;
        state.next_id += 1;
        Self { shared: self.shared.clone(), id: state.next_id, seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.receivers -= 1;
        state.waiters.retain(|(id, _)| *id != self.id);
    }
}
