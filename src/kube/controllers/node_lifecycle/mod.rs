//! The node lifecycle controller: nodes that fall silent, their conditions and their taints.
//!
//! The loop around [`monitor`]: a pass each monitor period, NoSchedule taints as soon as a node changes, NoExecute taints when the
//! zone's turn comes. What cannot be written is decided again at the next pass.

pub mod health;

pub mod zones;

pub mod monitor;

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use self::health::{Clock, Grace};
use self::monitor::{Monitor, Step, TaintChange, by_condition};
use self::zones::Rates;
use super::meta::{name, namespace, uid};
use super::node::taints;
use super::pod::{condition, node_name};
use super::shared::{Shared, absent_is_fine};
use crate::kube::client::{ApiError, EventRecorder, EventType, InformerEvent, Patch};
use crate::kube::clock;
use crate::rt::time::{Duration, Instant, sleep_until};
use crate::rt::{Either, select2};

/// The namespace of the leases of nodes.
pub const LEASES: &str = "kube-node-lease";

/// Numbers of the controller, with kube-controller-manager's flags as defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLifecycleConfig {
    /// `--node-monitor-period`.
    pub period: Duration,
    /// How long silence is forgiven: 40 s; since Kubernetes 1.32 it is 50 s, see [`NodeLifecycleConfig::since_1_32`].
    pub grace: Grace,
    /// Eviction rates.
    pub rates: Rates,
    /// Attempts to write a node's taints against others who write it.
    pub conflicts_max: u32,
}

impl Default for NodeLifecycleConfig {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(5),
            grace: Grace { monitor: Duration::from_secs(40), startup: Duration::from_secs(60) },
            rates: Rates::default(),
            conflicts_max: 5,
        }
    }
}

impl NodeLifecycleConfig {
    /// The defaults since kubernetes PR 126287: a grace of 50 s.
    pub fn since_1_32() -> Self {
        let grace = Grace { monitor: Duration::from_secs(50), ..Self::default().grace };
        Self { grace, ..Self::default() }
    }
}

/// Runs the controller.
pub async fn run(shared: Shared, config: NodeLifecycleConfig) -> Infallible {
    let mut events = shared.nodes.subscribe();
    let recorder = EventRecorder::new(&shared.client, "node-controller", "");
    let monitor = Monitor::new(config.grace, config.rates);
    let mut controller = Controller { shared, events: recorder, config, monitor };
    let mut pass_at = Instant::now();
    loop {
        let wake = controller.monitor.next(Instant::now()).map_or(pass_at, |due| due.min(pass_at));
        match select2(events.recv(), sleep_until(wake)).await {
            Either::Left(Some(InformerEvent::Deleted(_))) => {}
            Either::Left(Some(event)) => controller.keep_away(event.object()).await,
            // The informer is held by `shared`.
            Either::Left(None) => unreachable!("the informer outlives its controller"),
            Either::Right(()) => {
                controller.evict().await;
                if Instant::now() >= pass_at {
                    controller.pass().await;
                    pass_at = Instant::now() + config.period;
                }
            }
        }
    }
}

struct Controller {
    shared: Shared,
    events: EventRecorder,
    config: NodeLifecycleConfig,
    monitor: Monitor,
}

impl Controller {
    async fn pass(&mut self) {
        let (nodes, leases) = (self.shared.nodes.list(), self.shared.leases.clone());
        let clock = Clock { now: Instant::now(), wall: clock::now() };
        let steps = self.monitor.pass(&nodes, |node| leases.get(LEASES, node), clock);
        for step in steps {
            self.carry_out(step).await;
        }
        for node in &nodes {
            self.keep_away(node).await;
        }
    }

    /// NoSchedule taints follow the conditions.
    async fn keep_away(&mut self, node: &Node) {
        if let Some(step) = by_condition(node, clock::now()) {
            self.carry_out(step).await;
        }
    }

    /// NoExecute taints, at the zone's rate.
    async fn evict(&mut self) {
        let nodes = self.shared.nodes.clone();
        for step in self.monitor.due(Instant::now(), clock::now(), |node| nodes.get("", node)) {
            self.carry_out(step).await;
        }
    }

    async fn carry_out(&mut self, step: Step) {
        match step {
            Step::Conditions(node, conditions) => {
                if let Err(error) = self.conditions(&node, &conditions).await {
                    tracing::debug!(node, %error, "conditions not written");
                }
            }
            Step::PodsNotReady(node) => {
                if let Some(fallen) = self.shared.nodes.get("", &node) {
                    let said = format!("Node {node} status is now: NodeNotReady");
                    self.events.event(&*fallen, EventType::Normal, "NodeNotReady", said);
                }
                if let Err(error) = self.pods_not_ready(&node).await {
                    tracing::debug!(node, %error, "not all pods marked");
                    self.monitor.pods_again(&node);
                }
            }
            Step::Taints(change) => {
                if let Err(error) = self.taint(&change).await {
                    tracing::debug!(node = change.node, %error, "taints not written");
                    if let Some(node) = self.shared.nodes.get("", &change.node) {
                        self.monitor.taint_again(&node);
                    }
                }
            }
        }
    }

    async fn conditions(&self, node: &str, conditions: &[NodeCondition]) -> Result<(), ApiError> {
        // Of the version that was looked at: a kubelet that spoke meanwhile wins.
        let version = self.shared.nodes.get("", node).and_then(|node| node.metadata.resource_version.clone());
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": { "conditions": conditions } });
        absent_is_fine(self.shared.client.patch_status::<Node>("", node, &Patch::Merge(patch)).await)
    }

    async fn taint(&self, change: &TaintChange) -> Result<(), ApiError> {
        let Some(mut node) = self.shared.nodes.get("", &change.node) else { return Ok(()) };
        let mut attempt = 1;
        while let Some(new) = change.apply(taints(&node)) {
            match self.write(&node, &new).await {
                Err(error) if error.is_conflict() && attempt < self.config.conflicts_max => {
                    attempt += 1;
                    match self.shared.client.find::<Node>("", &change.node).await? {
                        Some(fresh) => node = Arc::new(fresh),
                        None => return Ok(()),
                    }
                }
                written => return absent_is_fine(written),
            }
        }
        Ok(())
    }

    async fn write(&self, node: &Node, taints: &[Taint]) -> Result<(), ApiError> {
        let version = &node.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
        self.shared.client.patch::<Node>("", name(&node.metadata), &Patch::Merge(patch)).await.map(drop)
    }

    /// `MarkPodsNotReady`: endpoints drop the pods at once, whether their processes live or not.
    async fn pods_not_ready(&self, node: &str) -> Result<(), ApiError> {
        let ready = |pod: &Pod| condition(pod, "Ready").is_some_and(|ready| ready.status == "True");
        let pods: Vec<Arc<Pod>> = self
            .shared
            .pods
            .with(|all| all.values().filter(|pod| node_name(pod) == Some(node) && ready(pod)).cloned().collect());
        let mut result = Ok(());
        for pod in pods {
            let condition = json!({ "type": "Ready", "status": "False", "lastTransitionTime": Time(clock::now()) });
            let patch = json!({ "metadata": { "uid": uid(&pod.metadata) }, "status": { "conditions": [condition] } });
            let (namespace, name) = (namespace(&pod.metadata), name(&pod.metadata));
            self.events.event(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready");
            let written = self.shared.client.patch_status::<Pod>(namespace, name, &Patch::Strategic(patch)).await;
            result = result.and(absent_is_fine(written));
        }
        result
    }
}
