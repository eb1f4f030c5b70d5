//! openraft's log on the journal: entries, vote, committed position.
//!
//! Rule: everything that changes the log goes through one queue in the order in which openraft asked, and one task writes
//! the queue: all that waits is one batch, one write, one sync (group commit), while the next batch gathers. Readers see
//! entries as soon as they are queued; openraft is told of them only at `Shared::acknowledge`, after the sync.
//! A failed journal fails every later call: the process must restart and recover.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex};

use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::{LogId, TypeConfig, Vote};
use crate::base::lock;
use crate::base::planted::{Bug, planted};
use crate::rt::chan::{Notify, oneshot};
use crate::rt::task::{Scope, yield_now};
use crate::stack::journal::{Batch, Journal, JournalConfig, JournalError, JournalReader, Recovered, Slot};
use crate::stack::master::state::Command;

type Entry = openraft::alias::EntryOf<TypeConfig>;

const VOTE: Slot = Slot(0);
const COMMITTED: Slot = Slot(1);
const PURGED: Slot = Slot(2);

/// Memory for entries that are kept for readers, so that replication to a follower that keeps up reads no disk; in bytes.
const CACHE_BYTES: usize = 4 << 20;
/// Bytes of entries given to one limited read.
const READ_BYTES: usize = 1 << 20;
const READ_TRIES: u32 = 8;

/// The log of one member.
pub struct LogStore {
    shared: Arc<Shared>,
    /// Ends the writer with the store.
    _writer: Scope,
}

/// Reads the log beside its writer.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
    journal: JournalReader,
}

struct State {
    first: u64,
    next: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    cache: Cache,
    queue: Queue,
    /// Batches taken from the queue, and how many of them are durable.
    batch: u64,
    durable: u64,
    failed: Option<JournalError>,
}

/// The newest entries; those that are not durable are always here.
#[derive(Default)]
struct Cache {
    entries: VecDeque<Cached>,
    bytes: usize,
}

struct Cached {
    entry: Entry,
    bytes: usize,
    /// The batch that makes it durable.
    batch: u64,
}

/// What the next batch holds, and who waits for it.
#[derive(Default)]
struct Queue {
    batch: Batch,
    waiting: Vec<Waiting>,
    /// Whether it should be written now, rather than with what comes next.
    urgent: bool,
    scratch: Vec<u8>,
}

enum Waiting {
    Append(IOFlushed<TypeConfig>),
    Vote(Vote, oneshot::Sender<Result<(), JournalError>>),
}

impl LogStore {
    /// Recovers the log in `dir` and starts its writer as a task of the calling process.
    ///
    /// # Errors
    /// The journal's, with what to do; `InvalidData` if a slot or the last entry cannot be decoded.
    pub async fn open(dir: &str, config: JournalConfig) -> io::Result<(Self, Recovered)> {
        let (journal, recovered) = Journal::open(dir, config).await?;
        let reader = journal.reader();
        let (first, next) = (journal.first_index(), journal.next_index());
        let purged: Option<LogId> = slot(&journal, PURGED)?;
        let last = match reader.read(next.saturating_sub(1)..next, usize::MAX).await?.pop() {
            Some(entry) => Some(decode::<Entry>(&entry.payload)?.log_id()),
            None => purged,
        };
        let state = State {
            first,
            next,
            last,
            purged,
            vote: slot(&journal, VOTE)?,
            committed: slot(&journal, COMMITTED)?,
            cache: Cache::default(),
            queue: Queue::default(),
            batch: 0,
            durable: 0,
            failed: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Notify::new(), journal: reader });
        let writer = Scope::new();
        let _ended_by_scope = writer.spawn("journal-writer", write(shared.clone(), journal));
        Ok((Self { shared, _writer: writer }, recovered))
    }
}

/// Writes batches until the journal fails or the store is dropped.
async fn write(shared: Arc<Shared>, mut journal: Journal) {
    // Two pairs of buffers take turns: one gathers while the other is written.
    let (mut batch, mut waiting) = (Batch::new(), Vec::new());
    loop {
        if !shared.take(&mut batch, &mut waiting) {
            shared.wake.notified().await;
            continue;
        }
        let written = journal.commit(&batch).await;
        batch.clear();
        shared.acknowledge(&mut waiting, &written);
        if let Err(error) = written {
            tracing::error!(%error, "the journal failed; this member must restart");
            return;
        }
    }
}

impl Shared {
    /// THE point where the log's durability is promised: openraft counts what is acknowledged here towards a quorum, and
    /// answers votes. Must follow the commit that made it true.
    fn acknowledge(&self, waiting: &mut Vec<Waiting>, written: &Result<(), JournalError>) {
        {
            let mut state = lock(&self.state);
            match written {
                Ok(()) => state.durable += 1,
                Err(error) => state.failed = Some(error.clone()),
            }
            for one in waiting.iter() {
                if let (Waiting::Vote(vote, _), Ok(())) = (one, written) {
                    state.vote = Some(*vote);
                }
            }
            let durable = state.durable;
            state.cache.trim(durable);
        }
        for one in waiting.drain(..) {
            match one {
                Waiting::Append(flushed) => flushed.io_completed(written.clone().map_err(io::Error::from)),
                // Nobody waits for it any more: the call was dropped.
                Waiting::Vote(_, answer) => drop(answer.send(written.clone())),
            }
        }
    }

    /// Gives the next batch, and who waits for it, for two that are empty; false if it should not be written yet.
    fn take(&self, batch: &mut Batch, waiting: &mut Vec<Waiting>) -> bool {
        let mut state = lock(&self.state);
        if !std::mem::take(&mut state.queue.urgent) {
            return false;
        }
        state.batch += 1;
        std::mem::swap(&mut state.queue.batch, batch);
        std::mem::swap(&mut state.queue.waiting, waiting);
        true
    }

    /// Changes the log and queues the change.
    fn change(&self, urgent: bool, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.failed {
            return Err(error.clone().into());
        }
        change(&mut state)?;
        state.verify();
        state.queue.urgent |= urgent;
        drop(state);
        if urgent {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Entries of `range`, from the first that is there; at least one, then as many as `max_bytes` lets through.
    async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        // A truncation or a purge may pass between the look at the cache and the look at the journal; not for ever.
        for _ in 0..READ_TRIES {
            let (old, mut cached) = {
                let state = lock(&self.state);
                let range = range.start.max(state.first)..range.end.min(state.next);
                let start = state.next - state.cache.entries.len() as u64;
                let cached =
                    state.cache.range(range.start.max(start).saturating_sub(start), range.end, start, max_bytes);
                (range.start..range.end.min(start), cached)
            };
            if old.is_empty() {
                return Ok(cached);
            }
            let found = self.journal.read(old.clone(), max_bytes).await?;
            let whole = found.last().is_some_and(|entry| entry.index + 1 == old.end);
            let limited = found.iter().map(|entry| entry.payload.len()).sum::<usize>() >= max_bytes;
            if !whole && !limited {
                yield_now().await;
                continue;
            }
            let mut entries: Vec<Entry> = found.iter().map(|entry| decode(&entry.payload)).collect::<Result<_, _>>()?;
            if whole && !limited {
                entries.append(&mut cached);
            }
            return Ok(entries);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entries of {range:?} are neither cached nor in the journal"),
        ))
    }
}

impl State {
    fn append(&mut self, entry: Entry) -> io::Result<()> {
        let id = entry.log_id();
        let mut scratch = std::mem::take(&mut self.queue.scratch);
        scratch.clear();
        let scratch = postcard::to_extend(&entry, scratch).map_err(io::Error::other)?;
        if id.index != self.next && self.next != 0 {
            return Err(JournalError::Gap { next: self.next, got: id.index }.into());
        }
        self.queue.batch.append(id.index, id.committed_leader_id().term, &scratch);
        if self.next == 0 {
            self.first = id.index;
        }
        self.next = id.index + 1;
        self.last = Some(id);
        self.cache.push(Cached { entry, bytes: scratch.len(), batch: self.batch + 1 });
        self.queue.scratch = scratch;
        Ok(())
    }

    fn truncate(&mut self, last: Option<LogId>) {
        let from = last.as_ref().map_or(0, |id| id.index + 1).max(self.first);
        if from >= self.next {
            return;
        }
        self.queue.batch.truncate(from);
        self.cache.drop_last(self.next - from);
        self.next = from;
        self.last = last.max(self.purged);
    }

    fn purge(&mut self, upto: LogId) -> io::Result<()> {
        if self.purged >= Some(upto) {
            return Ok(());
        }
        self.put(PURGED, &upto)?;
        let below = upto.index + 1;
        self.queue.batch.purge(below);
        (self.first, self.purged) = (self.first.max(below), Some(upto));
        if self.next <= below {
            (self.next, self.last) = (below, Some(upto));
        }
        self.cache.keep_last(self.next - self.first);
        Ok(())
    }

    fn put(&mut self, slot: Slot, value: &impl Serialize) -> io::Result<()> {
        let mut scratch = std::mem::take(&mut self.queue.scratch);
        scratch.clear();
        let scratch = postcard::to_extend(value, scratch).map_err(io::Error::other)?;
        self.queue.batch.put(slot, &scratch);
        self.queue.scratch = scratch;
        Ok(())
    }

    fn verify(&self) {
        debug_assert!(self.first <= self.next, "{} {}", self.first, self.next);
        debug_assert!(self.cache.entries.len() as u64 <= self.next - self.first, "the cache holds what is gone");
        let newest = self.cache.entries.back().map(|cached| cached.entry.log_id());
        debug_assert!(newest.is_none() || newest == self.last, "{newest:?} {:?}", self.last);
    }
}

impl Cached {
    /// What it takes here, in bytes: a command takes several times what it does in the journal.
    fn memory(&self) -> usize {
        size_of::<Self>() + size_of::<Command>() + self.bytes
    }
}

impl Cache {
    fn push(&mut self, cached: Cached) {
        self.bytes += cached.memory();
        self.entries.push_back(cached);
    }

    /// Forgets the oldest durable entries beyond the limit.
    fn trim(&mut self, durable: u64) {
        while self.bytes > CACHE_BYTES && self.entries.front().is_some_and(|cached| cached.batch <= durable) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        self.bytes -= self.entries.pop_front().map_or(0, |cached| cached.memory());
    }

    fn drop_last(&mut self, n: u64) {
        for _ in 0..n.min(self.entries.len() as u64) {
            self.bytes -= self.entries.pop_back().map_or(0, |cached| cached.memory());
        }
    }

    fn keep_last(&mut self, n: u64) {
        while self.entries.len() as u64 > n {
            self.drop_first();
        }
    }

    /// Copies from position `at` up to index `end`; the cache begins at index `start`.
    fn range(&self, at: u64, end: u64, start: u64, max_bytes: usize) -> Vec<Entry> {
        let end = end.saturating_sub(start).min(self.entries.len() as u64);
        let mut total = 0;
        let wanted = self.entries.range(at.min(end) as usize..end as usize);
        let fitting = wanted.take_while(|cached| {
            let fits = total < max_bytes;
            total += cached.bytes;
            fits
        });
        fitting.map(|cached| cached.entry.clone()).collect()
    }
}

fn slot<T: DeserializeOwned>(journal: &Journal, slot: Slot) -> io::Result<Option<T>> {
    journal.slot(slot).map(|bytes| decode(&bytes)).transpose()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn half_open(range: impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.shared.read(half_open(range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.shared.read(start..end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.shared.state).vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = lock(&self.shared.state);
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { shared: self.shared.clone() }
    }

    /// Durable on return; queued behind what was asked before.
    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (answer, durable) = oneshot::channel();
        self.shared.change(true, |state| {
            state.put(VOTE, vote)?;
            state.queue.waiting.push(Waiting::Vote(*vote, answer));
            Ok(())
        })?;
        let stopped = |_| io::Error::other("the journal's writer is gone");
        Ok(durable.await.map_err(stopped)??)
    }

    /// Written with the next batch: losing it costs a later apply, nothing else.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.change(false, |state| {
            state.committed = committed;
            committed.map_or(Ok(()), |id| state.put(COMMITTED, &id))
        })
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(lock(&self.shared.state).committed)
    }

    /// Readable on return; `callback` is called once durable.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.shared.change(true, |state| {
            entries.into_iter().try_for_each(|entry| state.append(entry))?;
            match planted(Bug::AckBeforeDurable) {
                true => callback.io_completed(Ok(())),
                false => state.queue.waiting.push(Waiting::Append(callback)),
            }
            Ok(())
        })
    }

    /// Durable with or before whatever is appended next. If a crash undoes it, the suffix was never committed, and the
    /// leader truncates it again.
    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.shared.change(true, |state| {
            state.truncate(last);
            Ok(())
        })
    }

    /// Durable later, and files go after that: until then the log is longer than it need be.
    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.shared.change(true, |state| state.purge(upto))
    }
}
