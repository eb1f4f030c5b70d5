//! The block files of a worker, as they lie on its disk.
//!
//! Read from outside, past the worker: what a program says of its own blocks is not believed. Damage counts even where the
//! worker would not see it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Cluster;
use crate::base::HostId;
use crate::kube::csi::mount::is_within;
use crate::stack::wire::BlockId;
use crate::stack::worker::store::block_named;
use crate::stack::worker::store::format::{HEADER_BYTES, Header, inspect};
use crate::world::disk::{DiskId, FileSystem};
use crate::world::lab::Lab;

/// One cached block on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFile {
    /// Which block.
    pub block: BlockId,
    /// The disk it is on.
    pub disk: DiskId,
    /// Its file, as the disk has it.
    pub path: String,
    /// Where the block's own bytes lie in the file.
    pub payload: Range<u64>,
    /// Whether a bit of them is wrong.
    pub bad: bool,
}

/// The whole blocks on a member's disks, by path. A file whose header cannot be read is no block any more.
pub fn block_files(lab: &Lab, cluster: &Cluster, member: usize) -> Vec<BlockFile> {
    // A host has the disks that the world gave it.
    let on = |(disk, dirs): (DiskId, Vec<String>)| lab.disks.look(disk, |files| find(disk, files, &dirs));
    let member = &cluster.members[member];
    by_disk(lab, member.host, &member.store).into_iter().filter_map(|entry| on(entry).ok()).flatten().collect()
}

/// The directories of a store, as the host's disks have them.
fn by_disk(lab: &Lab, host: HostId, store: &[String]) -> BTreeMap<DiskId, Vec<String>> {
    let mut mounts = lab.disks.mounts(host);
    mounts.sort_by_key(|(at, _)| std::cmp::Reverse(at.len()));
    let mut by_disk: BTreeMap<DiskId, Vec<String>> = BTreeMap::new();
    for dir in store {
        let Some((at, disk)) = mounts.iter().find(|(at, _)| is_within(dir, at)) else { continue };
        let own = &dir[at.trim_end_matches('/').len()..];
        let dirs = by_disk.entry(*disk).or_default();
        if !dirs.iter().any(|known| known == own) {
            dirs.push(own.to_owned());
        }
    }
    by_disk
}

/// Bytes of the whole blocks in a store on a host's disks, whatever their health.
pub fn cached_bytes(lab: &Lab, host: HostId, store: &[String]) -> u64 {
    headers(lab, host, store).into_iter().map(|header| header.length).sum()
}

/// The whole blocks on a member's disks, whatever their health.
pub fn whole_blocks(lab: &Lab, cluster: &Cluster, member: usize) -> BTreeSet<BlockId> {
    let member = &cluster.members[member];
    headers(lab, member.host, &member.store).into_iter().map(|header| header.block).collect()
}

/// Counts the changes of a member's disks: whoever saw this number before finds the same blocks.
pub fn disk_changes(lab: &Lab, cluster: &Cluster, member: usize) -> u64 {
    let of = |disk: DiskId| lab.disks.look(disk, FileSystem::changes).unwrap_or_default();
    let member = &cluster.members[member];
    by_disk(lab, member.host, &member.store).into_keys().map(of).sum()
}

fn headers(lab: &Lab, host: HostId, store: &[String]) -> Vec<Header> {
    let on = |(disk, dirs): (DiskId, Vec<String>)| {
        let header = |(name, bytes): (&str, &[u8])| Header::decode(block_named(name)?, bytes).ok();
        let all =
            |files: &FileSystem| dirs.iter().flat_map(|dir| files.files_of(dir)).filter_map(header).collect::<Vec<_>>();
        lab.disks.look(disk, all).unwrap_or_default()
    };
    by_disk(lab, host, store).into_iter().flat_map(on).collect()
}

fn find(disk: DiskId, files: &FileSystem, dirs: &[String]) -> Vec<BlockFile> {
    let block_file = |dir: &str, name: &str, bytes: &[u8]| {
        let block = block_named(name)?;
        let (header, health) = inspect(block, bytes).ok()?;
        let (start, path) = (HEADER_BYTES as u64, format!("{dir}/{name}"));
        Some(BlockFile { block, disk, path, payload: start..start + header.length, bad: health.is_err() })
    };
    let mut found = Vec::new();
    for dir in dirs {
        found.extend(files.files_of(dir).filter_map(|(name, bytes)| block_file(dir, name, bytes)));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}
