//! The nouns of the protocol, shared by requests, replicated state and client.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::Secret;

/// Identifies one client operation through all its retries (Alluxio's `FileSystemMasterCommonPOptions.operationId`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// Random per client process.
    pub client: u64,
    /// Counts up within the client.
    pub seq: u64,
}

/// An inode. For a file it is also the container of its blocks: `block = container << 24 | sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InodeId(pub u64);

/// One block: 40 bits of container (the file), 24 bits of sequence within it, as in Alluxio's `BlockId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockId(pub u64);

impl BlockId {
    /// Bits of the sequence.
    pub const SEQUENCE_BITS: u32 = 24;
    /// The highest file that can hold blocks: 40 bits.
    pub const FILE_MAX: u64 = (1 << (64 - Self::SEQUENCE_BITS)) - 1;
    /// The highest sequence that names a block; the one above is the file itself.
    pub const SEQUENCE_MAX: u64 = (1 << Self::SEQUENCE_BITS) - 2;

    /// The `sequence`-th block of `file`.
    pub const fn new(file: InodeId, sequence: u64) -> Self {
        Self(file.0 << Self::SEQUENCE_BITS | sequence)
    }

    /// The file it belongs to.
    pub const fn file(self) -> InodeId {
        InodeId(self.0 >> Self::SEQUENCE_BITS)
    }

    /// Its place in the file.
    pub const fn sequence(self) -> u64 {
        self.0 & ((1 << Self::SEQUENCE_BITS) - 1)
    }
}

/// A worker's registration: random, new at every first contact with a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// Where a worker listens, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerAddress(pub String);

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A storage level of a worker, fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Medium {
    /// Memory.
    Mem,
    /// Solid state disk.
    Ssd,
    /// Hard disk.
    Hdd,
}

/// Bytes of one level of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierUsage {
    /// Which level.
    pub medium: Medium,
    /// Quota in bytes.
    pub capacity: u64,
    /// Bytes of blocks held.
    pub used: u64,
}

/// Where a file's bytes come from when no worker has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UfsRef {
    /// Full under-store location, such as `https://mirror/hbase/hbase-2.5-bin.tar.gz`.
    pub url: String,
    /// Names one version of the content (ETag, or length and modification time).
    pub fingerprint: String,
}

/// What a leader tells others of its journal, so that they can tell it again: a journal that was put back to an older state
/// does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Random name of the cluster, given when it was formed.
    pub cluster: u64,
    /// Random name of the term of office.
    pub office: u64,
    /// Journal index that was applied, and hence committed.
    pub index: u64,
}

/// What a mount says about its under-store beside the URL: options as users write them, such as `fs.oss.endpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MountOptions {
    /// Options that anybody may see.
    pub options: BTreeMap<String, String>,
    /// Options that only clients of under-stores see.
    pub secrets: BTreeMap<String, Secret>,
}

/// How files that are written below a writable mount reach its under-store: Alluxio's write types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WriteType {
    /// Not at all: a file is lost with its workers.
    MustCache,
    /// Before the writer is told that the file is closed.
    CacheThrough,
    /// As `CacheThrough`, and no worker keeps it.
    Through,
    /// Some time after: workers keep it until then. The default since Alluxio 2.
    #[default]
    AsyncThrough,
}

impl WriteType {
    /// By Alluxio's name, such as `ASYNC_THROUGH`.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "MUST_CACHE" => Some(Self::MustCache),
            "CACHE_THROUGH" => Some(Self::CacheThrough),
            "THROUGH" => Some(Self::Through),
            "ASYNC_THROUGH" => Some(Self::AsyncThrough),
            _ => None,
        }
    }

    /// Whether a writer waits for the under-store.
    pub fn waits(self) -> bool {
        matches!(self, Self::CacheThrough | Self::Through)
    }
}

impl MountOptions {
    /// Names of the option that holds the write type.
    pub const WRITE_TYPE: [&str; 2] = ["alluxio.user.file.writetype.default", "goosefs.user.file.writetype.default"];

    /// The write type of files below; the default if the options name none.
    pub fn write_type(&self) -> WriteType {
        let named = Self::WRITE_TYPE.iter().find_map(|name| self.options.get(*name));
        named.and_then(|name| WriteType::of(name)).unwrap_or_default()
    }
}

/// One under-store in the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MountInfo {
    /// Where it is mounted.
    pub path: String,
    /// Its location.
    pub url: String,
    /// Whether changes below are refused.
    pub read_only: bool,
    /// How to reach it.
    pub options: MountOptions,
}

/// What `stat` tells of one inode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileInfo {
    /// Inode.
    pub id: InodeId,
    /// Last part of the path; empty for the root.
    pub name: String,
    /// Whether it is a directory.
    pub dir: bool,
    /// Bytes; 0 for directories and for files still being written.
    pub length: u64,
    /// Block size in bytes; 0 for directories.
    pub block_size: u64,
    /// False while the file is being written.
    pub completed: bool,
    /// Journal index of the last change: the version.
    pub version: u64,
    /// Wall-clock milliseconds of the last change, as the leader that proposed it saw them.
    pub mtime_ms: u64,
    /// The under-store's copy, if there is one; of a directory its location, with an empty fingerprint.
    pub ufs: Option<UfsRef>,
}

/// One block of a file and where it is cached now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockInfo {
    /// Which.
    pub id: BlockId,
    /// Bytes.
    pub length: u64,
    /// Workers that reported it, in address order; empty is normal right after a failover.
    pub locations: Vec<WorkerAddress>,
}

/// Bytes with secrets among them: shown by their number alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenBytes(pub Vec<u8>);

impl std::fmt::Debug for HiddenBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
