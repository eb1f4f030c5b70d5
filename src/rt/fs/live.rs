//! The live side: std's file calls, made on tokio's blocking threads.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the live side of the seam")]

use std::fs;
use std::io;

use super::{DiskSpace, FileKind, Metadata};
use crate::rt::backend::OpenFlags;

/// Runs a blocking call off the async threads.
pub(super) async fn call<T: Send + 'static>(f: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.map_err(io::Error::other)?
}

pub(super) fn open(path: &str, flags: OpenFlags) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(flags.read)
        .write(flags.write && !flags.append)
        .append(flags.append)
        .truncate(flags.truncate)
        .create(flags.create)
        .create_new(flags.create_new)
        .open(path)
}

pub(super) fn rename(from: &str, to: &str) -> io::Result<()> {
    fs::rename(from, to)
}

pub(super) fn remove_file(path: &str) -> io::Result<()> {
    fs::remove_file(path)
}

pub(super) fn create_dir(path: &str) -> io::Result<()> {
    fs::create_dir(path)
}

pub(super) fn remove_dir(path: &str) -> io::Result<()> {
    fs::remove_dir(path)
}

pub(super) fn read_dir(path: &str) -> io::Result<Vec<(String, FileKind)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is not UTF-8")))?;
        entries.push((name, kind(entry.file_type()?)));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

fn kind(t: fs::FileType) -> FileKind {
    if t.is_dir() { FileKind::Dir } else { FileKind::File }
}

pub(super) fn metadata(path: &str) -> io::Result<Metadata> {
    let m = fs::metadata(path)?;
    let kind = kind(m.file_type());
    Ok(Metadata { kind, len: if kind == FileKind::Dir { 0 } else { m.len() } })
}

pub(super) fn sync_dir(path: &str) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

#[expect(unsafe_code, reason = "statvfs has no safe wrapper in std")]
pub(super) fn space(path: &str) -> io::Result<DiskSpace> {
    let path = std::ffi::CString::new(path).map_err(io::Error::other)?;
    // SAFETY: an all-zero statvfs is a valid value, `path` ends with NUL, and both outlive the call.
    let (code, stat) = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut stat), stat)
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    let unit = stat.f_frsize;
    Ok(DiskSpace { total: stat.f_blocks.saturating_mul(unit), available: stat.f_bavail.saturating_mul(unit) })
}
