//! Kubelets on simulated nodes against the API server: pods run, fail, restart, end and outlive their kubelet.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod double;

mod cluster;

mod fuse;

mod containers;
mod judged;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use double::{Double, Play};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::core::params::{DeleteParams, ListParams};
use serde_json::{Value, json};
use stormglass::base::planted::{Bug, plant};
use stormglass::base::{HostId, ProcessId, Seed, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Patch};
use stormglass::kube::csi::disk::{DISK_DRIVER, DiskDriver};
use stormglass::kube::csi::driver::CsiDrivers;
use stormglass::kube::kind::Kinds;
use stormglass::kube::kubelet::config::{KubeletConfig, NodeConfig};
use stormglass::kube::kubelet::run::{Machine, run};
use stormglass::oracle::cluster::Ledger;
use stormglass::oracle::{RunRecord, identity};
use stormglass::rt::chan::watch;
use stormglass::rt::time::Duration;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

use crate::relay::Relay;

const API: &str = "apiserver:6443";

/// An API server and two nodes.
struct Stage {
    lab: Lab,
    user: HostId,
    hosts: Vec<HostId>,
    machines: Vec<Double>,
    kubelets: Vec<ProcessId>,
    shutdown: watch::Sender<bool>,
}

fn node(n: usize) -> String {
    format!("node-{n}")
}

impl Stage {
    fn new(seed: u64, plays: &[(&str, Play)]) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let master = lab.world.add_host("apiserver", [10, 0, 0, 100].into());
        let user = lab.world.add_host("user", [10, 0, 0, 101].into());
        let server = ApiServer::new(Kinds::builtin(), ApiServerConfig::default(), Seed(seed));
        let program = server.run(SocketAddr::from(([10, 0, 0, 100], 6443)));
        lab.world.start(master, "kube-apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
        let hosts: Vec<_> = (0..2u8).map(|n| lab.world.add_host(&node(n.into()), [10, 0, 0, n].into())).collect();
        let machines = (0..2).map(|n| Double::new(n, plays)).collect();
        let shutdown = watch::channel(false).0;
        let mut stage = Self { lab, user, hosts, machines, kubelets: Vec::new(), shutdown };
        stage.kubelets = (0..2).map(|n| stage.start_kubelet(n, API)).collect();
        stage.run_until(2);
        stage
    }

    fn start_kubelet(&self, n: usize, api: &'static str) -> ProcessId {
        let mut node = NodeConfig::new(node(n), [10, 0, 0, n as u8].into());
        node.zone = Some(format!("zone-{n}"));
        let (machine, drivers) = (Arc::new(self.machines[n].clone()), CsiDrivers::default());
        drivers.register(Arc::new(DiskDriver::new(DISK_DRIVER, machine.clone())));
        let machine = Machine { runtime: machine.clone(), host: machine, drivers, shutdown: self.shutdown.subscribe() };
        let program = async move {
            run(Client::new(api), KubeletConfig::new(node), machine).await;
        };
        self.lab.world.start(self.hosts[n], "kubelet", Box::pin(program)).unwrap()
    }

    fn run_until(&self, seconds: u64) {
        self.lab.world.run_until(stormglass::base::SimTime::from_secs(seconds));
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
    }

    /// Runs `call` with a client, within half a second.
    fn ask<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: impl FnOnce(Client) -> F + Send + 'static,
    ) -> T {
        let result = Arc::new(Mutex::new(None));
        let out = result.clone();
        let program = async move {
            let got = call(Client::new(API)).await;
            *lock(&out) = Some(got);
        };
        self.lab.world.start(self.user, "kubectl", Box::pin(program)).unwrap();
        self.lab.world.run_until(self.lab.world.world_now() + Duration::from_millis(500));
        lock(&result).take().unwrap()
    }

    fn pod(&self, name: &str) -> Option<Pod> {
        let name = name.to_owned();
        self.ask(move |client| async move { client.find::<Pod>("default", &name).await.unwrap() })
    }

    fn node(&self, n: usize) -> Node {
        self.ask(move |client| async move { client.get::<Node>("", &node(n)).await.unwrap() })
    }

    /// Makes a pod that is bound to a node. `container` is merged into its only container.
    fn create(&self, name: &str, n: usize, image: &str, container: Value, spec: Value) {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node(n), "containers": [{"name": name, "image": image}]},
        });
        merge(&mut pod["spec"], spec);
        merge(&mut pod["spec"]["containers"][0], container);
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.ask(move |client| async move { client.create(&pod).await.unwrap() });
    }

    fn delete(&self, name: &str, grace: Option<u32>) {
        let name = name.to_owned();
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        self.ask(move |client| async move { client.delete::<Pod>("default", &name, &params).await.unwrap() });
    }

    /// Reasons of the events about a pod, with their counts.
    fn reasons(&self, pod: &str) -> Vec<(String, i32)> {
        let params = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        let list = self.ask(move |client| async move { client.list::<Event>("default", &params).await.unwrap() });
        let told = |e: Event| (e.reason.unwrap_or_default(), e.count.unwrap_or(0));
        list.items.into_iter().map(told).collect()
    }

    fn secs(&self) -> u64 {
        self.lab.world.world_now().elapsed().as_secs()
    }
}

fn merge(target: &mut Value, more: Value) {
    let (Value::Object(target), Value::Object(more)) = (target, more) else { return };
    target.extend(more);
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().unwrap().phase.as_deref().unwrap()
}

fn condition(pod: &Pod, kind: &str) -> String {
    let conditions = pod.status.as_ref().unwrap().conditions.iter().flatten();
    conditions.into_iter().find(|c| c.type_ == kind).map(|c| c.status.clone()).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count
}

fn steady() -> Play {
    Play { pull: Duration::from_secs(3), term: Some(Duration::from_secs(2)), ..Play::default() }
}

#[test]
fn nodes_register_and_pods_run_on_their_own_node() {
    let stage = Stage::new(1, &[("app:1", steady())]);
    let node = stage.node(1);
    let labels = node.metadata.labels.clone().unwrap();
    assert_eq!(labels["topology.kubernetes.io/zone"], "zone-1");
    let status = node.status.unwrap();
    assert_eq!(status.allocatable.unwrap()["cpu"].0, "4");
    assert!(status.conditions.unwrap().iter().any(|c| c.type_ == "Ready" && c.status == "True"));

    stage.create("a", 0, "app:1", json!({}), json!({}));
    stage.create("b", 1, "app:1", json!({}), json!({}));
    stage.create("missing", 1, "none:1", json!({}), json!({}));
    stage.run_until(20);
    for (name, n) in [("a", 0), ("b", 1)] {
        let pod = stage.pod(name).unwrap();
        assert_eq!((phase(&pod), condition(&pod, "Ready").as_str()), ("Running", "True"), "{pod:?}");
        let status = pod.status.unwrap();
        assert!(status.pod_ip.unwrap().starts_with(&format!("10.1.{n}.")));
        assert_eq!(stage.machines[n].starts(name).len(), 1);
        let reasons: Vec<_> = stage.reasons(name).into_iter().map(|(reason, _)| reason).collect();
        for want in ["Pulling", "Pulled", "Created", "Started"] {
            assert!(reasons.contains(&want.to_owned()), "{reasons:?}");
        }
    }
    let missing = stage.pod("missing").unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    let reason = missing.state.unwrap().waiting.unwrap().reason.unwrap();
    assert!(["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()), "{reason}");

    let renewed = |at| {
        stage.run_until(at);
        let lease = stage.ask(|client| async move { client.get::<Lease>("kube-node-lease", "node-0").await.unwrap() });
        lease.spec.unwrap().renew_time.unwrap()
    };
    assert!(renewed(25) < renewed(36));
}

#[test]
fn the_directory_of_the_kubelet_is_there_for_the_first_pod() {
    let stage = Stage::new(6, &[("app:1", steady())]);
    let volumes = json!([{"name": "own", "hostPath": {"path": "/var/lib/kubelet", "type": "Directory"}}]);
    let other = json!([{"name": "own", "hostPath": {"path": "/var/lib/other", "type": "Directory"}}]);
    for (name, volumes, mounted) in [("own", volumes, true), ("other", other, false)] {
        stage.create(name, 0, "app:1", json!({}), json!({ "volumes": volumes }));
        stage.run_until(stage.secs() + 10);
        let failed = stage.reasons(name).iter().any(|(reason, _)| reason == "FailedMount");
        assert_eq!((phase(&stage.pod(name).unwrap()), failed), (if mounted { "Running" } else { "Pending" }, !mounted));
    }
}

#[test]
fn a_pod_that_comes_before_its_labels_is_not_refused() {
    let stage = Stage::new(5, &[("app:1", steady())]);
    let (relay, host) = (Arc::new(Relay::default()), stage.lab.world.add_host("relay", [10, 0, 0, 102].into()));
    let program = relay.clone().run(SocketAddr::from(([10, 0, 0, 102], 6443)));
    stage.lab.world.start(host, "relay", Box::pin(program)).unwrap();
    stage.lab.world.kill(stage.kubelets[0]);
    stage.start_kubelet(0, "relay:6443");
    stage.run_until(10);
    relay.hold("nodes");
    let label = Patch::Merge(json!({"metadata": {"labels": {"disk": "ssd"}}}));
    stage.ask(move |client| async move { drop(client.patch::<Node>("", &node(0), &label).await.unwrap()) });
    for disk in ["ssd", "hdd"] {
        stage.create(disk, 0, "app:1", json!({}), json!({"nodeSelector": {"disk": disk}}));
    }
    stage.run_until(30);
    let status = |name| stage.pod(name).unwrap().status.unwrap();
    assert_eq!(status("ssd").phase.as_deref(), Some("Running"), "{:?}", status("ssd"));
    assert_eq!(
        (status("hdd").phase.as_deref(), status("hdd").reason.as_deref()),
        (Some("Failed"), Some("NodeAffinity"))
    );
    // Nobody to ask.
    relay.lose("GET /api/v1/nodes/");
    stage.create("late", 0, "app:1", json!({}), json!({"nodeSelector": {"disk": "ssd"}}));
    stage.run_until(60);
    assert_eq!(status("late").reason.as_deref(), Some("NodeAffinity"));
}

#[test]
fn a_lease_is_renewed_whoever_wrote_it_and_made_anew_when_it_is_gone() {
    const NAME: &str = "node-0";
    let stage = Stage::new(3, &[]);
    let lease = |at| {
        stage.run_until(at);
        stage.ask(|client| async move { client.get::<Lease>("kube-node-lease", NAME).await.unwrap() })
    };
    let first = lease(15);
    let seen = Patch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}}));
    stage.ask(|client| async move { drop(client.patch::<Lease>("kube-node-lease", NAME, &seen).await.unwrap()) });
    let second = lease(36);
    let times = [&first, &second].map(|lease| lease.spec.as_ref().unwrap().renew_time.clone().unwrap());
    assert!(times[0] < times[1] && second.metadata.labels.is_some(), "{times:?}");
    // The node too: the next lease is the new node's.
    stage.ask(|client| async move {
        client.delete::<Node>("", NAME, &DeleteParams::default()).await.unwrap();
        client.delete::<Lease>("kube-node-lease", NAME, &DeleteParams::default()).await.unwrap();
    });
    stage.run_until(400);
    let node = stage.ask(|client| async move { client.get::<Node>("", NAME).await.unwrap() });
    let third = lease(401);
    assert_ne!(third.metadata.uid, second.metadata.uid);
    assert_eq!(third.metadata.owner_references.unwrap()[0].uid, node.metadata.uid.unwrap());
}

#[test]
fn what_the_node_controller_wrote_of_a_silent_node_is_put_right_at_the_next_look() {
    let stage = Stage::new(4, &[]);
    stage.run_until(25);
    let ready = || {
        let conditions = stage.node(0).status.unwrap().conditions.unwrap();
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        (ready.status, ready.last_transition_time.unwrap())
    };
    let (before, since) = ready();
    let unknown =
        json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}});
    stage.ask(move |client| async move {
        client.patch_status::<Node>("", &node(0), &Patch::Strategic(unknown)).await.unwrap();
    });
    assert_eq!(ready().0, "Unknown");
    stage.run_until(37);
    let (after, then) = ready();
    assert_eq!((before.as_str(), after.as_str()), ("True", "True"));
    assert!(since < then, "it was not ready all the time");
}

#[test]
fn a_failing_probe_and_a_hungry_container_restart_with_back_off() {
    let sick = Play { sick: Some((Duration::from_secs(5), Duration::from_secs(1000))), ..steady() };
    let hungry = Play { eats: 1 << 20, ..steady() };
    let stage = Stage::new(2, &[("sick:1", sick), ("hungry:1", hungry)]);
    let probe = json!({"livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10}});
    stage.create("sick", 0, "sick:1", probe, json!({}));
    stage.create("hungry", 1, "hungry:1", json!({"resources": {"limits": {"memory": "20Mi"}}}), json!({}));
    stage.run_until(200);
    let starts = stage.machines[0].starts("sick");
    let gaps: Vec<u64> = starts.windows(2).map(|w| w[1] - w[0]).collect();
    // Three failures at 10, 20 and 30 s, two seconds to end, up to a second until that is seen; then 0, 10, 20 s.
    for (gap, wait) in gaps.iter().zip([0, 10, 20]) {
        assert!((32 + wait..=34 + wait).contains(gap), "{gaps:?}");
    }
    assert!(gaps.len() >= 3, "{gaps:?}");
    let reasons = stage.reasons("sick");
    assert!(reasons.iter().any(|(reason, count)| reason == "Unhealthy" && *count >= 3), "{reasons:?}");

    let pod = stage.pod("hungry").unwrap();
    let row = pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].clone();
    let end = row.last_state.unwrap().terminated.unwrap();
    assert_eq!((end.reason.as_deref(), end.exit_code, row.restart_count >= 3), (Some("OOMKilled"), 137, true));
}

#[test]
fn deletion_is_graceful_and_frees_the_name_last() {
    let stubborn = Play { term: None, ..steady() };
    let stage = Stage::new(3, &[("app:1", steady()), ("stubborn:1", stubborn)]);
    stage.create("soft", 0, "app:1", json!({}), json!({}));
    stage.create("hard", 0, "stubborn:1", json!({}), json!({"terminationGracePeriodSeconds": 10}));
    stage.run_until(20);
    stage.delete("soft", None);
    stage.delete("hard", None);
    let from = stage.secs();
    stage.run_until(from + 1);
    assert!(stage.pod("soft").unwrap().metadata.deletion_timestamp.is_some());
    stage.run_until(from + 5);
    assert!(stage.pod("soft").is_none() && stage.pod("hard").is_some());
    stage.run_until(from + 15);
    assert!(stage.pod("hard").is_none());
    let log = stage.machines[0].log();
    let at = |what: &str| log.iter().find(|(_, w)| w == what).map(|(at, _)| *at).unwrap();
    assert!((9..=11).contains(&(at("Kill hard") - at("Term hard"))), "{log:?}");
    assert!(!log.iter().any(|(_, what)| what == "Kill soft"), "{log:?}");

    // A forced deletion frees the name at once; the process has its grace, as upstream's.
    stage.create("hard", 0, "stubborn:1", json!({}), json!({}));
    stage.run_until(from + 25);
    stage.delete("hard", Some(0));
    assert!(stage.pod("hard").is_none());
    stage.run_until(from + 45);
    assert_eq!(stage.machines[0].immortal().len(), 1);
    stage.run_until(from + 60);
    assert_eq!(stage.machines[0].immortal(), []);
}

/// The kubelet is killed and comes back: what ran goes on, what ended meanwhile is seen, what was deleted ends.
fn restart_kubelet(seed: u64, bugs: &[Bug]) -> (usize, i32, bool, Vec<&'static str>) {
    let _planted = plant(bugs).unwrap();
    let crash = Play { exits: Some((Duration::from_secs(30), 1)), ..steady() };
    let mut stage = Stage::new(seed, &[("app:1", steady()), ("crash:1", crash)]);
    stage.create("a", 0, "app:1", json!({}), json!({}));
    stage.create("crash", 0, "crash:1", json!({}), json!({}));
    stage.create("gone", 0, "app:1", json!({}), json!({}));
    stage.run_until(20);
    let before = stage.pod("a").unwrap().status.unwrap();
    let mut ledger = Ledger::default();
    ledger.look(stage.lab.world.world_now(), &stage.machines[0].processes());
    stage.lab.world.kill(stage.kubelets[0]);
    stage.delete("gone", Some(0));
    stage.run_until(60);
    stage.kubelets[0] = stage.start_kubelet(0, API);
    stage.run_until(75);
    let after = stage.pod("a").unwrap();
    let same = before.container_statuses == after.status.as_ref().unwrap().container_statuses;
    assert!(stage.pod("gone").is_none());
    let alive = stage.machines[0].immortal();
    let crashed = restarts(&stage.pod("crash").unwrap());
    ledger.look(stage.lab.world.world_now(), &stage.machines[0].processes());
    let record = RunRecord { cluster: Some(ledger.close()), ..RunRecord::default() };
    let found = identity::check(&record).violations.iter().map(|found| found.name()).collect();
    (alive.iter().filter(|(_, name)| name == "a").count(), crashed, same, found)
}

#[test]
fn containers_outlive_their_kubelet() {
    for seed in 0..3 {
        assert_eq!(restart_kubelet(seed, &[]), (1, 1, true, vec![]), "seed {seed}");
    }
}

#[test]
fn a_kubelet_that_forgets_starts_a_second_process() {
    let (alive, _, same, found) = restart_kubelet(1, &[Bug::KubeletForgetsContainers]);
    assert_eq!((alive, same), (2, false));
    assert!(found.contains(&"TwoProcessesOnePod"), "K-01: {found:?}");
}

#[test]
fn a_disk_is_mounted_after_it_is_reported_and_attached_and_let_go_after() {
    let stage = Stage::new(5, &[("app:1", steady())]);
    let objects = |client: Client| async move {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "default"}, "data": {"key": "aHVudGVyMg=="},
        }))
        .unwrap();
        client.create(&secret).await.unwrap();
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": "pv-1"},
            "spec": {
                "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
                "csi": {"driver": DISK_DRIVER, "volumeHandle": "d-1"},
            },
        }))
        .unwrap();
        client.create(&volume).await.unwrap();
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "volumeName": "pv-1", "storageClassName": "disk",
                "resources": {"requests": {"storage": "10Gi"}},
            },
        }))
        .unwrap();
        client.create(&claim).await.unwrap();
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        client.patch_status::<PersistentVolumeClaim>("default", "data", &bound).await.unwrap();
    };
    stage.ask(objects);
    let mounts = json!({
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}}],
    });
    let volumes = json!({"volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "tmp", "emptyDir": {"medium": "Memory"}},
    ]});
    stage.create("m", 0, "app:1", mounts, volumes);
    stage.run_until(30);
    let name = format!("kubernetes.io/csi/{DISK_DRIVER}^d-1");
    assert_eq!(stage.node(0).status.unwrap().volumes_in_use.unwrap(), std::slice::from_ref(&name));
    assert_eq!(stage.machines[0].starts("m"), [0; 0], "not attached yet");
    stage.run_until(140);
    assert!(stage.reasons("m").iter().any(|(reason, _)| reason == "FailedMount"), "{:?}", stage.reasons("m"));
    stage.machines[0].attach("/dev/vdb", true);
    let attached = json!({"status": {"volumesAttached": [{"name": name, "devicePath": "/dev/vdb"}]}});
    stage.ask(|client| async move {
        client.patch_status::<Node>("", "node-0", &Patch::Merge(attached)).await.unwrap();
    });
    stage.run_until(150);
    assert_eq!(phase(&stage.pod("m").unwrap()), "Running");
    let spec = stage.machines[0].spec("m").unwrap();
    assert_eq!(spec.env[0].value, "hunter2");
    let table = stage.machines[0].table();
    let data = spec.mounts.iter().find(|m| m.target == "/data").unwrap();
    let place = table.resolve(&data.source).unwrap();
    assert_eq!(place.fs, stormglass::kube::csi::mount::FileSystem::Device("/dev/vdb".into()));
    assert_eq!(
        stage.node(0).status.unwrap().volumes_attached.unwrap().len(),
        1,
        "the kubelet leaves what is not its own"
    );

    stage.delete("m", None);
    stage.run_until(180);
    assert!(stage.pod("m").is_none());
    assert_eq!(stage.machines[0].table().mounts(), []);
    assert_eq!(stage.node(0).status.unwrap().volumes_in_use.unwrap_or_default(), [""; 0]);
}

#[test]
fn a_node_that_shuts_down_ends_its_pods() {
    let stage = Stage::new(6, &[("app:1", steady())]);
    stage.create("a", 0, "app:1", json!({}), json!({}));
    stage.run_until(15);
    stage.shutdown.send_replace(true);
    stage.run_until(40);
    let pod = stage.pod("a").unwrap();
    assert_eq!((phase(&pod), pod.status.as_ref().unwrap().reason.as_deref()), ("Failed", Some("Terminated")));
    let ready = stage.node(0).status.unwrap().conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.message.as_deref()), ("False", Some("node is shutting down")));
}

#[test]
fn a_node_that_is_full_refuses() {
    let stage = Stage::new(7, &[("app:1", steady())]);
    let cpu = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    stage.create("a", 0, "app:1", cpu("3"), json!({}));
    stage.create("b", 0, "app:1", cpu("2"), json!({}));
    stage.run_until(15);
    let refused = stage.pod("b").unwrap();
    assert_eq!((phase(&refused), refused.status.as_ref().unwrap().reason.as_deref()), ("Failed", Some("OutOfcpu")));
    assert_eq!(phase(&stage.pod("a").unwrap()), "Running");
}
