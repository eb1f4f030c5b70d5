//! Timers: tokio's own, of the host that asked, kept by number.
//!
//! A timer that fired is not always told to us; those are swept out whenever the table has doubled.
#![expect(clippy::disallowed_methods, reason = "turmoil's time is tokio's")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Sweep no table smaller than this.
const FEW: usize = 64;

#[derive(Default)]
pub(super) struct Timers {
    next: u64,
    sleeps: BTreeMap<u64, Pin<Box<Sleep>>>,
    sweep_at: usize,
}

impl Timers {
    /// Wakes `waker` after `wait`, in the runtime of the host whose turn it is.
    pub fn start(&mut self, wait: Duration, waker: &Waker) -> u64 {
        if self.sleeps.len() >= self.sweep_at.max(FEW) {
            self.sleeps.retain(|_, sleep| !sleep.is_elapsed());
            self.sweep_at = self.sleeps.len() * 2;
        }
        let key = self.next;
        self.next += 1;
        let mut sleep = Box::pin(sleep(wait));
        if sleep.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        } else {
            self.sleeps.insert(key, sleep);
        }
        key
    }

    /// Replaces the waker; false if it has fired.
    pub fn rewake(&mut self, key: u64, waker: &Waker) -> bool {
        let Some(sleep) = self.sleeps.get_mut(&key) else { return false };
        let fired = sleep.is_elapsed() || sleep.as_mut().poll(&mut Context::from_waker(waker)).is_ready();
        if fired {
            self.sleeps.remove(&key);
        }
        !fired
    }

    /// Forgets it.
    pub fn cancel(&mut self, key: u64) {
        self.sleeps.remove(&key);
    }
}
