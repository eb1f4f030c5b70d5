//! Files behind a fuse: each call is handed to the fuse's own process, and its end is the call's end.
//!
//! Reads are compared with what the bytes must be and go into the history. What applications write is their own affair:
//! the history is told that nobody knows the content. An open file keeps the door that it was opened through, so it is
//! broken for good once that fuse is dead.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::tree::{Done, Reading, Space, Stat, Writing, split};
use crate::sim::kubernetes::fuse_server::{FuseDoor, Mounted};
use crate::sim::kubernetes::machine::Machine;
use crate::sim::workload::{CheckedFile, OpenFile};
use crate::stack::fuse::{Attr, Errno, HandleId};

/// A fuse, as a path of a container leads to it.
#[derive(Clone)]
pub struct FuseTree {
    machine: Machine,
    door: FuseDoor,
}

fn stat_of(attr: &Attr) -> Stat {
    Stat { dir: attr.dir, size: attr.size, ino: attr.ino, mtime_ms: attr.mtime_ms }
}

impl FuseTree {
    /// The fuse behind a door of a machine.
    pub fn new(machine: &Machine, door: FuseDoor) -> Self {
        Self { machine: machine.clone(), door }
    }

    async fn call<T, F>(&self, call: impl FnOnce(Arc<Mounted>) -> F + Send + 'static) -> Result<T, Errno>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Errno>> + Send + 'static,
    {
        self.door.call(&self.machine, call).await
    }

    /// `stat(2)`.
    pub async fn stat(&self, path: String) -> Result<Stat, Errno> {
        self.call(|mounted| async move {
            let node = mounted.fuse.node(&path)?;
            Ok(stat_of(&mounted.fuse.getattr(node).await?))
        })
        .await
    }

    /// Names in a directory.
    pub async fn list(&self, path: String) -> Result<Vec<(String, bool)>, Errno> {
        self.call(|mounted| async move {
            let node = mounted.fuse.node(&path)?;
            // The kernel looks first whether it is one: a master lists a file, too, as itself.
            if !mounted.fuse.getattr(node).await?.dir {
                return Err(Errno::ENOTDIR);
            }
            let entries = mounted.fuse.readdir(node).await?;
            Ok(entries.into_iter().map(|entry| (entry.name, entry.attr.dir)).collect())
        })
        .await
    }

    /// Opens for reading.
    pub async fn open(&self, path: String) -> Result<Box<dyn Reading>, Errno> {
        let file = self.call(|mounted| async move {
            let file = CheckedFile::open(&mounted.fuse, &mounted.recorder, mounted.client, &path).await?;
            Ok(file.file)
        });
        Ok(Box::new(Reader { tree: self.clone(), file: file.await? }))
    }

    /// Opens for writing.
    pub async fn create(&self, path: String, append: bool) -> Result<Box<dyn Writing>, Errno> {
        let handle = self.call(move |mounted| async move {
            let (parent, name) = split(&path);
            let created = match mounted.fuse.create(mounted.fuse.node(parent)?, name).await {
                Ok((_, opened)) => opened,
                Err(Errno::EEXIST) => {
                    let how = if append { libc::O_APPEND } else { libc::O_TRUNC };
                    mounted.fuse.open(mounted.fuse.node(&path)?, libc::O_WRONLY | how).await?
                }
                Err(errno) => return Err(errno),
            };
            mounted.recorder.unknown_content(created.info.id);
            Ok(created.handle)
        });
        Ok(Box::new(Writer { handle: handle.await?, tree: self.clone(), offset: 0 }))
    }

    /// Makes a directory.
    pub async fn mkdir(&self, path: String) -> Result<(), Errno> {
        self.call(|mounted| async move {
            let (parent, name) = split(&path);
            mounted.fuse.mkdir(mounted.fuse.node(parent)?, name).await.map(drop)
        })
        .await
    }

    /// Removes a file or, if `dir`, an empty directory.
    pub async fn remove(&self, path: String, dir: bool) -> Result<(), Errno> {
        self.call(move |mounted| async move {
            let (parent, name) = split(&path);
            let parent = mounted.fuse.node(parent)?;
            match dir {
                true => mounted.fuse.rmdir(parent, name).await,
                false => mounted.fuse.unlink(parent, name).await,
            }
        })
        .await
    }

    /// Renames within the fuse.
    pub async fn rename(&self, from: String, to: String) -> Result<(), Errno> {
        self.call(|mounted| async move {
            let (old, new) = (split(&from), split(&to));
            let (old, new) = ((mounted.fuse.node(old.0)?, old.1), (mounted.fuse.node(new.0)?, new.1));
            mounted.fuse.rename(old, new).await
        })
        .await
    }

    /// Space.
    pub async fn statfs(&self) -> Result<Space, Errno> {
        self.call(|mounted| async move {
            let space = mounted.fuse.statfs().await?;
            let bytes = |blocks: u64| blocks.saturating_mul(space.block_size);
            Ok(Space { total: bytes(space.blocks), free: bytes(space.free) })
        })
        .await
    }

    /// Whether both lead to the same fuse.
    pub fn same(&self, other: &Self) -> bool {
        self.door.is_same(&other.door)
    }
}

struct Reader {
    tree: FuseTree,
    file: OpenFile,
}

impl Reading for Reader {
    fn read_at(&self, offset: u64, size: u64) -> Done<'_, Bytes> {
        Box::pin(async move {
            if offset >= self.file.info.length {
                return Ok(Bytes::new());
            }
            let file = self.file.clone();
            let read = self.tree.call(move |mounted| async move {
                let file = CheckedFile::again(&mounted.fuse, &mounted.recorder, mounted.client, file);
                file.read(offset, size).await
            });
            let mut pieces = read.await?;
            if pieces.len() == 1 {
                return Ok(pieces.remove(0).data);
            }
            let mut all = BytesMut::new();
            pieces.iter().for_each(|piece| all.extend_from_slice(&piece.data));
            Ok(all.freeze())
        })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async move {
            let handle = self.file.handle;
            self.tree.call(move |mounted| async move { mounted.fuse.release(handle).await }).await
        })
    }
}

struct Writer {
    tree: FuseTree,
    handle: HandleId,
    offset: u64,
}

impl Writing for Writer {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Done<'a, ()> {
        Box::pin(async move {
            let (handle, offset, bytes) = (self.handle, self.offset, bytes.to_vec());
            let length = bytes.len() as u64;
            let write = move |mounted: Arc<Mounted>| async move { mounted.fuse.write(handle, offset, &bytes).await };
            self.tree.call(write).await?;
            self.offset += length;
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> Done<'static, ()> {
        Box::pin(async move {
            let handle = self.handle;
            let close = move |mounted: Arc<Mounted>| async move {
                let flushed = mounted.fuse.flush(handle).await;
                mounted.fuse.release(handle).await?;
                flushed
            };
            self.tree.call(close).await
        })
    }
}
