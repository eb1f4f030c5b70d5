//! What the controller of operations needs of their kind, so that one controller serves both.

use k8s_openapi::jiff::Timestamp;

use crate::kube::fluid::api::{DataBackup, DataLoad, OperationStatus};
use crate::kube::fluid::backup::BackupLocation;
use crate::kube::fluid::flavor::Flavor;
use crate::kube::kind::ApiObject;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// `Complete` instead of `Failed`.
    pub complete: bool,
    /// One word of why.
    pub reason: String,
    /// Why.
    pub message: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Where it ran, if that is known.
    pub node: String,
}

/// A kind of operation.
pub trait OperationKind: ApiObject {
    /// Its name in locks, events and finalizers.
    const TYPE: &'static str;
    /// Keeps it until its lock is given back.
    const FINALIZER: &'static str;
    /// What a second one does under the older rule while one runs: fail instead of wait.
    const CONFLICT_FAILS: bool;
    /// Namespace and name of its dataset.
    fn dataset(&self) -> (String, String);
    /// Why it can never be done on a runtime of this flavor: reason and message.
    ///
    /// # Errors
    /// That.
    fn check(&self, flavor: Flavor) -> Result<(), (&'static str, String)>;
    /// In how many seconds after its end it is deleted.
    fn ttl(&self) -> Option<i32>;
    /// Its status, to write.
    fn status_mut(&mut self) -> &mut OperationStatus;
    /// Its status.
    fn status(&self) -> OperationStatus;
}

impl OperationKind for DataLoad {
    const TYPE: &'static str = "DataLoad";
    const FINALIZER: &'static str = "fluid-dataload-controller-finalizer";
    const CONFLICT_FAILS: bool = false;

    fn dataset(&self) -> (String, String) {
        let own = self.metadata.namespace.clone().unwrap_or_default();
        let wanted = &self.spec.dataset;
        (if wanted.namespace.is_empty() { own } else { wanted.namespace.clone() }, wanted.name.clone())
    }

    fn check(&self, _: Flavor) -> Result<(), (&'static str, String)> {
        let own = self.metadata.namespace.clone().unwrap_or_default();
        let (namespace, name) = self.dataset();
        if namespace != own {
            let why = format!("the DataLoad is in {own} and its dataset {name} in {namespace}");
            return Err(("TargetDatasetNamespaceNotSame", why));
        }
        let wrong = self.spec.target.iter().find(|target| !target.path.starts_with('/') || target.path.contains(':'));
        wrong.map_or(Ok(()), |target| Err(("PathNotSupported", format!("{} is no path of the cache", target.path))))
    }

    fn ttl(&self) -> Option<i32> {
        self.spec.ttl_seconds_after_finished
    }

    fn status_mut(&mut self) -> &mut OperationStatus {
        self.status.get_or_insert_default()
    }

    fn status(&self) -> OperationStatus {
        self.status.clone().unwrap_or_default()
    }
}

impl OperationKind for DataBackup {
    const TYPE: &'static str = "DataBackup";
    const FINALIZER: &'static str = "fluid-databackup-controller-finalizer";
    const CONFLICT_FAILS: bool = true;

    fn dataset(&self) -> (String, String) {
        (self.metadata.namespace.clone().unwrap_or_default(), self.spec.dataset.clone())
    }

    fn check(&self, flavor: Flavor) -> Result<(), (&'static str, String)> {
        if flavor == Flavor::Jindo {
            return Err(("RuntimeNotSupported", "JindoFS has no backup".into()));
        }
        let path = BackupLocation::parse(&self.spec.backup_path);
        path.map(drop).map_err(|_| ("PathNotSupported", "Only support pvc and local path now".into()))
    }

    fn ttl(&self) -> Option<i32> {
        self.spec.ttl_seconds_after_finished
    }

    fn status_mut(&mut self) -> &mut OperationStatus {
        self.status.get_or_insert_default()
    }

    fn status(&self) -> OperationStatus {
        self.status.clone().unwrap_or_default()
    }
}
