//! The journal on `rt::fs`: commits, rotation of segments, reads.
//!
//! Rule: one writer. A commit is one write and one sync; whatever fails or is abandoned on the way makes the journal
//! failed for good, because nobody knows then what the disk holds. Readers share the layout and never wait for a commit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::JournalError;
use super::layout::{Layout, Place};
use super::record::{self, Batch, Entry, HEADER, Slot};
use super::recover;
use crate::base::lock;
use crate::rt::fs::{self, File, OpenOptions};

/// How a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// A segment that would grow beyond this many bytes is closed and a new one begun; one frame may be larger.
    pub segment_bytes: u64,
}

impl Default for JournalConfig {
    /// 10 MB, as Alluxio's `alluxio.master.journal.log.size.bytes.max`.
    fn default() -> Self {
        Self { segment_bytes: 10 << 20 }
    }
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The unfinished frame that was cut: file, offset, bytes cut.
    pub torn: Option<(String, u64, u64)>,
    /// Left-over segments that were removed.
    pub removed: Vec<String>,
}

pub(super) struct Segment {
    pub(super) path: String,
    pub(super) file: Arc<File>,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) segments: BTreeMap<u64, Segment>,
}

/// The one writer of a journal.
pub struct Journal {
    pub(super) dir: String,
    pub(super) config: JournalConfig,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) active: Active,
    /// Number of the next frame.
    pub(super) batch: u64,
    pub(super) failed: Option<String>,
    pub(super) frame: Vec<u8>,
}

/// The segment that grows.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    pub(super) path: String,
    pub(super) len: u64,
    /// Length of its first frame: a segment of this length holds nothing yet.
    pub(super) start_len: u64,
}

/// Reads entries; as many as wanted, beside the writer.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<Mutex<Shared>>,
}

impl Journal {
    /// Opens the journal in `dir`, or begins one. The torn end of a crash is cut; everything else that is not as it was
    /// written is refused. What this returns is durable, even if it was only in the page cache before.
    ///
    /// # Errors
    /// `Corrupt`, `Missing`, `Io`.
    pub async fn open(dir: &str, config: JournalConfig) -> Result<(Self, Recovered), JournalError> {
        recover::open(dir, config).await
    }

    /// Makes a batch durable: all of it, or, after a crash, perhaps nothing.
    ///
    /// # Errors
    /// `Gap` and `TooLarge` change nothing. `Io` makes the journal failed: whether the batch is durable is unknown until
    /// the next [`Self::open`]. `Failed` ever after.
    pub async fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        if let Some(cause) = &self.failed {
            return Err(JournalError::Failed(cause.clone()));
        }
        if batch.is_empty() {
            return Ok(());
        }
        lock(&self.shared).layout.check(batch.records()).map_err(|(next, got)| JournalError::Gap { next, got })?;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        batch.frame(self.batch, &mut frame)?;
        // Stays so if this future is dropped half way.
        self.failed = Some("a commit was abandoned".into());
        let written = self.write(batch, frame).await;
        self.failed = written.as_ref().err().map(ToString::to_string);
        written
    }

    async fn write(&mut self, batch: &Batch, mut frame: Vec<u8>) -> Result<(), JournalError> {
        let full = self.active.len + frame.len() as u64 > self.config.segment_bytes;
        if full && self.active.len > self.active.start_len {
            self.rotate().await?;
            frame.clear();
            batch.frame(self.batch, &mut frame)?;
        }
        append(&self.active.file, &self.active.path, self.active.len, &frame).await?;
        self.batch += 1;
        {
            let base = self.active.len + HEADER as u64;
            lock(&self.shared).layout.apply(self.active.number, base, batch.body(), batch.records());
        }
        self.active.len += frame.len() as u64;
        self.frame = frame;
        self.retire().await;
        Ok(())
    }

    /// Begins the next segment. The old one is sealed once the new one is durable, so that a new one that vanishes is
    /// missed; the seal shares its number with the new one's first frame.
    async fn rotate(&mut self) -> Result<(), JournalError> {
        let number = self.active.number + 1;
        let (first, next, start) = {
            let layout = &lock(&self.shared).layout;
            (layout.first, layout.next, Batch::start(number, layout.first, layout.next, &layout.slots))
        };
        tracing::debug!(dir = %self.dir, number, first, next, "new journal segment");
        let active = create_segment(&self.dir, number, next, &start, self.batch).await?;
        let mut seal = Vec::new();
        Batch::seal(number).frame(self.batch, &mut seal)?;
        append(&self.active.file, &self.active.path, self.active.len, &seal).await?;
        self.batch += 1;
        let segment = Segment { path: active.path.clone(), file: active.file.clone() };
        lock(&self.shared).segments.insert(number, segment);
        self.active = active;
        Ok(())
    }

    /// Removes the segments that hold nothing needed, oldest first. What cannot be removed now is removed later.
    async fn retire(&mut self) {
        let gone: Vec<(u64, String)> = {
            let shared = lock(&self.shared);
            let oldest = shared.layout.oldest_segment().unwrap_or(self.active.number);
            shared.segments.range(..oldest.min(self.active.number)).map(|(n, s)| (*n, s.path.clone())).collect()
        };
        for (number, path) in gone {
            if let Err(error) = fs::remove_file(&path).await {
                tracing::warn!(path, %error, "cannot remove a purged journal segment; it is tried again later");
                return;
            }
            lock(&self.shared).segments.remove(&number);
        }
    }

    /// Index of the first entry that was not purged.
    pub fn first_index(&self) -> u64 {
        lock(&self.shared).layout.first
    }

    /// Index of the next entry.
    pub fn next_index(&self) -> u64 {
        lock(&self.shared).layout.next
    }

    /// Epoch of the last entry; none of an empty log.
    pub fn last_epoch(&self) -> Option<u64> {
        lock(&self.shared).layout.last_epoch()
    }

    /// The durable value of a slot.
    pub fn slot(&self, slot: Slot) -> Option<Vec<u8>> {
        lock(&self.shared).layout.slots.get(&slot).cloned()
    }

    /// Why the journal takes no more writes.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// A reader of the durable entries.
    pub fn reader(&self) -> JournalReader {
        JournalReader { shared: self.shared.clone() }
    }
}

impl JournalReader {
    /// The durable entries of `range` in order, every one verified; fewer at its ends if they are purged or not there yet.
    /// Stops after the entry that reaches `max_bytes` of payload.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if an entry is not what was written.
    pub async fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, JournalError> {
        let (mut index, places, segments) = {
            let shared = lock(&self.shared);
            let (start, places) = shared.layout.find(range);
            let needed = |n: &u64| shared.segments.get(n).map(|s| (*n, (s.path.clone(), s.file.clone())));
            let mut numbers: Vec<u64> = places.iter().map(|place| place.segment).collect();
            numbers.dedup();
            (start, places, numbers.iter().filter_map(needed).collect::<BTreeMap<_, _>>())
        };
        let (mut found, mut total) = (Vec::with_capacity(places.len()), 0);
        for run in runs(&places, max_bytes) {
            let Some((path, file)) = segments.get(&run[0].segment) else { break };
            let start = run[0].offset;
            let mut bytes = vec![0; run.iter().map(|place| place.len as usize).sum()];
            file.read_exact_at(start, &mut bytes).await.map_err(JournalError::io(path, "read"))?;
            for place in run {
                let at = (place.offset - start) as usize;
                let entry = record::entry(&bytes[at..at + place.len as usize]).filter(|entry| entry.index == index);
                let entry = entry.ok_or_else(|| JournalError::corrupt(path, place.offset, "not the entry written"))?;
                index += 1;
                total += entry.payload.len();
                found.push(entry);
                if total >= max_bytes {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

/// Cuts `places` into runs that lie side by side in one segment, each not much above `max_bytes`.
fn runs(places: &[Place], max_bytes: usize) -> impl Iterator<Item = &[Place]> {
    let mut bytes = 0;
    places.chunk_by(move |a, b| {
        bytes += a.len as usize;
        let joined = a.segment == b.segment && a.offset + u64::from(a.len) == b.offset && bytes < max_bytes;
        bytes = if joined { bytes } else { 0 };
        joined
    })
}

/// One write and one sync.
pub(super) async fn append(file: &File, path: &str, offset: u64, frame: &[u8]) -> Result<(), JournalError> {
    file.write_all_at(offset, frame).await.map_err(JournalError::io(path, "write"))?;
    file.sync_data().await.map_err(JournalError::io(path, "sync"))
}

/// A new segment with its first frame, durable with its name.
pub(super) async fn create_segment(
    dir: &str,
    number: u64,
    next: u64,
    start: &Batch,
    batch: u64,
) -> Result<Active, JournalError> {
    let path = format!("{dir}/{}", segment_name(number, next));
    let options = OpenOptions::new().read(true).write(true).create_new(true);
    let file = Arc::new(options.open(&path).await.map_err(JournalError::io(&path, "create"))?);
    let mut frame = Vec::new();
    start.frame(batch, &mut frame)?;
    append(&file, &path, 0, &frame).await?;
    fs::sync_dir(dir).await.map_err(JournalError::io(dir, "sync the directory"))?;
    Ok(Active { number, file, path, len: frame.len() as u64, start_len: frame.len() as u64 })
}

/// `0000000003-00000000000000000051.journal`: the third segment; its first entry is 51 or later.
pub(super) fn segment_name(number: u64, next: u64) -> String {
    format!("{number:010}-{next:020}.journal")
}

/// Number of the segment in a file of this name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let (number, index) = name.strip_suffix(".journal")?.split_once('-')?;
    index.parse::<u64>().ok()?;
    number.parse().ok()
}
