//! What a run tells while it goes on.
//!
//! Rule: a listener only listens. Nothing that it does reaches the world, so a watched run is the same run.

use super::outcome::{Failover, Phase, Screen};
use super::scenario::Step;
use crate::base::SimTime;

/// Listens to a run. Every method has an empty default.
pub trait Progress {
    /// A phase begins.
    fn on_phase(&mut self, at: SimTime, phase: Phase) {
        let _ = (at, phase);
    }

    /// The `index`-th of `count` steps begins, from 0.
    fn on_step(&mut self, at: SimTime, index: usize, count: usize, step: &Step) {
        let _ = (at, index, count, step);
    }

    /// A fault, or a remedy, comes to `hosts`, or a fault ends there by itself.
    fn on_fault(&mut self, at: SimTime, fault: &str, hosts: &[String], news: FaultNews) {
        let _ = (at, fault, hosts, news);
    }

    /// A host's state changed; all hosts are given.
    fn on_roles(&mut self, at: SimTime, hosts: &[HostState]) {
        let _ = (at, hosts);
    }

    /// A leader was replaced; once more when the new one has acknowledged a client's change.
    fn on_failover(&mut self, at: SimTime, failover: &Failover) {
        let _ = (at, failover);
    }

    /// A command has printed its screen.
    fn on_screen(&mut self, screen: &Screen) {
        let _ = screen;
    }

    /// Simulated time passed; called at least once per simulated second.
    fn on_time(&mut self, at: SimTime, load: Load) {
        let _ = (at, load);
    }
}

/// What is new about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultNews {
    /// It hits.
    Begins,
    /// Its time is over.
    Ends,
    /// It is a remedy: faults on these hosts end.
    Remedies,
}

impl FaultNews {
    /// As a line of a log: `kill leader on master-0`.
    pub fn line(self, fault: &str, hosts: &[String]) -> String {
        let ends = if self == Self::Ends { " ends" } else { "" };
        format!("{fault}{ends} on {}", hosts.join(", "))
    }
}

/// One host in a progress view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    /// Name.
    pub name: String,
    /// What it is right now: `leader`, `follower`, `candidate`, `worker`, `fuse`, `under-store`.
    pub role: &'static str,
    /// How its process is.
    pub process: ProcessState,
    /// Raft term, for masters.
    pub term: Option<u64>,
}

/// How a host's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Up,
    /// It runs and cannot reach all of its peers.
    CutOff,
    /// It stands still.
    Frozen,
    /// It does not run.
    Down,
}

/// Work done so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Operations that were acknowledged.
    pub acked: u64,
    /// Operations whose outcome is unknown or not there yet.
    pub open: u64,
    /// Events of the world.
    pub events: u64,
}

/// Listens to nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
