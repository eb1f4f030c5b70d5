//! Where a master keeps its newest snapshot, and what is in it.
//!
//! A snapshot is one file in the journal's directory: magic, checksum, then what it covers and the encoded state. It is
//! written aside, synced and renamed, so that a crash leaves the old one or the new one. Older ones are then removed.

use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::Bytes;

use super::types::{Snapshot, SnapshotMeta};
use crate::rt::fs;

const MAGIC: [u8; 4] = *b"SGsn";
const SUFFIX: &str = ".snapshot";
const ASIDE: &str = ".tmp";

/// What a store's calls give, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Keeps the newest snapshot over restarts.
pub trait SnapshotStore: Send + Sync {
    /// Makes `bytes` the newest snapshot, durably. `index` is the last entry it covers.
    fn save(&self, index: u64, bytes: Bytes) -> StoreFuture<'_, ()>;
    /// The newest whole snapshot, if there is one.
    fn load(&self) -> StoreFuture<'_, Option<Bytes>>;
}

/// Snapshots as files of one directory.
#[derive(Debug)]
pub struct SnapshotDir {
    dir: String,
}

impl SnapshotDir {
    /// Snapshots in `dir`, an absolute path. Makes the directory.
    ///
    /// # Errors
    /// The file system's.
    pub async fn open(dir: &str) -> io::Result<Self> {
        fs::create_dir_all(dir).await?;
        Ok(Self { dir: dir.to_owned() })
    }

    async fn save_file(&self, index: u64, bytes: Bytes) -> io::Result<()> {
        let path = format!("{}/{index:020}{SUFFIX}", self.dir);
        let aside = format!("{path}{ASIDE}");
        let file = fs::File::create(&aside).await?;
        file.write_all_at(0, &bytes).await?;
        file.sync_all().await?;
        drop(file);
        fs::rename(&aside, &path).await?;
        fs::sync_dir(&self.dir).await?;
        for (other, name) in self.names().await? {
            if other < index {
                fs::remove_file(&name).await?;
            }
        }
        Ok(())
    }

    async fn load_file(&self) -> io::Result<Option<Bytes>> {
        let Some((_, newest)) = self.names().await?.pop() else { return Ok(None) };
        fs::read(&newest).await.map(|bytes| Some(Bytes::from(bytes)))
    }

    /// (index, path) of every snapshot, oldest first.
    async fn names(&self) -> io::Result<Vec<(u64, String)>> {
        let entries = fs::read_dir(&self.dir).await?;
        let index = |name: &str| name.strip_suffix(SUFFIX).and_then(|number| number.parse().ok());
        let mut names: Vec<(u64, String)> = entries
            .into_iter()
            .filter_map(|(name, _)| index(&name).map(|index| (index, format!("{}/{name}", self.dir))))
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

impl SnapshotStore for SnapshotDir {
    fn save(&self, index: u64, bytes: Bytes) -> StoreFuture<'_, ()> {
        Box::pin(self.save_file(index, bytes))
    }

    fn load(&self) -> StoreFuture<'_, Option<Bytes>> {
        Box::pin(self.load_file())
    }
}

/// The snapshot as the bytes of a file.
pub(super) fn encode(snapshot: &Snapshot) -> io::Result<Bytes> {
    let mut body = postcard::to_stdvec(&snapshot.meta).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(12 + body.len() + snapshot.snapshot.len());
    bytes.extend_from_slice(&MAGIC);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&body), &snapshot.snapshot);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.append(&mut body);
    bytes.extend_from_slice(&snapshot.snapshot);
    Ok(Bytes::from(bytes))
}

/// The snapshot in the bytes of a file.
///
/// # Errors
/// `InvalidData` with what is wrong and what to do.
pub(super) fn decode(bytes: &Bytes) -> io::Result<Snapshot> {
    let damaged = |what: &str| {
        let advice = "restore the journal directory, or remove it to rejoin as an empty member";
        io::Error::new(io::ErrorKind::InvalidData, format!("snapshot is damaged ({what}); {advice}"))
    };
    let header: [u8; 12] = bytes.first_chunk().copied().ok_or_else(|| damaged("cut short"))?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..4] != MAGIC {
        return Err(damaged("not a snapshot"));
    }
    let body = bytes.slice(header.len()..);
    if crc32c::crc32c(&body) != word(4) {
        return Err(damaged("checksum differs"));
    }
    let meta_len = word(8) as usize;
    let meta: SnapshotMeta = body
        .get(..meta_len)
        .and_then(|meta| postcard::from_bytes(meta).ok())
        .ok_or_else(|| damaged("it covers nothing that can be read"))?;
    Ok(Snapshot { meta, snapshot: body.slice(meta_len..) })
}
