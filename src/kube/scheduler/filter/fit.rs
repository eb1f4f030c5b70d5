//! NodeResourcesFit: what is asked for must be free. Every resource that is short is named.

use super::{Plugin, Rejection};
use crate::kube::scheduler::pod::PodInfo;
use crate::kube::scheduler::snapshot::NodeInfo;

/// Requests of the pods there and of this one stay within what the node can give, and so does their number. If the node
/// could not run the pod even when empty, preemption cannot help.
pub fn resources(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let mut reasons = Vec::new();
    let mut resolvable = true;
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods.saturating_add(1) > node.pods_max {
        reasons.push("Too many pods".to_string());
    }
    for (name, wanted) in pod.requests.iter() {
        let has = node.allocatable.get(name);
        if wanted > has.saturating_sub(node.requested.get(name)) {
            reasons.push(format!("Insufficient {name}"));
            resolvable &= wanted <= has;
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Rejection { plugin: Plugin::NodeResourcesFit, reasons, resolvable }) }
}
