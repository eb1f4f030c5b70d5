//! The knobs of the stack and of the world, each with its upstream default.
//!
//! Defaults are those of Alluxio 2.x (which GooseFS derives from) as Fluid runs it; each field says where it differs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Span;
use super::world::SpanRange;
use crate::kube::quantity::Quantity;

/// All knobs.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The masters' Raft group.
    pub raft: RaftParameters,
    /// The masters.
    pub master: MasterParameters,
    /// The workers.
    pub worker: WorkerParameters,
    /// The fuse clients.
    pub client: ClientParameters,
    /// The disks of all hosts.
    pub disk: DiskParameters,
    /// The clocks of all hosts.
    pub clock: ClockParameters,
    /// The order in which ready tasks run.
    pub schedule: Schedule,
}

/// The masters' Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RaftParameters {
    /// Time between the leader's heartbeats: half of the shortest election timeout, as Ratis has it.
    pub heartbeat: Span,
    /// How long a follower waits for a heartbeat before it stands for election.
    pub election_timeout: SpanRange,
    /// Entries between two snapshots. Differs: Alluxio takes 2,000,000; here few enough that scenarios reach some.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, so that a follower that lags a little needs no snapshot.
    pub keep_entries: u64,
    /// Length at which a journal segment is closed.
    pub segment_size: Quantity,
}

impl Default for RaftParameters {
    fn default() -> Self {
        Self {
            heartbeat: Span::secs(5),
            election_timeout: SpanRange { min: Span::secs(10), max: Span::secs(20) },
            snapshot_every: 200,
            keep_entries: 50,
            segment_size: Quantity::bytes(10 << 20),
        }
    }
}

/// The masters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MasterParameters {
    /// Bytes of a block of a new file. Fluid sets 16 MiB.
    pub block_size: Quantity,
    /// How long a new leader refuses calls that need workers.
    pub safe_mode: Span,
    /// Silence after which a worker counts as lost.
    pub worker_timeout: Span,
    /// Time between two looks for lost workers.
    pub lost_worker_detection: Span,
    /// Operation ids remembered, so that a retried change is applied once.
    pub retry_cache: u64,
}

impl Default for MasterParameters {
    fn default() -> Self {
        Self {
            block_size: Quantity::bytes(16 << 20),
            safe_mode: Span::secs(5),
            worker_timeout: Span::secs(300),
            lost_worker_detection: Span::secs(10),
            retry_cache: 100_000,
        }
    }
}

/// The workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerParameters {
    /// Time between two heartbeats to the leader.
    pub heartbeat: Span,
    /// How long a worker tries to reach a leader before it gives up and exits.
    pub connect_retry: Span,
}

impl Default for WorkerParameters {
    fn default() -> Self {
        Self { heartbeat: Span::secs(1), connect_retry: Span::secs(3600) }
    }
}

/// The fuse clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientParameters {
    /// First pause before a retry; doubles with each.
    pub retry_base: Span,
    /// Longest pause before a retry.
    pub retry_max: Span,
    /// How long an operation is retried before it fails.
    pub retry_budget: Span,
    /// How long one request waits for its answer, 10 s at most; also the wait for each master in the search for the leader.
    pub request_timeout: Span,
    /// How long attributes are trusted without asking; 0s asks each time.
    pub attribute_cache: Span,
}

impl Default for ClientParameters {
    fn default() -> Self {
        Self {
            retry_base: Span::millis(50),
            retry_max: Span::secs(3),
            retry_budget: Span::secs(120),
            request_timeout: Span::secs(30),
            attribute_cache: Span::secs(0),
        }
    }
}

/// The disks of all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskParameters {
    /// Size of each host's disk.
    pub size: Quantity,
    /// Latency of one read or write that reaches the device.
    pub latency: SpanRange,
    /// Latency of one sync.
    pub sync: SpanRange,
    /// Bytes per second.
    pub bandwidth: Quantity,
}

impl Default for DiskParameters {
    fn default() -> Self {
        let us = |us| Span(std::time::Duration::from_micros(us));
        Self {
            size: Quantity::bytes(30 << 30),
            latency: SpanRange { min: us(60), max: us(200) },
            sync: SpanRange { min: us(500), max: us(3000) },
            bandwidth: Quantity::bytes(500 << 20),
        }
    }
}

/// The clocks of all hosts, drawn once per host within these bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClockParameters {
    /// Largest error of a wall clock at the start, either way.
    pub offset: Span,
    /// Largest error of the speed of a clock, either way, in parts per million.
    #[schemars(range(max = 100_000))]
    pub drift_ppm: u32,
}

impl Default for ClockParameters {
    fn default() -> Self {
        Self { offset: Span::millis(20), drift_ppm: 50 }
    }
}

/// The order in which ready tasks run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Picked by the seed.
    #[default]
    Random,
    /// First ready, first run: interleaving switched off.
    Fifo,
}
