//! Files and directories with std's names. Paths are absolute.
//!
//! Written data are durable only after a sync of the file; a new, renamed or removed name only after [`sync_dir`] of its
//! directory. Live calls run on tokio's blocking threads.

mod file;
mod live;

use std::io;

pub use file::{File, OpenOptions};

pub use super::backend::{DiskSpace, FileKind, Metadata};
use super::backend::{Files, SyncKey, Timed, simulated, with_files};
use super::time::sleep;
use crate::base::HostId;

/// Makes a simulated call and waits the time it takes.
async fn timed<T>(call: impl FnOnce(&dyn Files, HostId) -> Timed<T>) -> io::Result<T> {
    let Timed { result, takes } = with_files(call).ok_or_else(gone)?;
    if !takes.is_zero() {
        sleep(takes).await;
    }
    result
}

/// Begins a simulated sync, waits for the device, and takes its answer.
async fn synced(begin: impl FnOnce(&dyn Files, HostId) -> Timed<SyncKey>) -> io::Result<()> {
    let key = timed(begin).await?;
    with_files(|f, _| f.sync_end(key)).ok_or_else(gone)?
}

fn gone() -> io::Error {
    io::Error::other("the process is gone")
}

/// The whole content of a file.
///
/// # Errors
/// As `open` and `read`.
pub async fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let mut content = vec![0; usize::try_from(file.len().await?).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < content.len() {
        match file.read_at(filled as u64, &mut content[filled..]).await? {
            0 => break,
            n => filled += n,
        }
    }
    content.truncate(filled);
    Ok(content)
}

/// Replaces a file's content; not synced.
///
/// # Errors
/// As `open` and `write`.
pub async fn write(path: &str, content: &[u8]) -> io::Result<()> {
    File::create(path).await?.write_all_at(0, content).await
}

/// Makes a directory and its missing parents.
///
/// # Errors
/// `NotADirectory` if a part of the path is a file.
pub async fn create_dir_all(path: &str) -> io::Result<()> {
    // From the whole path up to the first directory that is there, as std does: what lies above a mount need not exist.
    let mut missing = Vec::new();
    let mut dir = path.trim_end_matches('/');
    while !dir.is_empty() {
        match create_dir(dir).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(dir);
                dir = dir.rsplit_once('/').map_or("", |(above, _)| above).trim_end_matches('/');
                if dir.is_empty() {
                    return Err(error);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if metadata(dir).await?.kind != FileKind::Dir {
                    return Err(io::Error::from(io::ErrorKind::NotADirectory));
                }
                break;
            }
            other => {
                other?;
                break;
            }
        }
    }
    for dir in missing.into_iter().rev() {
        match create_dir(dir).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    Ok(())
}

/// Replaces `to` by `from` atomically.
///
/// # Errors
/// `NotFound`; `CrossesDevices` between disks.
pub async fn rename(from: &str, to: &str) -> io::Result<()> {
    if simulated() {
        return timed(|f, host| f.rename(host, from, to)).await;
    }
    let (from, to) = (from.to_owned(), to.to_owned());
    live::call(move || live::rename(&from, &to)).await
}

macro_rules! path_call {
    ($(#[$doc:meta])* $name:ident -> $out:ty) => {
        $(#[$doc])*
        pub async fn $name(path: &str) -> io::Result<$out> {
            if simulated() {
                return timed(|f, host| f.$name(host, path)).await;
            }
            let path = path.to_owned();
            live::call(move || live::$name(&path)).await
        }
    };
}

path_call! {
    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    remove_file -> ()
}
path_call! {
    /// Makes one directory.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` without a parent.
    create_dir -> ()
}
path_call! {
    /// Removes an empty directory.
    ///
    /// # Errors
    /// `DirectoryNotEmpty`, `NotFound`.
    remove_dir -> ()
}
path_call! {
    /// The entries of a directory, by name.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    read_dir -> Vec<(String, FileKind)>
}
path_call! {
    /// Kind and length.
    ///
    /// # Errors
    /// `NotFound`.
    metadata -> Metadata
}
path_call! {
    /// Space of the file system that holds `path`.
    ///
    /// # Errors
    /// `NotFound`.
    space -> DiskSpace
}

/// Makes the names in a directory durable.
///
/// # Errors
/// `EIO` of the device: what was written may be lost.
pub async fn sync_dir(path: &str) -> io::Result<()> {
    if simulated() {
        return synced(|f, host| f.sync_dir_begin(host, path)).await;
    }
    let path = path.to_owned();
    live::call(move || live::sync_dir(&path)).await
}
