//! Filters: which nodes can run a pod, and why the others cannot.
//!
//! A node is refused by the first plugin that refuses it, in upstream's order, with upstream's words; the order decides
//! what `kubectl describe` shows.
//!
//! | plugin | refuses | module |
//! |---|---|---|
//! | NodeUnschedulable | cordoned nodes | `node` |
//! | NodeName | other nodes than the named one | `node` |
//! | TaintToleration | untolerated `NoSchedule` and `NoExecute` taints | `node` |
//! | NodeAffinity | node selector and required node affinity | `node` |
//! | NodePorts | host ports in use | `node` |
//! | NodeResourcesFit | too few resources or pod slots | `fit` |
//! | VolumeRestrictions | a `ReadWriteOncePod` claim in use | `volumes` |
//! | NodeVolumeLimits | too many volumes of a driver | `volumes` |
//! | VolumeBinding | volumes out of the node's reach | `volumes` |
//! | VolumeZone | zone labels of volumes | `volumes` |
//! | PodTopologySpread | hard spread constraints | `spread` |
//! | InterPodAffinity | required affinity and anti-affinity of pods | `affinity` |

use std::collections::BTreeSet;

use super::pod::PodInfo;
use super::snapshot::{NodeInfo, Snapshot};

mod node;

mod fit;

mod volumes;

mod affinity;

pub mod spread;

pub use volumes::{NodeVolumes, PodClaims};

/// The plugins that refuse nodes or pods, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "upstream's names; the table above says what each does")]
pub enum Plugin {
    SchedulingGates,
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
}

/// Why a node, or every node, cannot run the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Who says so.
    pub plugin: Plugin,
    /// In upstream's words; the message counts them over the nodes.
    pub reasons: Vec<String>,
    /// Whether pods of lower priority that go away might help (upstream's `Unschedulable`; otherwise
    /// `UnschedulableAndUnresolvable`).
    pub resolvable: bool,
}

impl Rejection {
    /// Pods that go away might help.
    pub fn resolvable(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true }
    }

    /// Nothing that preemption does can help.
    pub fn unresolvable(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false }
    }
}

/// One pod's question to one snapshot: what the filters need to know before they look at a node.
pub struct Filters<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
    claims: PodClaims,
    spread: spread::Hard,
    affinity: affinity::Required,
    /// The nodes that required node affinity names; none for no such restriction.
    named: Option<BTreeSet<String>>,
}

impl<'a> Filters<'a> {
    /// Looks at the whole cluster once.
    ///
    /// # Errors
    /// What refuses the pod on every node.
    pub fn new(snapshot: &'a Snapshot, pod: &'a PodInfo) -> Result<Self, Rejection> {
        if pod.spec().scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
            return Err(Rejection::unresolvable(
                Plugin::SchedulingGates,
                "Scheduling is blocked due to non-empty scheduling gates",
            ));
        }
        let named = node::named(pod.spec());
        if named.as_ref().is_some_and(BTreeSet::is_empty) {
            let reason = "pod affinity terms conflict";
            return Err(Rejection::unresolvable(Plugin::NodeAffinity, reason));
        }
        let claims = PodClaims::of(pod, &snapshot.catalog)?;
        let spread = spread::Hard::of(snapshot, pod);
        Ok(Self { snapshot, pod, claims, spread, affinity: affinity::Required::of(snapshot, pod), named })
    }

    /// Asks every plugin about one node.
    ///
    /// # Errors
    /// The first refusal.
    pub fn node(&self, node: &NodeInfo) -> Result<NodeVolumes, Rejection> {
        if self.named.as_ref().is_some_and(|named| !named.contains(node.name())) {
            let reason = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
            return Err(Rejection::unresolvable(Plugin::NodeAffinity, reason));
        }
        let (pod, catalog) = (self.pod, &self.snapshot.catalog);
        node::unschedulable(pod, node)?;
        node::name(pod, node)?;
        node::taints(pod, node)?;
        node::affinity(pod, node)?;
        node::ports(pod, node)?;
        fit::resources(pod, node)?;
        self.claims.restrictions(pod, self.snapshot)?;
        self.claims.limits(pod, node, catalog)?;
        let volumes = self.claims.binding(node, catalog)?;
        self.claims.zone(node, catalog)?;
        self.spread.node(node)?;
        self.affinity.node(self.snapshot, pod, node)?;
        Ok(volumes)
    }

    /// What one plugin alone says of a node, of those that look at pod and node only: the hint with which an event wakes a
    /// pod. `None` for plugins that look at more.
    pub fn alone(plugin: Plugin, pod: &PodInfo, node: &NodeInfo) -> Option<bool> {
        let verdict = match plugin {
            Plugin::NodeUnschedulable => node::unschedulable(pod, node),
            Plugin::NodeName => node::name(pod, node),
            Plugin::TaintToleration => node::taints(pod, node),
            Plugin::NodeAffinity => node::affinity(pod, node),
            Plugin::NodePorts => node::ports(pod, node),
            Plugin::NodeResourcesFit => fit::resources(pod, node),
            _ => return None,
        };
        Some(verdict.is_ok())
    }

    /// What the pod's volumes need.
    pub fn claims(&self) -> &PodClaims {
        &self.claims
    }
}
