//! Where disks of the cloud are mounted, and when they are written there.

use crate::base::SimTime;
use crate::oracle::cluster::DiskUse;
use crate::sim::kubernetes::Kubernetes;
use crate::world::disk::DiskId;
use crate::world::lab::Lab;

/// A mount that goes on.
struct Open {
    on: DiskUse,
    disk: DiskId,
    changes: u64,
}

/// All mounts.
#[derive(Default)]
pub(super) struct DiskUses {
    open: Vec<Open>,
    ended: Vec<DiskUse>,
}

impl DiskUses {
    /// Looks at every mount of a volume.
    pub fn look(&mut self, lab: &Lab, kubernetes: &Kubernetes, now: SimTime) {
        // Looked at after every slice of time, and most caches have no volumes.
        if !kubernetes.shows_volumes() && self.open.is_empty() {
            return;
        }
        let shown = kubernetes.shown();
        let (goes_on, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open| shown.iter().any(|(node, handle)| open.on.node == *node && open.on.disk == *handle));
        self.open = goes_on;
        for mut open in ended {
            open.on.unmounted = Some(now);
            let forced =
                kubernetes.taken().iter().rev().find(|taken| taken.0 == open.on.disk && taken.1 == open.on.node);
            if let Some((_, _, at, forced)) = forced.filter(|taken| taken.2 >= open.on.mounted) {
                (open.on.taken, open.on.forced) = (Some(*at), *forced);
                // It was taken, not given back: what wrote until then wrote to the end.
                open.on.unmounted = None;
            }
            self.ended.push(open.on);
        }
        for (node, handle) in &shown {
            let Some(disk) = kubernetes.volumes().get(handle).copied() else { continue };
            let changes = lab.disks.look(disk, |files| files.changes()).unwrap_or_default();
            match self.open.iter_mut().find(|open| open.on.node == *node && open.on.disk == *handle) {
                Some(open) if open.changes == changes => {}
                Some(open) => {
                    open.changes = changes;
                    open.on.first_write.get_or_insert(now);
                    open.on.last_write = Some(now);
                }
                None => {
                    let on = DiskUse {
                        disk: handle.clone(),
                        node: node.clone(),
                        mounted: now,
                        unmounted: None,
                        first_write: None,
                        last_write: None,
                        taken: None,
                        forced: false,
                    };
                    self.open.push(Open { on, disk, changes });
                }
            }
        }
        debug_assert!(self.open.iter().all(|open| kubernetes.volumes().get(&open.on.disk) == Some(&open.disk)));
    }

    /// All of them.
    pub fn told(self) -> Vec<DiskUse> {
        self.ended.into_iter().chain(self.open.into_iter().map(|open| open.on)).collect()
    }
}
