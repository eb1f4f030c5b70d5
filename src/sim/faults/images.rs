//! Snapshots of the cloud's disks, and disks that are put back to them.

use std::collections::BTreeMap;

use crate::sim::cluster::Cluster;
use crate::world::disk::{DiskId, DiskImage};
use crate::world::lab::Lab;

/// All that were taken: by disk and name.
#[derive(Default)]
pub(super) struct VolumeImages(BTreeMap<(DiskId, String), DiskImage>);

impl VolumeImages {
    /// Takes one of each volume of the members. Gives how many.
    pub fn take(&mut self, lab: &Lab, cluster: &Cluster, members: &[usize], name: &str) -> u64 {
        let taken = volumes(cluster, members)
            .into_iter()
            .filter_map(|disk| Some(((disk, name.to_string()), lab.disks.snapshot(disk).ok()?)));
        let taken: Vec<_> = taken.collect();
        let count = taken.len() as u64;
        self.0.extend(taken);
        count
    }

    /// Puts each volume of the members back to its image, and the journals there with it: these begin anew for whoever judges
    /// them. Gives how many held something else.
    pub fn restore(&self, lab: &Lab, cluster: &mut Cluster, members: &[usize], name: &str) -> u64 {
        let put_back = |disk: &DiskId| {
            let Some(image) = self.0.get(&(*disk, name.to_string())) else { return false };
            let differs = lab.disks.look(*disk, |now| now.changes() != image.changes()).unwrap_or(false);
            lab.disks.restore(*disk, image).is_ok() && differs
        };
        let restored: Vec<DiskId> = volumes(cluster, members).into_iter().filter(put_back).collect();
        for &member in members {
            if volumes(cluster, &[member]).iter().any(|disk| restored.contains(disk)) {
                cluster.members[member].storage += 1;
            }
        }
        restored.len() as u64
    }
}

/// The world's disks behind the members' volumes, each once.
fn volumes(cluster: &Cluster, members: &[usize]) -> Vec<DiskId> {
    let Some(kubernetes) = &cluster.kubernetes else { return Vec::new() };
    let handles = members.iter().flat_map(|member| &cluster.members[*member].volumes);
    let mut disks: Vec<DiskId> = handles.filter_map(|handle| kubernetes.volumes().get(handle).copied()).collect();
    disks.sort_unstable();
    disks.dedup();
    disks
}
