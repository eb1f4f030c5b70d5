//! The block files of a worker, as they lie on its disk.
//!
//! Read from outside, past the worker: what a program says of its own blocks is not believed. Damage counts even where the
//! worker would not see it.

use std::ops::Range;

use super::Cluster;
use crate::stack::wire::BlockId;
use crate::stack::worker::store::format::{HEADER_BYTES, inspect};
use crate::stack::worker::store::{block_named, blocks_dir};
use crate::world::disk::FileSystem;
use crate::world::lab::Lab;

/// One cached block on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFile {
    /// Which block.
    pub block: BlockId,
    /// Its file, as mounted.
    pub path: String,
    /// Where the block's own bytes lie in the file.
    pub payload: Range<u64>,
    /// Whether a bit of them is wrong.
    pub bad: bool,
}

/// The whole blocks on a member's disk, by path. A file whose header cannot be read is no block any more.
pub fn block_files(lab: &Lab, cluster: &Cluster, member: usize) -> Vec<BlockFile> {
    let Some(disk) = cluster.members[member].disk else { return Vec::new() };
    let dirs: Vec<String> = cluster.programs().store_dirs().map(blocks_dir).collect();
    // A member has the disks that the world gave it.
    lab.disks.look(disk, |files| find(files, &dirs)).unwrap_or_default()
}

fn find(files: &FileSystem, dirs: &[String]) -> Vec<BlockFile> {
    let block_file = |(path, bytes): (String, Option<&[u8]>)| {
        let (dir, name) = path.rsplit_once('/')?;
        let block = block_named(name).filter(|_| dirs.iter().any(|known| known == dir))?;
        let (header, health) = inspect(block, bytes?).ok()?;
        let start = HEADER_BYTES as u64;
        Some(BlockFile { block, path, payload: start..start + header.length, bad: health.is_err() })
    };
    files.walk().into_iter().filter_map(block_file).collect()
}
