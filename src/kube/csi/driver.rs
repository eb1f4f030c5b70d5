//! The CSI node service as a trait, and the drivers that a node's kubelet knows.
//!
//! Rule: every call may come twice (a kubelet that restarts repeats what it is not sure of) and must then succeed again.
//! Controller-side calls (attach, provision) are not here: `volume` decides them and the world does them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use super::mount::MountError;
use crate::base::lock;

/// What every call gives.
pub type Done<'a> = Pin<Box<dyn Future<Output = Result<(), CsiError>> + Send + 'a>>;

/// A volume as its PersistentVolume describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CsiVolume {
    /// Driver's name.
    pub driver: String,
    /// `volumeHandle`: the driver's name for it.
    pub handle: String,
    /// The PersistentVolume's name.
    pub pv: String,
    /// `volumeAttributes`.
    pub attributes: BTreeMap<String, String>,
    /// No writes.
    pub read_only: bool,
}

impl CsiVolume {
    /// The name in `volumesInUse` and `volumesAttached`: upstream's unique volume name.
    pub fn unique_name(&self) -> String {
        format!("kubernetes.io/csi/{}^{}", self.driver, self.handle)
    }
}

/// NodeStage: once a node and volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What.
    pub volume: CsiVolume,
    /// The node's global mount of the volume.
    pub staging: String,
    /// The device that attaching gave, or the volume's handle if it gave no name; none for a driver that needs none.
    pub device: Option<String>,
}

/// NodePublish: once a pod and volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// What.
    pub volume: CsiVolume,
    /// Where it was staged.
    pub staging: String,
    /// The pod's own mount.
    pub target: String,
}

/// NodeUnpublish: the target alone tells what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpublish {
    /// The pod's own mount.
    pub target: String,
}

/// NodeUnstage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstage {
    /// The driver's name for the volume.
    pub handle: String,
    /// The node's global mount.
    pub staging: String,
}

/// A node plugin. Called by the kubelet, possibly for several volumes at once.
pub trait CsiDriver: Send + Sync {
    /// Its name: `spec.csi.driver`.
    fn name(&self) -> &str;
    /// Whether a volume must be attached to the node first (`CSIDriver.spec.attachRequired`).
    fn attach_required(&self) -> bool;
    /// Makes the volume ready on the node.
    fn stage(&self, request: Stage) -> Done<'_>;
    /// Shows the volume to one pod.
    fn publish(&self, request: Publish) -> Done<'_>;
    /// Takes it from one pod.
    fn unpublish(&self, request: Unpublish) -> Done<'_>;
    /// The last pod of the node is done with it.
    fn unstage(&self, request: Unstage) -> Done<'_>;
}

/// Why a driver did not do it. Always worth another try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsiError {
    /// The plugin is not running on this node, or never was.
    #[error("kubernetes.io/csi: driver name {0} not found in the list of registered CSI drivers")]
    NotRegistered(String),
    /// The kernel refused.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The driver refused, with gRPC's code and its message.
    #[error("rpc error: code = {code} desc = {message}")]
    Rpc {
        /// `Internal`, `DeadlineExceeded`, …
        code: &'static str,
        /// Why.
        message: String,
    },
}

/// The drivers registered with one kubelet. A plugin's pod registers when it starts and is gone when it dies.
#[derive(Default, Clone)]
pub struct CsiDrivers(Arc<Mutex<BTreeMap<String, Arc<dyn CsiDriver>>>>);

impl CsiDrivers {
    /// Adds or replaces a driver.
    pub fn register(&self, driver: Arc<dyn CsiDriver>) {
        lock(&self.0).insert(driver.name().to_owned(), driver);
    }

    /// The plugin is gone.
    pub fn unregister(&self, name: &str) {
        lock(&self.0).remove(name);
    }

    /// The driver of that name.
    ///
    /// # Errors
    /// [`CsiError::NotRegistered`].
    pub fn get(&self, name: &str) -> Result<Arc<dyn CsiDriver>, CsiError> {
        lock(&self.0).get(name).cloned().ok_or_else(|| CsiError::NotRegistered(name.to_owned()))
    }

    /// Names of all, sorted; they stand in the node's CSINode.
    pub fn names(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }
}

/// Serialises the calls for one target, so that a recovery never mounts what an unpublish has just taken away (F-08).
#[derive(Default, Clone)]
pub struct TargetLocks(Arc<Mutex<std::collections::BTreeSet<String>>>);

impl TargetLocks {
    /// Takes the lock of `target` if it is free; upstream's plugins answer `Aborted` otherwise and are asked again.
    pub fn try_lock(&self, target: &str) -> Option<TargetGuard> {
        let taken = lock(&self.0).insert(target.to_owned());
        taken.then(|| TargetGuard { locks: self.clone(), target: target.to_owned() })
    }
}

/// Holds one target's lock.
pub struct TargetGuard {
    locks: TargetLocks,
    target: String,
}

impl Drop for TargetGuard {
    fn drop(&mut self) {
        lock(&self.locks.0).remove(&self.target);
    }
}
