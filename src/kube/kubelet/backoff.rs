//! Exponential back-off as client-go's `flowcontrol.Backoff` keeps it for one key.
//!
//! Rule: the first failure is followed at once by another try; each later one waits as long as the entry says, counted
//! from the failure. The entry doubles at each try and is forgotten when a failure comes `reset` after the last try.
//! Pure: time comes as an argument, any clock that does not go back.

use super::config::BackoffConfig;
use crate::rt::time::Duration;

/// The back-off of one container or image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    config: BackoffConfig,
    entry: Option<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    wait: Duration,
    /// When it was last extended: at the last try.
    updated: Duration,
}

impl Backoff {
    /// No failures yet.
    pub const fn new(config: BackoffConfig) -> Self {
        Self { config, entry: None }
    }

    /// Until when nothing may be tried after a failure at `failed`; `None` if a try is free at once.
    pub fn until(&self, failed: Duration) -> Option<Duration> {
        let entry = self.entry.filter(|entry| !self.expired(entry, failed))?;
        Some(failed.saturating_add(entry.wait))
    }

    /// How long the present wait is; zero without one.
    pub fn wait(&self) -> Duration {
        self.entry.map_or(Duration::ZERO, |entry| entry.wait)
    }

    /// Notes a try at `now` after a failure at `failed`.
    pub fn tried(&mut self, failed: Duration, now: Duration) {
        let wait = match self.entry {
            Some(entry) if !self.expired(&entry, failed) => entry.wait.saturating_mul(2).min(self.config.most),
            _ => self.config.first,
        };
        self.entry = Some(Entry { wait, updated: now });
    }

    fn expired(&self, entry: &Entry, failed: Duration) -> bool {
        failed.saturating_sub(entry.updated) > self.config.reset
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::PodConfig;
    use super::*;

    /// A container that ends `runs` after each start, restarted as soon as allowed: the waits before each restart.
    fn waits(runs: Duration, restarts: usize) -> Vec<u64> {
        let mut backoff = Backoff::new(PodConfig::default().crash_loop);
        let (mut now, mut waits) = (Duration::ZERO, Vec::new());
        for _ in 0..restarts {
            let failed = now + runs;
            now = backoff.until(failed).unwrap_or(failed);
            waits.push((now - failed).as_secs());
            backoff.tried(failed, now);
        }
        waits
    }

    #[test]
    fn crash_loops_wait_ten_seconds_to_five_minutes() {
        assert_eq!(waits(Duration::from_secs(1), 9), [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_are_forgiven() {
        assert_eq!(waits(Duration::from_secs(600), 4), [0, 10, 20, 40], "ten minutes are not more than ten minutes");
        assert_eq!(waits(Duration::from_secs(601), 4), [0, 0, 0, 0]);
    }
}
