//! NodeResourcesFit (LeastAllocated), NodeResourcesBalancedAllocation and ImageLocality.

use std::collections::{BTreeMap, BTreeSet};

use super::MAX;
use crate::kube::scheduler::pod::PodInfo;
use crate::kube::scheduler::snapshot::{NodeInfo, Snapshot};

/// Images up to this size are not worth a score: 23 MiB.
const IMAGE_MIN: i64 = 23 << 20;
/// An image of this size for each container is worth the full score: 1,000 MiB.
const IMAGE_MAX: i64 = 1000 << 20;

/// The share of CPU and memory that stays free, in percent, on average.
pub fn least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let rows = ["cpu", "memory"].map(|name| {
        let wanted = node.assumed.get(name).saturating_add(pod.assumed_requests.get(name));
        (node.allocatable.get(name), wanted)
    });
    let (mut sum, mut count) = (0, 0);
    for (has, wanted) in rows.into_iter().filter(|(has, _)| *has > 0) {
        sum += if wanted > has { 0 } else { free_share(has, wanted) };
        count += 1;
    }
    if count == 0 { 0 } else { sum / count }
}

fn free_share(has: i64, wanted: i64) -> i64 {
    let share = i128::from(has - wanted) * i128::from(MAX) / i128::from(has);
    i64::try_from(share).unwrap_or(MAX)
}

/// 100 less the spread between the used shares of CPU and memory. A pod that asks for nothing gives every node the same.
pub fn balanced(pod: &PodInfo, node: &NodeInfo) -> i64 {
    if pod.requests.iter().next().is_none() {
        return 0;
    }
    let used = |name: &str| {
        let has = node.allocatable.get(name);
        let wanted = node.requested.get(name).saturating_add(pod.requests.get(name));
        (has > 0).then(|| (wanted as f64 / has as f64).min(1.0))
    };
    let apart = used("cpu").zip(used("memory")).map_or(0.0, |(cpu, memory)| ((cpu - memory) / 2.0).abs());
    ((1.0 - apart) * MAX as f64) as i64
}

/// Which images are where.
pub struct Images {
    nodes: i64,
    /// By name: the size, and the nodes that have it.
    images: BTreeMap<String, (i64, BTreeSet<String>)>,
}

impl Images {
    /// Reads `status.images` of every node.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut images = BTreeMap::<String, (i64, BTreeSet<String>)>::new();
        for node in snapshot.nodes.values() {
            let there = node.node.status.iter().flat_map(|status| status.images.iter().flatten());
            for image in there {
                for name in image.names.iter().flatten() {
                    let entry = images.entry(name.clone()).or_default();
                    entry.0 = image.size_bytes.unwrap_or(0);
                    entry.1.insert(node.name().into());
                }
            }
        }
        Self { nodes: i64::try_from(snapshot.nodes.len()).unwrap_or(i64::MAX), images }
    }

    /// The size of the pod's images that the node has, each scaled by the share of nodes that have it, between the bounds.
    pub fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        if self.images.is_empty() || self.nodes == 0 {
            return 0;
        }
        let containers = pod.spec().init_containers.iter().flatten().chain(&pod.spec().containers);
        let (mut sum, mut count) = (0i64, 0i64);
        for container in containers {
            count += 1;
            let name = tagged(container.image.as_deref().unwrap_or_default());
            if let Some((size, _)) = self.images.get(&name).filter(|(_, nodes)| nodes.contains(node.name())) {
                let have = self.images.get(&name).map_or(0, |(_, nodes)| nodes.len());
                sum = sum.saturating_add((*size as f64 * (have as f64 / self.nodes as f64)) as i64);
            }
        }
        let most = IMAGE_MAX.saturating_mul(count);
        let sum = sum.clamp(IMAGE_MIN, most.max(IMAGE_MIN));
        if most <= IMAGE_MIN { 0 } else { MAX * (sum - IMAGE_MIN) / (most - IMAGE_MIN) }
    }
}

/// An image without a tag is `latest`.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains(':') || last.contains('@') { image.into() } else { format!("{image}:latest") }
}
