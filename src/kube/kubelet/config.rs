//! Every number of a kubelet, and what its node is.
//!
//! Defaults are upstream's (`pkg/kubelet/apis/config`, kubelet's constants), as named at each field.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Taint;

use crate::rt::time::Duration;

/// The node that the kubelet registers.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// `InternalIP`; pods with the host's network have it too.
    pub ip: IpAddr,
    /// Labels beside `kubernetes.io/hostname`, `kubernetes.io/os`, `kubernetes.io/arch`.
    pub labels: BTreeMap<String, String>,
    /// `topology.kubernetes.io/zone`, if the node is in one.
    pub zone: Option<String>,
    /// `topology.kubernetes.io/region`, if the node is in one.
    pub region: Option<String>,
    /// Taints at registration.
    pub taints: Vec<Taint>,
    /// What the machine has.
    pub capacity: Capacity,
    /// What of it is kept from pods (`kubeReserved`, `systemReserved`).
    pub reserved: Capacity,
    /// Told to users.
    pub kubelet_version: String,
    /// Told to users.
    pub os_image: String,
}

/// Resources of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the node's own disk.
    pub ephemeral_storage: u64,
    /// Pods: 110 (`maxPods`).
    pub pods: u64,
}

impl Capacity {
    /// Nothing.
    pub const NONE: Self = Self { cpu_milli: 0, memory: 0, ephemeral_storage: 0, pods: 0 };

    /// What is left of it without `less`.
    #[must_use]
    pub fn without(self, less: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(less.cpu_milli),
            memory: self.memory.saturating_sub(less.memory),
            ephemeral_storage: self.ephemeral_storage.saturating_sub(less.ephemeral_storage),
            pods: self.pods.saturating_sub(less.pods),
        }
    }
}

impl NodeConfig {
    /// A node of four cores, 16 GiB of memory, 100 GiB of disk and 110 pods.
    pub fn new(name: impl Into<String>, ip: IpAddr) -> Self {
        Self {
            name: name.into(),
            ip,
            labels: BTreeMap::new(),
            zone: None,
            region: None,
            taints: Vec::new(),
            capacity: Capacity { cpu_milli: 4000, memory: 16 << 30, ephemeral_storage: 100 << 30, pods: 110 },
            reserved: Capacity::NONE,
            kubelet_version: "v1.37.0".into(),
            os_image: "Stormglass".into(),
        }
    }
}

/// An exponential back-off: the first wait, doubled each time up to the last; forgotten after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub most: Duration,
    /// After that long without a failure the next wait is the first one again.
    pub reset: Duration,
}

/// What a pod's state machine goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodConfig {
    /// CrashLoopBackOff: 10 s to 300 s, reset after 10 min (`MaxContainerBackOff`, `backOffPeriod`).
    pub crash_loop: BackoffConfig,
    /// ImagePullBackOff: 10 s to 300 s.
    pub image_pull: BackoffConfig,
    /// A pod whose sync failed is tried again after that: 10 s (`backOffPeriod`).
    pub retry: Duration,
    /// A container that is killed gets at least that long after its preStop hook: 2 s
    /// (`minimumGracePeriodInSeconds`).
    pub grace_least: Duration,
    /// A pod whose volumes are not mounted after that is tried again with an event: 2 min 3 s
    /// (`podAttachAndMountTimeout`).
    pub mount_timeout: Duration,
}

impl Default for PodConfig {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let backoff = BackoffConfig { first: seconds(10), most: seconds(300), reset: seconds(600) };
        Self {
            crash_loop: backoff,
            image_pull: backoff,
            retry: seconds(10),
            grace_least: seconds(2),
            mount_timeout: seconds(123),
        }
    }
}

/// The kubelet.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeletConfig {
    /// The node.
    pub node: NodeConfig,
    /// Pods' state machines.
    pub pod: PodConfig,
    /// Between two renewals of the node's lease: 10 s (a quarter of `nodeLeaseDurationSeconds`).
    pub lease_renew: Duration,
    /// `spec.leaseDurationSeconds`: 40 s.
    pub lease_duration: Duration,
    /// A failed renewal is repeated after 200 ms, doubled up to 7 s.
    pub lease_retry: BackoffConfig,
    /// Between two computations of the node's status: 10 s (`nodeStatusUpdateFrequency`).
    pub status_compute: Duration,
    /// An unchanged status is told again after that: 5 min (`nodeStatusReportFrequency`).
    pub status_report: Duration,
    /// Between two looks at the runtime for ended containers: 1 s (`plegRelistPeriod`). Zero: ends are seen at once.
    pub relist: Duration,
    /// A failed mount operation is repeated after 500 ms, doubled up to 2 min 2 s (`exponentialbackoff`).
    pub mount_retry: BackoffConfig,
    /// A pod's status that could not be told is told again after that: 10 s (`syncPeriod` of the status manager).
    pub pod_status_retry: Duration,
    /// Where volumes are mounted: `/var/lib/kubelet`.
    pub root: String,
    /// Images are pulled one after the other (`serializeImagePulls`: true).
    pub serialize_image_pulls: bool,
    /// Pods get that long when the node shuts down: 30 s. Upstream's default is none (`shutdownGracePeriod`: 0).
    pub shutdown_grace: Duration,
}

impl KubeletConfig {
    /// Upstream's numbers for a node.
    pub fn new(node: NodeConfig) -> Self {
        let seconds = Duration::from_secs;
        let retry = |first, most| BackoffConfig { first, most, reset: most * 2 };
        Self {
            node,
            pod: PodConfig::default(),
            lease_renew: seconds(10),
            lease_duration: seconds(40),
            lease_retry: retry(Duration::from_millis(200), seconds(7)),
            status_compute: seconds(10),
            status_report: seconds(300),
            relist: seconds(1),
            mount_retry: retry(Duration::from_millis(500), seconds(122)),
            pod_status_retry: seconds(10),
            root: "/var/lib/kubelet".into(),
            serialize_image_pulls: true,
            shutdown_grace: seconds(30),
        }
    }
}
