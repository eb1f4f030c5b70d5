//! Stand-ins for the scheduler and the kubelet: they bind, and they say that pods run. Nothing runs.
//!
//! The kubelet keeps upstream's habits where the control plane feels them: a lease each ten seconds, a heartbeat in the status each
//! five minutes, an answer to being given up, one watch on its pods and one on its own node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Binding, Node, Pod, Taint};
use kube::core::params::{DeleteParams, ListParams};
use serde_json::{Value, json};
use stormglass::base::lock;
use stormglass::kube::client::{ApiError, Client, Informer, Patch};
use stormglass::kube::clock;
use stormglass::kube::kind::ObjectKey;
use stormglass::kube::matching::{pod_selects_node, untolerated};
use stormglass::rt::task::Scope;
use stormglass::rt::time::{Instant, interval, sleep};
use stormglass::rt::{Either, select2};

const LEASES: &str = "kube-node-lease";
const HEARTBEAT: Duration = Duration::from_secs(300);

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn conditions(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.status.as_str())
}

/// A kubelet whose containers start after `start` and stop after `stop`.
pub struct Kubelet {
    /// Its node's name.
    pub node: String,
    /// First three numbers of its pods' addresses.
    pub network: [u8; 3],
    /// From seen to running, and from told to stop to gone.
    pub start: Duration,
    pub stop: Duration,
}

impl Kubelet {
    pub async fn run(self, client: Client) {
        let node = json!({ "metadata": { "name": self.node, "labels": { "kubernetes.io/hostname": self.node } } });
        while client.create::<Node>(&object(node.clone())).await.is_err_and(|error| !error.is_already_exists()) {
            sleep(Duration::from_secs(1)).await;
        }
        let (scope, name) = (Scope::new(), self.node.clone());
        scope.spawn("lease", lease(client.clone(), name.clone()));
        scope.spawn("status", status(client.clone(), name));
        self.pods(client).await;
    }

    async fn pods(self, client: Client) {
        let fields = ListParams::default().fields(&format!("spec.nodeName={}", self.node));
        let pods = Informer::<Pod>::start(&client, "", fields);
        let mut changes = pods.changes();
        let (scope, busy) = (Scope::new(), Arc::new(Mutex::new(BTreeSet::new())));
        let mut next = 1u8;
        loop {
            for pod in pods.list() {
                let going = pod.metadata.deletion_timestamp.is_some();
                let running = conditions(&pod) == Some("True");
                let id = (pod.metadata.uid.clone().unwrap(), going);
                if running && !going || !lock(&busy).insert(id.clone()) {
                    continue;
                }
                let [a, b, c] = self.network;
                let (client, busy, wait) = (client.clone(), busy.clone(), if going { self.stop } else { self.start });
                let ip = format!("{a}.{b}.{c}.{next}");
                next = next.wrapping_add(1).max(1);
                scope.spawn("pod", async move {
                    sleep(wait).await;
                    // A failure is met again at the pod's next change.
                    let _ = if going { remove(&client, &pod).await } else { running_now(&client, &pod, &ip).await };
                    lock(&busy).remove(&id);
                });
            }
            changes.changed().await;
        }
    }
}

async fn remove(client: &Client, pod: &Pod) -> Result<(), ApiError> {
    let key = ObjectKey::of(pod);
    client.delete::<Pod>(&key.namespace, &key.name, &DeleteParams::default().grace_period(0)).await
}

async fn running_now(client: &Client, pod: &Pod, ip: &str) -> Result<(), ApiError> {
    let key = ObjectKey::of(pod);
    let ready = json!({ "type": "Ready", "status": "True", "lastTransitionTime": clock::time_now() });
    let status = json!({ "phase": "Running", "podIP": ip, "conditions": [ready] });
    let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.metadata.uid }, "status": status }));
    client.patch_status::<Pod>(&key.namespace, &key.name, &patch).await.map(drop)
}

async fn lease(client: Client, node: String) {
    let mut ticks = interval(Duration::from_secs(10));
    let mut known: Option<Lease> = None;
    loop {
        ticks.tick().await;
        let mut lease = known.take().unwrap_or_else(|| {
            object(json!({ "metadata": { "name": node, "namespace": LEASES }, "spec": { "holderIdentity": node } }))
        });
        lease.spec.get_or_insert_default().renew_time = Some(clock::micro_time_now());
        let fresh = lease.metadata.resource_version.is_none();
        let written = if fresh { client.create(&lease).await } else { client.replace(&lease).await };
        known = match written {
            Ok(lease) => Some(Arc::unwrap_or_clone(lease)),
            Err(_) => client.get(LEASES, &node).await.ok(),
        };
    }
}

async fn status(client: Client, node: String) {
    let own = Informer::<Node>::start(&client, "", ListParams::default().fields(&format!("metadata.name={node}")));
    own.synced().await;
    let (mut ticks, mut last) = (interval(Duration::from_secs(10)), None::<Instant>);
    loop {
        ticks.tick().await;
        let ready = own.get("", &node).is_some_and(|node| {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        });
        if ready && last.is_some_and(|last| last.elapsed() < HEARTBEAT) {
            continue;
        }
        let now = clock::time_now();
        let condition = |kind: &str, status: &str| {
            json!({
                "type": kind, "status": status, "reason": "Kubelet", "message": "kubelet is posting ready status",
                "lastHeartbeatTime": now, "lastTransitionTime": now
            })
        };
        let kinds =
            [("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False"), ("Ready", "True")];
        let conditions: Vec<_> = kinds.map(|(kind, status)| condition(kind, status)).into();
        let resources = json!({ "cpu": "32", "memory": "128Gi", "pods": "110" });
        let status = json!({ "conditions": conditions, "capacity": resources, "allocatable": resources });
        if client.patch_status::<Node>("", &node, &Patch::Strategic(json!({ "status": status }))).await.is_ok() {
            last = Some(Instant::now());
        }
    }
}

/// Binds each pod to the node that fits and has the fewest.
pub async fn scheduler(client: Client) {
    let (pods, nodes) = (Informer::<Pod>::all(&client), Informer::<Node>::all(&client));
    pods.synced().await;
    nodes.synced().await;
    let (mut pod_changes, mut node_changes) = (pods.changes(), nodes.changes());
    let mut bound: BTreeSet<String> = BTreeSet::new();
    loop {
        let all = pods.list();
        let waits = |pod: &&Arc<Pod>| {
            let spec = pod.spec.as_ref().unwrap();
            let seen = pod.metadata.uid.as_ref().is_some_and(|uid| bound.contains(uid));
            spec.node_name.is_none() && pod.metadata.deletion_timestamp.is_none() && !seen
        };
        let waiting: Vec<_> = all.iter().filter(waits).cloned().collect();
        let mut load = std::collections::BTreeMap::<String, usize>::new();
        all.iter()
            .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
            .for_each(|node| *load.entry(node).or_default() += 1);
        for pod in waiting {
            let spec = pod.spec.as_ref().unwrap();
            let fits = |node: &&Arc<Node>| {
                let taints: &[Taint] = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
                let tolerations = spec.tolerations.as_deref().unwrap_or_default();
                pod_selects_node(spec, node) && untolerated(taints, tolerations, &["NoSchedule", "NoExecute"]).is_none()
            };
            let name = |node: &Arc<Node>| node.metadata.name.clone().unwrap();
            let all = nodes.list();
            let best = all.iter().filter(fits).min_by_key(|node| load.get(&name(node)).copied().unwrap_or_default());
            let Some(node) = best.map(name) else { continue };
            let key = ObjectKey::of(&*pod);
            let binding: Binding = object(json!({
                "metadata": { "name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid },
                "target": { "kind": "Node", "name": node }
            }));
            if client.bind(&binding).await.is_ok() {
                bound.extend(pod.metadata.uid.clone());
                *load.entry(node).or_default() += 1;
            }
        }
        match select2(pod_changes.changed(), node_changes.changed()).await {
            Either::Left(()) | Either::Right(()) => {}
        }
    }
}
