//! What is true of the state after every command.

use super::State;
use super::path::FsPath;
use super::through::WantedFiles;
use super::tree::{Kind, block_count, block_length};
use crate::stack::wire::BlockId;

/// The first invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state: {0}")]
pub struct Broken(pub String);

impl State {
    /// In order, with time in proportion to the state:
    /// 1. the tree is one (see there);
    /// 2. every mount point is a directory that stands for its under-store;
    /// 3. every block belongs to a file and has a length that fits there;
    /// 4. a completed file that is not from an under-store has all its blocks;
    /// 5. the retry cache is bounded and in order;
    /// 6. terms of office are in order;
    /// 7. what is wanted in an under-store is a completed file that is not there;
    /// 8. all hashes are right.
    pub fn check(&self) -> Result<(), Broken> {
        self.tree.check(self.applied).map_err(Broken)?;
        self.check_mounts().map_err(Broken)?;
        self.check_blocks().map_err(Broken)?;
        self.check_files().map_err(Broken)?;
        self.mounts.check().map_err(Broken)?;
        self.blocks.check().map_err(Broken)?;
        self.retries.check(self.applied).map_err(Broken)?;
        self.offices.check(self.applied).map_err(Broken)?;
        self.check_wanted().map_err(Broken)
    }

    fn check_mounts(&self) -> Result<(), String> {
        for (point, mount) in self.mounts.iter() {
            let inode = FsPath::parse(point).and_then(|path| self.tree.walk(path));
            let stands = |inode: &super::Inode| inode.ufs.as_ref().is_some_and(|ufs| ufs.url == mount.url);
            if !inode.is_ok_and(|inode| inode.is_dir() && stands(inode)) {
                return Err(format!("mount point {point} is no directory of its under-store"));
            }
        }
        Ok(())
    }

    fn check_blocks(&self) -> Result<(), String> {
        for (block, held) in self.blocks.iter() {
            let fits = match self.tree.get(block.file()).map(|inode| &inode.kind) {
                Some(Kind::File { length, block_size, completed: true }) => {
                    held == block_length(*length, *block_size, block.sequence())
                }
                Some(Kind::File { block_size, .. }) => held <= *block_size,
                _ => false,
            };
            if !fits || held == 0 || block.sequence() > BlockId::SEQUENCE_MAX {
                return Err(format!("block {} of {held} bytes has no place in a file", block.0));
            }
        }
        Ok(())
    }

    fn check_wanted(&self) -> Result<(), String> {
        let mut again = WantedFiles::default();
        for file in self.wanted() {
            again.insert(file);
            let inode = self.tree.get(file);
            let fine =
                |inode: &super::Inode| inode.ufs.is_none() && matches!(inode.kind, Kind::File { completed: true, .. });
            if !inode.is_some_and(fine) {
                return Err(format!("file {} is wanted in an under-store", file.0));
            }
        }
        if again.hash() != self.wanted.hash() { Err("wanted files: hash differs".into()) } else { Ok(()) }
    }

    fn check_files(&self) -> Result<(), String> {
        for inode in self.tree.iter().filter(|inode| inode.ufs.is_none()) {
            if let Kind::File { length, block_size, completed: true } = inode.kind
                && self.blocks.of(inode.id, 0).count() as u64 != block_count(length, block_size)
            {
                return Err(format!("file {} lacks blocks", inode.id.0));
            }
        }
        Ok(())
    }
}
