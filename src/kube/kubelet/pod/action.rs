//! What a pod's state machine is told and what it asks for.
//!
//! Plain data: the worker carries actions out and answers each with an event; the machine never waits.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};

use super::super::probe::{ProbeKind, ProbeSpec, Probed};
use crate::kube::runtime::{ContainerId, Exit, Sandbox, SandboxId, Signal};
use crate::rt::time::Duration;

/// The two clocks of a host, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Never goes back; what deadlines are measured by.
    pub mono: Duration,
    /// Since the Unix epoch; what users are shown. May jump.
    pub wall: Duration,
}

/// A container of the pod: init containers first, then the others, each in the order of the spec.
pub type Slot = usize;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum PodEvent {
    /// The object as the API server has it now.
    Object(Arc<Pod>),
    /// The object is gone from the API server.
    Removed,
    /// The kubelet must end the pod for its own reasons.
    Evict {
        /// `status.reason`.
        reason: String,
        /// `status.message`.
        message: String,
        /// At most this long.
        grace: Duration,
    },
    /// All volumes are mounted.
    VolumesMounted,
    /// All volumes are unmounted.
    VolumesUnmounted,
    /// The answer to [`Action::RunSandbox`].
    SandboxUp(Result<Sandbox, String>),
    /// The answer to [`Action::StopSandbox`].
    SandboxStopped,
    /// The answer to [`Action::Pull`].
    Pulled(Slot, Result<(), PullFailure>),
    /// The answer to [`Action::Start`].
    Started(Slot, Result<ContainerId, StartFailure>),
    /// A container ended.
    Exited(Slot, ContainerId, Exit),
    /// The answer to [`Action::Probe`].
    Probed(Slot, ContainerId, ProbeKind, Probed),
    /// The answer to [`Action::PreStop`], good or not.
    PreStopped(Slot, ContainerId),
    /// The hook of [`Action::PostStart`] failed.
    PostStartFailed(Slot, ContainerId, String),
}

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullFailure {
    /// `ErrImagePull`: the registry's message.
    Pull(String),
    /// `ErrImageNeverPull`.
    NeverPull,
}

/// Why a container does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// It could not be made (`CreateContainerConfigError`): a key or file of its spec is missing.
    Config(String),
    /// The runtime did not do it (`CreateContainerError`, `RunContainerError`).
    Runtime(String),
    /// It was made and its command could not be started (`StartError`).
    Command(String),
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Mount all volumes; goes on until it is done.
    MountVolumes,
    /// The volumes took too long: tell users which ones.
    TellUnmounted,
    /// Unmount all volumes; goes on until it is done.
    UnmountVolumes,
    /// Make the sandbox.
    RunSandbox {
        /// How many there were before.
        attempt: u32,
    },
    /// Take the pod's network.
    StopSandbox(SandboxId),
    /// See to it that the container's image is there, by its pull policy.
    Pull(Slot),
    /// Start a container.
    Start {
        /// Which.
        slot: Slot,
        /// How many there were before.
        attempt: u32,
        /// Where.
        sandbox: Sandbox,
    },
    /// Watch for the end of a container that is not known to have ended.
    Watch(Slot, ContainerId),
    /// Run the container's postStart hook.
    PostStart(Slot, ContainerId, LifecycleHandler),
    /// Run its preStop hook, at most that long.
    PreStop(Slot, ContainerId, LifecycleHandler, Duration),
    /// Signal a container.
    Signal(ContainerId, Signal),
    /// Ask a probe.
    Probe(Slot, ContainerId, ProbeKind, ProbeSpec),
    /// Tell users.
    Note {
        /// Otherwise `Normal`.
        warning: bool,
        /// `reason` of the Event.
        reason: &'static str,
        /// `message` of the Event.
        message: String,
    },
    /// All is ended and cleaned up: tell the status a last time, then delete the object with grace 0.
    Delete,
}

/// Actions so far, and when to look again if nothing happens.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// On the monotonic clock.
    pub wake: Option<Duration>,
}

impl Plan {
    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn normal(&mut self, reason: &'static str, message: impl Into<String>) {
        self.push(Action::Note { warning: false, reason, message: message.into() });
    }

    pub(super) fn warn(&mut self, reason: &'static str, message: impl Into<String>) {
        self.push(Action::Note { warning: true, reason, message: message.into() });
    }

    /// Look again at `due`, or earlier.
    pub(super) fn look_at(&mut self, due: Duration) {
        self.wake = Some(self.wake.map_or(due, |wake| wake.min(due)));
    }
}
