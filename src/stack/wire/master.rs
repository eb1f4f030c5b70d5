//! What clients, workers and operators ask a master, and what it answers.
#![expect(missing_docs, reason = "the doc of a variant names its fields")]

use serde::{Deserialize, Serialize};

use super::{
    BlockId, BlockInfo, FileInfo, FsResult, HiddenBytes, InodeId, Mark, MountInfo, MountOptions, OpId, TierUsage,
    WorkerAddress, WorkerId,
};

/// A request to a master's rpc port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterRequest {
    /// Is this the primary? Asked by clients that look for it (Alluxio's version service). Standbys answer `NotLeader`.
    /// `seen` is the latest that the asker was told of the journal.
    WhoLeads { seen: Option<Mark> },
    /// A change of the namespace, applied once per operation id.
    Change { op: OpId, change: Change },
    /// `stat`.
    Stat { path: String },
    /// The entries of a directory, by name. Loads them from the under-store at the first listing.
    List { path: String },
    /// The blocks of a file with their locations. Refused in safe mode.
    Blocks { path: String },
    /// Live workers with their space, for placing new blocks. Refused in safe mode.
    Workers,
    /// First contact of a worker: gives it an id.
    WorkerId { address: WorkerAddress },
    /// A worker's full state. Locations of the worker are replaced by `blocks`. `seen` as in `WhoLeads`.
    Register { worker: WorkerId, tiers: Vec<TierUsage>, blocks: Vec<BlockId>, seen: Option<Mark> },
    /// A worker is alive and changed.
    Heartbeat { worker: WorkerId, tiers: Vec<TierUsage>, added: Vec<BlockId>, removed: Vec<BlockId> },
    /// A worker holds a whole new block: its length is journaled, its location noted.
    CommitBlock { worker: WorkerId, block: BlockId, length: u64 },
    /// `fs masterInfo`, `journal quorum info`, `fsadmin report`: the facts from which the client prints its screen.
    QuorumInfo,
    /// See [`MasterRequest::QuorumInfo`].
    Report,
    /// Which of these blocks are in an under-store too, so that a worker may evict them.
    Persisted { blocks: Vec<BlockId> },
    /// All mounts by path. Clients of under-stores ask with `secrets`; everybody else gets the names of secret options only.
    Mounts { secrets: bool },
    /// `fsadmin backup`: all metadata, secrets of mounts included, as the content of a file.
    Backup,
}

/// A change that goes through the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// `mkdir`; with `recursive` makes the parents and accepts an existing directory.
    Mkdir { path: String, recursive: bool },
    /// Makes an empty, incomplete file; its parent must exist.
    Create { path: String, block_size: u64 },
    /// All blocks that `length` needs are committed: fixes it. A second time is `Invalid`, unless it is a retry.
    Complete { file: InodeId, length: u64 },
    /// POSIX `rename`: replaces an existing file, or an empty directory by a directory. Not across mounts.
    Rename { from: String, to: String },
    /// `unlink`, `rmdir`; with `recursive` a whole tree.
    Delete { path: String, recursive: bool },
    /// Attaches an under-store at a new path, at an empty directory, or at the root.
    Mount { path: String, url: String, read_only: bool, options: MountOptions },
    /// Detaches it and forgets everything below, without touching the under-store. Not the root, as in Alluxio.
    Unmount { path: String },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterReply {
    /// Journal index that the answer reflects: of the change itself, or the read index. 0 where the journal plays no part.
    pub index: u64,
    /// Raft term of the master that answered.
    pub term: u64,
    /// The answer.
    pub result: FsResult<MasterAnswer>,
}

/// One arm per kind of request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterAnswer {
    /// To `WhoLeads`: this master's rpc address and those of all masters, and how far the journal is.
    Leader { address: String, masters: Vec<String>, mark: Option<Mark> },
    /// Done; nothing to tell.
    Done,
    /// To `Stat`, and to the changes that make an inode.
    Info(FileInfo),
    /// To `List`.
    Entries(Vec<FileInfo>),
    /// To `Blocks`.
    Blocks { info: FileInfo, blocks: Vec<BlockInfo> },
    /// To `Workers`.
    Workers(Vec<WorkerSummary>),
    /// To `WorkerId`.
    WorkerId(WorkerId),
    /// To `Register` and `Heartbeat`: what to do, and how far the journal is.
    Command(WorkerCommand, Option<Mark>),
    /// To `QuorumInfo`.
    Quorum(QuorumInfo),
    /// To `Report`.
    Report(ClusterReport),
    /// To `Persisted`.
    Persisted(Vec<BlockId>),
    /// To `Mounts`.
    Mounts(Vec<MountInfo>),
    /// To `Backup`.
    Backup(HiddenBytes),
}

/// What a master tells a worker to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerCommand {
    /// Nothing.
    Nothing,
    /// The id is unknown (a new leader, or counted as lost): get an id and register again with all blocks.
    Register,
    /// Drop these blocks: their files are gone.
    Free(Vec<BlockId>),
}

/// One row of the worker list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSummary {
    /// Registration.
    pub id: WorkerId,
    /// Where it listens.
    pub address: WorkerAddress,
    /// Space by level.
    pub tiers: Vec<TierUsage>,
}

/// `journal quorum info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumInfo {
    /// Journal address of the leader.
    pub leader: Option<String>,
    /// (journal address, available), sorted by address.
    pub members: Vec<(String, bool)>,
}

/// `fsadmin report summary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// Leader's rpc address.
    pub master: String,
    /// Leader's web port.
    pub web_port: u16,
    /// Leader's rpc port.
    pub rpc_port: u16,
    /// Version of the masters' software.
    pub version: String,
    /// Wall clock at start of this leader's process, milliseconds since the epoch.
    pub started_ms: u64,
    /// Milliseconds since then.
    pub uptime_ms: u64,
    /// Whether worker-dependent calls are refused still.
    pub safe_mode: bool,
    /// Journal addresses of all masters.
    pub journal: Vec<String>,
    /// (rpc address, is primary).
    pub masters: Vec<(String, bool)>,
    /// Workers that heartbeat.
    pub live: Vec<WorkerSummary>,
    /// Workers that stopped to.
    pub lost: Vec<WorkerSummary>,
}
