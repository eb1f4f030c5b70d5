//! Async locks and notification; tokio's, with the wait named.

use std::sync::Arc;

pub use tokio::sync::MutexGuard;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, SemaphorePermit};

use crate::rt::wait::waiting;

/// A lock that may be held across an await. Fair: first come, first served.
#[derive(Debug, Default)]
pub struct Mutex<T>(tokio::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked lock around `value`.
    pub fn new(value: T) -> Self {
        Self(tokio::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        waiting("a lock", self.0.lock()).await
    }

    /// The value behind.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

/// Wakes waiting tasks; `notify_one` is remembered if nobody waits.
#[derive(Debug, Default)]
pub struct Notify(tokio::sync::Notify);

impl Notify {
    /// Nobody waits, nothing is remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a notification.
    pub async fn notified(&self) {
        waiting("a notification", self.0.notified()).await;
    }

    /// Wakes the one that has waited longest, or the next one to wait.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all that wait now.
    pub fn notify_waiters(&self) {
        self.0.notify_waiters();
    }
}

/// Counted permits, given in order of asking.
#[derive(Debug)]
pub struct Semaphore(Arc<tokio::sync::Semaphore>);

impl Semaphore {
    /// `permits` permits.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(permits)))
    }

    /// Waits for a permit, held until the returned value is dropped.
    ///
    /// # Errors
    /// When the semaphore was closed.
    pub async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        waiting("a permit", self.0.acquire()).await
    }

    /// As [`Self::acquire`], for a permit that outlives the borrow.
    ///
    /// # Errors
    /// When the semaphore was closed.
    pub async fn acquire_owned(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        waiting("a permit", self.0.clone().acquire_owned()).await
    }

    /// Permits free now.
    pub fn available_permits(&self) -> usize {
        self.0.available_permits()
    }

    /// Ends all waits with an error.
    pub fn close(&self) {
        self.0.close();
    }
}
