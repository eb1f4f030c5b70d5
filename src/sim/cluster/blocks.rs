//! The block files of a worker, as they lie on its disk.

use std::ops::Range;

use super::Cluster;
use crate::stack::wire::BlockId;
use crate::world::engine::glass::Glass;
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

/// The whole blocks on a member's disk, by path.
pub fn block_files(lab: &Lab<Glass>, cluster: &Cluster, member: usize) -> Vec<BlockFile> {
    let _ = (lab, cluster, member);
    Vec::new()
}
