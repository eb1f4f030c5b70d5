//! What the bytes of a segment hold: good frames, and perhaps a last one that is not good.
//!
//! A bad frame is torn if its write never finished: something of it is missing (the file ends, or a whole sector's share
//! of it is zeros, which is what unwritten sectors read as), and nothing proves that its sync ever returned. A later frame
//! is such a proof. Everything else is rot and refused. Pure.
//! Differs from disks that show old garbage in unwritten blocks (ext4 `data=writeback`): there a tear is refused as rot.

use std::ops::Range;

use super::record::{HEADER, Header, MAGIC, header};

/// What a disk writes all or not at all.
const SECTOR: usize = 512;

/// A frame whose checksums are right. The range is of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) batch: u64,
    pub(super) body: Range<usize>,
}

impl Frame {
    pub(super) fn start(&self) -> usize {
        self.body.start - HEADER
    }
}

/// How a segment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    /// With its last good frame.
    Clean,
    /// With a frame that was never acknowledged.
    Torn { at: usize, why: &'static str },
    /// With bytes that cannot be explained by a crash.
    Rotten { at: usize, why: &'static str },
}

/// Reads the frames of a segment. `expect` is the batch number of its first frame, if it is known.
pub(super) fn scan(bytes: &[u8], mut expect: Option<u64>) -> (Vec<Frame>, Tail) {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match frame(bytes, at, expect) {
            Ok(found) => {
                at = found.body.end;
                expect = Some(found.batch.wrapping_add(1));
                frames.push(found);
            }
            Err(why) => return (frames, judge(bytes, at, expect, why)),
        }
    }
    (frames, Tail::Clean)
}

fn frame(bytes: &[u8], at: usize, expect: Option<u64>) -> Result<Frame, &'static str> {
    let head = header(&bytes[at..]).ok_or("no frame header")?;
    if expect.is_some_and(|batch| batch != head.batch) {
        return Err("a frame that does not belong here");
    }
    let body = at + HEADER..at + HEADER + head.len;
    match bytes.get(body.clone()) {
        Some(content) if crc32c::crc32c(content) == head.body_crc => Ok(Frame { batch: head.batch, body }),
        Some(_) => Err("a frame whose content does not match its checksum"),
        None => Err("a frame longer than the file"),
    }
}

fn judge(bytes: &[u8], at: usize, expect: Option<u64>, why: &'static str) -> Tail {
    let head = header(&bytes[at..]);
    if let (Some(Header { batch, .. }), Some(expect)) = (head, expect)
        && batch != expect
    {
        return Tail::Rotten { at, why };
    }
    let end = at + HEADER + head.map_or(0, |h| h.len);
    if !unfinished(bytes, at, end) {
        return Tail::Rotten { at, why };
    }
    let from = if head.is_some() { end } else { at + 1 };
    match acknowledged_by(bytes, from, head.map(|h| h.batch).or(expect)) {
        true => Tail::Rotten { at, why: "a bad frame, though a later one proves that it was durable" },
        false => Tail::Torn { at, why },
    }
}

/// Whether some sector of `at..end` was never written.
fn unfinished(bytes: &[u8], at: usize, end: usize) -> bool {
    if end > bytes.len() {
        return true;
    }
    let mut start = at;
    while start < end {
        let stop = (start / SECTOR + 1).saturating_mul(SECTOR).min(end);
        if bytes[start..stop].iter().all(|byte| *byte == 0) {
            return true;
        }
        start = stop;
    }
    false
}

/// Whether a frame of a later batch follows.
fn acknowledged_by(bytes: &[u8], from: usize, batch: Option<u64>) -> bool {
    let rest = bytes.get(from..).unwrap_or_default();
    let starts = rest.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    starts.filter_map(|(at, _)| header(&rest[at..])).any(|later| batch.is_none_or(|batch| later.batch > batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::journal::record::Batch;
    use proptest::prelude::*;

    /// Three frames of the given payload sizes.
    fn segment(sizes: [usize; 3]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for (i, size) in sizes.into_iter().enumerate() {
            starts.push(bytes.len());
            let mut batch = Batch::new();
            batch.append(i as u64, 1, &vec![0xa5; size]);
            batch.frame(10 + i as u64, &mut bytes).unwrap();
        }
        (bytes, starts)
    }

    #[test]
    fn good_frames_are_found() {
        let (bytes, starts) = segment([10, 600, 3]);
        let (frames, tail) = scan(&bytes, Some(10));
        assert_eq!(frames.iter().map(Frame::start).collect::<Vec<_>>(), starts);
        assert_eq!(tail, Tail::Clean);
        assert!(matches!(scan(&bytes, Some(9)).1, Tail::Rotten { at: 0, .. }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Any subset of the last frame's sectors, or any length, is a tear that is cut where the frame began.
        #[test]
        fn a_tear_of_the_last_frame_is_torn(sizes in [0usize..2000, 0usize..2000, 1usize..2000], keep: u64, len: u16) {
            let (mut bytes, starts) = segment(sizes);
            let (start, end) = (starts[2], bytes.len());
            let mut dropped = false;
            for sector in start / SECTOR..=(end - 1) / SECTOR {
                if keep >> (sector % 64) & 1 == 0 {
                    let from = (sector * SECTOR).max(start);
                    bytes[from..((sector + 1) * SECTOR).min(end)].fill(0);
                    dropped = true;
                }
            }
            let cut = start + usize::from(len) % (end - start);
            if len % 2 == 0 {
                bytes.truncate(cut);
            }
            let (frames, tail) = scan(&bytes, Some(10));
            prop_assert_eq!(frames.len(), if dropped || len % 2 == 0 { 2 } else { 3 });
            if frames.len() == 2 && bytes.len() > start {
                prop_assert!(matches!(tail, Tail::Torn { at, .. } if at == start), "{:?}", tail);
            } else {
                prop_assert_eq!(tail, Tail::Clean);
            }
        }

        /// Rot is never mistaken for a tear in a frame that has another behind it, nor in the last one.
        #[test]
        fn a_flipped_bit_is_rot(sizes in [0usize..1500, 0usize..1500, 0usize..1500], at: prop::sample::Index, bit in 0u8..8) {
            let (mut bytes, starts) = segment(sizes);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let frame = starts.iter().rposition(|start| *start <= at).unwrap();
            let (frames, tail) = scan(&bytes, Some(10));
            prop_assert_eq!(frames.len(), frame);
            // One byte alone in its sector can be flipped to zero, and a flipped length can reach past the end.
            prop_assert!(matches!(tail, Tail::Rotten { at, .. } if at == starts[frame]), "{:?}", tail);
        }
    }
}
