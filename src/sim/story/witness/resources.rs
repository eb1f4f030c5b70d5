//! What a story must give back: counted before it begins and after all that it made was taken down.

use std::collections::BTreeMap;

use crate::kube::store::Selection;
use crate::oracle::cluster::ResourceCount;
use crate::sim::kubernetes::Kubernetes;

/// Kinds whose objects come and go by themselves.
const PASSING: [&str; 4] = ["Event", "Lease", "EndpointSlice", "Endpoints"];

/// Counts by name.
type Counts = BTreeMap<String, u64>;

/// Counts before the story.
#[derive(Default)]
pub(in crate::sim::story) struct Resources {
    baseline: Option<Counts>,
}

fn count(kubernetes: &Kubernetes) -> Counts {
    let mut counts = Counts::new();
    for node in &kubernetes.nodes {
        let name = &node.machine.id.node;
        let running = node.machine.containers(|all| all.iter().filter(|container| container.runs()).count());
        counts.insert(format!("mounts on {name}"), node.machine.table().mounts().len() as u64);
        counts.insert(format!("containers on {name}"), running as u64);
    }
    counts.insert("volumes in use".into(), kubernetes.shown().len() as u64);
    kubernetes.server.with_store(|store| {
        for (id, kind) in store.kinds().iter().filter(|(_, kind)| !PASSING.contains(&kind.kind.as_ref())) {
            let objects = store.list(id, &Selection::default()).count();
            counts.insert(format!("objects of kind {}", kind.kind), objects as u64);
        }
    });
    counts
}

impl Resources {
    /// The story begins now.
    pub fn begin(&mut self, kubernetes: &Kubernetes) {
        self.baseline = Some(count(kubernetes));
    }

    /// Whether there is no more of anything than before.
    pub fn back(&self, kubernetes: &Kubernetes) -> bool {
        let Some(baseline) = &self.baseline else { return true };
        count(kubernetes).iter().all(|(what, now)| *now <= baseline.get(what).copied().unwrap_or(0))
    }

    /// All counts, for a story that has taken down what it made.
    pub fn told(&self, kubernetes: &Kubernetes) -> Vec<ResourceCount> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let told = |(what, end): (String, u64)| {
            // Nothing is promised of the most there was at once: it is not followed.
            ResourceCount { baseline: baseline.get(&what).copied().unwrap_or(0), end, peak: end, most: None, what }
        };
        count(kubernetes).into_iter().map(told).collect()
    }
}
