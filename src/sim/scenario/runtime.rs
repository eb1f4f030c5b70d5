//! The runtime of a scenario, whichever cache it is of.

use crate::kube::fluid::api::{
    AlluxioRuntimeSpec, GooseFsRuntimeSpec, JindoRuntimeSpec, Manifest, ObjectMeta, TieredStore,
};
use crate::kube::fluid::flavor::Flavor;

/// A runtime manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum RuntimeManifest {
    /// `AlluxioRuntime`.
    Alluxio(Manifest<AlluxioRuntimeSpec>),
    /// `GooseFSRuntime`.
    GooseFs(Manifest<GooseFsRuntimeSpec>),
    /// `JindoRuntime`.
    Jindo(Manifest<JindoRuntimeSpec>),
}

impl RuntimeManifest {
    /// The kinds, as manifests write them.
    pub const KINDS: [&'static str; 3] = ["AlluxioRuntime", "GooseFSRuntime", "JindoRuntime"];

    /// Which cache.
    pub const fn flavor(&self) -> Flavor {
        match self {
            Self::Alluxio(_) => Flavor::Alluxio,
            Self::GooseFs(_) => Flavor::GooseFs,
            Self::Jindo(_) => Flavor::Jindo,
        }
    }

    /// Name and namespace.
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Alluxio(manifest) => &manifest.metadata,
            Self::GooseFs(manifest) => &manifest.metadata,
            Self::Jindo(manifest) => &manifest.metadata,
        }
    }

    /// How many masters there will be: a JindoRuntime has three or one, whatever it asks for.
    pub const fn masters(&self) -> u32 {
        match self {
            Self::Alluxio(manifest) => manifest.spec.master.replicas,
            Self::GooseFs(manifest) => manifest.spec.master.replicas,
            Self::Jindo(manifest) => match manifest.spec.master.replicas {
                3 => 3,
                _ => 1,
            },
        }
    }

    /// How many workers it asks for.
    pub const fn workers(&self) -> u32 {
        match self {
            Self::Alluxio(manifest) => manifest.spec.replicas,
            Self::GooseFs(manifest) => manifest.spec.replicas,
            Self::Jindo(manifest) => manifest.spec.replicas,
        }
    }

    /// Where workers keep blocks.
    pub const fn tieredstore(&self) -> &TieredStore {
        match self {
            Self::Alluxio(manifest) => &manifest.spec.tieredstore,
            Self::GooseFs(manifest) => &manifest.spec.tieredstore,
            Self::Jindo(manifest) => &manifest.spec.tieredstore,
        }
    }

    /// The spec as it was written, for checks of its fields.
    pub fn spec(&self) -> serde_json::Value {
        let spec = match self {
            Self::Alluxio(manifest) => serde_json::to_value(&manifest.spec),
            Self::GooseFs(manifest) => serde_json::to_value(&manifest.spec),
            Self::Jindo(manifest) => serde_json::to_value(&manifest.spec),
        };
        spec.unwrap_or_default()
    }
}
