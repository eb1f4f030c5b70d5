//! The files of a container: its own on the node's disk, its volumes, and what is mounted there.
//!
//! Every call looks the path up anew, as a kernel does; only open files stay where they are. Mounts without propagation
//! are those of the container's start: what a node mounts over them later is not seen.

use super::fuse_tree::FuseTree;
use super::tree::{Done, FileTree, Reading, Space, Stat, Writing};
use super::{disk_tree, tree};
use crate::rt::fs;
use crate::sim::kubernetes::images::Launch;
use crate::sim::kubernetes::machine::Spot;
use crate::stack::fuse::Errno;

/// The files of one container.
pub struct NodeTree {
    launch: Launch,
}

/// Where a path leads.
enum At {
    Disk(String),
    Fuse(FuseTree, String),
}

impl NodeTree {
    /// Of a container that starts, or in which a program is to run. Makes its root and the places of its mounts.
    ///
    /// # Errors
    /// The disk's.
    pub async fn new(launch: Launch) -> Result<Self, Errno> {
        let root = launch.root();
        for dir in ["/tmp"].into_iter().chain(launch.spec.mounts.iter().map(|mount| mount.target.as_str())) {
            let made = fs::create_dir_all(&format!("{root}{}", tree::clean("/", dir))).await;
            made.map_err(|error| disk_tree::errno(&error))?;
        }
        Ok(Self { launch })
    }

    fn find(&self, path: &str, write: bool) -> Result<At, Errno> {
        let (spot, read_only) = self.launch.find(path)?;
        if write && read_only {
            return Err(Errno::EROFS);
        }
        Ok(match spot {
            Spot::Disk(path) => At::Disk(path),
            Spot::Fuse(door, path) => At::Fuse(FuseTree::new(&self.launch.machine, door), path),
        })
    }
}

impl FileTree for NodeTree {
    fn stat<'a>(&'a self, path: &'a str) -> Done<'a, Stat> {
        Box::pin(async move {
            match self.find(path, false)? {
                At::Disk(path) => disk_tree::stat(&path).await,
                At::Fuse(fuse, path) => fuse.stat(path).await,
            }
        })
    }

    fn list<'a>(&'a self, path: &'a str) -> Done<'a, Vec<(String, bool)>> {
        Box::pin(async move {
            match self.find(path, false)? {
                At::Disk(path) => disk_tree::list(&path).await,
                At::Fuse(fuse, path) => fuse.list(path).await,
            }
        })
    }

    fn open<'a>(&'a self, path: &'a str) -> Done<'a, Box<dyn Reading>> {
        Box::pin(async move {
            match self.find(path, false)? {
                At::Disk(path) => disk_tree::open(&path).await,
                At::Fuse(fuse, path) => fuse.open(path).await,
            }
        })
    }

    fn create<'a>(&'a self, path: &'a str, append: bool) -> Done<'a, Box<dyn Writing>> {
        Box::pin(async move {
            match self.find(path, true)? {
                At::Disk(path) => disk_tree::create(&path, append).await,
                At::Fuse(fuse, path) => fuse.create(path, append).await,
            }
        })
    }

    fn mkdir<'a>(&'a self, path: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            match self.find(path, true)? {
                At::Disk(path) => disk_tree::mkdir(&path).await,
                At::Fuse(fuse, path) => fuse.mkdir(path).await,
            }
        })
    }

    fn unlink<'a>(&'a self, path: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            match self.find(path, true)? {
                At::Disk(path) => disk_tree::unlink(&path).await,
                At::Fuse(fuse, path) => fuse.remove(path, false).await,
            }
        })
    }

    fn rmdir<'a>(&'a self, path: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            if self.launch.spec.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == path) {
                return Err(Errno::EBUSY);
            }
            match self.find(path, true)? {
                At::Disk(path) => disk_tree::rmdir(&path).await,
                At::Fuse(fuse, path) => fuse.remove(path, true).await,
            }
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Done<'a, ()> {
        Box::pin(async move {
            match (self.find(from, true)?, self.find(to, true)?) {
                (At::Disk(from), At::Disk(to)) => disk_tree::rename(&from, &to).await,
                (At::Fuse(fuse, from), At::Fuse(other, to)) if fuse.same(&other) => fuse.rename(from, to).await,
                _ => Err(Errno::EXDEV),
            }
        })
    }

    fn statfs<'a>(&'a self, path: &'a str) -> Done<'a, Space> {
        Box::pin(async move {
            match self.find(path, false)? {
                At::Disk(path) => disk_tree::statfs(&path).await,
                At::Fuse(fuse, _) => fuse.statfs().await,
            }
        })
    }
}
