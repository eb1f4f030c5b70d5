//! Files as an application sees them.
//!
//! One interface over a node's disks, a fuse and, in tests, memory. Paths are absolute and clean. An open file belongs to
//! the file system that it was opened on, whatever is mounted over its path later.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::stack::fuse::Errno;

/// What every call gives.
pub type Done<'a, T> = Pin<Box<dyn Future<Output = Result<T, Errno>> + Send + 'a>>;

/// What `stat(2)` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Whether it is a directory.
    pub dir: bool,
    /// Bytes.
    pub size: u64,
    /// Inode number; 0 where none is kept.
    pub ino: u64,
    /// Last change, milliseconds since the epoch; 0 where none is kept.
    pub mtime_ms: u64,
}

impl Stat {
    /// What the file takes, in units of 512 bytes; directories take nothing.
    pub fn blocks(&self) -> u64 {
        if self.dir { 0 } else { self.size.div_ceil(512) }
    }
}

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes free.
    pub free: u64,
}

/// A file open for reading.
pub trait Reading: Send + Sync {
    /// The bytes at `offset`, at most `size`; none at the end.
    fn read_at(&self, offset: u64, size: u64) -> Done<'_, Bytes>;
    /// Closes it.
    fn close(self: Box<Self>) -> Done<'static, ()>;
}

/// A file open for writing, from its beginning or, appending, from its end on.
pub trait Writing: Send + Sync {
    /// Adds bytes.
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()>;
    /// Closes it; on some file systems only now the file is complete.
    fn close(self: Box<Self>) -> Done<'static, ()>;
}

/// Files and directories.
pub trait FileTree: Send + Sync {
    /// What is there.
    fn stat<'a>(&'a self, path: &'a str) -> Done<'a, Stat>;
    /// Names in a directory, sorted, each with whether it is a directory.
    fn list<'a>(&'a self, path: &'a str) -> Done<'a, Vec<(String, bool)>>;
    /// Opens for reading.
    fn open<'a>(&'a self, path: &'a str) -> Done<'a, Box<dyn Reading>>;
    /// Opens for writing, making the file if it is not there; empties it unless `append`.
    fn create<'a>(&'a self, path: &'a str, append: bool) -> Done<'a, Box<dyn Writing>>;
    /// Makes one directory.
    fn mkdir<'a>(&'a self, path: &'a str) -> Done<'a, ()>;
    /// Removes a file.
    fn unlink<'a>(&'a self, path: &'a str) -> Done<'a, ()>;
    /// Removes an empty directory.
    fn rmdir<'a>(&'a self, path: &'a str) -> Done<'a, ()>;
    /// Renames within a file system.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Done<'a, ()>;
    /// Space where the path is.
    fn statfs<'a>(&'a self, path: &'a str) -> Done<'a, Space>;
}

/// `path` seen from the directory `cwd`: absolute, without `.`, `..` and empty parts.
pub fn clean(cwd: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The directory and the name in it; the root has no name.
pub fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => ("/", path),
    }
}

/// A name in a directory.
pub fn join(dir: &str, name: &str) -> String {
    format!("{}/{name}", dir.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_a_kernel_walks_them() {
        for (cwd, path, want) in [
            ("/", "./", "/"),
            ("/", "a", "/a"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "../../..", "/"),
            ("/a", "/x//y/./z/", "/x/y/z"),
        ] {
            assert_eq!(clean(cwd, path), want, "{path} from {cwd}");
        }
        assert_eq!((split("/a"), split("/a/b"), split("/")), (("/", "a"), ("/a", "b"), ("/", "")));
        assert_eq!((join("/", "a"), join("/a", "b")), ("/a".into(), "/a/b".into()));
    }
}
