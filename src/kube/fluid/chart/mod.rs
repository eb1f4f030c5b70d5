//! What Fluid installs for a runtime: upstream's Helm charts as a pure function.
//!
//! A [`Blueprint`] is what a dataset, its runtime and the profile come to; [`Blueprint::objects`] are the objects of the
//! release in the order of their installation. Nothing here talks to anybody: the runtime controller creates the objects
//! and scales the workers when the masters are ready. Follows `charts/{alluxio,goosefs,jindofsx}` of
//! fluid-cloudnative/fluid v1.0.8; what differs by version is asked of the [`Profile`](super::profile::Profile).

mod blueprint;
mod fuse;
mod masters;
mod pods;
mod properties;
mod volume;
mod workers;

pub use blueprint::{Blueprint, PortSet, Restore};
pub use masters::JOURNAL_BACKUP;
pub use volume::DRIVER;

use serde_json::Value;

use super::profile::WorkerSet;

impl Blueprint {
    /// The objects of the release, in the order of their installation. Workers come with no replicas.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = vec![properties::values(self), properties::config(self)];
        objects.extend(masters::services(self));
        if self.masters > 0 {
            objects.push(masters::set(self));
        }
        objects.push(match self.profile.workers {
            WorkerSet::StatefulSet => workers::stateful_set(self),
            WorkerSet::DaemonSet => workers::daemon_set(self),
        });
        if !self.fuse_disabled {
            objects.push(fuse::set(self));
        }
        objects
    }

    /// The volume that applications mount.
    pub fn persistent_volume(&self) -> Value {
        volume::persistent_volume(self)
    }

    /// The claim of the same name as the dataset, bound to that volume.
    pub fn persistent_volume_claim(&self) -> Value {
        volume::claim(self)
    }
}

#[cfg(test)]
mod tests;
