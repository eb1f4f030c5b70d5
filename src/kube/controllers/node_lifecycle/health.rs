//! One node's health as the controller knows it: when it last gave a sign of life, and what its conditions become when it does not.
//!
//! Follows `tryUpdateNodeHealth` of Kubernetes 1.3x. Rule: a sign of life is a renewed lease or a new heartbeat in the status,
//! counted by the controller's own clock at the moment when it was seen; clocks of nodes are never compared with it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use crate::kube::controllers::meta::{between, moment};
use crate::kube::controllers::node::condition;
use crate::rt::time::Instant;

/// Conditions that the controller sets to Unknown, in upstream's order.
const WATCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The controller's two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// For waiting: never jumps.
    pub now: Instant,
    /// For what is written into objects.
    pub wall: Timestamp,
}

/// How long silence is forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// `--node-monitor-grace-period`.
    pub monitor: Duration,
    /// `--node-startup-grace-period`: before the first status.
    pub startup: Duration,
}

/// What is remembered of a node.
#[derive(Debug, Clone)]
pub struct Health {
    /// The last sign of life.
    probe: Instant,
    /// Heartbeat of the Ready condition as last seen; none before there was such a condition.
    heartbeat: Option<Option<Timestamp>>,
    renewed: Option<MicroTime>,
}

/// What one look at a node gave. Statuses are `True`, `False` or `Unknown`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Ready as it was found; Unknown if the node never said.
    pub observed: String,
    /// Ready as it is after this look; none if there is no such condition still.
    pub current: Option<String>,
    /// All conditions, to be written, if any became Unknown.
    pub write: Option<Vec<NodeCondition>>,
}

impl Health {
    /// Looks at a node; `known` is what was remembered.
    pub fn look(
        known: Option<Self>,
        node: &Node,
        lease: Option<&Lease>,
        clock: Clock,
        grace: Grace,
    ) -> (Self, Verdict) {
        let ready = condition(node, "Ready");
        let heartbeat = ready.map(|ready| moment(ready.last_heartbeat_time.as_ref()));
        let mut health = known.unwrap_or_else(|| {
            // A node that never said anything counts from its creation.
            let created = moment(node.metadata.creation_timestamp.as_ref()).unwrap_or(clock.wall);
            let probe = if ready.is_some() { clock.now } else { clock.now - between(created, clock.wall) };
            Self { probe, heartbeat, renewed: None }
        });
        if health.heartbeat != heartbeat {
            health.probe = clock.now;
            health.heartbeat = heartbeat;
        }
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        if renewed > health.renewed {
            health.probe = clock.now;
            health.renewed = renewed;
        }
        let grace = if ready.is_some() { grace.monitor } else { grace.startup };
        let observed = ready.map_or("Unknown", |ready| &ready.status).to_owned();
        let silent = clock.now > health.probe + grace;
        let write = silent.then(|| unknown(node, clock.wall)).flatten();
        let after = if silent { Some("Unknown".to_owned()) } else { ready.map(|ready| ready.status.clone()) };
        (health, Verdict { observed, current: after, write })
    }

    /// Counts silence from now on, as when the whole cluster was cut off and is back.
    pub fn forgive(&mut self, now: Instant) {
        self.probe = now;
    }
}

/// The node's conditions with the watched ones Unknown; none if they were already.
fn unknown(node: &Node, wall: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut changed = false;
    for kind in WATCHED {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                changed = true;
                known.status = "Unknown".into();
                known.reason = Some("NodeStatusUnknown".into());
                known.message = Some("Kubelet stopped posting node status.".into());
                known.last_transition_time = Some(Time(wall));
            }
            None => {
                changed = true;
                conditions.push(NodeCondition {
                    type_: kind.into(),
                    status: "Unknown".into(),
                    reason: Some("NodeStatusNeverUpdated".into()),
                    message: Some("Kubelet never posted node status.".into()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(Time(wall)),
                });
            }
        }
    }
    changed.then_some(conditions)
}
