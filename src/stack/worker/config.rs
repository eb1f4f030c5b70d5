//! How one worker runs. Defaults are Alluxio 2.x's unless a field says otherwise.

use std::net::SocketAddr;

use super::store::LevelConfig;
use crate::rt::time::Duration;
use crate::stack::client::LeaderTimes;
use crate::stack::ufs::WebOptions;
use crate::stack::wire::WorkerAddress;

/// One worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where clients reach it, as the master tells them.
    pub address: WorkerAddress,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Rpc addresses of the masters, in the order in which they are asked.
    pub masters: Vec<String>,
    /// Levels of the store, fastest first.
    pub levels: Vec<LevelConfig>,
    /// Times and sizes.
    pub tuning: Tuning,
    /// How to reach web under-stores.
    pub web: WebOptions,
}

/// Times and sizes of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Between heartbeats: `alluxio.worker.block.heartbeat.interval`, 1 s.
    pub heartbeat: Duration,
    /// For one call to the master.
    pub master_call: Duration,
    /// Exit after so long without a master: `alluxio.worker.master.connect.retry.timeout`, 1 h.
    pub give_up_after: Duration,
    /// Looking for the leader.
    pub leader: LeaderTimes,
    /// Bytes that one under-store request of a read-through asks for.
    pub piece_bytes: u64,
    /// A reader that is further ahead of a read-through than this does not wait for it.
    pub ahead_bytes: u64,
    /// Read-throughs at once, each of which holds its block in memory.
    pub fetches_max: usize,
    /// A block that nobody has written to for so long is given up.
    pub write_idle_max: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            master_call: Duration::from_secs(5),
            give_up_after: Duration::from_secs(3600),
            leader: LeaderTimes::default(),
            piece_bytes: 1 << 20,
            ahead_bytes: 8 << 20,
            fetches_max: 4,
            write_idle_max: Duration::from_secs(600),
        }
    }
}
