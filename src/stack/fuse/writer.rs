//! Writes to one new file: from the start to the end, block by block.
//!
//! A block is kept here until a worker has committed it, so that any failure before that can be answered by writing it
//! again elsewhere. The file exists for readers when it is completed, by the first `flush` (close) or by `release`.
//! Differs from POSIX, as Alluxio does: no random writes, no appending later; what `fsync` makes durable are whole blocks,
//! the last one only with the file's completion. A file whose writing failed stays incomplete.

use std::sync::atomic::{AtomicU64, Ordering};

use super::data::{CHUNK, DataPath, Pause};
use super::errno::Errno;
use crate::rt::chan;
use crate::rt::time::Instant;
use crate::stack::wire::worker::{WorkerAnswer, WorkerRequest};
use crate::stack::wire::{BlockId, FileInfo, FsError, FsResult, WorkerAddress};

/// One file being written.
pub(super) struct Writer {
    pub path: String,
    pub info: FileInfo,
    state: chan::Mutex<State>,
    /// Bytes taken so far, for `getattr`.
    length: AtomicU64,
}

struct State {
    /// Bytes of the current block.
    buffer: Vec<u8>,
    /// Its place in the file.
    sequence: u64,
    /// The file is complete, or writing failed for good.
    ended: Option<Result<FileInfo, Errno>>,
}

impl Writer {
    /// A file that was just created and is empty.
    pub fn new(path: String, info: FileInfo) -> Self {
        let state = State { buffer: Vec::new(), sequence: 0, ended: None };
        Self { path, info, state: chan::Mutex::new(state), length: AtomicU64::new(0) }
    }

    /// Bytes taken so far.
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Appends. All or nothing, but what was taken before stays.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if `offset` is not the end, `EBADF` after completion, and whatever ended the writing.
    pub async fn write(&self, data: &DataPath, offset: u64, bytes: &[u8], deadline: Instant) -> Result<(), Errno> {
        let mut state = self.state.lock().await;
        match &state.ended {
            Some(Ok(_)) => return Err(Errno::EBADF),
            Some(Err(errno)) => return Err(*errno),
            None => {}
        }
        if offset != self.length() {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.info.block_size.saturating_sub(state.buffer.len() as u64);
            let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            state.buffer.extend_from_slice(now);
            rest = later;
            if state.buffer.len() as u64 >= self.info.block_size {
                self.put(data, &mut state, deadline).await?;
            }
        }
        self.length.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the file: the last block, then its length. A second time does nothing.
    pub async fn complete(&self, data: &DataPath, deadline: Instant) -> Result<FileInfo, Errno> {
        let mut state = self.state.lock().await;
        if let Some(ended) = &state.ended {
            return ended.clone();
        }
        if !state.buffer.is_empty() {
            self.put(data, &mut state, deadline).await?;
        }
        let ended = data.client.complete(self.info.id, self.length(), deadline).await.map_err(Errno::from);
        state.ended = Some(ended.clone());
        ended
    }

    /// Tells what ended the writing, if something did.
    pub async fn check(&self) -> Result<(), Errno> {
        match &self.state.lock().await.ended {
            Some(Err(errno)) => Err(*errno),
            _ => Ok(()),
        }
    }

    /// Gives the current block to a worker.
    async fn put(&self, data: &DataPath, state: &mut State, deadline: Instant) -> Result<(), Errno> {
        if state.sequence > BlockId::SEQUENCE_MAX {
            return Err(Errno::ENOSPC);
        }
        let block = BlockId::new(self.info.id, state.sequence);
        if let Err(error) = put_block(data, block, &state.buffer, deadline).await {
            tracing::warn!(path = %self.path, block = block.0, %error, "cannot write");
            // Nobody has the block: what comes after it would leave a hole.
            let errno = if let FsError::NoSpace(_) = error { Errno::ENOSPC } else { Errno::EIO };
            state.ended = Some(Err(errno));
            return Err(errno);
        }
        state.buffer.clear();
        state.sequence += 1;
        Ok(())
    }
}

/// Writes a block to one worker after the other until one has committed it.
///
/// # Errors
/// The last one, when all workers refused for good or at `deadline`.
async fn put_block(data: &DataPath, block: BlockId, bytes: &[u8], deadline: Instant) -> FsResult<()> {
    let mut pause = Pause::new();
    let mut tries = 0u64;
    let mut unknown_rounds = 0;
    loop {
        let workers = data.workers.for_block(&data.client, block, deadline).await?;
        let mut last = FsError::NoSpace("there is no worker".into());
        let mut again = workers.is_empty();
        let mut unknown = false;
        for worker in &workers {
            if tries > 0 {
                data.counters.rewritten_blocks.fetch_add(1, Ordering::Relaxed);
            }
            match put_to(data, worker, block, bytes, deadline, tries >= workers.len() as u64).await {
                Ok(()) => {
                    data.counters.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(%worker, block = block.0, %error, "block not written");
                    again |= error.retryable();
                    unknown |= matches!(error, FsError::Unknown(_));
                    last = error;
                }
            }
            tries += 1;
            if Instant::now() >= deadline {
                return Err(last);
            }
        }
        // A worker that restarted does not know the block, nor does the master know blocks of a file that was deleted.
        unknown_rounds += u32::from(unknown);
        if !again && (!unknown || unknown_rounds > 1) {
            return Err(last);
        }
        data.workers.outdated();
        pause.wait(deadline).await;
        if Instant::now() >= deadline {
            return Err(last);
        }
    }
}

/// Writes a block to one worker and commits it. With `afresh`, drops what an earlier try left there.
async fn put_to(
    data: &DataPath,
    worker: &WorkerAddress,
    block: BlockId,
    bytes: &[u8],
    deadline: Instant,
    afresh: bool,
) -> FsResult<()> {
    let call = async |request, within: crate::rt::time::Duration| {
        let within = within.min(deadline - Instant::now());
        match data.workers.call(worker, request, within).await? {
            WorkerAnswer::Done => Ok(()),
            WorkerAnswer::Data { .. } => Err(FsError::Io(format!("worker {worker} answered another question"))),
        }
    };
    if afresh {
        call(WorkerRequest::Discard { block }, data.times.worker).await?;
    }
    let mut offset = 0u64;
    for chunk in bytes.chunks(CHUNK as usize) {
        match call(WorkerRequest::Write { block, offset, data: chunk.to_vec() }, data.times.worker).await {
            // A commit whose answer was lost: it has the block whole.
            Err(FsError::AlreadyExists(_)) => break,
            other => other?,
        }
        offset += chunk.len() as u64;
    }
    call(WorkerRequest::Commit { block, length: bytes.len() as u64 }, data.times.commit).await
}
