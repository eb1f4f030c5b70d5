//! The images of Fluid's and the caches' containers, and which program each container runs.
//!
//! Rule: whoever launches a container asks [`Program::of`]; names and arguments are written here and nowhere else. Names are
//! those of upstream's charts without their registries; a tag is looked at by nobody.

use super::flavor::Flavor;

/// Image of `dataset-controller`.
pub const DATASET_CONTROLLER: &str = "fluidcloudnative/dataset-controller";
/// Image of the CSI plugin.
pub const CSI: &str = "fluidcloudnative/fluid-csi";
/// Image of the container that tells the kubelet of the plugin.
pub const REGISTRAR: &str = "fluidcloudnative/csi-node-driver-registrar";

/// First argument of a container that loads data.
pub const LOAD: &str = "/scripts/dataload.sh";
/// First argument of a container that makes a backup.
pub const BACKUP: &str = "/scripts/databackup.sh";

/// Image of a runtime controller.
pub const fn runtime_controller(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Alluxio => "fluidcloudnative/alluxioruntime-controller",
        Flavor::GooseFs => "fluidcloudnative/goosefsruntime-controller",
        Flavor::Jindo => "fluidcloudnative/jindoruntime-controller",
    }
}

/// Image of a cache's masters, workers, fuse pods and tools.
pub const fn cache(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Alluxio => "alluxio/alluxio",
        Flavor::GooseFs => "goosefs/goosefs",
        Flavor::Jindo => "jindofs/smartdata",
    }
}

/// What a container of these images runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// [`super::controller::dataset`].
    DatasetController,
    /// [`super::controller::runtime`] for the flavor's kind.
    RuntimeController(Flavor),
    /// Waits: the kubelet knows the plugin from its own container.
    Registrar,
    /// [`crate::kube::csi::fluid::FluidPlugin`] on the container's node.
    CsiPlugin,
    /// A master.
    Master(Flavor),
    /// A worker.
    Worker(Flavor),
    /// A job master or job worker beside a master or worker.
    JobService(Flavor),
    /// A fuse mount.
    Fuse(Flavor),
    /// [`super::operation::program::load`].
    DataLoad(Flavor),
    /// [`super::operation::program::back_up`].
    DataBackup(Flavor),
}

impl Program {
    /// That of a container; `None` if the image is no image of Fluid's, or its arguments ask for nothing it has.
    pub fn of(image: &str, args: &[String]) -> Option<Self> {
        let name = untagged(image);
        match name {
            DATASET_CONTROLLER => return Some(Self::DatasetController),
            CSI => return Some(Self::CsiPlugin),
            REGISTRAR => return Some(Self::Registrar),
            _ => {}
        }
        if let Some(flavor) = Flavor::ALL.into_iter().find(|flavor| runtime_controller(*flavor) == name) {
            return Some(Self::RuntimeController(flavor));
        }
        let flavor = Flavor::ALL.into_iter().find(|flavor| cache(*flavor) == name)?;
        match args.first()?.as_str() {
            "master-only" | "namespace" => Some(Self::Master(flavor)),
            "worker-only" | "storage" => Some(Self::Worker(flavor)),
            "job-master" | "job-worker" => Some(Self::JobService(flavor)),
            "fuse" => Some(Self::Fuse(flavor)),
            LOAD => Some(Self::DataLoad(flavor)),
            BACKUP => Some(Self::DataBackup(flavor)),
            _ => None,
        }
    }
}

/// The image's name without its tag.
fn untagged(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_image_and_first_argument() {
        let rows = [
            ("fluidcloudnative/dataset-controller:v1.0.8", "start", Some(Program::DatasetController)),
            ("fluidcloudnative/goosefsruntime-controller", "start", Some(Program::RuntimeController(Flavor::GooseFs))),
            ("fluidcloudnative/fluid-csi:v0.7.0", "--v=5", Some(Program::CsiPlugin)),
            ("alluxio/alluxio:2.9", "master-only", Some(Program::Master(Flavor::Alluxio))),
            ("jindofs/smartdata", "storage", Some(Program::Worker(Flavor::Jindo))),
            ("goosefs/goosefs", LOAD, Some(Program::DataLoad(Flavor::GooseFs))),
            ("alluxio/alluxio", "format", None),
            ("host:5000/alluxio/alluxio", "fuse", None),
            ("nginx:1.27", "master-only", None),
        ];
        for (image, arg, want) in rows {
            assert_eq!(Program::of(image, &[arg.to_string()]), want, "{image} {arg}");
        }
        assert_eq!(Program::of("alluxio/alluxio", &[]), None);
    }
}
