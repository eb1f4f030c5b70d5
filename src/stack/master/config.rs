//! What a master is told at its start, with Alluxio's defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::raft::{NodeId, Peer};
use super::registry::RegistryTimes;
use super::state::RETRY_CACHE_SIZE;
use crate::rt::time::Duration;
use crate::stack::journal::JournalConfig;

/// One master's configuration. `members` and everything that shapes the replicated state must be equal at all masters.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// Which of `members` this master is.
    pub id: NodeId,
    /// All masters of the group, this one included.
    pub members: BTreeMap<NodeId, Peer>,
    /// Where clients and workers connect.
    pub rpc_bind: SocketAddr,
    /// Where the other masters connect.
    pub journal_bind: SocketAddr,
    /// Port that the web interface is said to be on; one above the rpc port, as in Alluxio and GooseFS.
    pub web_port: u16,
    /// Absolute path of the journal's directory; made if it is missing.
    pub journal_dir: String,
    /// Segments of the journal.
    pub journal: JournalConfig,
    /// Raft's timers and sizes.
    pub raft: RaftTimes,
    /// How long a new leader refuses what depends on workers: `alluxio.master.worker.connect.wait.time`, 5 s.
    pub safe_mode: Duration,
    /// When workers count as lost.
    pub registry: RegistryTimes,
    /// Operations that the retry cache remembers: `alluxio.master.filesystem.operation.retry.cache.size`, 100,000.
    pub retry_cache: usize,
    /// Block size of files found in under-stores, in bytes, at least 1. Alluxio: 64 MB.
    pub ufs_block_size: u64,
    /// How long one listing of an under-store may take.
    pub ufs_timeout: Duration,
    /// The backup that masters without metadata begin from: `alluxio.master.journal.init.from.backup`, an absolute path.
    pub init_from_backup: Option<String>,
}

/// Raft's timers and sizes.
#[derive(Debug, Clone)]
pub struct RaftTimes {
    /// A leader's heartbeat. Ratis sends them at half the shortest election timeout: 5 s.
    pub heartbeat: Duration,
    /// Shortest election timeout: `alluxio.master.embedded.journal.election.timeout.min`, 10 s.
    pub election_min: Duration,
    /// Longest election timeout: `alluxio.master.embedded.journal.election.timeout.max`, 20 s. A follower that heard
    /// nothing for so long asks for votes at the next tick (a fifth of the heartbeat). At least 2.4 heartbeats.
    pub election_max: Duration,
    /// A snapshot after so many entries: `alluxio.master.journal.checkpoint.period.entries`, 2,000,000.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, for followers that lag a little. Alluxio purges all of them.
    pub keep_entries: u64,
    /// Most entries in one message to a follower.
    pub payload_entries: u64,
    /// Longest chunk of a snapshot on the wire, in bytes.
    pub snapshot_chunk: u64,
    /// How long a chunk of a snapshot, or its installation, may take.
    pub snapshot_timeout: Duration,
}

impl Default for RaftTimes {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            election_min: Duration::from_secs(10),
            election_max: Duration::from_secs(20),
            snapshot_every: 2_000_000,
            keep_entries: 1_000,
            payload_entries: 300,
            snapshot_chunk: 1 << 20,
            snapshot_timeout: Duration::from_secs(30),
        }
    }
}

impl RaftTimes {
    /// No longer than a group of one needs: Alluxio stands for election after 500 ms to 1 s there.
    fn alone(mut self) -> Self {
        self.heartbeat = self.heartbeat.min(Duration::from_millis(200));
        self.election_min = self.election_min.min(Duration::from_millis(500));
        self.election_max = self.election_max.min(Duration::from_secs(1));
        self
    }
}

impl MasterConfig {
    /// Alluxio's defaults for the member `id` of `members`, listening on `rpc_bind` and `journal_bind`.
    pub fn new(
        id: NodeId,
        members: BTreeMap<NodeId, Peer>,
        (rpc_bind, journal_bind): (SocketAddr, SocketAddr),
        journal_dir: impl Into<String>,
    ) -> Self {
        Self {
            id,
            members,
            rpc_bind,
            journal_bind,
            web_port: rpc_bind.port().saturating_add(1),
            journal_dir: journal_dir.into(),
            journal: JournalConfig::default(),
            raft: RaftTimes::default(),
            safe_mode: Duration::from_secs(5),
            registry: RegistryTimes::default(),
            retry_cache: RETRY_CACHE_SIZE,
            ufs_block_size: 64 << 20,
            ufs_timeout: Duration::from_secs(60),
            init_from_backup: None,
        }
    }

    /// openraft's form of it.
    ///
    /// # Errors
    /// What openraft finds wrong with the times.
    pub(super) fn raft_config(&self, may_elect: bool) -> Result<openraft::Config, openraft::ConfigError> {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let alone = self.members.len() == 1;
        let raft = if alone { &self.raft.clone().alone() } else { &self.raft };
        // openraft waits for the leader's lease to end, which is its longest election timeout, and only then for its own
        // timeout. With halves the sum stays within what is configured, and above its lower end.
        let longest = raft.election_max / 2;
        let shortest = (raft.election_min / 2).max(raft.heartbeat + raft.heartbeat / 10);
        // A follower that has answered an entry a moment ago is not asked whether it is there, as in Ratis: one heartbeat
        // may be left out, if the next, at openraft's tick of 13/64 of it, comes before anybody misses the leader.
        let tick = (raft.heartbeat * 13 / 64).max(Duration::from_millis(1));
        let next = raft.heartbeat + tick + Duration::from_millis(1);
        let answered = shortest.saturating_sub(next).min(raft.heartbeat);
        openraft::Config {
            cluster_name: "masters".into(),
            heartbeat_interval: ms(raft.heartbeat),
            heartbeat_min_interval: Some(ms(answered)),
            election_timeout_min: ms(shortest),
            election_timeout_max: ms(longest),
            install_snapshot_timeout: ms(raft.snapshot_timeout),
            max_payload_entries: raft.payload_entries,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(raft.snapshot_every),
            snapshot_max_chunk_size: raft.snapshot_chunk,
            max_in_snapshot_log_to_keep: raft.keep_entries,
            replication_lag_threshold: raft.snapshot_every.saturating_mul(2),
            enable_elect: may_elect,
            enable_pre_vote: Some(true),
            // A wiped member may come back under its id; `joining` makes that safe.
            allow_log_reversion: Some(true),
            // A restarted leader asks for votes again, instead of taking itself for the leader of its old term.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        }
        .validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(heartbeat: u64, election_min: u64) -> Result<openraft::Config, openraft::ConfigError> {
        let ms = Duration::from_millis;
        let peer = |id| (id, Peer { rpc: format!("m{id}:1").into(), journal: format!("m{id}:2").into() });
        let any = SocketAddr::from(([0, 0, 0, 0], 1));
        let mut config = MasterConfig::new(0, (0..3).map(peer).collect(), (any, any), "/journal");
        let (heartbeat, election_min) = (ms(heartbeat), ms(election_min));
        config.raft = RaftTimes { heartbeat, election_min, election_max: 2 * election_min, ..RaftTimes::default() };
        config.raft_config(true)
    }

    #[test]
    fn a_heartbeat_is_left_out_only_if_the_next_comes_in_time() {
        for (heartbeat, election_min, answered) in
            [(5_000, 10_000, 0), (200, 600, 58), (100, 1_000, 100), (100, 240, 0)]
        {
            let config = config(heartbeat, election_min).unwrap();
            assert_eq!(config.heartbeat_min_interval, Some(answered), "{heartbeat} ms, {election_min} ms");
        }
        // openraft checks its bound.
        for (heartbeat, ratio) in (2..500).flat_map(|heartbeat| [30, 37, 55, 60].map(|ratio| (heartbeat, ratio))) {
            config(heartbeat, (heartbeat * ratio).div_ceil(10)).unwrap();
        }
    }
}
