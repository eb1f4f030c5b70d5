//! Scheduler, volume binder, disk driver and attach/detach controller as programs on their own machines, with kubelets that
//! do no more than they must.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod};
use kube::core::params::{DeleteParams, ListParams};
use serde_json::{Value, json};
use stormglass::base::{HostId, Seed, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Informer, Informers, Patch};
use stormglass::kube::kind::{ApiObject, Kinds};
use stormglass::kube::scheduler::{self, SchedulerConfig};
use stormglass::kube::volume::attach_detach::{self, AttachDetachConfig};
use stormglass::kube::volume::bind_loop;
use stormglass::kube::volume::cloud::{CloudTimes, MemoryCloud};
use stormglass::kube::volume::driver::{self, DriverConfig};
use stormglass::rt::time::sleep;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const API: &str = "apiserver:6443";
/// Name and zone.
const NODES: [(&str, &str); 3] = [("a1", "a"), ("a2", "a"), ("b1", "b")];

struct Stage {
    lab: Lab,
    cloud: Arc<MemoryCloud>,
    user: HostId,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let master = lab.world.add_host("apiserver", [10, 0, 0, 9].into());
        let manager = lab.world.add_host("manager", [10, 0, 0, 8].into());
        let user = lab.world.add_host("user", [10, 0, 0, 7].into());
        let server = ApiServer::new(Kinds::builtin(), ApiServerConfig::default(), Seed(seed));
        let program = server.run(SocketAddr::from(([10, 0, 0, 9], 6443)));
        lab.world.start(master, "kube-apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
        let cloud = Arc::new(MemoryCloud::new(CloudTimes::default()));
        cloud.with(|disks, _| NODES.iter().for_each(|(node, zone)| disks.add_machine(node, zone)));
        let start = |name, program| lab.world.start(manager, name, program).unwrap();
        start(
            "kube-scheduler",
            Box::pin(async {
                scheduler::run(Client::new(API), SchedulerConfig::default()).await;
            }),
        );
        start(
            "binder",
            Box::pin(async {
                bind_loop::run(Informers::new(Client::new(API))).await;
            }),
        );
        start(
            "attach-detach",
            Box::pin(async {
                attach_detach::run(Informers::new(Client::new(API)), AttachDetachConfig::default()).await;
            }),
        );
        let disks = cloud.clone();
        start(
            "disk-csi",
            Box::pin(async {
                driver::run(Client::new(API), disks, DriverConfig::default()).await;
            }),
        );
        start("kubelets", Box::pin(kubelets()));
        let stage = Self { lab, cloud, user };
        stage.run(setup());
        stage
    }

    /// Runs a program to its end, at most ten minutes.
    fn run<T: Send + 'static>(&self, program: impl Future<Output = T> + Send + 'static) -> T {
        let out = Arc::new(std::sync::Mutex::new(None));
        let result = out.clone();
        let body = async move {
            let got = program.await;
            *lock(&result) = Some(got);
        };
        self.lab.world.start(self.user, "user", Box::pin(body)).unwrap();
        let end = self.lab.now() + Duration::from_secs(600);
        while lock(&out).is_none() && self.lab.now() < end {
            self.lab.world.run_until(self.lab.now() + Duration::from_secs(1));
        }
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
        lock(&out).take().unwrap()
    }

    /// Where the only disk is attached, and where it has been.
    fn disk(&self) -> (Option<String>, Vec<Option<String>>) {
        self.cloud.with(|disks, now| {
            let disk = disks.disks(now).values().next().unwrap();
            (disk.attached.clone(), disk.history.iter().map(|(_, machine)| machine.clone()).collect())
        })
    }
}

fn of<K: ApiObject>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

async fn setup() {
    let client = Client::new(API);
    for (name, zone) in NODES {
        let labels = json!({ "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone });
        let node: Node = of(json!({ "metadata": { "name": name, "labels": labels } }));
        client.create(&node).await.unwrap();
        let allocatable = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
        let conditions = json!([{ "type": "Ready", "status": "True" }]);
        let status =
            json!({ "status": { "allocatable": allocatable, "capacity": allocatable, "conditions": conditions } });
        client.patch_status::<Node>("", name, &Patch::Merge(status)).await.unwrap();
    }
    let class = json!({ "metadata": { "name": "disk" }, "provisioner": DriverConfig::default().name,
        "volumeBindingMode": "WaitForFirstConsumer" });
    client.create(&of::<k8s_openapi::api::storage::v1::StorageClass>(class)).await.unwrap();
}

/// Runs a pod when its volume is attached, and lets go of both when it is deleted.
async fn kubelets() {
    let client = Client::new(API);
    let (pods, nodes) = (Informer::<Pod>::all(&client), Informer::<Node>::all(&client));
    pods.synced().await;
    nodes.synced().await;
    loop {
        for pod in pods.list() {
            let spec = pod.spec.as_ref().unwrap();
            let Some(node) = spec.node_name.as_ref().and_then(|node| nodes.get("", node)) else { continue };
            let (name, node_name) = (pod.metadata.name.clone().unwrap(), node.metadata.name.clone().unwrap());
            let status = node.status.clone().unwrap_or_default();
            let mounts = spec.volumes.iter().flatten().any(|volume| volume.persistent_volume_claim.is_some());
            let running = pod.status.as_ref().unwrap().phase.as_deref() == Some("Running");
            let attached: Vec<String> =
                status.volumes_attached.iter().flatten().map(|volume| volume.name.clone()).collect();
            if pod.metadata.deletion_timestamp.is_some() {
                sleep(Duration::from_secs(2)).await;
                let unused = Patch::Merge(json!({ "status": { "volumesInUse": [] } }));
                client.patch_status::<Node>("", &node_name, &unused).await.unwrap();
                let now = DeleteParams::default().grace_period(0);
                // A second look at an old cache finds it gone.
                let _ = client.delete::<Pod>("default", &name, &now).await;
            } else if mounts && status.volumes_in_use.is_none_or(|used| used.is_empty()) {
                if !running && !attached.is_empty() {
                    let uses = Patch::Merge(json!({ "status": { "volumesInUse": attached } }));
                    client.patch_status::<Node>("", &node_name, &uses).await.unwrap();
                }
            } else if !running {
                let runs = Patch::Merge(json!({ "status": { "phase": "Running" } }));
                client.patch_status::<Pod>("default", &name, &runs).await.unwrap();
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn pod(name: &str, claim: Option<&str>) -> Pod {
    let volumes: Vec<Value> =
        claim.iter().map(|claim| json!({ "name": "data", "persistentVolumeClaim": { "claimName": claim } })).collect();
    let resources = json!({ "requests": { "cpu": "500m", "memory": "1Gi" } });
    of(json!({ "metadata": { "name": name, "namespace": "default" },
        "spec": { "containers": [{ "name": "c", "image": "i", "resources": resources }], "volumes": volumes } }))
}

async fn running(client: &Client, name: &str) -> String {
    for _ in 0..240 {
        let pod = client.find::<Pod>("default", name).await.unwrap();
        let runs = pod.filter(|pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Running"));
        if let Some(pod) = runs.filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            return pod.spec.unwrap().node_name.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
    }
    let events = client.list::<Event>("default", &ListParams::default()).await.unwrap();
    let lines: Vec<_> = events.items.into_iter().filter_map(|event| event.message).collect();
    panic!("{name} does not run: {lines:#?}");
}

async fn delete(client: &Client, name: &str) {
    client.delete::<Pod>("default", name, &DeleteParams::default()).await.unwrap();
    while client.find::<Pod>("default", name).await.unwrap().is_some() {
        sleep(Duration::from_millis(500)).await;
    }
}

async fn taint(client: &Client, node: &str, taints: Value) {
    let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
    client.patch::<Node>("", node, &patch).await.unwrap();
}

#[test]
fn pods_are_spread_over_nodes_until_they_are_full() {
    let stage = Stage::new(1);
    let (counts, left, message) = stage.run(async {
        let client = Client::new(API);
        for n in 0..25 {
            client.create(&pod(&format!("p{n:02}"), None)).await.unwrap();
        }
        sleep(Duration::from_secs(20)).await;
        let pods = client.list::<Pod>("default", &ListParams::default()).await.unwrap().items;
        let on = |node: &str| {
            pods.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node)).count()
        };
        let counts = NODES.map(|(node, _)| on(node));
        let left = pods.iter().find(|pod| pod.spec.as_ref().unwrap().node_name.is_none()).unwrap();
        let name = left.metadata.name.clone().unwrap();
        let condition = left.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].clone();
        assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), ("PodScheduled", Some("Unschedulable")));
        // One goes, the one that waits comes in.
        let gone = if name == "p00" { "p01" } else { "p00" };
        delete(&client, gone).await;
        let node = running(&client, &name).await;
        assert!(NODES.iter().any(|(known, _)| *known == node));
        (counts, name, condition.message.unwrap())
    });
    assert_eq!(counts, [8, 8, 8], "{left} waits");
    let want = "0/3 nodes are available: 3 Insufficient cpu, 3 Insufficient memory. preemption: 0/3 nodes are available: \
                3 No preemption victims found for incoming pod.";
    assert_eq!(message, want);
}

#[test]
fn a_disk_follows_its_pod_within_the_zone() {
    for seed in [1, 2, 3] {
        follow(&Stage::new(seed));
    }
}

fn follow(stage: &Stage) {
    // The claim waits for its first consumer; the disk is made where that goes.
    let (first, zone) = stage.run(async {
        let client = Client::new(API);
        let claim: PersistentVolumeClaim = of(json!({ "metadata": { "name": "meta", "namespace": "default" },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
                "resources": { "requests": { "storage": "20Gi" } } } }));
        client.create(&claim).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(
            client.get::<PersistentVolumeClaim>("default", "meta").await.unwrap().spec.unwrap().volume_name,
            None
        );
        client.create(&pod("master-0", Some("meta"))).await.unwrap();
        let node = running(&client, "master-0").await;
        let zone = NODES.iter().find(|(name, _)| *name == node).unwrap().1;
        (node, zone)
    });
    assert_eq!(stage.disk(), (Some(first.clone()), vec![Some(first.clone())]));
    let others: Vec<&str> =
        NODES.iter().filter(|(name, z)| *z == zone && *name != first).map(|(name, _)| *name).collect();

    // Its node is tainted and the pod deleted: it comes back on the zone's other node, if there is one, and nowhere else.
    let gone = json!([{ "key": "master", "value": "gone", "effect": "NoSchedule" }]);
    let from = first.clone();
    let taints = gone.clone();
    let next = stage.run(async move {
        let client = Client::new(API);
        taint(&client, &from, taints).await;
        delete(&client, "master-0").await;
        client.create(&pod("master-0", Some("meta"))).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        client.get::<Pod>("default", "master-0").await.unwrap().spec.unwrap().node_name
    });
    assert_eq!(next.as_deref(), others.first().copied());
    if let Some(next) = next.clone() {
        let want = vec![Some(first.clone()), None, Some(next.clone())];
        assert_eq!(stage.disk(), (Some(next), want), "detached before it was attached again");
    }

    // Every node of the zone is tainted: it waits, and says why.
    let (second, taints) = (next.clone(), gone);
    let message = stage.run(async move {
        let client = Client::new(API);
        if let Some(second) = second {
            taint(&client, &second, taints).await;
            delete(&client, "master-0").await;
            client.create(&pod("master-0", Some("meta"))).await.unwrap();
        }
        sleep(Duration::from_secs(30)).await;
        let pod = client.get::<Pod>("default", "master-0").await.unwrap();
        assert_eq!(pod.spec.unwrap().node_name, None);
        let events = client.list::<Event>("default", &ListParams::default()).await.unwrap().items;
        let mut mine = events.into_iter().filter(|event| event.involved_object.uid == pod.metadata.uid);
        mine.find(|event| event.reason.as_deref() == Some("FailedScheduling")).unwrap().message.unwrap()
    });
    let (tainted, far) = (1 + others.len(), 2 - others.len());
    let mut reasons = [
        format!("{tainted} node(s) had untolerated taint {{master: gone}}"),
        format!("{far} node(s) had volume node affinity conflict"),
    ];
    reasons.sort();
    let want = format!(
        "0/3 nodes are available: {}. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        reasons.join(", ")
    );
    assert_eq!(message, want);

    // The taint goes: the pod wakes at once and finds its disk.
    let back = first.clone();
    let node = stage.run(async move {
        let client = Client::new(API);
        taint(&client, &back, Value::Null).await;
        running(&client, "master-0").await
    });
    assert_eq!((node, stage.disk().0), (first.clone(), Some(first)));
}
