//! What a story must give back: counted before it begins and after all that it made was taken down.

use std::collections::BTreeMap;

use crate::kube::csi::mount::MountTable;
use crate::kube::store::Selection;
use crate::oracle::cluster::ResourceCount;
use crate::sim::kubernetes::Kubernetes;

/// Kinds whose objects come and go by themselves.
const PASSING: [&str; 4] = ["Event", "Lease", "EndpointSlice", "Endpoints"];

/// Counts by name.
type Counts = BTreeMap<String, u64>;

/// Mounts on top of each other that a correct plugin leaves at one place: it cuts the stack at the look after.
const STACK_MOST: u64 = 51;

/// Counts before the story, and the most there was of what can heap up.
#[derive(Default)]
pub(in crate::sim::story) struct Resources {
    baseline: Option<Counts>,
    /// The deepest stack of mounts at one place, by node.
    stacks: Counts,
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
    kubernetes.server.look(|store| {
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

    /// Follows what can heap up.
    pub fn look(&mut self, kubernetes: &Kubernetes) {
        for node in &kubernetes.nodes {
            let (depth, name) = (node.machine.look_at_table(MountTable::deepest) as u64, &node.machine.id.node);
            match self.stacks.get_mut(name) {
                Some(most) => *most = depth.max(*most),
                None => drop(self.stacks.insert(name.clone(), depth)),
            }
        }
    }

    /// Whether there is no more of anything than before.
    pub fn back(&self, kubernetes: &Kubernetes) -> bool {
        let Some(baseline) = &self.baseline else { return true };
        count(kubernetes).iter().all(|(what, now)| *now <= baseline.get(what).copied().unwrap_or(0))
    }

    /// What was heaped up; and for a story that has taken down what it made, all counts. What stands has not been given back
    /// yet.
    pub fn told(&self, kubernetes: &Kubernetes, torn_down: bool) -> Vec<ResourceCount> {
        let stack = |(node, peak): (&String, &u64)| {
            let what = format!("mounts at one place on {node}");
            ResourceCount { what, baseline: 0, end: 0, peak: *peak, most: Some(STACK_MOST) }
        };
        let mut all: Vec<_> = self.stacks.iter().map(stack).collect();
        if let Some(baseline) = self.baseline.as_ref().filter(|_| torn_down) {
            let told = |(what, end): (String, u64)| {
                let before = baseline.get(&what).copied().unwrap_or(0);
                // Nothing is promised of the most there was at once.
                ResourceCount { baseline: before, end, peak: end, most: None, what }
            };
            all.extend(count(kubernetes).into_iter().map(told));
        }
        all
    }
}
