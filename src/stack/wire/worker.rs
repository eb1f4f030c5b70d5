//! What clients ask a worker, and what it answers.
#![expect(missing_docs, reason = "the doc of a variant names its fields")]

use serde::{Deserialize, Serialize};

use super::{BlockId, FsResult, UfsRef};

/// A request to a worker's rpc port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerRequest {
    /// Reads part of a block. If it is not cached and `ufs` is given, the worker reads it through from there (whole block,
    /// one reader at a time) and keeps it.
    Read { block: BlockId, offset: u64, length: u32, ufs: Option<UfsBlock> },
    /// Appends to a block being written; `offset` must be its length so far, so that a retried chunk is harmless.
    Write {
        block: BlockId,
        offset: u64,
        #[serde(with = "super::raw")]
        data: Vec<u8>,
    },
    /// The block is whole: makes it durable, commits it to the master, then readable. Repeating it is harmless.
    Commit { block: BlockId, length: u64 },
    /// Drops a block being written, or a cached one.
    Discard { block: BlockId },
}

/// Where the bytes of a block lie in the under-store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UfsBlock {
    /// The file and the version that the reader expects.
    pub source: UfsRef,
    /// First byte of the block within the file.
    pub offset: u64,
    /// Length of the whole block.
    pub length: u64,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReply {
    /// The answer.
    pub result: FsResult<WorkerAnswer>,
}

/// One arm per kind of answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerAnswer {
    /// Done.
    Done,
    /// To `Read`: fewer bytes than asked only at the end of the block.
    Data {
        /// The bytes.
        #[serde(with = "super::raw")]
        data: Vec<u8>,
        /// Whether they were cached before this request.
        cached: bool,
    },
}
