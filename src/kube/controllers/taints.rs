//! The taints that controllers set by themselves, with upstream's keys.
//!
//! Which toleration forgives which taint is [`crate::kube::matching`]'s.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Set while the kubelet itself says that the node is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Set while nothing is heard from the kubelet.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Set by `kubectl cordon`, through `spec.unschedulable`.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Set by a person who knows that the machine is off.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// The node runs low on memory.
pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// The node runs low on disk.
pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
/// The node runs low on process ids.
pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
/// The node's network is not set up.
pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";

/// A taint of `key` and `effect` without a value.
pub fn taint(key: &str, effect: &str) -> Taint {
    Taint { key: key.into(), effect: effect.into(), ..Taint::default() }
}

/// Whether two taints are the same one: key and effect; the value does not count.
pub fn same(a: &Taint, b: &Taint) -> bool {
    a.key == b.key && a.effect == b.effect
}

/// A toleration of `key` and `effect` for ever.
pub fn forgive(key: &str, effect: &str) -> Toleration {
    Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some(effect.into()),
        ..Toleration::default()
    }
}
