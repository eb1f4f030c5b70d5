//! Where versions of Fluid differ, each difference a switch of its own.
//!
//! Sources: fluid-cloudnative/fluid tags v0.7.0 (2022, the time of the GooseFS and Alluxio documents), v1.0.8, and its
//! head of 2026. A profile names a version; a scenario may turn a switch by itself.

/// Which kind of set runs the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerSet {
    /// A DaemonSet on the nodes that Fluid has labelled: `hbase-worker-cx8x7` (v0.6 and before, the GooseFS document).
    DaemonSet,
    /// A StatefulSet: `hbase-worker-0`.
    StatefulSet,
}

/// Which nodes run a fuse pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuseNodes {
    /// Those that run workers, from the beginning (v0.6 and before, the GooseFS document).
    WithWorkers,
    /// Those where the CSI plugin was asked for a mount.
    OnDemand,
}

/// When a dataset is `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthRule {
    /// When any set has fewer pods ready than there are, though the quorum may serve (v0.7).
    AnyNotReady,
    /// When a set is gone; with no pod ready the runtime is `NotReady` and the dataset stays `Bound` (v1.0).
    SetGone,
}

/// What is done about an even number of masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvenMasters {
    /// Refused, as the GooseFS document asks. No code of Fluid does that.
    Refuse,
    /// Accepted with a warning event.
    Warn,
}

/// How the master that a backup is taken from is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupMaster {
    /// With several masters the leader is asked for (v0.7).
    LeaderOfMasters,
    /// With several *workers* the leader is asked for, else it is master 0: `spec.replicas` is read where `master.replicas` is
    /// meant (v1.0 and later). With three masters and one worker a follower may be asked.
    LeaderOfWorkers,
}

/// What a second operation of a kind does while one runs on the same dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondOperation {
    /// A DataLoad waits, a DataBackup fails (v0.7).
    WaitOrFail,
    /// Both run: the lock is a list (v1.0).
    Run,
}

/// The switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Tag of Fluid's own images.
    pub version: &'static str,
    /// Of the workers.
    pub workers: WorkerSet,
    /// Of the fuse pods.
    pub fuse: FuseNodes,
    /// Of the masters: all at once instead of one after the other.
    pub parallel_masters: bool,
    /// When a dataset is `Failed`.
    pub health: HealthRule,
    /// Whether a runtime that is not healthy says so itself. v0.7 works its phase out and then returns before it is written: the
    /// dataset is `Failed` and its runtime still `Ready` (F-03).
    pub unhealthy_written: bool,
    /// What is done about an even number of masters.
    pub even_masters: EvenMasters,
    /// Whether the volume is named `{namespace}-{name}` instead of `{name}`.
    pub namespaced_volume: bool,
    /// Capacity of the volume, which means nothing.
    pub volume_capacity: &'static str,
    /// Access mode of the claim if the dataset names none.
    pub access_mode: &'static str,
    /// Feature gate `FuseRecovery` of the CSI plugin: off unless an installation turns it on.
    pub fuse_recovery: bool,
    /// How the master that a backup is taken from is found.
    pub backup_master: BackupMaster,
    /// What a second operation of a kind does while one runs on the same dataset.
    pub second_operation: SecondOperation,
}

impl Profile {
    /// The GooseFS document (April 2022).
    pub const GOOSEFS_DOCUMENT: Self = Self {
        version: "v0.6.0",
        workers: WorkerSet::DaemonSet,
        fuse: FuseNodes::WithWorkers,
        parallel_masters: false,
        health: HealthRule::AnyNotReady,
        unhealthy_written: false,
        even_masters: EvenMasters::Refuse,
        namespaced_volume: false,
        volume_capacity: "100Gi",
        access_mode: "ReadWriteMany",
        fuse_recovery: false,
        backup_master: BackupMaster::LeaderOfMasters,
        second_operation: SecondOperation::WaitOrFail,
    };
    /// v0.7.0, the time of the Alluxio document.
    pub const V0_7: Self = Self {
        version: "v0.7.0",
        workers: WorkerSet::StatefulSet,
        fuse: FuseNodes::OnDemand,
        parallel_masters: false,
        health: HealthRule::AnyNotReady,
        unhealthy_written: false,
        even_masters: EvenMasters::Warn,
        namespaced_volume: false,
        volume_capacity: "100Gi",
        access_mode: "ReadWriteMany",
        fuse_recovery: false,
        backup_master: BackupMaster::LeaderOfMasters,
        second_operation: SecondOperation::WaitOrFail,
    };
    /// v1.0.8 and later.
    pub const V1_0: Self = Self {
        version: "v1.0.8",
        workers: WorkerSet::StatefulSet,
        fuse: FuseNodes::OnDemand,
        parallel_masters: true,
        health: HealthRule::SetGone,
        unhealthy_written: true,
        even_masters: EvenMasters::Warn,
        namespaced_volume: true,
        volume_capacity: "100Pi",
        access_mode: "ReadOnlyMany",
        fuse_recovery: false,
        backup_master: BackupMaster::LeaderOfWorkers,
        second_operation: SecondOperation::Run,
    };

    /// Name of the volume of a dataset.
    pub fn volume(&self, namespace: &str, name: &str) -> String {
        if self.namespaced_volume { format!("{namespace}-{name}") } else { name.into() }
    }
}
