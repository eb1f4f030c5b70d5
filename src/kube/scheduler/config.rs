//! Every number of the scheduler, with upstream's default.

use std::time::Duration;

/// What the scheduler is configured with. Defaults: kube-scheduler, `KubeSchedulerConfiguration` v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Only pods whose `schedulerName` is this are its own.
    pub name: String,
    /// The first wait of a pod that could not be placed (`podInitialBackoffSeconds`).
    pub backoff_initial: Duration,
    /// The longest such wait (`podMaxBackoffSeconds`).
    pub backoff_max: Duration,
    /// A pod does not stay unschedulable longer than this without another try (`podMaxInUnschedulablePodsDuration`).
    pub unschedulable_max: Duration,
    /// How long a pod waits for its volumes to be bound and provisioned (`bindTimeoutSeconds`).
    pub bind_timeout: Duration,
    /// How much each score counts.
    pub weights: Weights,
    /// How much a required affinity of a running pod counts in a score (`hardPodAffinityWeight`).
    pub hard_affinity_weight: i64,
    /// Clusters up to this size are searched whole (`minFeasibleNodesToFind`).
    pub feasible_min: usize,
    /// Whether pods without spread constraints get the system's soft ones (`defaultingType: System`).
    pub default_spread: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            name: "default-scheduler".into(),
            backoff_initial: Duration::from_secs(1),
            backoff_max: Duration::from_secs(10),
            unschedulable_max: Duration::from_secs(300),
            bind_timeout: Duration::from_secs(600),
            weights: Weights::default(),
            hard_affinity_weight: 1,
            feasible_min: 100,
            default_spread: true,
        }
    }
}

/// How much each score counts. Defaults: upstream's `MultiPoint` plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Fewer taints of effect `PreferNoSchedule` that the pod does not tolerate.
    pub taint_toleration: i64,
    /// Preferred node affinity.
    pub node_affinity: i64,
    /// Soft spread constraints.
    pub pod_topology_spread: i64,
    /// Preferred affinity and anti-affinity between pods.
    pub inter_pod_affinity: i64,
    /// Least allocated.
    pub node_resources_fit: i64,
    /// CPU and memory used in equal shares.
    pub balanced_allocation: i64,
    /// Images that are there.
    pub image_locality: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            taint_toleration: 3,
            node_affinity: 2,
            pod_topology_spread: 2,
            inter_pod_affinity: 2,
            node_resources_fit: 1,
            balanced_allocation: 1,
            image_locality: 1,
        }
    }
}
