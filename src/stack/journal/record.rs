//! Records and frames as bytes. Little endian; checksums are CRC-32C.
//!
//! ```text
//! frame  := magic "SGJ1" | body length u32 | batch u64 | body crc u32 | header crc u32 | body
//! body   := record*
//! record := length u32 | crc u32 | kind u8 | fields          (length and crc are of kind and fields)
//! ```
//! A record has a checksum of its own so that one entry can be read and verified without its frame. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use super::JournalError;

pub(super) const MAGIC: [u8; 4] = *b"SGJ1";
/// Bytes of a frame's header.
pub(super) const HEADER: usize = 24;
const RECORD_HEADER: usize = 8;
/// Version of the records' layout, written at the start of each segment.
const FORMAT: u16 = 1;
/// A body may not be larger: a length beyond it is damage.
pub(super) const BODY_MAX: usize = 1 << 30;

const KIND_ENTRY: u8 = 1;
const KIND_TRUNCATE: u8 = 2;
const KIND_PURGE: u8 = 3;
const KIND_PUT: u8 = 4;
const KIND_START: u8 = 5;
const KIND_SEAL: u8 = 6;

/// A named value kept beside the entries: a vote, a committed position. The latest durable one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

/// One entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position; consecutive.
    pub index: u64,
    /// Term of the leader, or epoch of the primary, that wrote it.
    pub epoch: u64,
    /// The caller's bytes.
    pub payload: Vec<u8>,
}

/// What a record means. Ranges are of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// `at` is the whole record with its header.
    Entry { index: u64, epoch: u64, at: Range<usize> },
    /// Entries from here on are gone.
    Truncate { from: u64 },
    /// Entries below are no longer needed.
    Purge { below: u64 },
    /// A slot's new value.
    Put { slot: Slot, value: Range<usize> },
    /// First record of a segment: the state before it.
    Start { segment: u64, first: u64, next: u64 },
    /// Last record of a segment: the next one exists.
    Seal { next: u64 },
}

impl Record {
    pub(super) fn is_start(&self) -> bool {
        matches!(self, Self::Start { .. })
    }
}

/// Memory that an empty batch may keep.
const KEPT_BYTES: usize = 64 << 10;

/// Changes that become durable together, or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    body: Vec<u8>,
    records: Vec<Record>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes everything out. The memory stays for the next changes, unless it is much.
    pub fn clear(&mut self) {
        if self.body.capacity() > KEPT_BYTES {
            *self = Self::new();
        }
        self.body.clear();
        self.records.clear();
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that it will take in the journal.
    pub fn len(&self) -> usize {
        if self.is_empty() { 0 } else { HEADER + self.body.len() }
    }

    /// Adds an entry at the end of the log.
    pub fn append(&mut self, index: u64, epoch: u64, payload: &[u8]) {
        let fields = [&index.to_le_bytes()[..], &epoch.to_le_bytes(), payload];
        let at = self.push(KIND_ENTRY, &fields);
        self.records.push(Record::Entry { index, epoch, at });
    }

    /// Drops the entries from `from` on: a conflicting suffix.
    pub fn truncate(&mut self, from: u64) {
        self.push(KIND_TRUNCATE, &[&from.to_le_bytes()]);
        self.records.push(Record::Truncate { from });
    }

    /// Drops the entries below `below`: a snapshot covers them. If the log ends before it, the log continues there.
    pub fn purge(&mut self, below: u64) {
        self.push(KIND_PURGE, &[&below.to_le_bytes()]);
        self.records.push(Record::Purge { below });
    }

    /// Sets a slot.
    pub fn put(&mut self, slot: Slot, value: &[u8]) {
        let at = self.push(KIND_PUT, &[&[slot.0], value]);
        self.records.push(Record::Put { slot, value: at.start + RECORD_HEADER + 2..at.end });
    }

    pub(super) fn start(segment: u64, first: u64, next: u64, slots: &BTreeMap<Slot, Vec<u8>>) -> Self {
        let mut batch = Self::new();
        let fields = [&FORMAT.to_le_bytes()[..], &segment.to_le_bytes(), &first.to_le_bytes(), &next.to_le_bytes()];
        batch.push(KIND_START, &fields);
        batch.records.push(Record::Start { segment, first, next });
        slots.iter().for_each(|(slot, value)| batch.put(*slot, value));
        batch
    }

    pub(super) fn seal(next: u64) -> Self {
        let mut batch = Self::new();
        batch.push(KIND_SEAL, &[&next.to_le_bytes()]);
        batch.records.push(Record::Seal { next });
        batch
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn push(&mut self, kind: u8, fields: &[&[u8]]) -> Range<usize> {
        let start = self.body.len();
        self.body.reserve(RECORD_HEADER + 1 + fields.iter().map(|field| field.len()).sum::<usize>());
        self.body.extend_from_slice(&[0; RECORD_HEADER]);
        self.body.push(kind);
        fields.iter().for_each(|field| self.body.extend_from_slice(field));
        let content = start + RECORD_HEADER;
        let len = (self.body.len() - content) as u32;
        let crc = crc32c::crc32c(&self.body[content..]);
        self.body[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.body[start + 4..content].copy_from_slice(&crc.to_le_bytes());
        start..self.body.len()
    }

    /// Writes the batch as a frame into `out`.
    pub(super) fn frame(&self, batch: u64, out: &mut Vec<u8>) -> Result<(), JournalError> {
        if self.body.len() > BODY_MAX {
            return Err(JournalError::TooLarge(self.body.len()));
        }
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&batch.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&self.body).to_le_bytes());
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.body);
        Ok(())
    }
}

/// A frame's header that its checksum confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) batch: u64,
    pub(super) body_crc: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The header at the start of `bytes`, if there is a good one.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let head = bytes.get(..HEADER)?;
    if head[..4] != MAGIC || u32_at(head, 20)? != crc32c::crc32c(&head[..20]) {
        return None;
    }
    let len = u32_at(head, 4)? as usize;
    (len <= BODY_MAX).then_some(Header { len, batch: u64_at(head, 8)?, body_crc: u32_at(head, 16)? })
}

/// The records of a body whose checksum is right. The error is the offset and what is wrong there.
pub(super) fn records(body: &[u8]) -> Result<Vec<Record>, (usize, &'static str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let (record, end) = record(body, at).ok_or((at, "a record that cannot be read"))?;
        found.push(record);
        at = end;
    }
    Ok(found)
}

fn record(body: &[u8], at: usize) -> Option<(Record, usize)> {
    let len = u32_at(body, at)? as usize;
    let start = at + RECORD_HEADER;
    let end = start.checked_add(len)?;
    let content = body.get(start..end)?;
    if u32_at(body, at + 4)? != crc32c::crc32c(content) {
        return None;
    }
    let (kind, fields) = content.split_first()?;
    let record = match *kind {
        KIND_ENTRY => Record::Entry { index: u64_at(fields, 0)?, epoch: u64_at(fields, 8)?, at: at..end },
        KIND_TRUNCATE => Record::Truncate { from: u64_at(fields, 0)? },
        KIND_PURGE => Record::Purge { below: u64_at(fields, 0)? },
        KIND_PUT => Record::Put { slot: Slot(*fields.first()?), value: start + 2..end },
        KIND_START => {
            let version = u16::from_le_bytes(fields.get(..2)?.try_into().ok()?);
            if version != FORMAT {
                return None;
            }
            Record::Start { segment: u64_at(fields, 2)?, first: u64_at(fields, 10)?, next: u64_at(fields, 18)? }
        }
        KIND_SEAL => Record::Seal { next: u64_at(fields, 0)? },
        _ => return None,
    };
    Some((record, end))
}

/// One entry from the bytes of its record; `None` if they are not what was written.
pub(super) fn entry(bytes: &[u8]) -> Option<Entry> {
    let (Record::Entry { index, epoch, .. }, end) = record(bytes, 0)? else { return None };
    (end == bytes.len()).then(|| Entry { index, epoch, payload: bytes[RECORD_HEADER + 17..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Batch {
        let mut batch = Batch::start(3, 1, 9, &BTreeMap::from([(Slot(0), b"vote".to_vec())]));
        batch.append(9, 4, b"payload");
        batch.append(10, 4, b"");
        batch.truncate(10);
        batch.purge(5);
        batch.put(Slot(2), b"");
        batch
    }

    #[test]
    fn a_batch_reads_back_as_it_was_written() {
        let batch = sample();
        let mut bytes = Vec::new();
        batch.frame(7, &mut bytes).unwrap();
        let head = header(&bytes).unwrap();
        assert_eq!((head.batch, head.len + HEADER), (7, batch.len()));
        let body = &bytes[HEADER..];
        assert_eq!(crc32c::crc32c(body), head.body_crc);
        assert_eq!(records(body).unwrap(), batch.records);
        let Record::Entry { at, .. } = &batch.records[2] else { panic!("an entry") };
        assert_eq!(entry(&body[at.clone()]), Some(Entry { index: 9, epoch: 4, payload: b"payload".to_vec() }));
        let Record::Put { value, .. } = &batch.records[1] else { panic!("a slot") };
        assert_eq!(&body[value.clone()], b"vote");
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_noticed(at in 0usize..250, flip in 1u8..) {
            let batch = sample();
            let mut bytes = Vec::new();
            batch.frame(7, &mut bytes).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let good = header(&bytes).is_some_and(|h| crc32c::crc32c(&bytes[HEADER..]) == h.body_crc);
            prop_assert!(!good);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (header(&bytes), entry(&bytes));
            prop_assert!(records(&bytes).map_or(true, |found| bytes.is_empty() == found.is_empty()));
        }
    }
}
