//! The bytes of one file: what the page cache shows, and the undo log of changes that are not durable yet.
//!
//! Rule: the platter is the visible content with the pending changes undone, and `lost` laid over it. An append costs its
//! own bytes only, so the hot path copies nothing twice; histories are rebuilt when a crash asks for them.

use std::collections::BTreeMap;

use super::SECTOR;
use super::crash::Survival;

/// One unsynced change of content or length.
#[derive(Debug, Clone)]
struct Change {
    /// Position in the disk's order of changes.
    seq: u64,
    /// First byte touched.
    start: usize,
    /// One past the last byte touched.
    end: usize,
    /// Length before.
    len_before: usize,
    /// Bytes at `start` before; shorter than the change where the file was shorter.
    before: Box<[u8]>,
}

impl Change {
    fn sectors(&self) -> std::ops::Range<usize> {
        if self.start == self.end { 0..0 } else { self.start / SECTOR..self.end.div_ceil(SECTOR) }
    }

    fn undo(&self, data: &mut Vec<u8>) {
        data.resize(self.len_before, 0);
        let end = (self.start + self.before.len()).min(self.len_before);
        if self.start < end {
            data[self.start..end].copy_from_slice(&self.before[..end - self.start]);
        }
    }
}

/// Content of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileData {
    data: Vec<u8>,
    changes: Vec<Change>,
    /// Sectors that the cache shows and the platter does not have, though nobody will write them: a failed sync.
    lost: BTreeMap<usize, Box<[u8]>>,
    lost_len: Option<usize>,
    /// Bytes written since the last sync began: what the next one must move.
    pub(super) dirty: u64,
    /// Bytes that are not in the page cache.
    pub(super) cold: u64,
}

impl FileData {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn is_durable(&self) -> bool {
        self.changes.is_empty() && self.lost.is_empty() && self.lost_len.is_none()
    }

    /// Bytes read at `offset` into `buf`.
    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let start = usize::try_from(offset).map_or(self.data.len(), |at| at.min(self.data.len()));
        let n = buf.len().min(self.data.len() - start);
        buf[..n].copy_from_slice(&self.data[start..start + n]);
        n
    }

    pub(super) fn write_at(&mut self, seq: u64, start: usize, bytes: &[u8]) {
        let len_before = self.data.len();
        let end = start + bytes.len();
        let overlap = start.min(len_before)..end.min(len_before);
        let before = self.data[overlap].into();
        self.changes.push(Change { seq, start, end, len_before, before });
        self.dirty += bytes.len() as u64;
        if start == len_before {
            self.data.extend_from_slice(bytes);
            return;
        }
        if end > len_before {
            self.data.resize(end, 0);
        }
        self.data[start..end].copy_from_slice(bytes);
    }

    pub(super) fn set_len(&mut self, seq: u64, len: usize) {
        let len_before = self.data.len();
        if len == len_before {
            return;
        }
        let (start, end) = if len < len_before { (len, len_before) } else { (len, len) };
        let before = self.data[start.min(len_before)..end.min(len_before)].into();
        self.changes.push(Change { seq, start, end, len_before, before });
        self.data.resize(len, 0);
    }

    /// Everything up to `seq` is on the platter.
    pub(super) fn persist(&mut self, seq: u64) {
        let n = self.changes.partition_point(|c| c.seq <= seq);
        let done = self.changes.drain(..n);
        if self.lost.is_empty() && self.lost_len.is_none() {
            return;
        }
        for change in done {
            self.lost_len = None;
            for sector in change.sectors() {
                self.lost.remove(&sector);
            }
        }
    }

    /// A sync of everything up to `seq` failed, and the kernel marked the pages clean: they stay visible, and nobody will
    /// write them unless they are written again (Linux since 4.13: the error is reported once).
    pub(super) fn lose(&mut self, seq: u64) {
        let n = self.changes.partition_point(|c| c.seq <= seq);
        if n == 0 {
            return;
        }
        let platter = self.platter();
        for change in self.changes.drain(..n) {
            for sector in change.sectors() {
                self.lost.insert(sector, sector_of(&platter, sector).into());
            }
        }
        self.lost_len = Some(platter.len());
    }

    /// Changes bits on the platter and in the cache.
    pub(super) fn rot(&mut self, offset: usize, mask: u8) {
        if let Some(byte) = self.data.get_mut(offset) {
            *byte ^= mask;
        }
        let (sector, within) = (offset / SECTOR, offset % SECTOR);
        if let Some(byte) = self.lost.get_mut(&sector).and_then(|s| s.get_mut(within)) {
            *byte ^= mask;
        }
    }

    fn without_changes(&self) -> Vec<u8> {
        let mut data = self.data.clone();
        self.changes.iter().rev().for_each(|change| change.undo(&mut data));
        data
    }

    /// What is durable now.
    pub(super) fn platter(&self) -> Vec<u8> {
        let mut data = self.without_changes();
        data.resize(self.lost_len.unwrap_or(data.len()), 0);
        for (sector, bytes) in &self.lost {
            put_sector(&mut data, *sector, bytes);
        }
        data
    }

    /// The power goes: one version of the length and of each touched sector stays, as `survival` picks.
    pub(super) fn crash(&mut self, survival: &mut dyn Survival) {
        self.dirty = 0;
        if !self.is_durable() {
            let mut image = self.platter();
            let history = self.history(image.len());
            let len = pick(survival, &history.lens).unwrap_or(image.len());
            image.resize(len, 0);
            for (sector, versions) in &history.sectors {
                if sector * SECTOR < len
                    && let Some(bytes) = pick(survival, versions)
                {
                    put_sector(&mut image, *sector, &bytes);
                }
            }
            *self = Self { data: image, ..Self::default() };
        }
        self.cold = self.data.len() as u64;
    }

    /// All versions since the last sync, oldest first; the first of each is the platter's.
    fn history(&self, platter_len: usize) -> History {
        let mut redo = Vec::with_capacity(self.changes.len());
        let mut data = self.data.clone();
        for change in self.changes.iter().rev() {
            let end = change.end.min(data.len());
            redo.push((change, data[change.start.min(end)..end].to_vec(), data.len()));
            change.undo(&mut data);
        }
        let platter = self.platter();
        let mut history = History { lens: vec![(0, platter_len)], sectors: BTreeMap::new() };
        for (change, bytes, len) in redo.into_iter().rev() {
            data.resize(len, 0);
            data[change.start.min(len)..][..bytes.len()].copy_from_slice(&bytes);
            push_new(&mut history.lens, change.seq, len);
            for sector in change.sectors() {
                let versions = history.sectors.entry(sector).or_insert_with(|| vec![(0, sector_of(&platter, sector))]);
                push_new(versions, change.seq, sector_of(&data, sector));
            }
        }
        history
    }
}

struct History {
    lens: Vec<(u64, usize)>,
    sectors: BTreeMap<usize, Vec<(u64, [u8; SECTOR])>>,
}

/// A version equal to the one before is no new state.
fn push_new<T: PartialEq>(versions: &mut Vec<(u64, T)>, seq: u64, value: T) {
    if versions.last().is_none_or(|(_, last)| *last != value) {
        versions.push((seq, value));
    }
}

fn pick<T: Clone>(survival: &mut dyn Survival, versions: &[(u64, T)]) -> Option<T> {
    let index = match versions.len() {
        0 => return None,
        1 => 0,
        n => {
            let seqs: Vec<u64> = versions.iter().map(|(seq, _)| *seq).collect();
            survival.pick(&seqs).min(n - 1)
        }
    };
    versions.get(index).map(|(_, value)| value.clone())
}

fn sector_of(data: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let start = (sector * SECTOR).min(data.len());
    let end = (start + SECTOR).min(data.len());
    bytes[..end - start].copy_from_slice(&data[start..end]);
    bytes
}

fn put_sector(data: &mut [u8], sector: usize, bytes: &[u8]) {
    let start = (sector * SECTOR).min(data.len());
    let end = (start + SECTOR).min(data.len());
    data[start..end].copy_from_slice(&bytes[..end - start]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::disk::crash::{Newest, Oldest};

    fn crashed(file: &FileData, survival: &mut dyn Survival) -> Vec<u8> {
        let mut file = file.clone();
        file.crash(survival);
        file.data
    }

    #[test]
    fn an_unsynced_append_may_go_and_a_synced_one_may_not() {
        let mut file = FileData::default();
        file.write_at(1, 0, b"kept");
        file.persist(1);
        file.write_at(2, 4, b"gone");
        assert_eq!(file.bytes(), b"keptgone");
        assert_eq!(crashed(&file, &mut Oldest), b"kept");
        assert_eq!(crashed(&file, &mut Newest), b"keptgone");
    }

    #[test]
    fn what_was_written_after_the_sync_began_is_not_durable() {
        let mut file = FileData::default();
        file.write_at(1, 0, b"aaaa");
        file.write_at(2, 2, b"bbbb");
        file.persist(1);
        assert_eq!(crashed(&file, &mut Oldest), b"aaaa");
    }

    #[test]
    fn pages_lost_by_a_failed_sync_stay_visible_until_the_power_goes() {
        let mut file = FileData::default();
        file.write_at(1, 0, &[1; 600]);
        file.persist(1);
        file.write_at(2, 0, &[2; 700]);
        file.lose(2);
        assert_eq!(file.bytes(), [2; 700]);
        assert_eq!(crashed(&file, &mut Newest), [1; 600]);
        file.persist(2);
        assert_eq!(crashed(&file, &mut Newest), [1; 600], "a later sync has nothing to write");
        file.write_at(3, 0, &[2; 700]);
        file.persist(3);
        assert_eq!(crashed(&file, &mut Oldest), [2; 700], "written again, it is");
    }

    #[test]
    fn a_cut_and_a_gap_are_undone() {
        let mut file = FileData::default();
        file.write_at(1, 0, b"0123456789");
        file.persist(1);
        file.set_len(2, 3);
        file.write_at(3, 6, b"xy");
        assert_eq!(file.bytes(), b"012\0\0\0xy");
        assert_eq!(file.platter(), b"0123456789");
        assert_eq!(crashed(&file, &mut Newest), b"012\0\0\0xy");
        file.persist(2);
        assert_eq!(file.platter(), b"012");
    }
}
