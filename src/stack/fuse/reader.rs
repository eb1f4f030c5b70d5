//! Reads of one open file.
//!
//! What was opened stays open: inode, length and blocks are those of the moment of `open`, whatever happens to the name.
//! Each piece is asked of the block's locations, then of any worker that reads it through, then of the under-store itself.
//! Rule: exactly the bytes asked for, up to the length of the file, or an error; never fewer, never filled up.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::data::{CHUNK, DataPath, Pause};
use crate::base::lock;
use crate::base::planted::{Bug, planted};
use crate::rt::time::{Duration, Instant, timeout_at};
use crate::stack::wire::worker::{UfsBlock, WorkerAnswer, WorkerRequest};
use crate::stack::wire::{BlockId, BlockInfo, FileInfo, FsError, FsResult, UfsRef, WorkerAddress};

/// How long the under-store is kept waiting for a list of workers that could read through.
const LIST_PATIENCE: Duration = Duration::from_secs(3);
/// How many workers are asked to read through before the under-store is read directly.
const READ_THROUGH_TRIES: usize = 2;

/// Where bytes came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A worker; `cached` if it had them before.
    Worker {
        /// Which.
        address: WorkerAddress,
        /// Whether it had them.
        cached: bool,
    },
    /// The under-store, without a worker between.
    UnderStore,
}

/// Bytes that came in one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the file.
    pub offset: u64,
    /// The bytes; not empty.
    pub data: Bytes,
    /// Who gave them.
    pub source: Source,
}

/// One file opened for reading.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    pub info: FileInfo,
    /// A file that was written here may get a copy in its under-store while it is open.
    ufs: Mutex<Option<UfsRef>>,
    blocks: Mutex<Vec<BlockInfo>>,
}

/// The part of a read that lies in one block.
struct Part {
    index: usize,
    block: BlockId,
    /// First byte of the block in the file.
    start: u64,
    block_length: u64,
    /// Within the block.
    offset: u64,
    length: u64,
}

impl Reader {
    /// A file as the master described it.
    ///
    /// # Errors
    /// `Busy` while it is being written; `Io` if its blocks do not make up its length.
    pub fn new(path: String, info: FileInfo, blocks: Vec<BlockInfo>) -> FsResult<Self> {
        if !info.completed {
            return Err(FsError::Busy(path));
        }
        let known = blocks.iter().fold(0u64, |sum, block| sum.saturating_add(block.length));
        // Who takes the length from elsewhere does not notice.
        let known = if planted(Bug::ListingNotRevalidated) { info.length } else { known };
        if known != info.length || blocks.iter().any(|block| block.length == 0) {
            return Err(FsError::Io(format!("{path} has {} bytes and blocks for {known}", info.length)));
        }
        let ufs = Mutex::new(info.ufs.clone());
        Ok(Self { path, info, ufs, blocks: Mutex::new(blocks) })
    }

    /// The bytes at `offset`, at most `size`: fewer only at the end of the file.
    ///
    /// # Errors
    /// `Io` when nobody can give them within the patience of a read.
    pub async fn read(&self, data: &DataPath, offset: u64, size: u64, deadline: Instant) -> FsResult<Vec<Piece>> {
        let end = offset.saturating_add(size).min(self.info.length);
        let mut pieces = Vec::new();
        let mut at = offset;
        while at < end {
            let Some(part) = self.part(at, end) else {
                if planted(Bug::ListingNotRevalidated) {
                    let data = vec![0; (end - at) as usize].into();
                    pieces.push(Piece { offset: at, data, source: Source::UnderStore });
                    break;
                }
                return Err(FsError::Io(format!("{} has no block at {at}", self.path)));
            };
            let (bytes, source) = self.read_part(data, &part, deadline).await?;
            pieces.push(Piece { offset: at, data: bytes, source });
            at += part.length;
        }
        Ok(pieces)
    }

    fn part(&self, at: u64, end: u64) -> Option<Part> {
        let blocks = lock(&self.blocks);
        let mut start = 0;
        for (index, block) in blocks.iter().enumerate() {
            if at < start + block.length {
                let length = (start + block.length).min(end).min(at + CHUNK) - at;
                let offset = at - start;
                return Some(Part { index, block: block.id, start, block_length: block.length, offset, length });
            }
            start += block.length;
        }
        None
    }

    async fn read_part(&self, data: &DataPath, part: &Part, deadline: Instant) -> FsResult<(Bytes, Source)> {
        let give_up = deadline.min(Instant::now() + data.times.patience);
        let mut pause = Pause::new();
        loop {
            let mut last = match self.read_cached(data, part, deadline).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let ufs = lock(&self.ufs).clone();
            if let Some(ufs) = &ufs {
                match self.read_stored(data, part, ufs, deadline).await {
                    Ok(found) => return Ok(found),
                    Err(error) => last = error,
                }
            }
            if Instant::now() >= give_up || !self.hope(data, &last, give_up).await {
                tracing::warn!(path = %self.path, block = part.block.0, error = %last, "cannot read");
                return Err(FsError::Io(last.to_string()));
            }
            pause.wait(give_up).await;
        }
    }

    /// From the workers that have the block.
    async fn read_cached(&self, data: &DataPath, part: &Part, deadline: Instant) -> FsResult<(Bytes, Source)> {
        let locations = lock(&self.blocks).get(part.index).map(|block| block.locations.clone()).unwrap_or_default();
        let mut last = FsError::Unavailable(format!("block {} has no location", part.block.0));
        for address in data.workers.by_preference(&locations, part.block) {
            match ask(data, part, &address, None, deadline).await {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Through a worker, which keeps the block; else directly.
    async fn read_stored(
        &self,
        data: &DataPath,
        part: &Part,
        ufs: &UfsRef,
        deadline: Instant,
    ) -> FsResult<(Bytes, Source)> {
        let block = UfsBlock { source: ufs.clone(), offset: part.start, length: part.block_length };
        let listed = deadline.min(Instant::now() + LIST_PATIENCE);
        let workers = data.workers.for_block(&data.client, part.block, listed).await.unwrap_or_default();
        for address in workers.iter().take(READ_THROUGH_TRIES) {
            match ask(data, part, address, Some(block.clone()), deadline).await {
                Ok(found) => return Ok(found),
                Err(error) => tracing::debug!(worker = %address, %error, "no read-through"),
            }
        }
        let read = data.store.read(&ufs.url, &ufs.fingerprint, part.start + part.offset, part.length);
        let bytes = match timeout_at(deadline, read).await {
            Ok(read) => read?,
            Err(_) => return Err(FsError::Unavailable(format!("{} did not answer in time", ufs.url))),
        };
        let bytes = whole(bytes, part)?;
        data.counters.under_store.fetch_add(part.length, Ordering::Relaxed);
        Ok((bytes, Source::UnderStore))
    }

    /// Whether trying again may help; looks for new locations.
    async fn hope(&self, data: &DataPath, last: &FsError, give_up: Instant) -> bool {
        match data.client.blocks(&self.path, give_up).await {
            Ok((info, blocks)) if info.id == self.info.id && info.version == self.info.version => {
                *lock(&self.blocks) = blocks;
                *lock(&self.ufs) = info.ufs;
                true
            }
            Err(error) if error.retryable() => true,
            // The file moved or is gone: its blocks are where they were, or nowhere.
            _ => last.retryable() && lock(&self.blocks).iter().any(|block| !block.locations.is_empty()),
        }
    }
}

async fn ask(
    data: &DataPath,
    part: &Part,
    address: &WorkerAddress,
    ufs: Option<UfsBlock>,
    deadline: Instant,
) -> FsResult<(Bytes, Source)> {
    let times = &data.times;
    let within = if ufs.is_some() { times.read_through } else { times.worker }.min(deadline - Instant::now());
    if within.is_zero() {
        return Err(FsError::Unavailable("no time to ask".into()));
    }
    // A part is never longer than a chunk.
    let length = u32::try_from(part.length).unwrap_or(u32::MAX);
    let request = WorkerRequest::Read { block: part.block, offset: part.offset, length, ufs };
    match data.workers.call(address, request, within).await? {
        WorkerAnswer::Data { data: bytes, cached } => {
            let bytes = whole(Bytes::from(bytes), part)?;
            let counter = if cached { &data.counters.cached } else { &data.counters.read_through };
            counter.fetch_add(part.length, Ordering::Relaxed);
            Ok((bytes, Source::Worker { address: address.clone(), cached }))
        }
        WorkerAnswer::Done => Err(FsError::Io(format!("worker {address} answered another question"))),
    }
}

fn whole(bytes: Bytes, part: &Part) -> FsResult<Bytes> {
    if bytes.len() as u64 == part.length {
        return Ok(bytes);
    }
    Err(FsError::Io(format!("{} bytes of block {} where {} were asked for", bytes.len(), part.block.0, part.length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::wire::InodeId;

    fn file(lengths: &[u64], length: u64) -> FsResult<Reader> {
        let info = FileInfo {
            id: InodeId(9),
            name: "f".into(),
            dir: false,
            length,
            block_size: 10,
            completed: true,
            version: 1,
            mtime_ms: 0,
            ufs: None,
        };
        let blocks = lengths.iter().zip(0..).map(|(length, sequence)| BlockInfo {
            id: BlockId::new(InodeId(9), sequence),
            length: *length,
            locations: vec![],
        });
        Reader::new("/f".into(), info, blocks.collect())
    }

    #[test]
    fn a_read_is_cut_at_blocks() {
        let reader = file(&[10, 10, 3], 23).unwrap();
        for (at, end, want) in [(0, 23, Some((0, 0, 10))), (9, 23, Some((0, 9, 1))), (10, 12, Some((1, 0, 2)))] {
            let got = reader.part(at, end).map(|part| (part.index, part.offset, part.length));
            assert_eq!(got, want, "{at}..{end}");
        }
        assert!(reader.part(23, 24).is_none());
    }

    #[test]
    fn blocks_must_make_up_the_length() {
        assert!(file(&[], 0).is_ok());
        for (lengths, length) in [(&[10u64, 10][..], 23), (&[10, 10, 4], 23), (&[], 1), (&[0, 10], 10)] {
            assert!(matches!(file(lengths, length), Err(FsError::Io(_))), "{lengths:?} {length}");
        }
    }
}
