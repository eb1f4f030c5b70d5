//! Files in memory, for tests of the shell and its programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::tree::{Done, FileTree, Reading, Space, Stat, Writing, split};
use crate::base::lock;
use crate::stack::fuse::Errno;

#[derive(Default)]
struct State {
    /// Content, or none for a directory; the root is always there.
    files: BTreeMap<String, Option<Vec<u8>>>,
    /// Paths below which every call gives this error.
    broken: BTreeMap<String, Errno>,
    open: BTreeSet<u64>,
    opened: u64,
}

/// Files in memory; clones are the same.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

impl Memory {
    /// With these files and the directories above them.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        let own = Self::default();
        let mut state = lock(&own.0);
        for (path, content) in files {
            for (at, _) in path.match_indices('/').skip(1) {
                state.files.insert(path[..at].to_owned(), None);
            }
            state.files.insert((*path).to_owned(), Some(content.to_vec()));
        }
        drop(state);
        own
    }

    /// From now on everything at and below a path gives an error.
    pub fn break_at(&self, path: &str, errno: Errno) {
        lock(&self.0).broken.insert(path.into(), errno);
    }

    /// A file's content.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        lock(&self.0).files.get(path).cloned().flatten()
    }

    /// Files that nobody has closed.
    pub fn open_files(&self) -> usize {
        lock(&self.0).open.len()
    }

    fn handle(&self) -> Handle {
        let mut state = lock(&self.0);
        state.opened += 1;
        let number = state.opened;
        state.open.insert(number);
        Handle { files: self.clone(), number }
    }
}

struct Handle {
    files: Memory,
    number: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.files.0).open.remove(&self.number);
    }
}

impl State {
    fn check(&self, path: &str) -> Result<(), Errno> {
        let below = |broken: &str| path.strip_prefix(broken).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        match self.broken.iter().find(|(broken, _)| below(broken)) {
            Some((_, errno)) => Err(*errno),
            None => Ok(()),
        }
    }

    fn get(&self, path: &str) -> Result<Option<&Vec<u8>>, Errno> {
        self.check(path)?;
        if path == "/" {
            return Ok(None);
        }
        if let Some(found) = self.files.get(path) {
            return Ok(found.as_ref());
        }
        let parent = split(path).0;
        Err(if self.get(parent)?.is_some() { Errno::ENOTDIR } else { Errno::ENOENT })
    }

    fn list(&self, path: &str) -> Result<Vec<(String, bool)>, Errno> {
        if self.get(path)?.is_some() {
            return Err(Errno::ENOTDIR);
        }
        let own = |(name, content): (&String, &Option<Vec<u8>>)| {
            let (dir, name) = split(name);
            (dir == path).then(|| (name.to_owned(), content.is_none()))
        };
        Ok(self.files.iter().filter_map(own).collect())
    }

    fn make(&mut self, path: &str, content: Option<Vec<u8>>) -> Result<(), Errno> {
        match self.get(path) {
            Err(Errno::ENOENT) => {}
            Ok(_) => return Err(Errno::EEXIST),
            Err(errno) => return Err(errno),
        }
        if self.get(split(path).0)?.is_some() {
            return Err(Errno::ENOTDIR);
        }
        self.files.insert(path.into(), content);
        Ok(())
    }
}

struct Open {
    path: String,
    handle: Handle,
}

impl Reading for Open {
    fn read_at(&self, offset: u64, size: u64) -> Done<'_, Bytes> {
        Box::pin(async move {
            let state = lock(&self.handle.files.0);
            let content = state.get(&self.path)?.ok_or(Errno::EISDIR)?;
            let from = content.len().min(offset as usize);
            // At most a few bytes at once, so that files are read in pieces.
            let end = content.len().min(from + size.min(7) as usize);
            Ok(Bytes::copy_from_slice(&content[from..end]))
        })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Writing for Open {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()> {
        Box::pin(async move {
            let mut state = lock(&self.handle.files.0);
            state.check(&self.path)?;
            let content = state.files.get_mut(&self.path).and_then(Option::as_mut).ok_or(Errno::ESTALE)?;
            content.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl FileTree for Memory {
    fn stat<'a>(&'a self, path: &'a str) -> Done<'a, Stat> {
        Box::pin(async move {
            let state = lock(&self.0);
            let found = state.get(path)?;
            let size = found.map_or(0, |content| content.len() as u64);
            Ok(Stat { dir: found.is_none(), size, ino: 0, mtime_ms: 0 })
        })
    }

    fn list<'a>(&'a self, path: &'a str) -> Done<'a, Vec<(String, bool)>> {
        Box::pin(async move { lock(&self.0).list(path) })
    }

    fn open<'a>(&'a self, path: &'a str) -> Done<'a, Box<dyn Reading>> {
        Box::pin(async move {
            lock(&self.0).get(path)?;
            Ok(Box::new(Open { path: path.into(), handle: self.handle() }) as Box<dyn Reading>)
        })
    }

    fn create<'a>(&'a self, path: &'a str, append: bool) -> Done<'a, Box<dyn Writing>> {
        Box::pin(async move {
            {
                let mut state = lock(&self.0);
                match state.make(path, Some(Vec::new())) {
                    Err(Errno::EEXIST) => match state.files.get_mut(path) {
                        Some(Some(content)) if !append => content.clear(),
                        Some(Some(_)) => {}
                        _ => return Err(Errno::EISDIR),
                    },
                    made => made?,
                }
            }
            Ok(Box::new(Open { path: path.into(), handle: self.handle() }) as Box<dyn Writing>)
        })
    }

    fn mkdir<'a>(&'a self, path: &'a str) -> Done<'a, ()> {
        Box::pin(async move { lock(&self.0).make(path, None) })
    }

    fn unlink<'a>(&'a self, path: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            let mut state = lock(&self.0);
            state.get(path)?.ok_or(Errno::EISDIR)?;
            state.files.remove(path);
            Ok(())
        })
    }

    fn rmdir<'a>(&'a self, path: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            let mut state = lock(&self.0);
            if !state.list(path)?.is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
            state.files.remove(path);
            Ok(())
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            let mut state = lock(&self.0);
            let content = state.get(from)?.cloned();
            state.check(to)?;
            state.files.remove(from);
            state.files.insert(to.into(), content);
            Ok(())
        })
    }

    fn statfs<'a>(&'a self, _: &'a str) -> Done<'a, Space> {
        Box::pin(async { Ok(Space { total: 1 << 30, free: 1 << 29 }) })
    }
}
