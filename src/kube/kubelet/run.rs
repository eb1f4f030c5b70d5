//! The kubelet's program: registers the node, watches its pods, keeps a worker for each.
//!
//! A kubelet that starts first takes over what the runtime holds (see [`super::pod`]), then waits for its pods from the API
//! server, and only then ends what nobody wants any more: containers and mounts of pods that are not there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::params::ListParams;

use super::admission::{Refusal, admit, requests};
use super::config::KubeletConfig;
use super::events::{self, Events, Notice};
use super::launch::Launcher;
use super::node::NodeKeeper;
use super::pod::{Plan, PodEvent, PodMachine, pod_id};
use super::pod_status::PodStatuses;
use super::server;
use super::volumes::manager::VolumeManager;
use super::worker::{Shared, Worker, moment, reference};
use crate::base::lock;
use crate::kube::client::{Client, Informer, InformerEvent};
use crate::kube::csi::driver::CsiDrivers;
use crate::kube::csi::host::Host;
use crate::kube::runtime::{Runtime, SandboxStatus, Signal};
use crate::rt::chan::{Mutex as AsyncMutex, mpsc, watch};
use crate::rt::task::Scope;
use crate::rt::time::{Duration, sleep};
use crate::rt::{Either, select2};

/// Containers that nobody wants are given that long: 1 s (`HandlePodCleanups`).
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// What a kubelet finds on its machine.
#[derive(Clone)]
pub struct Machine {
    /// Runs containers.
    pub runtime: Runtime,
    /// Mounts volumes.
    pub host: Host,
    /// CSI plugins as they register.
    pub drivers: CsiDrivers,
    /// Becomes true when the node is to shut down.
    pub shutdown: watch::Receiver<bool>,
}

struct Kubelet {
    client: Client,
    shared: Arc<Shared>,
    nodes: Informer<Node>,
    workers: BTreeMap<String, mpsc::UnboundedSender<PodEvent>>,
    scope: Scope,
    found: BTreeMap<String, Vec<SandboxStatus>>,
}

/// Runs a kubelet until its process ends.
pub async fn run(client: Client, config: KubeletConfig, machine: Machine) -> Infallible {
    let config = Arc::new(config);
    let (events, notices) = Events::new();
    let volumes = VolumeManager::new(
        client.clone(),
        machine.host.clone(),
        machine.drivers.clone(),
        config.root.clone(),
        config.mount_retry,
    );
    let statuses = PodStatuses::default();
    let scope = Scope::new();
    let node = &config.node.name;
    scope.spawn("server", server::serve(machine.runtime.clone(), (config.node.ip, server::PORT).into()));
    scope.spawn("events", events::run(client.clone(), notices, "kubelet".into(), node.clone()));
    scope.spawn("pod-status", statuses.clone().run(client.clone(), config.pod_status_retry));
    while let Err(error) = volumes.restore().await {
        tracing::warn!(%error, "the volumes of before cannot be found");
        sleep(Duration::from_secs(1)).await;
    }
    let of_node = |field: &str| ListParams::default().fields(&format!("{field}={node}"));
    let nodes = Informer::<Node>::start(&client, "", of_node("metadata.name"));
    let keeper = NodeKeeper {
        client: client.clone(),
        nodes: nodes.clone(),
        config: config.clone(),
        runtime: machine.runtime.clone(),
        volumes: volumes.clone(),
        down: machine.shutdown.clone(),
    };
    keeper.register().await;
    scope.spawn("lease", keeper.clone().keep_lease());
    scope.spawn("node-status", keeper.keep_status());
    let pods = Informer::<Pod>::start(&client, "", of_node("spec.nodeName"));
    let launcher = Launcher {
        client: client.clone(),
        runtime: machine.runtime.clone(),
        volumes: volumes.clone(),
        config: config.clone(),
        pulls: AsyncMutex::new(()),
    };
    let shared = Arc::new(Shared {
        config,
        runtime: machine.runtime.clone(),
        volumes: volumes.clone(),
        events,
        statuses,
        launcher,
        admitted: Mutex::default(),
    });
    let mut found: BTreeMap<String, Vec<SandboxStatus>> = BTreeMap::new();
    let list = loop {
        match machine.runtime.list().await {
            Ok(list) => break list,
            Err(error) => tracing::debug!(%error, "the runtime is not there yet"),
        }
        sleep(Duration::from_secs(1)).await;
    };
    for status in list {
        found.entry(status.sandbox.pod.uid.clone()).or_default().push(status);
    }
    pods.synced().await;
    nodes.synced().await;
    scope.spawn("node-watch", watch_node(nodes.clone(), volumes));
    let kubelet = Kubelet { client, shared, nodes, workers: BTreeMap::new(), scope, found };
    kubelet.serve(pods, machine.shutdown).await
}

/// Tells the volumes of what is attached.
async fn watch_node(nodes: Informer<Node>, volumes: VolumeManager) {
    let mut changes = nodes.changes();
    loop {
        nodes.list().iter().for_each(|node| volumes.node_changed(node));
        changes.changed().await;
    }
}

impl Kubelet {
    async fn serve(mut self, pods: Informer<Pod>, mut shutdown: watch::Receiver<bool>) -> Infallible {
        let mut changes = pods.subscribe();
        // The cache first, oldest pod first, so that admission goes in the order in which pods came.
        let mut first = pods.list();
        first.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        for pod in &first {
            self.upsert(pod).await;
        }
        self.end_orphans().await;
        if *shutdown.borrow() {
            self.shut_down();
        }
        loop {
            let event = match select2(changes.recv(), shutdown.changed()).await {
                Either::Left(Some(event)) => event,
                Either::Right(Ok(())) => {
                    if *shutdown.borrow_and_update() {
                        self.shut_down();
                    }
                    continue;
                }
                // Nobody can shut the node down any more; pods still come.
                Either::Right(Err(_)) => match changes.recv().await {
                    Some(event) => event,
                    None => std::future::pending().await,
                },
                Either::Left(None) => std::future::pending().await,
            };
            match &event {
                InformerEvent::Added(pod) => self.upsert(pod).await,
                InformerEvent::Modified(old, pod) => {
                    // Deleted and made anew between two looks.
                    if old.metadata.uid != pod.metadata.uid {
                        self.removed(old);
                    }
                    self.upsert(pod).await;
                }
                InformerEvent::Deleted(pod) => self.removed(pod),
            }
            self.workers.retain(|_, worker| !worker.is_closed());
        }
    }

    fn removed(&mut self, pod: &Arc<Pod>) {
        if let Some(worker) = self.workers.get(&pod_id(pod).uid) {
            // The grace that a forced deletion came with.
            let _ = worker.send(PodEvent::Object(pod.clone()));
            let _ = worker.send(PodEvent::Removed);
        }
    }

    async fn upsert(&mut self, pod: &Arc<Pod>) {
        let uid = pod_id(pod).uid;
        if let Some(worker) = self.workers.get(&uid) {
            let _ = worker.send(PodEvent::Object(pod.clone()));
            return;
        }
        let (machine, plan) = self.take_in(pod).await;
        let (sender, receiver) = mpsc::unbounded_channel();
        let worker = Worker::new(self.shared.clone(), machine, sender.clone());
        self.scope.spawn("pod", worker.run(receiver, plan));
        self.workers.insert(uid, sender);
    }

    /// A pod that this kubelet has not seen: taken over, admitted or refused.
    async fn take_in(&mut self, pod: &Arc<Pod>) -> (PodMachine, Plan) {
        let id = pod_id(pod);
        let found = self.found.remove(&id.uid).unwrap_or_default();
        let config = &self.shared.config;
        let host_ip = config.node.ip.to_string();
        let status = pod.status.clone().unwrap_or_default();
        let seen_before = !found.is_empty() || status.start_time.is_some();
        let takes = pod.spec.as_ref().map(requests);
        let ended = pod.metadata.deletion_timestamp.is_some();
        if !seen_before
            && !ended
            && let Err(refusal) = self.admit(pod).await
        {
            let notice = Notice {
                object: reference(&id),
                warning: true,
                reason: refusal.reason.clone(),
                message: refusal.message.clone(),
            };
            self.shared.events.tell(notice);
            let machine = PodMachine::rejected(
                config.pod.clone(),
                pod.clone(),
                host_ip,
                moment(),
                &refusal.reason,
                &refusal.message,
            );
            return (machine, Plan::default());
        }
        if let Some(takes) = takes {
            lock(&self.shared.admitted).insert(id.uid.clone(), takes);
        }
        let now = moment();
        let machine = PodMachine::new(config.pod.clone(), pod.clone(), host_ip, now);
        if seen_before {
            self.shared.statuses.known(&id, &status);
            machine.adopt(&found, now)
        } else {
            (machine, Plan::default())
        }
    }

    /// A pod may come before the labels for which it was sent here, for the two are watched apart. Before it is refused for them
    /// the server is asked, as upstream does since 1.35 (kubernetes #134445).
    async fn admit(&self, pod: &Pod) -> Result<(), Refusal> {
        let config = &self.shared.config.node;
        let others: Vec<_> = lock(&self.shared.admitted).values().copied().collect();
        let look = |node: &Node| admit(pod, node, config.capacity.without(config.reserved), &others);
        let Some(node) = self.nodes.get("", &config.name) else { return Ok(()) };
        let refused = match look(&node) {
            Err(refusal) if refusal.is_for_labels() => refusal,
            other => return other,
        };
        match self.client.get::<Node>("", &config.name).await {
            Ok(node) => look(&node),
            Err(error) => {
                tracing::debug!(%error, "the node's labels are not known better");
                Err(refused)
            }
        }
    }

    /// Ends what ran for pods that are no more, and takes their mounts down.
    async fn end_orphans(&mut self) {
        for (uid, sandboxes) in std::mem::take(&mut self.found) {
            let (runtime, volumes) = (self.shared.runtime.clone(), self.shared.volumes.clone());
            self.scope.spawn("orphan", async move {
                let running = |s: &SandboxStatus| {
                    let alive = s.containers.iter().filter(|c| c.exit.is_none());
                    alive.map(|c| c.id.clone()).collect::<Vec<_>>()
                };
                let containers: Vec<_> = sandboxes.iter().flat_map(running).collect();
                for container in &containers {
                    let _ = runtime.signal(container.clone(), Signal::Term).await;
                }
                if !containers.is_empty() {
                    sleep(ORPHAN_GRACE).await;
                }
                for status in sandboxes {
                    // Removing kills what is left.
                    while runtime.remove_sandbox(status.sandbox.id.clone()).await.is_err() {
                        sleep(Duration::from_secs(1)).await;
                    }
                }
                volumes.unmount_all(&uid, |_| {}).await;
            });
        }
        let Ok(mounted) = self.shared.volumes.pods_with_mounts().await else { return };
        for uid in mounted.into_iter().filter(|uid| !self.workers.contains_key(uid)) {
            let volumes = self.shared.volumes.clone();
            self.scope.spawn("orphan", async move { volumes.unmount_all(&uid, |_| {}).await });
        }
    }

    /// Upstream's graceful node shutdown.
    fn shut_down(&self) {
        for worker in self.workers.values() {
            let _ = worker.send(PodEvent::Evict {
                reason: "Terminated".into(),
                message: "Pod was terminated in response to imminent node shutdown.".into(),
                grace: self.shared.config.shutdown_grace,
            });
        }
    }
}
