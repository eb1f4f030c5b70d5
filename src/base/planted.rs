//! Planted bugs: deliberate mistakes that prove the oracles bite.
//!
//! Every one of them is asked for through [`planted`] and listed in [`Bug`]. A build without the feature `planted` turns
//! the question into a constant `false`, and the compiler drops what stood behind it. A plant holds for the thread that
//! runs a world and for as long as its guard lives.

use std::fmt;
use std::str::FromStr;

/// The registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The journal acknowledges entries before they are synced (A-06, O-02).
    AckBeforeDurable,
    /// A standby answers reads from its own state (E-08).
    StandbyReads,
    /// The retry cache forgets: a retried operation is applied again.
    RetryCacheForgets,
    /// A worker serves a block without verifying its checksums (J-16).
    UnverifiedBlock,
    /// A worker acknowledges a written block that it has not synced.
    UnsyncedBlock,
    /// Fluid's fuse recovery does not hold the lock that an unpublish holds (F-08).
    RecoveryWithoutLock,
    /// A restarted kubelet does not look for containers that run already (K-01): one identity, two processes.
    KubeletForgetsContainers,
    /// A worker pins a written block with its next heartbeat only.
    LatePin,
    /// A leader serves although its journal was put back to an older state (E-06).
    JournalRollbackUnnoticed,
    /// A restarted kubelet takes a container's readiness over without comparing the container's id (K-15).
    InheritedReadiness,
    /// A driver lets an attachment go before the cloud has detached (K-05): a crash between leaves the disk where it was.
    DanglingAttachment,
    /// A delayed volume is made in a zone by its name, and not in that of the node that was chosen for its pod (K-10).
    ProvisionerIgnoresNode,
    /// A disk is detached as soon as no pod needs it, though its node still uses it (K-04).
    DetachIgnoresUse,
    /// A pod that has ended still counts as a user of its disk (K-17).
    FinishedPodKeepsDisk,
    /// Fluid mounts under-stores when a runtime is set up and never again (F-01).
    MountsOnlyInSetup,
    /// Fluid's health check returns before it has written that something is unhealthy (F-03).
    StatusWriteSkipped,
    /// The journal of several masters is left at its default, so that each is a cluster of its own (F-05).
    JournalLeftLocal,
    /// An unpublish fails while the fuse behind the mount is dead (F-10).
    UnpublishNeedsFuse,
    /// Fluid's fuse recovery binds again what is well, each time that it looks (F-11).
    RecoveryEndless,
    /// A release of which anything is installed counts as installed (F-17).
    HalfInstallTakenForWhole,
    /// A runtime that comes before its dataset is not looked at again (F-25).
    RuntimeNotAskedAgain,
    /// What is logged of a mount holds the values of its secrets, against what Fluid's `encryptOptions` promise.
    KeysInLog,
    /// A file is opened with the length that a listing told some time ago (J-01).
    ListingNotRevalidated,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::AckBeforeDurable,
        Self::StandbyReads,
        Self::RetryCacheForgets,
        Self::UnverifiedBlock,
        Self::UnsyncedBlock,
        Self::RecoveryWithoutLock,
        Self::KubeletForgetsContainers,
        Self::InheritedReadiness,
        Self::DanglingAttachment,
        Self::ProvisionerIgnoresNode,
        Self::DetachIgnoresUse,
        Self::FinishedPodKeepsDisk,
        Self::MountsOnlyInSetup,
        Self::StatusWriteSkipped,
        Self::JournalLeftLocal,
        Self::UnpublishNeedsFuse,
        Self::RecoveryEndless,
        Self::HalfInstallTakenForWhole,
        Self::RuntimeNotAskedAgain,
        Self::KeysInLog,
        Self::ListingNotRevalidated,
        Self::LatePin,
        Self::JournalRollbackUnnoticed,
    ];

    /// Its name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeDurable => "ack-before-durable",
            Self::StandbyReads => "standby-reads",
            Self::RetryCacheForgets => "retry-cache-forgets",
            Self::UnverifiedBlock => "unverified-block",
            Self::UnsyncedBlock => "unsynced-block",
            Self::RecoveryWithoutLock => "recovery-without-lock",
            Self::KubeletForgetsContainers => "kubelet-forgets-containers",
            Self::InheritedReadiness => "inherited-readiness",
            Self::DanglingAttachment => "dangling-attachment",
            Self::ProvisionerIgnoresNode => "provisioner-ignores-node",
            Self::DetachIgnoresUse => "detach-ignores-use",
            Self::FinishedPodKeepsDisk => "finished-pod-keeps-disk",
            Self::MountsOnlyInSetup => "mounts-only-in-setup",
            Self::StatusWriteSkipped => "status-write-skipped",
            Self::JournalLeftLocal => "journal-left-local",
            Self::UnpublishNeedsFuse => "unpublish-needs-fuse",
            Self::RecoveryEndless => "recovery-endless",
            Self::HalfInstallTakenForWhole => "half-install-taken-for-whole",
            Self::RuntimeNotAskedAgain => "runtime-not-asked-again",
            Self::KeysInLog => "keys-in-log",
            Self::ListingNotRevalidated => "listing-not-revalidated",
            Self::LatePin => "late-pin",
            Self::JournalRollbackUnnoticed => "journal-rollback-unnoticed",
        }
    }

    #[cfg(feature = "planted")]
    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|bug| bug.name() == text)
            .ok_or_else(|| format!("no such bug; use one of {}", names()))
    }
}

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<u64> = const { Cell::new(0) };
    }

    /// Takes its bugs back when dropped.
    #[must_use = "the bugs are gone when the guard is dropped"]
    pub struct Plant {
        before: u64,
    }

    /// Plants `bugs` on this thread.
    ///
    /// # Errors
    /// Never in this build; in one without the feature `planted`, if any bug is asked for.
    pub fn plant(bugs: &[Bug]) -> Result<Plant, String> {
        let before = PLANTED.get();
        PLANTED.set(bugs.iter().fold(before, |all, bug| all | bug.bit()));
        Ok(Plant { before })
    }

    impl Drop for Plant {
        fn drop(&mut self) {
            PLANTED.set(self.before);
        }
    }

    /// Whether `bug` is planted on this thread.
    #[inline]
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() & bug.bit() != 0
    }
}

#[cfg(not(feature = "planted"))]
mod switch {
    use super::Bug;

    /// Holds nothing: this build has no planted bugs.
    #[must_use = "for the same reason as in a build that has them"]
    pub struct Plant;

    /// Plants nothing.
    ///
    /// # Errors
    /// If any bug is asked for.
    pub fn plant(bugs: &[Bug]) -> Result<Plant, String> {
        match bugs.first() {
            None => Ok(Plant),
            Some(bug) => Err(format!("this build has no planted bugs ({bug}); build with the feature `planted`")),
        }
    }

    /// False.
    #[inline(always)]
    pub const fn planted(_: Bug) -> bool {
        false
    }
}

pub use switch::{Plant, plant, planted};

#[cfg(all(test, feature = "planted"))]
mod tests {
    use super::*;

    #[test]
    fn a_plant_lasts_as_long_as_its_guard() {
        assert!(Bug::ALL.iter().all(|bug| !planted(*bug)));
        let guard = plant(&[Bug::StandbyReads]).unwrap();
        assert!(planted(Bug::StandbyReads) && !planted(Bug::UnverifiedBlock));
        drop(guard);
        assert!(!planted(Bug::StandbyReads));
    }

    #[test]
    fn names_read_back() {
        for bug in Bug::ALL {
            assert_eq!(bug.name().parse(), Ok(bug));
        }
        assert!("leap-second".parse::<Bug>().unwrap_err().contains("ack-before-durable"));
    }
}
