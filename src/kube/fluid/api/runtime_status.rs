//! What Fluid's controllers tell about a runtime, whichever it is.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::NodeAffinity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::dataset::Mount;
use super::dataset_status::Condition;

/// Status of a runtime.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeStatus {
    /// Name of the ConfigMap that holds the values it was installed with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value_file: String,
    /// Of the masters.
    pub master_phase: RuntimePhase,
    /// Masters asked for.
    pub desired_master_number_scheduled: i32,
    /// Masters there are.
    pub current_master_number_scheduled: i32,
    /// Masters whose pods are ready.
    pub master_number_ready: i32,
    /// Of the workers.
    pub worker_phase: RuntimePhase,
    /// Workers asked for.
    pub desired_worker_number_scheduled: i32,
    /// Workers there are.
    pub current_worker_number_scheduled: i32,
    /// Workers whose pods are ready.
    pub worker_number_ready: i32,
    /// Workers that can serve.
    pub worker_number_available: i32,
    /// Workers that cannot.
    pub worker_number_unavailable: i32,
    /// Of the fuse pods.
    pub fuse_phase: RuntimePhase,
    /// Nodes that ask for a fuse pod.
    pub desired_fuse_number_scheduled: i32,
    /// Fuse pods there are.
    pub current_fuse_number_scheduled: i32,
    /// Fuse pods that are ready.
    pub fuse_number_ready: i32,
    /// Fuse pods that can serve.
    pub fuse_number_available: i32,
    /// Fuse pods that cannot.
    pub fuse_number_unavailable: i32,
    /// From creation to readiness, as Go prints a duration; empty before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setup_duration: String,
    /// What is known, with times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// As the dataset's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cache_states: BTreeMap<String, String>,
    /// Label selector of the workers, for `kubectl scale`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// When the masters got their mounts. One second is the resolution of this type, upstream as here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_time: Option<Time>,
    /// The mounts that the masters have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Nodes that hold caches, for applications that want to be near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_affinity: Option<NodeAffinity>,
}

/// Where the pods of one role stand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuntimePhase {
    /// Not installed.
    #[default]
    #[serde(rename = "")]
    None,
    /// None is ready.
    NotReady,
    /// Some are.
    PartialReady,
    /// All are, or none is asked for.
    Ready,
}

impl RuntimePhase {
    /// Fluid's rule for a StatefulSet (`pkg/ctrl`): none desired is ready.
    pub const fn of(desired: i32, ready: i32) -> Self {
        if desired == 0 || ready >= desired {
            Self::Ready
        } else if ready > 0 {
            Self::PartialReady
        } else {
            Self::NotReady
        }
    }
}

impl fmt::Display for RuntimePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "",
            Self::NotReady => "NotReady",
            Self::PartialReady => "PartialReady",
            Self::Ready => "Ready",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::RuntimePhase::{self, NotReady, PartialReady, Ready};

    #[test]
    fn a_phase_follows_the_counts_as_in_fluid() {
        for (desired, ready, phase) in
            [(0, 0, Ready), (3, 3, Ready), (2, 3, Ready), (3, 2, PartialReady), (3, 1, PartialReady), (3, 0, NotReady)]
        {
            assert_eq!(RuntimePhase::of(desired, ready), phase, "{ready} of {desired}");
        }
    }
}
