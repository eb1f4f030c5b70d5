//! The one error that a request can end with, and whether a retry can help.

use serde::{Deserialize, Serialize};

/// Why a file system operation failed. Crosses the wire as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum FsError {
    /// ENOENT.
    #[error("{0} does not exist")]
    NotFound(String),
    /// EEXIST.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// ENOTDIR.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// EISDIR.
    #[error("{0} is a directory")]
    IsADirectory(String),
    /// ENOTEMPTY.
    #[error("{0} is not empty")]
    NotEmpty(String),
    /// EINVAL, with the reason.
    #[error("{0}")]
    Invalid(String),
    /// EBUSY: being written, pinned, or in the way of a mount.
    #[error("{0} is busy")]
    Busy(String),
    /// EXDEV: a rename from one mount into another; copy instead.
    #[error("{0} is on another mount")]
    CrossMount(String),
    /// EROFS: under a read-only mount.
    #[error("{0} is on a read-only under-store")]
    ReadOnly(String),
    /// ENOSPC.
    #[error("no space: {0}")]
    NoSpace(String),
    /// EIO: a disk, checksum or under-store failed, with what.
    #[error("i/o error: {0}")]
    Io(String),
    /// A block or worker that this master or worker does not know; register or look up again.
    #[error("unknown {0}")]
    Unknown(String),
    /// This master does not lead (any more); the leader's rpc address if known. The operation may still take effect.
    #[error("not the leader{}", .hint.as_ref().map(|h| format!("; try {h}")).unwrap_or_default())]
    NotLeader {
        /// The leader's rpc address, if this master knows one.
        hint: Option<String>,
    },
    /// Serving, but not yet able to answer this (safe mode, catching up, no quorum in time). The operation may still
    /// take effect.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl FsError {
    /// Whether the same request may be tried again, at this or another master.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::NotLeader { .. } | Self::Unavailable(_))
    }
}

/// Result of a file system operation.
pub type FsResult<T> = Result<T, FsError>;
