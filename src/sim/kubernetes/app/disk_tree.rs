//! Files on a node's disks.

use std::io;

use bytes::Bytes;

use super::tree::{Done, Reading, Space, Stat, Writing};
use crate::rt::backend::FileKind;
use crate::rt::fs::{self, File, OpenOptions};
use crate::stack::fuse::Errno;

/// The kernel's number for an error of the seam.
pub fn errno(error: &io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::NotFound => Errno::ENOENT,
        io::ErrorKind::AlreadyExists => Errno::EEXIST,
        io::ErrorKind::NotADirectory => Errno::ENOTDIR,
        io::ErrorKind::IsADirectory => Errno::EISDIR,
        io::ErrorKind::DirectoryNotEmpty => Errno::ENOTEMPTY,
        io::ErrorKind::StorageFull => Errno::ENOSPC,
        io::ErrorKind::CrossesDevices => Errno::EXDEV,
        io::ErrorKind::ReadOnlyFilesystem => Errno::EROFS,
        io::ErrorKind::InvalidInput => Errno::EINVAL,
        _ => error.raw_os_error().map_or(Errno::EIO, Errno),
    }
}

fn told<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| errno(&error))
}

/// `stat(2)`.
pub async fn stat(path: &str) -> Result<Stat, Errno> {
    let found = told(fs::metadata(path).await)?;
    Ok(Stat { dir: found.kind == FileKind::Dir, size: found.len, ino: 0, mtime_ms: 0 })
}

/// Names in a directory.
pub async fn list(path: &str) -> Result<Vec<(String, bool)>, Errno> {
    let entries = told(fs::read_dir(path).await)?;
    Ok(entries.into_iter().map(|(name, kind)| (name, kind == FileKind::Dir)).collect())
}

/// Opens for reading.
pub async fn open(path: &str) -> Result<Box<dyn Reading>, Errno> {
    Ok(Box::new(OnDisk { file: told(File::open(path).await)?, offset: 0 }))
}

/// Opens for writing.
pub async fn create(path: &str, append: bool) -> Result<Box<dyn Writing>, Errno> {
    let options = OpenOptions::new().write(true).create(true).truncate(!append);
    let file = told(options.open(path).await)?;
    let offset = if append { told(file.len().await)? } else { 0 };
    Ok(Box::new(OnDisk { file, offset }))
}

/// Makes a directory.
pub async fn mkdir(path: &str) -> Result<(), Errno> {
    told(fs::create_dir(path).await)
}

/// Removes a file.
pub async fn unlink(path: &str) -> Result<(), Errno> {
    told(fs::remove_file(path).await)
}

/// Removes an empty directory.
pub async fn rmdir(path: &str) -> Result<(), Errno> {
    told(fs::remove_dir(path).await)
}

/// Renames.
pub async fn rename(from: &str, to: &str) -> Result<(), Errno> {
    told(fs::rename(from, to).await)
}

/// Space.
pub async fn statfs(path: &str) -> Result<Space, Errno> {
    let space = told(fs::space(path).await)?;
    Ok(Space { total: space.total, free: space.available })
}

struct OnDisk {
    file: File,
    offset: u64,
}

impl Reading for OnDisk {
    fn read_at(&self, offset: u64, size: u64) -> Done<'_, Bytes> {
        Box::pin(async move {
            let mut bytes = vec![0; size as usize];
            let came = told(self.file.read_at(offset, &mut bytes).await)?;
            bytes.truncate(came);
            Ok(bytes.into())
        })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Writing for OnDisk {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()> {
        Box::pin(async move {
            told(self.file.write_all_at(self.offset, bytes).await)?;
            self.offset += bytes.len() as u64;
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async { Ok(()) })
    }
}
