//! The node's kernel and disks as volumes need them: mounts, and the few directories a kubelet makes.
//!
//! Implemented by `sim` over a node's [`MountTable`](super::mount::MountTable) and simulated disks; a test uses the table
//! alone. The same rules hold as for [`ContainerRuntime`](crate::kube::runtime::ContainerRuntime): state belongs to the
//! node, and calls may take time.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::mount::{Mount, MountError};

/// What every call gives.
pub type Mounted<'a, T> = Pin<Box<dyn Future<Output = Result<T, MountError>> + Send + 'a>>;

/// The node's kernel as kubelet and drivers share it.
pub type Host = Arc<dyn VolumeHost>;

/// Mounts and directories of one node. Paths are absolute.
pub trait VolumeHost: Send + Sync {
    /// The mount table, oldest first, and for each mount whether it answers (`false`: `ENOTCONN`).
    fn mounts(&self) -> Mounted<'_, Vec<(Mount, bool)>>;
    /// Mounts the file system of an attached device (its path, or the handle of its volume), made on first use.
    ///
    /// # Errors
    /// [`MountError::NotFound`] if the device is not attached to this node.
    fn mount_device(&self, device: String, target: String, read_only: bool) -> Mounted<'_, ()>;
    /// Mounts a new, empty tmpfs of at most `limit` bytes.
    fn mount_tmpfs(&self, target: String, limit: Option<u64>) -> Mounted<'_, ()>;
    /// `mount --bind`. The target is made if it is not there.
    ///
    /// # Errors
    /// [`MountError::NotConnected`] if the source is a fuse whose server is dead.
    fn bind(&self, source: String, target: String, read_only: bool) -> Mounted<'_, ()>;
    /// `umount` of the topmost mount at `target`.
    ///
    /// # Errors
    /// [`MountError::NotMounted`], [`MountError::Busy`].
    fn unmount(&self, target: String) -> Mounted<'_, ()>;
    /// `mkdir -p`.
    fn make_dir(&self, path: String) -> Mounted<'_, ()>;
    /// Whether there is such a directory or file; through dead mounts an error.
    fn exists(&self, path: String) -> Mounted<'_, bool>;
    /// `rm -rf` of what is on the node's own disks. Never follows a mount; nothing there is no error.
    ///
    /// # Errors
    /// [`MountError::Busy`] while something is mounted there or below.
    fn remove_tree(&self, path: String) -> Mounted<'_, ()>;
    /// Replaces the files of a directory, all at once as upstream's atomic writer does.
    fn write_files(&self, dir: String, files: BTreeMap<String, FileBytes>) -> Mounted<'_, ()>;
}

/// A file's content; left out of `Debug`, as it may be a Secret's.
#[derive(Clone, PartialEq, Eq)]
pub struct FileBytes(pub Vec<u8>);

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}
