//! Timers: each is a sleep of madsim's, polled once, whose waker leads back to ours.
//!
//! madsim keeps a timer until it is due, even if nobody waits any more: a cancelled one fires into nothing. It sleeps no
//! less than a millisecond.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::{State, here};
use crate::base::SimTime;
use crate::rt::backend::TimerKey;

/// Timers that have not fired.
#[derive(Default)]
pub(super) struct Timers {
    next: u64,
    armed: BTreeMap<u64, Waker>,
}

impl Timers {
    /// Replaces the waker of an armed timer; whether there is one.
    pub fn rewake(&mut self, key: TimerKey, waker: &Waker) -> bool {
        self.armed.get_mut(&key.0).map(|armed| armed.clone_from(waker)).is_some()
    }

    /// Takes a timer out.
    pub fn take(&mut self, key: TimerKey) -> Option<Waker> {
        self.armed.remove(&key.0)
    }

    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }
}

/// What madsim wakes when a timer is due.
struct Alarm(TimerKey);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let fired = here().timers.borrow_mut().take(self.0);
        if let Some(waker) = fired {
            waker.wake();
        }
    }
}

impl State {
    /// Arms a timer for `at`, in world time.
    pub(super) fn arm(&self, at: SimTime, waker: &Waker) -> TimerKey {
        let key = {
            let mut timers = self.timers.borrow_mut();
            timers.next += 1;
            let key = timers.next;
            timers.armed.insert(key, waker.clone());
            TimerKey(key)
        };
        if at != SimTime::NEVER {
            let alarm = Waker::from(Arc::new(Alarm(key)));
            let sleep = pin!(self.time.sleep(at.since(self.elapsed())));
            let due = sleep.poll(&mut Context::from_waker(&alarm));
            debug_assert!(due.is_pending(), "madsim sleeps for a millisecond at least");
        }
        key
    }
}
