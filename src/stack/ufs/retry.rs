//! Tries again, with back-off and a budget.
//!
//! Only calls that change nothing go through here, so a repeat is always harmless. Waits double from `base` to `cap` and
//! are drawn evenly from the upper half, from the process's own stream.

use std::sync::Mutex;

use super::{UfsError, UfsResult};
use crate::base::{Stream, lock};
use crate::rt::chance;
use crate::rt::time::{Duration, Instant, sleep, timeout_at};

/// How often and how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included; at least 1.
    pub tries: u32,
    /// First wait.
    pub base: Duration,
    /// Longest wait.
    pub cap: Duration,
    /// Time for one try.
    pub per_try: Duration,
    /// Time for all tries and waits.
    pub total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
            per_try: Duration::from_secs(10),
            total: Duration::from_secs(30),
        }
    }
}

/// Runs calls by a [`RetryPolicy`].
pub struct Retry {
    policy: RetryPolicy,
    chance: Mutex<Stream>,
}

impl Retry {
    /// With the calling process's random stream.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, chance: Mutex::new(chance::stream("ufs-retry")) }
    }

    /// Calls `attempt` until it succeeds, fails for good, or the budget is used up.
    ///
    /// # Errors
    /// The last attempt's; [`UfsError::Unavailable`] if that ran out of time.
    pub async fn run<T, F>(&self, url: &str, mut attempt: impl FnMut() -> F) -> UfsResult<T>
    where
        F: Future<Output = UfsResult<T>>,
    {
        let end = Instant::now() + self.policy.total;
        let mut wait = self.policy.base;
        let mut tries = 0;
        loop {
            tries += 1;
            let deadline = end.min(Instant::now() + self.policy.per_try);
            let result = timeout_at(deadline, attempt()).await.unwrap_or_else(|_| {
                Err(UfsError::Unavailable { url: url.to_owned(), reason: "no answer in time".to_owned() })
            });
            let error = match result {
                Err(error) if error.retryable() => error,
                done => return done,
            };
            let pause = lock(&self.chance).duration(wait / 2, wait);
            if tries >= self.policy.tries || Instant::now() + pause >= end {
                return Err(error);
            }
            tracing::debug!(%error, tries, "under-store call failed, trying again");
            sleep(pause).await;
            wait = self.policy.cap.min(wait * 2);
        }
    }
}
