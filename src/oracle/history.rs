//! What clients asked and what they were told: the history that the oracles judge.
//!
//! One [`Operation`] is one call to a master (or one read of bytes), through all its retries. Three outcomes only. No error
//! proves that a change did not happen, with two exceptions argued at [`Outcome::of`]: a refusal that carries a journal
//! index was decided by the replicated state, and a refusal of a malformed request never reached the journal.
#![expect(missing_docs, reason = "the doc of a variant names its fields")]

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::SimTime;
use crate::stack::wire::master::{MasterAnswer, MasterReply};
use crate::stack::wire::{FileInfo, FsError, FsResult, InodeId, OpId};

/// One operation of one client, from its first attempt to its last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which workload client; one client has at most one operation under way per open call.
    pub client: u32,
    /// The operation id on the wire, shared by all retries. Reads get one too, for the report only.
    pub op: OpId,
    /// What was asked.
    pub call: Call,
    /// When the client began its first attempt.
    pub invoked: SimTime,
    /// Requests sent, the first included; 0 where nobody counted.
    pub attempts: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked. Paths are absolute and normalised: no trailing slash, no empty, `.` or `..` part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `Change::Mkdir`.
    Mkdir { path: String, recursive: bool },
    /// `Change::Create`: an empty, incomplete file.
    Create { path: String },
    /// `Change::Complete`. `path` is where the client made the file and serves the report only; `content` is what it wrote.
    Complete { file: InodeId, path: String, length: u64, content: Content },
    /// `Change::Rename`.
    Rename { from: String, to: String },
    /// `Change::Delete`.
    Delete { path: String, recursive: bool },
    /// `MasterRequest::Stat`.
    Stat { path: String },
    /// `MasterRequest::List`.
    List { path: String },
    /// Bytes of an open file. `file` is what the client opened, at `opened`; `path` is where.
    Read { path: String, file: InodeId, opened: SimTime, offset: u64, length: u64 },
}

/// Names the bytes of a file: the generator's key and version. Bytes are a pure function of (key, version, offset).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// What the content is made from: for most files the path at which they were written.
    pub key: String,
    /// Which version under that key.
    pub version: u64,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing came back before the run ended. It may take effect at any time after its invocation, or never.
    Pending,
    /// The system answered: an answer or a definite refusal, and both are promises.
    Acked {
        /// When the client had the answer.
        returned: SimTime,
        /// Journal index that the answer reflects; 0 where the journal plays no part.
        index: u64,
        /// Raft term of the master that answered.
        term: u64,
        /// What it said.
        answer: Answer,
    },
    /// The client gave up. The change may have taken effect, may do so later, or never; at most once in all.
    Unknown {
        /// When it gave up.
        returned: SimTime,
        /// The last error it saw.
        error: String,
        /// Whether that error is one that the stack documents, rather than a broken connection nobody translated.
        documented: bool,
    },
}

/// What the system said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done, nothing to tell.
    Done,
    /// One inode: of a stat, or made by mkdir and create.
    Info(Seen),
    /// The entries of a directory, sorted by name.
    Entries(Vec<Seen>),
    /// A definite no.
    Refused(Refusal),
    /// What the harness found on comparing the bytes that a read returned.
    Bytes(BytesSeen),
}

/// The parts of a `FileInfo` that promises are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Last part of the path; empty for the root.
    pub name: String,
    /// Inode.
    pub id: InodeId,
    /// Directory or file.
    pub dir: bool,
    /// Bytes.
    pub length: u64,
    /// False while being written.
    pub completed: bool,
    /// Journal index of the last change.
    pub version: u64,
}

/// The definite errors of the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refusal {
    /// ENOENT.
    NotFound,
    /// EEXIST.
    AlreadyExists,
    /// ENOTDIR.
    NotADirectory,
    /// EISDIR.
    IsADirectory,
    /// ENOTEMPTY.
    NotEmpty,
    /// EINVAL.
    Invalid,
    /// EBUSY.
    Busy,
    /// EROFS.
    ReadOnly,
}

/// Bytes of a read compared with what they should be. The harness compares; the oracle judges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BytesSeen {
    /// Every byte is that of this content, and no byte was missing.
    Matches(Content),
    /// No single legal content gives these bytes.
    Mismatch {
        /// Offset in the file of the first byte that differs from the likeliest content.
        offset: u64,
        /// What should have been there, a few bytes.
        expected: Vec<u8>,
        /// What came, a few bytes.
        got: Vec<u8>,
        /// Whether everything from there to the end of the read is zero.
        zeros: bool,
        /// The worker that served that byte; `None` for the under-store.
        worker: Option<String>,
    },
    /// The read failed with this error, which is no promise about bytes.
    Failed(String),
}

impl Call {
    /// Whether it changes the namespace.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Stat { .. } | Self::List { .. } | Self::Read { .. })
    }

    /// The path it is about; for a rename the source.
    pub fn path(&self) -> &str {
        match self {
            Self::Mkdir { path, .. }
            | Self::Create { path }
            | Self::Complete { path, .. }
            | Self::Rename { from: path, .. }
            | Self::Delete { path, .. }
            | Self::Stat { path }
            | Self::List { path }
            | Self::Read { path, .. } => path,
        }
    }
}

impl Refusal {
    /// The definite refusal behind a wire error; `None` for errors that prove nothing about the namespace.
    pub fn of(error: &FsError) -> Option<Self> {
        Some(match error {
            FsError::NotFound(_) => Self::NotFound,
            FsError::AlreadyExists(_) => Self::AlreadyExists,
            FsError::NotADirectory(_) => Self::NotADirectory,
            FsError::IsADirectory(_) => Self::IsADirectory,
            FsError::NotEmpty(_) => Self::NotEmpty,
            FsError::Invalid(_) => Self::Invalid,
            FsError::Busy(_) => Self::Busy,
            FsError::ReadOnly(_) => Self::ReadOnly,
            // Across mounts (the model knows no mounts), no space, i/o, no leader, unavailable and the like come from one master's circumstances.
            _ => return None,
        })
    }
}

impl From<&FileInfo> for Seen {
    fn from(info: &FileInfo) -> Self {
        Self {
            name: info.name.clone(),
            id: info.id,
            dir: info.dir,
            length: info.length,
            completed: info.completed,
            version: info.version,
        }
    }
}

impl Outcome {
    /// What a client learnt from the last reply it got, or from the error it gave up with.
    ///
    /// A refusal counts as acknowledged only if it carries a journal index: then the replicated state decided it, after every
    /// earlier attempt of the same operation id in the log. `Invalid` counts without an index: the request is malformed, so
    /// each attempt was refused before the journal. Every other error leaves the outcome unknown.
    pub fn of(returned: SimTime, reply: &FsResult<MasterReply>) -> Self {
        let unknown = |error: &FsError| Self::Unknown { returned, error: error.to_string(), documented: true };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return unknown(error),
        };
        let answer = match &reply.result {
            Ok(MasterAnswer::Info(info)) => Answer::Info(info.into()),
            Ok(MasterAnswer::Entries(entries)) => Answer::Entries(entries.iter().map(Seen::from).collect()),
            Ok(_) => Answer::Done,
            Err(error) => match Refusal::of(error) {
                Some(refusal) if reply.index > 0 || refusal == Refusal::Invalid => Answer::Refused(refusal),
                _ => return unknown(error),
            },
        };
        Self::Acked { returned, index: reply.index, term: reply.term, answer }
    }
}

impl Operation {
    /// When the client learnt the outcome, if it did before the run ended.
    pub fn returned(&self) -> Option<SimTime> {
        match self.outcome {
            Outcome::Pending => None,
            Outcome::Acked { returned, .. } | Outcome::Unknown { returned, .. } => Some(returned),
        }
    }

    /// The answer, if the system gave one.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Acked { answer, .. } => Some(answer),
            _ => None,
        }
    }

    /// Whether the system promised that this change took effect.
    pub fn acked_change(&self) -> bool {
        self.call.changes() && !matches!(self.answer(), None | Some(Answer::Refused(_)))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |recursive: &bool| if *recursive { " -r" } else { "" };
        match self {
            Self::Mkdir { path, recursive } => write!(f, "mkdir{} {path}", flag(recursive)),
            Self::Create { path } => write!(f, "create {path}"),
            Self::Complete { file, path, length, .. } => {
                write!(f, "complete inode {} of {path} with {length} bytes", file.0)
            }
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Delete { path, recursive } => write!(f, "delete{} {path}", flag(recursive)),
            Self::Stat { path } => write!(f, "stat {path}"),
            Self::List { path } => write!(f, "list {path}"),
            Self::Read { path, offset, length, .. } => write!(f, "read {length} bytes of {path} at {offset}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Info(seen) => write!(f, "{seen}"),
            Self::Entries(entries) => {
                write!(f, "{} entries [", entries.len())?;
                for (i, seen) in entries.iter().take(8).enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, seen.name)?;
                }
                f.write_str(if entries.len() > 8 { ", ...]" } else { "]" })
            }
            Self::Refused(refusal) => write!(f, "{refusal:?}"),
            Self::Bytes(BytesSeen::Matches(content)) => {
                write!(f, "bytes of {} version {}", content.key, content.version)
            }
            Self::Bytes(BytesSeen::Mismatch { offset, .. }) => write!(f, "wrong bytes from offset {offset}"),
            Self::Bytes(BytesSeen::Failed(error)) => write!(f, "read failed: {error}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.dir, self.completed) {
            (true, _) => "directory",
            (false, true) => "file",
            (false, false) => "incomplete file",
        };
        write!(f, "{kind} inode {}", self.id.0)?;
        if !self.dir {
            write!(f, ", {} bytes", self.length)?;
        }
        write!(f, ", version {}", self.version)
    }
}

/// `client 2 operation 14, `create /a/b`, 12.003 to 12.020 s: AlreadyExists (index 55, term 3)`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} operation {}, `{}`, {:.3}", self.client, self.op.seq, self.call, self.invoked)?;
        match &self.outcome {
            Outcome::Pending => f.write_str(" s: never answered"),
            Outcome::Unknown { returned, error, .. } => write!(f, " to {returned:.3} s: gave up ({error})"),
            Outcome::Acked { returned, index: 0, answer, .. } => write!(f, " to {returned:.3} s: {answer}"),
            Outcome::Acked { returned, index, term, answer } => {
                write!(f, " to {returned:.3} s: {answer} (index {index}, term {term})")
            }
        }
    }
}
