//! How long a device takes: one queue, a fixed cost each request, and bandwidth.
//!
//! Writes go to the page cache and cost nothing; the sync pays for what they left. Reads cost only where the page cache is
//! cold. Numbers are of the device alone; a fault can slow or stall it.

use std::time::Duration;

use crate::base::SimTime;

/// What a device costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Each read that misses the page cache.
    pub read: Duration,
    /// Each sync, of a file or of a directory.
    pub sync: Duration,
    /// Bytes per second, both ways; 0 is no limit.
    pub bandwidth: u64,
}

impl Timing {
    /// A data-centre NVMe drive with power-loss protection off: about 80 microseconds a read, 300 a flush, 2 GB/s.
    pub const NVME: Self =
        Self { read: Duration::from_micros(80), sync: Duration::from_micros(300), bandwidth: 2_000_000_000 };
    /// A cloud block volume (general purpose SSD): about 1 ms a request, 2 ms a flush, 125 MB/s.
    pub const CLOUD: Self =
        Self { read: Duration::from_millis(1), sync: Duration::from_millis(2), bandwidth: 125_000_000 };
    /// A spinning disk: one seek a request, two a flush, 150 MB/s.
    pub const HDD: Self =
        Self { read: Duration::from_millis(8), sync: Duration::from_millis(16), bandwidth: 150_000_000 };
    /// Memory: nothing costs.
    pub const NONE: Self = Self { read: Duration::ZERO, sync: Duration::ZERO, bandwidth: 0 };
}

/// The queue of one device.
#[derive(Debug, Clone)]
pub(super) struct Device {
    timing: Timing,
    free_at: SimTime,
}

impl Device {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, free_at: SimTime::ZERO }
    }

    /// Queues a read of `bytes`; gives how long the caller waits.
    pub(super) fn read(&mut self, now: SimTime, bytes: u64, slow: u32) -> Duration {
        self.serve(now, self.timing.read, bytes, slow)
    }

    /// Queues a sync that moves `bytes`.
    pub(super) fn sync(&mut self, now: SimTime, bytes: u64, slow: u32) -> Duration {
        self.serve(now, self.timing.sync, bytes, slow)
    }

    /// Power or cable gone: the queue is empty.
    pub(super) fn reset(&mut self) {
        self.free_at = SimTime::ZERO;
    }

    fn serve(&mut self, now: SimTime, fixed: Duration, bytes: u64, slow: u32) -> Duration {
        let moving = match self.timing.bandwidth {
            0 => 0,
            rate => u128::from(bytes) * 1_000_000_000 / u128::from(rate),
        };
        let moving = Duration::from_nanos(u64::try_from(moving).unwrap_or(u64::MAX));
        let cost = fixed.saturating_add(moving).saturating_mul(slow);
        self.free_at = self.free_at.max(now) + cost;
        self.free_at.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_queue_and_pay_for_their_bytes() {
        let timing = Timing { read: Duration::from_millis(1), sync: Duration::from_millis(2), bandwidth: 1_000_000 };
        let mut device = Device::new(timing);
        let now = SimTime::from_secs(1);
        assert_eq!(device.sync(now, 5_000, 1), Duration::from_millis(7));
        assert_eq!(device.read(now, 0, 1), Duration::from_millis(8), "behind the sync");
        assert_eq!(
            device.read(SimTime::from_secs(2), 0, 3),
            Duration::from_millis(3),
            "idle again, three times slower"
        );
    }
}
