//! Bit rot: flips bits in the cached blocks of a worker, behind its back.

use crate::base::Stream;
use crate::oracle::Damage;
use crate::sim::cluster::{Cluster, block_files};
use crate::world::lab::Lab;

/// Flips one bit in each of up to `most` cached blocks of a member (in all of them if not given). Gives what was
/// damaged.
pub fn blocks(lab: &Lab, cluster: &Cluster, member: usize, most: Option<u32>, chance: &mut Stream) -> Vec<Damage> {
    let mut files = block_files(lab, cluster, member);
    chance.shuffle(&mut files);
    files.truncate(most.map_or(usize::MAX, |n| n as usize));
    let mut damaged = Vec::new();
    for file in files {
        let offset = chance.range(file.payload.start..=file.payload.end.saturating_sub(1));
        let bit = 1 << chance.below(8);
        if lab.disks.rot(file.disk, &file.path, offset, bit).is_ok() {
            let worker = cluster.members[member].plan.name.clone();
            damaged.push(Damage { worker, block: file.block, at: lab.now() });
        }
    }
    damaged
}
