//! The journal: an ordered log of records that survives crashes, in one format for three homes (a Raft log, a single
//! master's directory on a volume, a shared journal in an under-store).
//!
//! Rule: what [`Journal::commit`] returned for is durable, and recovery gives exactly that, or refuses. A batch is one
//! checksummed frame, one write and one sync; the next frame is written only after the sync before it succeeded. Hence
//! only the last frame can be unfinished, a good frame proves that all before it were durable, and a bad frame with
//! another after it is corruption. Truncation and purge are records, so no durable byte is ever overwritten.
//!
//! | file | what |
//! |---|---|
//! | `record.rs` | records and frames as bytes; pure |
//! | `scan.rs` | what a segment's bytes hold: torn, rotten or good; pure |
//! | `layout.rs` | where entries are, what is purged, the named slots; pure |
//! | `log.rs` | the journal on `rt::fs`: commit, rotate, purge, read |
//! | `recover.rs` | opening: which segments count, what is cut, what is refused |
//! | `snapshot.rs` | snapshots: written aside, renamed, retained |
//!
//! Not here: who decides what is appended, and what payloads mean.

mod layout;
mod log;
mod record;
mod recover;
mod scan;
mod snapshot;

pub use log::{Journal, JournalConfig, JournalReader, Recovered};
pub use record::{Batch, Entry, Slot};
pub use snapshot::{SnapshotMeta, SnapshotStore};

use std::io;

/// Why a journal cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The disk said no. The journal takes no more writes after a failed one: what a failed sync left is unknown, and a
    /// later sync that succeeds would prove nothing (Linux reports the error once).
    #[error("{file}: {what}: {error}")]
    Io {
        /// File or directory.
        file: String,
        /// What was tried.
        what: &'static str,
        /// The kind, with the system's text.
        error: IoCause,
    },
    /// Bytes that were durable are wrong. Nothing is cut, because what follows may have been acknowledged.
    #[error(
        "{file}: corrupt at byte {offset}: {what}. Refusing to open, since acknowledged records may follow. Restore this \
         directory from a backup, or, if this is a member of a quorum, remove the member and add it again with an empty \
         directory"
    )]
    Corrupt {
        /// Segment or snapshot.
        file: String,
        /// First byte that cannot be right.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// A segment that must be there is not.
    #[error(
        "{dir}: segment {segment} is missing ({why}). Refusing to open, since it may hold acknowledged records. Put the \
         file back, or restore as for a corrupt journal"
    )]
    Missing {
        /// The journal's directory.
        dir: String,
        /// Number of the segment.
        segment: u64,
        /// How it is known.
        why: String,
    },
    /// An earlier write or sync failed; the process must restart and recover.
    #[error("the journal failed earlier and takes no more writes: {0}")]
    Failed(String),
    /// The caller left a hole.
    #[error("entry {got} cannot follow: the next index is {next}")]
    Gap {
        /// The index that would be right.
        next: u64,
        /// The index that was given.
        got: u64,
    },
    /// More than fits a frame.
    #[error("a batch of {0} bytes is larger than a frame can be")]
    TooLarge(usize),
}

/// An `io::Error` that can be cloned.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct IoCause {
    /// std's kind.
    pub kind: io::ErrorKind,
    text: String,
}

impl JournalError {
    fn io(file: &str, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            file: file.into(),
            what,
            error: IoCause { kind: error.kind(), text: error.to_string() },
        }
    }

    fn corrupt(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), offset, what: what.into() }
    }
}

impl From<JournalError> for io::Error {
    fn from(error: JournalError) -> Self {
        let kind = match &error {
            JournalError::Io { error, .. } => error.kind,
            JournalError::Corrupt { .. } | JournalError::Missing { .. } => io::ErrorKind::InvalidData,
            JournalError::Gap { .. } | JournalError::TooLarge(_) => io::ErrorKind::InvalidInput,
            JournalError::Failed(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
