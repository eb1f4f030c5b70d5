//! Everything one run leaves behind for judgement.
//!
//! The record holds facts and the bounds they are held against. It names no fault's inner workings: what a correct system
//! must survive is told as times ([`Core`], [`RunRecord::healed`]), so that an oracle cannot excuse what it should catch.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::ClusterRecord;
use super::history::Operation;
use super::observation::{
    Damage, FaultEffect, FinalTree, Goal, Gone, MasterObservation, UfsVersion, WorkerObservation,
};
use crate::base::SimTime;

/// One run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunRecord {
    /// The seed, for the text of the verdict.
    pub seed: u64,
    /// Client history in any order.
    pub history: Vec<Operation>,
    /// What the namespace is before the history begins, and where it may come from outside.
    pub setup: Setup,
    /// Masters, in order of time.
    pub masters: Vec<MasterObservation>,
    /// Workers, in order of time.
    pub workers: Vec<WorkerObservation>,
    /// Blocks that went from workers' disks, in order of time.
    pub gone: Vec<Gone>,
    /// The scan after settling; `None` if the run never got there.
    pub final_tree: Option<FinalTree>,
    /// Versions of under-store files, for the bytes of reads.
    pub under_store: Vec<UfsVersion>,
    /// Copies of blocks that media destroyed: what a file that clients wrote has only one copy of is lost with it.
    pub damage: Vec<Damage>,
    /// The Kubernetes that the cluster lived on; `None` if it lived on bare hosts.
    pub cluster: Option<ClusterRecord>,
    /// Injected faults.
    pub faults: Vec<FaultEffect>,
    /// What the scenario wanted to reach.
    pub goals: Vec<Goal>,
    /// When a cache was made anew after its user had deleted it: what the one before acknowledged is none of its promises.
    pub lives: Vec<SimTime>,
    /// When all faults were removed.
    pub healed: Option<SimTime>,
    /// When the run ended.
    pub ended: SimTime,
    /// Whether the cluster had at all times what a correct system needs.
    pub core: Core,
    /// What to hold it against.
    pub bounds: Bounds,
    /// The engine's report that nothing is scheduled while operations are pending: one line per waiting task.
    pub deadlock: Option<Vec<String>>,
    /// Panics of processes and of the harness, first first.
    pub crashes: Vec<String>,
    /// Which budget of the run ran out, if one did.
    pub over_budget: Option<String>,
    /// Trace hashes of runs of the same seed that should agree, this run's first; one hash means that nobody compared.
    pub trace_hashes: Vec<u128>,
    /// What else was found to differ between those runs: the first events where their traces part, or what they reported.
    pub trace_difference: Option<String>,
}

/// The namespace before the history begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Directories that exist from the start, mount points included, parents before children.
    pub directories: Vec<String>,
    /// Prefixes whose entries may come from an under-store. Namespace operations below them are not replayed.
    pub external: Vec<String>,
}

/// Whether the fault budget was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Core {
    /// A majority of masters could work and talk at all times, or could after short disturbances.
    #[default]
    Kept,
    /// At these times no majority could work: the right behaviour is to refuse, and to lose nothing. By their beginnings;
    /// they may overlap.
    Beyond(Vec<Outage>),
}

/// A time beyond the fault budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Since when.
    pub from: SimTime,
    /// Until when; `None` if to the end of the run.
    pub until: Option<SimTime>,
    /// In words, such as `1 of 3 masters could work and talk`.
    pub why: String,
    /// Whether a majority ran and talked all the same, with disks that could not take what it had to write. Then a change
    /// may still be acknowledged; without a majority none may.
    pub quorum: bool,
}

/// What is promised in time, and how long the oracles may search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// From the heal to an acknowledged leader. Alluxio 2.x elects within 20 s; catching up takes some more.
    pub leader: Duration,
    /// From invocation, or from the heal if later, to the outcome of an operation. Alluxio 2.x clients retry for 2 minutes.
    pub operation: Duration,
    /// How long a client may go on reading a file that was replaced or removed: its attribute cache, and open handles.
    pub staleness: Duration,
    /// How many steps the placing of unknown outcomes may take before the oracle says that it does not know.
    pub search_steps: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            leader: Duration::from_secs(45),
            operation: Duration::from_secs(150),
            staleness: Duration::from_secs(10),
            search_steps: 4_000_000,
        }
    }
}
