//! Hosts, their clocks, and the processes on them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Waker;
use std::time::Duration;

use crate::base::time::nanos;
use crate::base::{HostId, ProcessId, SimTime, TaskId};
use crate::world::engine::Clock;

/// The Unix time at which every world begins: 2022-04-19 09:11:15 UTC, the date of the GooseFS document.
pub(super) const EPOCH: Duration = Duration::from_secs(1_650_359_475);

pub(super) struct Host {
    pub name: String,
    pub ip: Ipv4Addr,
    pub powered: bool,
    pub incarnations: u32,
    pub clock: Clock,
    /// Where the monotonic clock last changed its rate: world time and host time then.
    since: (SimTime, SimTime),
}

pub(super) struct Process {
    pub host: HostId,
    pub name: String,
    pub incarnation: u32,
    pub main: TaskId,
    pub alive: bool,
    /// Set when its main future panics.
    pub panicked: Arc<AtomicBool>,
    pub frozen: bool,
    /// Tasks that became ready while the process was frozen.
    pub stalled: Vec<u32>,
    pub terminating: bool,
    pub on_terminate: Vec<Waker>,
}

#[derive(Default)]
pub(super) struct Hosts {
    pub hosts: Vec<Host>,
    pub processes: Vec<Process>,
    /// Processes that have ended.
    pub ended: u64,
}

impl Hosts {
    pub fn add(&mut self, name: &str, ip: Ipv4Addr) -> HostId {
        let since = (SimTime::ZERO, SimTime::ZERO);
        let host = Host { name: name.into(), ip, powered: true, incarnations: 0, clock: Clock::default(), since };
        self.hosts.push(host);
        HostId(self.hosts.len() as u32 - 1)
    }

    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0 as usize]
    }

    pub fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0 as usize]
    }

    /// Whether the monotonic clock of a process's host is the world's.
    pub fn on_time(&self, id: ProcessId) -> bool {
        self.host(self.process(id).host).on_time()
    }

    pub fn process(&self, id: ProcessId) -> &Process {
        &self.processes[id.0 as usize]
    }

    pub fn process_mut(&mut self, id: ProcessId) -> &mut Process {
        &mut self.processes[id.0 as usize]
    }

    /// The live processes of a host, oldest first.
    pub fn on_host(&self, host: HostId) -> Vec<ProcessId> {
        let all = self.processes.iter().enumerate();
        all.filter(|(_, p)| p.alive && p.host == host).map(|(i, _)| ProcessId(i as u32)).collect()
    }
}

const PPM: u64 = 1_000_000;

/// `n * by / of`, without overflow for clocks that are not centuries old. Cheaper than 128 bits: every task asks the time.
fn scaled(n: u64, by: u64, of: u64) -> u64 {
    (n / of).saturating_mul(by).saturating_add((n % of) * by / of)
}

impl Host {
    fn on_time(&self) -> bool {
        self.clock.drift_ppm == 0 && self.since.0 == self.since.1
    }

    /// What the monotonic clock advances in a million units of the world.
    fn rate(&self) -> u64 {
        PPM.saturating_add_signed(self.clock.drift_ppm).max(1)
    }

    /// The monotonic clock at a moment of the world.
    pub fn monotonic(&self, world: SimTime) -> SimTime {
        if self.on_time() {
            return world;
        }
        let passed = world.0.saturating_sub(self.since.0.0);
        SimTime(self.since.1.0.saturating_add(scaled(passed, self.rate(), PPM)))
    }

    /// The first moment of the world at which the monotonic clock shows `local`.
    pub fn world_time(&self, local: SimTime) -> SimTime {
        if local == SimTime::NEVER || self.on_time() {
            return local;
        }
        let (ahead, rate) = (local.0.saturating_sub(self.since.1.0), self.rate());
        let whole = scaled(ahead, PPM, rate);
        // Rounded up: whoever waits is never woken early.
        let up = u64::from(!(ahead % rate * PPM).is_multiple_of(rate));
        SimTime(self.since.0.0.saturating_add(whole).saturating_add(up))
    }

    /// The wall clock, since the Unix epoch.
    pub fn wall(&self, world: SimTime) -> Duration {
        let right = EPOCH + self.monotonic(world).elapsed();
        let offset = Duration::from_nanos(self.clock.offset_ns.unsigned_abs());
        if self.clock.offset_ns < 0 { right.saturating_sub(offset) } else { right + offset }
    }

    /// Changes drift and offset from now on; the monotonic clock goes on from where it is.
    pub fn set_clock(&mut self, clock: Clock, world: SimTime) {
        debug_assert!(PPM.checked_add_signed(clock.drift_ppm) > Some(0), "a clock that stands still or runs back");
        self.since = (world, self.monotonic(world));
        self.clock = clock;
        debug_assert!(nanos(self.wall(world)) > 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn drift_scales_the_monotonic_clock_and_its_inverse_never_wakes_early() {
        for drift_ppm in [-500_000, -200, -1, 0, 1, 37, 200, 900_000] {
            let mut hosts = Hosts::default();
            let id = hosts.add("h", Ipv4Addr::LOCALHOST);
            let host = hosts.host_mut(id);
            host.set_clock(Clock { drift_ppm, offset_ns: 0 }, SimTime::from_secs(3));
            for local in [3_000_000_001, 3_333_333_333, 60_000_000_007, 1 << 60] {
                let at = host.world_time(SimTime(local));
                assert!(host.monotonic(at) >= SimTime(local), "{drift_ppm} {local}");
                assert!(host.monotonic(SimTime(at.0 - 1)) < SimTime(local) || at == SimTime::from_secs(3));
            }
        }
    }

    proptest! {
        #[test]
        fn scaling_is_that_of_wide_numbers(n in 0..u64::MAX / 4, drift in -900_000i64..1_000_000) {
            let rate = PPM.saturating_add_signed(drift);
            let wide = |by: u64, of: u64| u128::from(n) * u128::from(by) / u128::from(of);
            prop_assert_eq!(u128::from(scaled(n, rate, PPM)), wide(rate, PPM));
            prop_assert_eq!(u128::from(scaled(n, PPM, rate)), wide(PPM, rate).min(u64::MAX.into()));
        }
    }

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let mut hosts = Hosts::default();
        let id = hosts.add("h", Ipv4Addr::LOCALHOST);
        let now = SimTime::from_secs(10);
        let host = hosts.host_mut(id);
        let (mono, wall) = (host.monotonic(now), host.wall(now));
        host.set_clock(Clock { drift_ppm: 0, offset_ns: -60_000_000_000 }, now);
        assert_eq!((host.monotonic(now), host.wall(now)), (mono, wall - Duration::from_secs(60)));
    }
}
