//! One value, many watchers, woken in the order in which they began to wait.
//!
//! tokio's signatures. Differs: wake order is first in, first out, where tokio's is random.

use std::future::poll_fn;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use crate::base::lock;
use crate::rt::wait::note;

/// A sender counts the change before it looks whether anybody waits; a receiver says that it waits before it looks at the
/// count. One of them sees the other, whatever the threads.
/// No waker is woken or dropped under the lock, and no value that `send` replaces: what hangs on it may come back here.
struct Shared<T> {
    value: RwLock<T>,
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    next_id: AtomicU64,
    /// Whether `waiters` may hold anybody; changed under its lock.
    awaited: AtomicBool,
    waiters: Mutex<Vec<(u64, Waker)>>,
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
    let sender = Sender(Arc::new(Shared {
        value: RwLock::new(value),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(0),
        next_id: AtomicU64::new(0),
        awaited: AtomicBool::new(false),
        waiters: Mutex::default(),
    }));
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Shared<T> {
    fn borrow(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn changed(&self) {
        self.version.fetch_add(1, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if !self.awaited.load(SeqCst) {
            return;
        }
        let mut waiters = lock(&self.waiters);
        self.awaited.store(false, SeqCst);
        // Mostly there is one, and it will wait again: the list keeps its memory.
        let first = (waiters.len() == 1).then(|| waiters.pop()).flatten();
        let woken = if first.is_some() { Vec::new() } else { std::mem::take(&mut *waiters) };
        drop(waiters);
        first.into_iter().chain(woken).for_each(|(_, waker)| waker.wake());
    }

    fn wait(&self, id: u64, waker: &Waker) {
        let mut waiters = lock(&self.waiters);
        let old = match waiters.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(std::mem::replace(known, waker.clone())),
            None => {
                waiters.push((id, waker.clone()));
                None
            }
        };
        if !self.awaited.load(SeqCst) {
            self.awaited.store(true, SeqCst);
        }
        drop((waiters, old));
    }

    fn forget(&self, id: u64) {
        let mut waiters = lock(&self.waiters);
        let gone = waiters.iter().position(|(waiting, _)| *waiting == id).map(|at| waiters.remove(at));
        drop((waiters, gone));
    }

    fn poll_changed(&self, id: u64, seen: &mut u64, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        if let Some(known) = self.known(seen) {
            return Poll::Ready(known);
        }
        self.wait(id, cx.waker());
        if let Some(known) = self.known(seen) {
            return Poll::Ready(known);
        }
        note("a change");
        Poll::Pending
    }

    fn known(&self, seen: &mut u64) -> Option<Result<(), RecvError>> {
        // Before the version: what a sender sent counts before its end does.
        let over = self.senders.load(SeqCst) == 0;
        let version = self.version.load(SeqCst);
        if version != *seen {
            *seen = version;
            return Some(Ok(()));
        }
        over.then_some(Err(RecvError))
    }

    fn receiver(self: &Arc<Self>, seen: u64) -> Receiver<T> {
        self.receivers.fetch_add(1, SeqCst);
        Receiver { shared: self.clone(), id: self.next_id.fetch_add(1, SeqCst), seen }
    }
}

impl<T> Sender<T> {
    /// Sets the value and wakes the watchers.
    ///
    /// # Errors
    /// When there is no receiver; the value is not set then.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(SeqCst) == 0 {
            return Err(SendError(value));
        }
        let old = std::mem::replace(&mut *self.0.value.write().unwrap_or_else(PoisonError::into_inner), value);
        drop(old);
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
        self.0.receiver(self.0.version.load(SeqCst))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, SeqCst);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, SeqCst) == 1 {
            self.0.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits for a value that this receiver has not seen, and marks it seen.
    ///
    /// # Errors
    /// When all senders are gone and nothing new is left.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|cx| self.shared.poll_changed(self.id, &mut self.seen, cx)).await
    }

    /// Waits until `condition` holds for the value.
    ///
    /// # Errors
    /// When all senders are gone and it does not hold.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        loop {
            self.seen = self.shared.version.load(SeqCst);
            {
                let value = self.shared.borrow();
                if condition(&value) {
                    return Ok(value);
                }
            }
            poll_fn(|cx| self.shared.poll_changed(self.id, &mut self.seen, cx)).await?;
        }
    }

    /// The value now, not marked as seen.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.borrow()
    }

    /// The value now, marked as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = self.shared.version.load(SeqCst);
        self.shared.borrow()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receiver(self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, SeqCst);
        if self.shared.awaited.load(SeqCst) {
            self.shared.forget(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::chan::on_threads;
    use crate::rt::task;

    /// On threads, as live processes run: nobody sleeps through the last value, and values never go back.
    #[test]
    fn threads_miss_no_last_value() {
        const LAST: u32 = 20_000;
        let (sender, receiver) = channel(0);
        let program = async move {
            let watch = |mut receiver: Receiver<u32>| {
                task::spawn("watcher", async move {
                    let mut seen = 0;
                    while receiver.changed().await.is_ok() {
                        let now = *receiver.borrow();
                        assert!(now >= seen, "{now} after {seen}");
                        seen = now;
                    }
                    seen
                })
            };
            let watchers = [watch(receiver.clone()), watch(receiver)];
            (1..=LAST).for_each(|value| sender.send_modify(|now| *now = value));
            drop(sender);
            let mut seen = Vec::new();
            for watcher in watchers {
                seen.push(watcher.await.expect("no watcher fails"));
            }
            seen
        };
        assert_eq!(on_threads(program), [LAST; 2]);
    }

    /// The receiver looks without a pause, so that it looks while the sender goes.
    #[test]
    fn what_was_sent_counts_before_the_end() {
        let program = async {
            for round in 0..1_000 {
                let (sender, mut receiver) = channel(0);
                let looks = Arc::new(AtomicBool::new(false));
                let looked = looks.clone();
                let watcher = task::spawn("watcher", async move {
                    let mut seen = 0;
                    loop {
                        looked.store(true, SeqCst);
                        match receiver.shared.known(&mut receiver.seen) {
                            Some(Ok(())) => seen = *receiver.borrow(),
                            Some(Err(RecvError)) => return seen,
                            None => std::hint::spin_loop(),
                        }
                    }
                });
                while !looks.load(SeqCst) {
                    std::thread::yield_now();
                }
                sender.send_modify(|now| *now = 1);
                drop(sender);
                assert_eq!(watcher.await, Ok(1), "round {round}");
            }
        };
        on_threads(program);
    }
}
