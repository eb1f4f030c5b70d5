//! The node's own objects: its Node, its lease, its status.
//!
//! Upstream's `kubelet_node_status.go` and `nodelease`: the lease is renewed every 10 s; the status is computed every 10 s
//! and told if it changed, or every 5 min. Heartbeats alone never change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    ContainerImage, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use serde_json::json;

use super::config::{Capacity, KubeletConfig, NodeConfig};
use super::pod::status::time;
use super::volumes::manager::VolumeManager;
use crate::kube::client::{ApiError, Client, Informer, Patch};
use crate::kube::runtime::{Image, Runtime};
use crate::rt::time::{Duration, Instant, interval, sleep, wall};

/// Where nodes' leases are.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

fn quantities(capacity: Capacity) -> BTreeMap<String, Quantity> {
    let cpu = match capacity.cpu_milli {
        milli if milli.is_multiple_of(1000) => (milli / 1000).to_string(),
        milli => format!("{milli}m"),
    };
    let kibi = |bytes: u64| if bytes.is_multiple_of(1024) { format!("{}Ki", bytes / 1024) } else { bytes.to_string() };
    [
        ("cpu", cpu),
        ("memory", kibi(capacity.memory)),
        ("ephemeral-storage", kibi(capacity.ephemeral_storage)),
        ("pods", capacity.pods.to_string()),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), Quantity(text)))
    .collect()
}

/// Labels that every kubelet sets on its node, and the configured ones.
pub fn labels(node: &NodeConfig) -> BTreeMap<String, String> {
    let own = [
        ("kubernetes.io/hostname", Some(node.name.clone())),
        ("kubernetes.io/os", Some("linux".into())),
        ("kubernetes.io/arch", Some("amd64".into())),
        ("topology.kubernetes.io/zone", node.zone.clone()),
        ("topology.kubernetes.io/region", node.region.clone()),
    ];
    let own = own.into_iter().filter_map(|(name, value)| value.map(|v| (name.to_owned(), v)));
    own.chain(node.labels.clone()).collect()
}

fn now() -> MicroTime {
    MicroTime(time(wall()).0)
}

/// A lease as its holder writes it next.
fn renewed(lease: &Lease) -> Lease {
    let spec = lease.spec.clone().unwrap_or_default();
    Lease { metadata: lease.metadata.clone(), spec: Some(LeaseSpec { renew_time: Some(now()), ..spec }) }
}

/// What a node's status tells beside its configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// On the node.
    pub images: Vec<Image>,
    /// Volumes that pods use.
    pub in_use: Vec<String>,
    /// Why the node is not ready.
    pub unready: Option<String>,
}

/// The node's status now. `before` gives the conditions' transition times.
pub fn status(node: &NodeConfig, before: Option<&NodeStatus>, found: &Findings, now: Duration) -> NodeStatus {
    let condition = |kind: &str, value: &str, reason: &str, message: &str| {
        let old = before.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
        let same = old.into_iter().find(|c| c.type_ == kind && c.status == value);
        NodeCondition {
            type_: kind.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(time(now)),
            last_transition_time: same.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(time(now))),
        }
    };
    let ready = match found.unready.as_deref() {
        None => condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        Some(why) => condition("Ready", "False", "KubeletNotReady", why),
    };
    let conditions = vec![
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ];
    let address = |kind: &str, text: String| NodeAddress { type_: kind.into(), address: text };
    let image =
        |i: &Image| ContainerImage { names: Some(vec![i.name.clone()]), size_bytes: i64::try_from(i.size).ok() };
    NodeStatus {
        addresses: Some(vec![address("InternalIP", node.ip.to_string()), address("Hostname", node.name.clone())]),
        capacity: Some(quantities(node.capacity)),
        allocatable: Some(quantities(node.capacity.without(node.reserved))),
        conditions: Some(conditions),
        images: Some(found.images.iter().map(image).collect()),
        volumes_in_use: Some(found.in_use.clone()),
        node_info: Some(NodeSystemInfo {
            architecture: "amd64".into(),
            operating_system: "linux".into(),
            kubelet_version: node.kubelet_version.clone(),
            os_image: node.os_image.clone(),
            kernel_version: "6.6.0".into(),
            container_runtime_version: "containerd://2.0".into(),
            machine_id: node.name.clone(),
            system_uuid: node.name.clone(),
            boot_id: node.name.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// Whether every condition that was told is shown.
fn holds(shown: &NodeStatus, told: &NodeStatus) -> bool {
    let is = |c: &NodeCondition| shown.conditions.iter().flatten().any(|o| o.type_ == c.type_ && o.status == c.status);
    told.conditions.iter().flatten().all(is)
}

/// What the node's tasks share.
#[derive(Clone)]
pub struct NodeKeeper {
    /// To the API server.
    pub client: Client,
    /// The Node itself, as others may have changed it.
    pub nodes: Informer<Node>,
    /// The kubelet's numbers.
    pub config: Arc<KubeletConfig>,
    /// For images, and whether it answers.
    pub runtime: Runtime,
    /// For volumes in use.
    pub volumes: VolumeManager,
    /// Set once the node shuts down.
    pub down: crate::rt::chan::watch::Receiver<bool>,
}

impl NodeKeeper {
    /// Makes the Node, or brings the one that is there up to date; tries until it is done. Gives the Node.
    pub async fn register(&self) {
        let mut wait = self.config.lease_retry.first;
        loop {
            match self.try_register().await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the node is not registered"),
            }
            sleep(wait).await;
            wait = (wait * 2).min(self.config.lease_retry.most);
        }
    }

    async fn try_register(&self) -> Result<(), ApiError> {
        let node = &self.config.node;
        if self.client.find::<Node>("", &node.name).await?.is_some() {
            let patch = Patch::Merge(json!({"metadata": {"labels": labels(node)}}));
            return self.client.patch::<Node>("", &node.name, &patch).await.map(drop);
        }
        let new = Node {
            metadata: ObjectMeta { name: Some(node.name.clone()), labels: Some(labels(node)), ..ObjectMeta::default() },
            spec: Some(NodeSpec {
                taints: Some(node.taints.clone()).filter(|taints| !taints.is_empty()),
                ..NodeSpec::default()
            }),
            status: Some(status(node, None, &self.findings().await, wall())),
        };
        self.client.create(&new).await.map(drop)
    }

    async fn findings(&self) -> Findings {
        let images = self.runtime.images().await;
        let unready = match &images {
            _ if *self.down.borrow() => Some("node is shutting down".to_owned()),
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        };
        Findings { images: images.unwrap_or_default(), in_use: self.volumes.in_use(), unready }
    }

    /// Renews the lease, for ever.
    pub async fn keep_lease(self) {
        let mut ticks = interval(self.config.lease_renew);
        let mut held = None;
        loop {
            ticks.tick().await;
            let mut wait = self.config.lease_retry.first;
            while let Err(error) = self.renew(&mut held).await {
                tracing::debug!(%error, "the node's lease is not renewed");
                sleep(wait).await;
                wait = (wait * 2).min(self.config.lease_retry.most);
            }
        }
    }

    /// Writes over the lease as it was written last: nobody else does. Looks at it only if somebody has.
    async fn renew(&self, held: &mut Option<Arc<Lease>>) -> Result<(), ApiError> {
        if let Some(last) = held {
            match self.client.replace(&renewed(last)).await {
                Err(error) if error.is_conflict() || error.is_not_found() => *held = None,
                written => return written.map(|lease| *held = Some(lease)),
            }
        }
        let found = self.client.find::<Lease>(LEASE_NAMESPACE, &self.config.node.name).await?;
        *held = Some(match found {
            Some(lease) => self.client.replace(&renewed(&lease)).await?,
            None => self.client.create(&self.new_lease().await?).await?,
        });
        Ok(())
    }

    /// Owned by the node that there is now: it may be another one than this kubelet once registered.
    async fn new_lease(&self) -> Result<Lease, ApiError> {
        let name = &self.config.node.name;
        let node = self.client.get::<Node>("", name).await?;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.clone(),
            uid: node.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        };
        let spec = LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: i32::try_from(self.config.lease_duration.as_secs()).ok(),
            renew_time: Some(now()),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(LEASE_NAMESPACE.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        Ok(Lease { metadata, spec: Some(spec) })
    }

    /// Looks what there is and tells the status, for ever.
    pub async fn keep_status(self) {
        let mut ticks = interval(self.config.status_compute);
        let mut told: Option<(Findings, NodeStatus, Instant)> = None;
        loop {
            ticks.tick().await;
            let found = self.findings().await;
            let node = self.nodes.get("", &self.config.node.name);
            let shown = node.as_ref().and_then(|node| node.status.as_ref());
            // All else in a status but heartbeats follows from what was found; and while nothing was heard of the kubelet,
            // the node lifecycle controller has written that nothing is known.
            let stands = |before: &Findings, told: &NodeStatus, at: &Instant| {
                *before == found
                    && at.elapsed() < self.config.status_report
                    && shown.is_none_or(|shown| holds(shown, told))
            };
            if told.as_ref().is_some_and(|(before, status, at)| stands(before, status, at)) {
                continue;
            }
            let now = status(&self.config.node, shown.or(told.as_ref().map(|(_, status, _)| status)), &found, wall());
            // `volumesAttached` is the attach/detach controller's: absent here, so that the patch leaves it.
            let patch = Patch::Strategic(json!({"status": &now}));
            match self.client.patch_status::<Node>("", &self.config.node.name, &patch).await {
                Ok(_) => {
                    self.volumes.reported(&found.in_use);
                    told = Some((found, now, Instant::now()));
                }
                Err(error) if error.is_not_found() => self.register().await,
                Err(error) => tracing::debug!(%error, "the node's status is not told"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_heartbeats(status: &NodeStatus) -> NodeStatus {
        let mut status = status.clone();
        status.conditions.iter_mut().flatten().for_each(|condition| condition.last_heartbeat_time = None);
        status
    }

    #[test]
    fn heartbeats_change_nothing_and_transitions_keep_their_time() {
        let node = NodeConfig::new("n", [10, 0, 0, 1].into());
        let at = |seconds| Duration::from_secs(seconds);
        let found = |in_use: &[&str], unready: Option<&str>| Findings {
            in_use: in_use.iter().map(|volume| (*volume).to_owned()).collect(),
            unready: unready.map(str::to_owned),
            ..Findings::default()
        };
        let first = status(&node, None, &found(&[], None), at(10));
        let second = status(&node, Some(&first), &found(&[], None), at(20));
        assert_ne!(first, second);
        assert_eq!(without_heartbeats(&first), without_heartbeats(&second));
        let third = status(&node, Some(&second), &found(&["v"], None), at(30));
        assert_ne!(without_heartbeats(&second), without_heartbeats(&third), "a volume in use is news");
        let down = status(&node, Some(&third), &found(&["v"], Some("node is shutting down")), at(40));
        let since = |s: &NodeStatus, kind: &str| {
            let found = s.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap().clone();
            (found.status, found.last_transition_time.unwrap())
        };
        assert_eq!(since(&down, "Ready"), ("False".into(), time(at(40))));
        assert_eq!(since(&down, "DiskPressure"), ("False".into(), time(at(10))));
    }

    #[test]
    fn amounts_are_written_as_upstream_does() {
        let list = quantities(Capacity { cpu_milli: 3900, memory: 16 << 30, ephemeral_storage: 1000, pods: 110 });
        let text = |name: &str| list[name].0.as_str();
        assert_eq!((text("cpu"), text("memory"), text("ephemeral-storage")), ("3900m", "16777216Ki", "1000"));
    }
}
