//! Snapshots: whole states that let the journal forget.
//!
//! Rule: a snapshot has its name only when its bytes are durable (written aside, synced, renamed, directory synced), and is
//! given back only if its checksum is right. A damaged newest one is an error, never a silent step back to an older one:
//! the journal may have been purged since.
//!
//! ```text
//! file := magic "SGS1" | tag length u32 | data length u64 | tag | data | crc u32 (of all before)
//! ```

use super::JournalError;
use crate::rt::fs::{self, File, FileKind};

const MAGIC: &[u8; 4] = b"SGS1";
const HEADER: usize = 16;

/// Names a snapshot: the last entry that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotMeta {
    /// Index of the last entry in it.
    pub index: u64,
    /// Epoch of that entry.
    pub epoch: u64,
}

impl SnapshotMeta {
    fn name(self) -> String {
        format!("{:020}-{:020}.snapshot", self.index, self.epoch)
    }

    fn parse(name: &str) -> Option<Self> {
        let (index, epoch) = name.strip_suffix(".snapshot")?.split_once('-')?;
        Some(Self { index: index.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// The snapshots of one directory.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    dir: String,
    retain: usize,
}

impl SnapshotStore {
    /// Opens a directory, making it if needed, and removes what a crash left unfinished. `retain` (at least 1) newest
    /// snapshots are kept.
    ///
    /// # Errors
    /// `Io`.
    pub async fn open(dir: &str, retain: usize) -> Result<Self, JournalError> {
        super::recover::make_dir(dir).await?;
        let names = fs::read_dir(dir).await.map_err(JournalError::io(dir, "list"))?;
        for (name, _) in names.iter().filter(|(name, kind)| *kind == FileKind::File && name.ends_with(".tmp")) {
            let path = format!("{dir}/{name}");
            fs::remove_file(&path).await.map_err(JournalError::io(&path, "remove"))?;
        }
        // A rename whose directory sync was cut off by a kill becomes durable here, before anybody relies on it.
        fs::sync_dir(dir).await.map_err(JournalError::io(dir, "sync the directory"))?;
        Ok(Self { dir: dir.into(), retain: retain.max(1) })
    }

    /// Makes a snapshot durable, then removes the oldest beyond the retention. `tag` is the caller's description of it.
    ///
    /// # Errors
    /// `Io`: the snapshot may or may not be there at the next open; older ones are untouched.
    pub async fn save(&self, meta: SnapshotMeta, tag: &[u8], data: &[u8]) -> Result<(), JournalError> {
        let path = format!("{}/{}", self.dir, meta.name());
        let aside = format!("{path}.tmp");
        let io = |what| JournalError::io(&aside, what);
        let file = File::create(&aside).await.map_err(io("create"))?;
        file.write_all_at(0, &encode(tag, data)).await.map_err(io("write"))?;
        file.sync_all().await.map_err(io("sync"))?;
        drop(file);
        fs::rename(&aside, &path).await.map_err(io("rename"))?;
        fs::sync_dir(&self.dir).await.map_err(JournalError::io(&self.dir, "sync the directory"))?;
        self.retire().await;
        Ok(())
    }

    async fn retire(&self) {
        let Ok(kept) = self.list().await else { return };
        for meta in kept.iter().take(kept.len().saturating_sub(self.retain)) {
            let path = format!("{}/{}", self.dir, meta.name());
            if let Err(error) = fs::remove_file(&path).await {
                tracing::warn!(path, %error, "cannot remove an old snapshot; it is tried again later");
            }
        }
    }

    /// The snapshots that are there, oldest first.
    ///
    /// # Errors
    /// `Io`.
    pub async fn list(&self) -> Result<Vec<SnapshotMeta>, JournalError> {
        let names = fs::read_dir(&self.dir).await.map_err(JournalError::io(&self.dir, "list"))?;
        let mut found: Vec<SnapshotMeta> = names.iter().filter_map(|(name, _)| SnapshotMeta::parse(name)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The tag and data of one snapshot.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if it is not what was saved.
    pub async fn load(&self, meta: SnapshotMeta) -> Result<(Vec<u8>, Vec<u8>), JournalError> {
        let path = format!("{}/{}", self.dir, meta.name());
        let bytes = fs::read(&path).await.map_err(JournalError::io(&path, "read"))?;
        decode(bytes).ok_or_else(|| JournalError::corrupt(&path, 0, "not the snapshot that was saved"))
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// As [`Self::load`]; an older one is not tried.
    pub async fn newest(&self) -> Result<Option<(SnapshotMeta, Vec<u8>, Vec<u8>)>, JournalError> {
        let Some(meta) = self.list().await?.pop() else { return Ok(None) };
        let (tag, data) = self.load(meta).await?;
        Ok(Some((meta, tag, data)))
    }
}

fn encode(tag: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + tag.len() + data.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(tag.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(data.len() as u64).to_le_bytes());
    bytes.extend_from_slice(tag);
    bytes.extend_from_slice(data);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(mut bytes: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let crc_at = bytes.len().checked_sub(4)?;
    let crc = u32::from_le_bytes(bytes[crc_at..].try_into().ok()?);
    bytes.truncate(crc_at);
    if bytes.len() < HEADER || crc != crc32c::crc32c(&bytes) || !bytes.starts_with(MAGIC) {
        return None;
    }
    let tag_len = u32::from_le_bytes(bytes[4..8].try_into().ok()?) as usize;
    let data_len = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
    let data = bytes.split_off(HEADER.checked_add(tag_len).filter(|at| *at <= bytes.len())?);
    (data.len() as u64 == data_len).then(|| (bytes.split_off(HEADER), data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_snapshot_reads_back_or_not_at_all(tag: Vec<u8>, data: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = encode(&tag, &data);
            prop_assert_eq!(decode(bytes.clone()), Some((tag, data)));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(decode(bytes), None);
        }
    }

    #[test]
    fn names_sort_by_index() {
        let meta = SnapshotMeta { index: 12, epoch: 3 };
        assert_eq!(SnapshotMeta::parse(&meta.name()), Some(meta));
        assert_eq!(SnapshotMeta::parse(&format!("{}.tmp", meta.name())), None);
    }
}
