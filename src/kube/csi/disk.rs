//! The driver of cloud disks: a device that attaching gave, mounted once on the node and bound into each pod.
//!
//! Rule: the device must be attached to this node before it can be staged, and stays mounted as long as it is staged; who
//! detaches it earlier takes it from under a writer.

use super::driver::{CsiDriver, CsiError, Done, Publish, Stage, Unpublish, Unstage};
use super::host::{Host, VolumeHost};
use super::mount::MountError;

/// Driver's name, if the cluster does not say another.
pub const DISK_DRIVER: &str = "disk.csi.stormglass.dev";

/// Mounts attached disks.
pub struct DiskDriver {
    name: String,
    host: Host,
}

impl DiskDriver {
    /// A driver called `name` (a class's `provisioner`) on the node of `host`.
    pub fn new(name: impl Into<String>, host: Host) -> Self {
        Self { name: name.into(), host }
    }
}

/// Whether something is mounted at exactly `target`.
///
/// # Errors
/// The kernel's.
pub async fn is_mounted(host: &dyn VolumeHost, target: &str) -> Result<bool, MountError> {
    Ok(host.mounts().await?.iter().any(|(mount, _)| mount.target == target))
}

/// Unmounts `target` until nothing is mounted there, dead mounts too (F-10), and removes the directory.
///
/// # Errors
/// The first error but that nothing is mounted.
pub async fn unmount_all(host: &dyn VolumeHost, target: &str) -> Result<(), MountError> {
    loop {
        match host.unmount(target.to_owned()).await {
            Ok(()) => {}
            Err(MountError::NotMounted(_)) => break,
            Err(error) => return Err(error),
        }
    }
    host.remove_tree(target.to_owned()).await
}

impl CsiDriver for DiskDriver {
    fn name(&self) -> &str {
        &self.name
    }

    fn attach_required(&self) -> bool {
        true
    }

    fn stage(&self, request: Stage) -> Done<'_> {
        Box::pin(async move {
            let Some(device) = request.device else {
                let message = format!("volume {} has no device", request.volume.handle);
                return Err(CsiError::Rpc { code: "FailedPrecondition", message });
            };
            if is_mounted(&*self.host, &request.staging).await? {
                return Ok(());
            }
            self.host.make_dir(request.staging.clone()).await?;
            Ok(self.host.mount_device(device, request.staging, false).await?)
        })
    }

    fn publish(&self, request: Publish) -> Done<'_> {
        Box::pin(async move {
            if is_mounted(&*self.host, &request.target).await? {
                return Ok(());
            }
            Ok(self.host.bind(request.staging, request.target, request.volume.read_only).await?)
        })
    }

    fn unpublish(&self, request: Unpublish) -> Done<'_> {
        Box::pin(async move { Ok(unmount_all(&*self.host, &request.target).await?) })
    }

    fn unstage(&self, request: Unstage) -> Done<'_> {
        Box::pin(async move { Ok(unmount_all(&*self.host, &request.staging).await?) })
    }
}
