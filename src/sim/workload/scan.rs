//! The whole tree as one client sees it after everything has settled, and the bytes of every file.
//!
//! A file counts as unreadable only after a patient read has failed too. All of those wait side by side, so that many lost
//! files take no longer than one.

use futures_util::future::join_all;

use super::check::CheckedFile;
use super::record::Recorder;
use crate::oracle::history::Seen;
use crate::oracle::observation::{FinalTree, Unreadable};
use crate::stack::fuse::{Errno, Fuse};
use crate::stack::wire::{FileInfo, FsError};

/// Files up to this many bytes are read whole; of longer ones the beginning and the end, half of it each.
const WHOLE_MAX: u64 = 8 << 20;
/// Bytes of one read.
const READ: u64 = 1 << 20;

/// Why there is no final tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot list {path}: {error}")]
pub struct ScanError {
    /// The directory.
    pub path: String,
    /// What the masters said.
    pub error: FsError,
}

/// Walks everything below `/` and reads every completed file whose content is known; the reads go into the history as
/// those of workload client `client`. Its mounts are one that tries once to read a block, and one that is `patient`; the
/// recorder should audit both.
///
/// # Errors
/// [`ScanError`] for the first directory that cannot be listed.
pub async fn scan(fuse: &Fuse, patient: &Fuse, recorder: &Recorder, client: u32) -> Result<FinalTree, ScanError> {
    let at = recorder.now();
    let mut found: Vec<(String, FileInfo)> = Vec::new();
    let mut dirs = vec!["/".to_owned()];
    while let Some(dir) = dirs.pop() {
        let listed = fuse.client().list(&dir, fuse.client().deadline()).await;
        for info in listed.map_err(|error| ScanError { path: dir.clone(), error })? {
            let path = format!("{}/{}", dir.trim_end_matches('/'), info.name);
            if info.dir {
                dirs.push(path.clone());
            }
            found.push((path, info));
        }
    }
    found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut failed: Vec<&(String, FileInfo)> = Vec::new();
    for file in &found {
        let (path, info) = file;
        let known = info.completed && !info.dir && !recorder.candidates(info.id, path).is_empty();
        if known && read_all(fuse, recorder, client, path).await.is_err() {
            failed.push(file);
        }
    }
    let again = join_all(failed.iter().map(|(path, _)| read_all(patient, recorder, client, path))).await;
    let mut unreadable = Vec::new();
    for ((path, info), read) in failed.into_iter().zip(again) {
        if let Err(errno) = read {
            tracing::warn!(%path, %errno, "a file of the final tree cannot be read");
            unreadable.push(Unreadable { path: path.clone(), file: info.id, error: errno.to_string() });
        }
    }
    let entries = found.iter().map(|(path, info)| (path.clone(), Seen::from(info))).collect();
    Ok(FinalTree { at, entries, unreadable })
}

async fn read_all(fuse: &Fuse, recorder: &Recorder, client: u32, path: &str) -> Result<(), Errno> {
    let file = CheckedFile::open(fuse, recorder, client, path).await?;
    let mut read = Ok(());
    for (start, end) in parts(file.file.info.length) {
        let mut offset = start;
        while offset < end && read.is_ok() {
            let size = READ.min(end - offset);
            read = file.read(offset, size).await.map(drop);
            offset += size;
        }
    }
    file.close().await;
    read
}

/// Which bytes of a file are read.
fn parts(length: u64) -> Vec<(u64, u64)> {
    if length <= WHOLE_MAX {
        return vec![(0, length)];
    }
    vec![(0, WHOLE_MAX / 2), (length - WHOLE_MAX / 2, length)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_read_at_both_ends() {
        assert_eq!(parts(0), [(0, 0)]);
        assert_eq!(parts(WHOLE_MAX), [(0, WHOLE_MAX)]);
        assert_eq!(parts(WHOLE_MAX * 3), [(0, WHOLE_MAX / 2), (WHOLE_MAX * 5 / 2, WHOLE_MAX * 3)]);
    }
}
