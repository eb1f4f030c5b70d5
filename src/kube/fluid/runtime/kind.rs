//! What the runtime controller needs of a runtime's kind, so that one controller serves all three.

use crate::kube::fluid::api::{AlluxioRuntime, Dataset, GooseFsRuntime, JindoRuntime, RuntimeStatus};
use crate::kube::fluid::chart::{Blueprint, PortSet};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::profile::Profile;
use crate::kube::kind::ApiObject;

/// A kind of runtime.
pub trait RuntimeKind: ApiObject {
    /// Which cache.
    const FLAVOR: Flavor;
    /// What is installed for it.
    fn blueprint(&self, dataset: &Dataset, profile: Profile, ports: PortSet) -> Blueprint;
    /// Its status; an empty one before there is any.
    fn status(&self) -> RuntimeStatus;
    /// Its status, to write.
    fn status_mut(&mut self) -> &mut RuntimeStatus;
}

macro_rules! runtime_kind {
    ($kind:ty, $flavor:ident, $blueprint:ident) => {
        impl RuntimeKind for $kind {
            const FLAVOR: Flavor = Flavor::$flavor;

            fn blueprint(&self, dataset: &Dataset, profile: Profile, ports: PortSet) -> Blueprint {
                Blueprint::$blueprint(dataset, &self.spec, profile, ports)
            }

            fn status(&self) -> RuntimeStatus {
                self.status.clone().unwrap_or_default()
            }

            fn status_mut(&mut self) -> &mut RuntimeStatus {
                self.status.get_or_insert_default()
            }
        }
    };
}

runtime_kind!(AlluxioRuntime, Alluxio, alluxio);
runtime_kind!(GooseFsRuntime, GooseFs, goosefs);
runtime_kind!(JindoRuntime, Jindo, jindo);
