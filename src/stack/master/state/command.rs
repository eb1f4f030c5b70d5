//! What the journal holds, and what applying it answers.
//!
//! A command carries everything that applying it needs, the proposing leader's wall clock included: masters that apply
//! the same commands in the same order hold the same state.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stack::wire::master::{Change, MasterAnswer, MasterReply};
use crate::stack::wire::{BlockId, FileInfo, FsResult, HiddenBytes, InodeId, OpId, UfsRef};

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client's change, applied once per operation id.
    Change {
        /// The client's operation.
        op: OpId,
        /// The proposing leader's wall clock, milliseconds since the epoch.
        wall_ms: u64,
        /// What to do.
        change: Change,
    },
    /// A worker holds this block whole. Repeating it is harmless.
    CommitBlock {
        /// Which.
        block: BlockId,
        /// Bytes, at least 1.
        length: u64,
    },
    /// What a directory of an under-store holds. Repeating it is harmless.
    LoadUfs(UfsListing),
    /// A client's change that was made in the under-store already: what it moves lies elsewhere there.
    Through {
        /// The client's operation.
        op: OpId,
        /// The proposing leader's wall clock, milliseconds since the epoch.
        wall_ms: u64,
        /// What to do.
        change: Change,
    },
    /// A file is in its under-store.
    Persisted {
        /// Which.
        file: InodeId,
        /// Where. If the file belongs elsewhere by now, this is refused.
        url: String,
        /// Names the version.
        fingerprint: String,
    },
    /// A leader takes office, under a random name. Repeating it is harmless.
    Office {
        /// The name.
        name: u64,
    },
    /// A group of masters without metadata takes over that of a backup.
    Restore {
        /// An image of the state: [`State::encode`](super::State::encode).
        image: HiddenBytes,
    },
}

impl Command {
    /// The client's operation that it is, if it is one.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Self::Change { op, .. } => Some(*op),
            Self::Through { op, .. } => Some(*op),
            Self::CommitBlock { .. }
            | Self::LoadUfs(_)
            | Self::Office { .. }
            | Self::Persisted { .. }
            | Self::Restore { .. } => None,
        }
    }
}

/// One listing of an under-store's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UfsListing {
    /// The directory's path in the namespace.
    pub dir: String,
    /// The location that was listed. If the directory stands for another one by now, the listing is refused.
    pub url: String,
    /// The proposing leader's wall clock, milliseconds since the epoch.
    pub wall_ms: u64,
    /// Block size of new files, in bytes, at least 1.
    pub block_size: u64,
    /// What was found. Names that cannot be names of inodes are passed over.
    pub entries: Vec<UfsEntry>,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UfsEntry {
    /// Last part of the path.
    pub name: String,
    /// Whether it is a directory.
    pub dir: bool,
    /// Bytes of a file.
    pub length: u64,
    /// Location and version. A directory's fingerprint is ignored.
    pub ufs: UfsRef,
    /// Time of its last change, milliseconds since the epoch, if the under-store tells.
    pub mtime_ms: Option<u64>,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Journal index at which it was applied; of a retried operation, the index of its first time.
    pub index: u64,
    /// The answer for who asked. An error changed nothing.
    pub result: FsResult<Outcome>,
    /// Blocks that belong to no file any more: workers that hold them are to drop them.
    pub freed: Vec<BlockId>,
}

/// The answer of a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; nothing to tell.
    Done,
    /// The inode that was made or completed.
    Info(FileInfo),
}

impl From<Outcome> for MasterAnswer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Info(info) => Self::Info(info),
        }
    }
}

impl Reply {
    /// The reply as the client gets it from a master in `term`.
    pub fn into_wire(self, term: u64) -> MasterReply {
        MasterReply { index: self.index, term, result: self.result.map(MasterAnswer::from) }
    }
}

/// One line for the log.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { op, change, .. } => write!(f, "{change:?} as {:x}.{}", op.client, op.seq),
            Self::Through { op, change, .. } => write!(f, "{change:?}, done below, as {:x}.{}", op.client, op.seq),
            Self::Persisted { file, url, .. } => write!(f, "Persisted {} at {url}", file.0),
            Self::CommitBlock { block, length } => write!(f, "CommitBlock {} of {length} bytes", block.0),
            Self::Office { name } => write!(f, "Office {name:x}"),
            Self::Restore { image } => write!(f, "Restore {image:?}"),
            Self::LoadUfs(listing) => write!(f, "LoadUfs {} with {} entries", listing.dir, listing.entries.len()),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(_) => write!(f, "done at {}", self.index),
            Err(e) => write!(f, "refused at {}: {e}", self.index),
        }
    }
}
