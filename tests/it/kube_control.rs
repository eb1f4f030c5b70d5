//! The controller manager in a world: an API server, the manager, stand-ins for scheduler and kubelets, a machine each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "kube_control/fakes.rs"]
pub mod fakes;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fakes::Kubelet;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::core::params::DeleteParams;
use serde_json::{Value, json};
use stormglass::base::{HostId, Seed, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Informer, InformerEvent, Informers, Patch};
use stormglass::kube::controllers::endpoints::{DnsSink, dns};
use stormglass::kube::controllers::{ControllerManagerConfig, manager};
use stormglass::kube::kind::{ApiObject, Kinds};
use stormglass::rt::time::wall;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const API: &str = "control:6443";

/// What became of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Made,
    Ready,
    Unready,
    Marked,
    Gone,
}

/// Second of the wall clock, what, name, uid.
type Log = Arc<Mutex<Vec<(f64, What, String, String)>>>;

struct Cluster {
    lab: Lab,
    control: HostId,
    nodes: Vec<HostId>,
    log: Log,
    names: Arc<Names>,
}

/// The resolver's records, as the DNS server told them.
#[derive(Default)]
struct Names(Mutex<std::collections::BTreeMap<String, usize>>);

impl DnsSink for Names {
    fn publish(&self, name: &str, addresses: &[IpAddr], _: Duration) {
        lock(&self.0).insert(name.into(), addresses.len());
    }

    fn withdraw(&self, name: &str) {
        lock(&self.0).remove(name);
    }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Cluster {
    fn new(seed: u64, size: u8) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let control = lab.world.add_host("control", [10, 0, 0, 9].into());
        let server = ApiServer::new(Kinds::builtin(), ApiServerConfig::default(), Seed(seed));
        let cluster = Self { lab, control, nodes: Vec::new(), log: Log::default(), names: Arc::default() };
        cluster.start(control, async move { server.run(SocketAddr::from(([10, 0, 0, 9], 6443))).await.unwrap() });
        cluster.start(control, async {
            manager::run(Informers::new(Client::new(API)), ControllerManagerConfig::default(), |_, objects| objects)
                .await;
        });
        cluster.start(control, fakes::scheduler(Client::new(API)));
        cluster.start(control, watch(cluster.log.clone()));
        let names = cluster.names.clone();
        cluster.start(control, async move {
            dns::run(Client::new(API), dns::DnsConfig::default(), names).await;
        });
        let mut cluster = cluster;
        for n in 0..size {
            let node = cluster.lab.world.add_host(&format!("node-{n}"), [10, 0, 1, n + 1].into());
            let network = [10, 1, n];
            let (start, stop) = (Duration::from_secs(1), Duration::from_secs(2));
            let kubelet = Kubelet { node: format!("node-{n}"), network, start, stop };
            cluster.start(node, kubelet.run(Client::new(API)));
            cluster.nodes.push(node);
        }
        cluster
    }

    fn start(&self, host: HostId, program: impl Future<Output = ()> + Send + 'static) {
        self.lab.world.start(host, "program", Box::pin(program)).unwrap();
    }

    /// Does something by the API, and waits for it.
    fn act<F, T>(&self, action: impl FnOnce(Client) -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send,
        T: Send + 'static,
    {
        let (out, done) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let slot = out.clone();
        self.start(self.control, async move {
            let got = action(Client::new(API)).await;
            *lock(&slot) = Some(got);
        });
        while lock(&done).is_none() {
            self.run(1);
            *lock(&done) = lock(&out).take();
        }
        lock(&done).take().unwrap()
    }

    fn create<K: ApiObject>(&self, value: Value) -> K {
        let object: K = object(value);
        self.act(|client| async move { Arc::unwrap_or_clone(client.create(&object).await.unwrap()) })
    }

    fn get<K: ApiObject>(&self, namespace: &'static str, name: &'static str) -> Option<K> {
        self.act(move |client| async move { client.find(namespace, name).await.unwrap() })
    }

    fn run(&self, seconds: u64) {
        self.lab.world.run_until(self.lab.world.world_now() + Duration::from_secs(seconds));
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
    }

    /// On the scale of the log: the wall clock, which no machine here gets wrong.
    fn now(&self) -> f64 {
        wall().as_secs_f64()
    }

    /// The log of one kind of thing since a moment.
    fn since(&self, moment: f64, what: What) -> Vec<(f64, String)> {
        let log = lock(&self.log);
        let chosen = log.iter().filter(|(at, kind, ..)| *at >= moment && *kind == what);
        chosen.map(|(at, _, name, _)| (*at, name.clone())).collect()
    }

    fn first(&self, moment: f64, what: What, name: &str) -> Option<f64> {
        self.since(moment, what).into_iter().find(|(_, other)| other == name).map(|(at, _)| at)
    }

    fn set(&self, replicas: i32) {
        self.create::<Service>(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "clusterIP": "None", "selector": { "app": "web" }, "ports": [{ "port": 80 }] }
        }));
        self.create::<StatefulSet>(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": {
                "serviceName": "web", "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "main", "image": "web:1" }] }
                }
            }
        }));
    }
}

/// Writes down what becomes of every pod.
async fn watch(log: Log) {
    let pods = Informer::<Pod>::all(&Client::new(API));
    let mut events = pods.subscribe();
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    while let Some(event) = events.recv().await {
        let mut seen = Vec::new();
        match &event {
            InformerEvent::Added(_) => seen.push(What::Made),
            InformerEvent::Modified(old, new) => {
                match (ready(old), ready(new)) {
                    (false, true) => seen.push(What::Ready),
                    (true, false) => seen.push(What::Unready),
                    _ => {}
                }
                if old.metadata.deletion_timestamp.is_none() && new.metadata.deletion_timestamp.is_some() {
                    seen.push(What::Marked);
                }
            }
            InformerEvent::Deleted(_) => seen.push(What::Gone),
        }
        let meta = &event.object().metadata;
        let at = wall().as_secs_f64();
        for what in seen {
            lock(&log).push((at, what, meta.name.clone().unwrap(), meta.uid.clone().unwrap()));
        }
    }
}

#[test]
fn a_stateful_set_grows_in_order_and_replaces_a_member_only_when_it_is_gone() {
    for seed in 0..2 {
        let cluster = Cluster::new(seed, 3);
        cluster.run(5);
        cluster.set(3);
        cluster.run(30);
        let order = |what| cluster.since(0.0, what).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(order(What::Made), ["web-0", "web-1", "web-2"]);
        assert_eq!(order(What::Ready), ["web-0", "web-1", "web-2"]);
        let at = |what, name: &str| cluster.first(0.0, what, name).unwrap();
        assert!(
            at(What::Made, "web-1") > at(What::Ready, "web-0") && at(What::Made, "web-2") > at(What::Ready, "web-1")
        );
        let set: StatefulSet = cluster.get("default", "web").unwrap();
        let status = set.status.unwrap();
        assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (3, Some(3), Some(3)));
        assert_eq!(status.current_revision, status.update_revision);
        assert_eq!(lock(&cluster.names.0).get("web.default.svc.cluster.local"), Some(&3));
        assert_eq!(lock(&cluster.names.0).get("web-1.web.default.svc.cluster.local"), Some(&1));

        cluster.act(|client| async move {
            client.delete::<Pod>("default", "web-1", &DeleteParams::default()).await.unwrap();
        });
        cluster.run(30);
        let of_one: Vec<_> = lock(&cluster.log).iter().filter(|(_, _, name, _)| name == "web-1").cloned().collect();
        let told: Vec<What> = of_one.iter().map(|(_, what, ..)| *what).collect();
        assert_eq!(told, [What::Made, What::Ready, What::Marked, What::Gone, What::Made, What::Ready]);
        assert!(of_one[3].3 == of_one[0].3 && of_one[4].3 != of_one[0].3, "another object of the same name");
        assert!(of_one[4].0 >= of_one[3].0);

        // Scale in: from the end, one at a time. Then the owner goes, and the owned with it.
        cluster.act(|client| async move { client.scale::<StatefulSet>("default", "web", 1).await.unwrap() });
        cluster.run(30);
        let gone: Vec<_> = cluster.since(of_one[5].0, What::Gone).into_iter().map(|(_, name)| name).collect();
        assert_eq!(gone, ["web-2", "web-1"]);
        assert!(cluster.first(of_one[5].0, What::Marked, "web-1") >= cluster.first(of_one[5].0, What::Gone, "web-2"));
        cluster.act(|client| async move {
            client.delete::<StatefulSet>("default", "web", &DeleteParams::default()).await.unwrap();
        });
        cluster.run(30);
        assert_eq!(cluster.get::<Pod>("default", "web-0").map(|pod| pod.metadata.name), None);
    }
}

#[test]
fn a_lost_node_is_unknown_then_evicted_then_stuck_until_it_is_out_of_service() {
    let cluster = Cluster::new(3, 3);
    cluster.run(5);
    cluster.create::<DaemonSet>(json!({
        "metadata": { "name": "fuse", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": "fuse" } },
            "template": {
                "metadata": { "labels": { "app": "fuse" } },
                "spec": { "containers": [{ "name": "main", "image": "fuse:1" }] }
            }
        }
    }));
    cluster.set(3);
    cluster.run(60);
    let pod: Pod = cluster.get("default", "web-1").unwrap();
    let node: &'static str = Box::leak(pod.spec.unwrap().node_name.unwrap().into_boxed_str());
    let daemons = cluster.since(0.0, What::Ready).into_iter().filter(|(_, name)| name.starts_with("fuse-")).count();
    assert_eq!(daemons, 3);
    let dns = || lock(&cluster.names.0).get("web.default.svc.cluster.local").copied();
    assert_eq!(dns(), Some(3));

    let host = cluster.nodes[usize::from(node.as_bytes()[5] - b'0')];
    cluster.lab.power_loss(host);
    let lost = cluster.now();
    let ready = || {
        let node: Node = cluster.get("", node).unwrap();
        node.status.unwrap().conditions.unwrap().into_iter().find(|one| one.type_ == "Ready").unwrap().status
    };
    cluster.run(28);
    assert_eq!((ready().as_str(), dns()), ("True", Some(3)), "the last lease is at most ten seconds older");
    cluster.run(20);
    assert_eq!(ready(), "Unknown");
    let unready = cluster.first(lost, What::Unready, "web-1").expect("pods not ready at once") - lost;
    assert!((29.0..47.0).contains(&unready), "40 s after the last lease, seen by a look each 5 s: {unready}");
    assert_eq!(dns(), Some(2), "endpoints drop what is not ready");
    cluster.run(300);
    let marked = cluster.first(lost, What::Marked, "web-1").expect("evicted") - lost;
    assert!((300.0..316.0).contains(&(marked - unready)), "tolerated for 300 s after the taint: {marked} {unready}");
    cluster.run(600);
    assert_eq!(cluster.first(lost, What::Gone, "web-1"), None, "nobody confirms: stuck Terminating");
    assert_eq!(cluster.since(lost, What::Made), [], "and no second pod for its ordinal");
    let evicted = cluster.since(lost, What::Marked);
    assert!(evicted.iter().all(|(_, name)| name.starts_with("web-")), "daemons stay: {evicted:?}");

    let taint = json!({ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" });
    cluster.act(move |client| async move {
        let patch = Patch::Strategic(json!({ "spec": { "taints": [taint] } }));
        client.patch::<Node>("", node, &patch).await.map(drop).unwrap();
    });
    let said = cluster.now();
    cluster.run(60);
    let gone = cluster.first(said - 2.0, What::Gone, "web-1").expect("freed by the pod garbage collector");
    assert!(gone - said < 25.0, "at its next look: {}", gone - said);
    let ready = cluster.first(gone, What::Ready, "web-1").expect("started elsewhere");
    assert!(ready - gone < 5.0);
    assert_eq!(dns(), Some(3));
}

#[test]
fn a_deployment_rolls_is_scaled_and_goes_with_its_sets() {
    let cluster = Cluster::new(3, 3);
    let manifest = |image: &str| {
        json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": {
                "replicas": 3, "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "main", "image": image }] }
                }
            }
        })
    };
    cluster.create::<Deployment>(manifest("web:1"));
    cluster.run(20);
    let sets = |cluster: &Cluster| -> Vec<(String, i32)> {
        let all = cluster.act(|client| async move {
            client.list::<ReplicaSet>("default", &Default::default()).await.unwrap().items
        });
        all.into_iter().map(|set| (set.metadata.name.unwrap(), set.spec.replicas.unwrap())).collect()
    };
    let pods = |cluster: &Cluster| -> Vec<String> {
        let all = cluster
            .act(|client| async move { client.list::<Pod>("default", &Default::default()).await.unwrap().items });
        all.into_iter().map(|pod| pod.metadata.name.unwrap()).collect()
    };
    let first = sets(&cluster)[0].0.clone();
    assert!(first.starts_with("web-") && first.len() > "web-".len());
    let names = pods(&cluster);
    assert_eq!(names.len(), 3);
    assert!(
        names.iter().all(|name| name.starts_with(&format!("{first}-")) && name.len() == first.len() + 6),
        "{names:?}"
    );
    cluster.act(|client| async move {
        let patch = Patch::Merge(
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "web:2" }] } } } }),
        );
        client.patch::<Deployment>("default", "web", &patch).await.unwrap();
    });
    cluster.run(60);
    let after = sets(&cluster);
    assert_eq!(after.iter().map(|(_, size)| size).sum::<i32>(), 3);
    assert!(after.contains(&(first.clone(), 0)), "{after:?}");
    let names = pods(&cluster);
    assert!(names.len() == 3 && names.iter().all(|name| !name.starts_with(&format!("{first}-"))), "{names:?}");
    let deployment: Deployment = cluster.get("default", "web").unwrap();
    assert_eq!(deployment.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "2");
    let status = deployment.status.unwrap();
    assert_eq!((status.replicas, status.updated_replicas, status.available_replicas), (Some(3), Some(3), Some(3)));
    cluster.act(|client| async move { client.scale::<Deployment>("default", "web", 5).await.unwrap() });
    cluster.run(20);
    assert_eq!(pods(&cluster).len(), 5);
    cluster.act(|client| async move {
        client.delete::<Deployment>("default", "web", &DeleteParams::background()).await.unwrap();
    });
    cluster.run(30);
    assert!(sets(&cluster).is_empty() && pods(&cluster).is_empty(), "the garbage collector takes what is owned");
}
