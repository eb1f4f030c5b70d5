//! API server, scheduler, volume controllers and three kubelets together: a pod moves within its zone and takes its disk
//! along. The test plays the StatefulSet: it makes the pod again once the name is free.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::{Event, Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::params::{DeleteParams, ListParams};
use serde_json::json;
use stormglass::base::{HostId, ProcessId, Seed, SimTime, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Informers, Patch};
use stormglass::kube::csi::disk::{DISK_DRIVER, DiskDriver};
use stormglass::kube::csi::driver::CsiDrivers;
use stormglass::kube::kind::Kinds;
use stormglass::kube::kubelet::config::{KubeletConfig, NodeConfig};
use stormglass::kube::kubelet::run::{Machine, run};
use stormglass::kube::scheduler::config::SchedulerConfig;
use stormglass::kube::volume::attach_detach::AttachDetachConfig;
use stormglass::kube::volume::cloud::{CloudTimes, MemoryCloud};
use stormglass::kube::volume::driver::DriverConfig;
use stormglass::kube::{scheduler, volume};
use stormglass::rt::chan::watch;
use stormglass::rt::task::spawn;
use stormglass::rt::time::Duration;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

use super::double::{Double, Play};
use super::{API, phase};

const ZONES: [&str; 3] = ["zone-a", "zone-a", "zone-b"];

pub struct Cluster {
    pub lab: Lab,
    master: HostId,
    user: HostId,
    pub machines: Vec<Double>,
    pub kubelets: Vec<ProcessId>,
    cloud: Arc<Mutex<Option<Arc<MemoryCloud>>>>,
    pub controllers: Option<ProcessId>,
    /// Keeps the nodes up.
    _shutdown: watch::Sender<bool>,
}

impl Cluster {
    pub fn new(seed: u64) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let master = lab.world.add_host("apiserver", [10, 0, 0, 100].into());
        let user = lab.world.add_host("user", [10, 0, 0, 101].into());
        let play = Play { pull: Duration::from_secs(3), term: Some(Duration::from_secs(2)), ..Play::default() };
        let machines: Vec<_> = (0..3).map(|n| Double::new(n, &[("app:1", play.clone())])).collect();
        let server = ApiServer::new(Kinds::builtin(), ApiServerConfig::default(), Seed(seed));
        let program = server.run(SocketAddr::from(([10, 0, 0, 100], 6443)));
        lab.world.start(master, "kube-apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
        let shutdown = watch::channel(false).0;
        let mut kubelets = Vec::new();
        for (n, machine) in machines.iter().enumerate() {
            let host = lab.world.add_host(&format!("node-{n}"), [10, 0, 0, n as u8].into());
            let mut node = NodeConfig::new(format!("node-{n}"), [10, 0, 0, n as u8].into());
            node.zone = Some(ZONES[n].into());
            let (machine, drivers) = (Arc::new(machine.clone()), CsiDrivers::default());
            drivers.register(Arc::new(DiskDriver::new(DISK_DRIVER, machine.clone())));
            let machine = Machine { runtime: machine.clone(), host: machine, drivers, shutdown: shutdown.subscribe() };
            let program = async move {
                run(Client::new(API), KubeletConfig::new(node), machine).await;
            };
            kubelets.push(lab.world.start(host, "kubelet", Box::pin(program)).unwrap());
        }
        let cloud = Arc::default();
        let mut cluster = Self { lab, master, user, machines, kubelets, cloud, controllers: None, _shutdown: shutdown };
        cluster.start_controllers();
        cluster.run_for(5);
        cluster
    }

    /// Scheduler, volume controllers and the driver of disks, as one process. The cloud outlives it.
    pub fn start_controllers(&mut self) {
        let (machines, kept) = (self.machines.clone(), self.cloud.clone());
        let control = async move {
            let cloud = lock(&kept).get_or_insert_with(|| Arc::new(MemoryCloud::new(CloudTimes::default()))).clone();
            for (n, machine) in machines.iter().enumerate() {
                cloud.with(|disks, _| disks.add_machine(&format!("node-{n}"), ZONES[n]));
                machine.in_cloud(cloud.clone(), &format!("node-{n}"));
            }
            let client = Client::new(API);
            spawn("scheduler", scheduler::run(client.clone(), SchedulerConfig::default()));
            let informers = Informers::new(client.clone());
            spawn("binder", volume::bind_loop::run(informers.clone()));
            spawn("attach", volume::attach_detach::run(informers, AttachDetachConfig::default()));
            volume::driver::run(client, cloud, DriverConfig { name: DISK_DRIVER.into(), ..DriverConfig::default() })
                .await;
        };
        self.controllers = Some(self.lab.world.start(self.master, "controllers", Box::pin(control)).unwrap());
    }

    pub fn run_for(&self, seconds: u64) {
        self.lab.world.run_until(self.lab.world.world_now() + Duration::from_secs(seconds));
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
    }

    pub fn ask<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
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
        self.run_for(1);
        lock(&result).take().unwrap()
    }

    pub fn pod(&self) -> Option<Pod> {
        self.ask(|client| async move { client.find::<Pod>("default", "m-0").await.unwrap() })
    }

    /// A class of zonal disks and a claim.
    pub fn make_claim(&self) {
        self.ask(|client| async move {
            let class: StorageClass = serde_json::from_value(json!({
                "metadata": {"name": "disk"}, "provisioner": DISK_DRIVER, "volumeBindingMode": "WaitForFirstConsumer",
            }))
            .unwrap();
            client.create(&class).await.unwrap();
            let claim: PersistentVolumeClaim = serde_json::from_value(json!({
                "metadata": {"name": "meta", "namespace": "default"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
                    "resources": {"requests": {"storage": "20Gi"}},
                },
            }))
            .unwrap();
            client.create(&claim).await.unwrap();
        });
    }

    /// As its StatefulSet would.
    pub fn create(&self) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "m-0", "namespace": "default"},
            "spec": {
                "containers": [{
                    "name": "m", "image": "app:1", "volumeMounts": [{"name": "meta", "mountPath": "/meta"}],
                }],
                "volumes": [{"name": "meta", "persistentVolumeClaim": {"claimName": "meta"}}],
            },
        }))
        .unwrap();
        self.ask(|client| async move { client.create(&pod).await.unwrap() });
    }

    /// The node where the pod runs, and the disk that its volume is.
    pub fn runs_on(&self) -> (usize, String) {
        let pod = self.pod().unwrap();
        let why = || {
            self.ask(|client| async move { client.list::<Event>("", &ListParams::default()).await.unwrap() })
                .items
                .into_iter()
                .map(|e| format!("{} {}", e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        assert_eq!(phase(&pod), "Running", "{:#?}", why());
        let node = pod.spec.unwrap().node_name.unwrap();
        let n: usize = node.strip_prefix("node-").unwrap().parse().unwrap();
        let spec = self.machines[n].spec("m").unwrap();
        let place = self.machines[n].table().resolve(&spec.mounts[0].source).unwrap();
        (n, format!("{:?}", place.fs))
    }

    pub fn taint(&self, n: usize) {
        let taints = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
        self.ask(move |client| async move {
            client.patch::<Node>("", &format!("node-{n}"), &Patch::Merge(taints)).await.unwrap();
        });
    }

    /// Where each disk is attached.
    pub fn disks(&self) -> BTreeMap<String, Option<String>> {
        let cloud = lock(&self.cloud).clone().unwrap();
        self.ask(|_| async move {
            cloud.with(|disks, now| {
                disks.disks(now).iter().map(|(name, disk)| (name.clone(), disk.attached.clone())).collect()
            })
        })
    }

    fn delete(&self) {
        self.ask(|client| async move {
            client.delete::<Pod>("default", "m-0", &DeleteParams::default()).await.unwrap();
        });
        self.run_for(10);
        assert!(self.pod().is_none());
    }
}

#[test]
fn a_pod_moves_within_its_zone_and_takes_its_disk_along() {
    for seed in 0..3 {
        let cluster = Cluster::new(seed);
        cluster.make_claim();
        // Only zone-a at first, so that there is another node to move to.
        cluster.taint(2);
        cluster.create();
        cluster.run_for(60);
        let (first, disk) = cluster.runs_on();
        assert!(first < 2);

        cluster.taint(first);
        cluster.delete();
        cluster.create();
        cluster.run_for(120);
        assert_eq!(cluster.runs_on(), (1 - first, disk.clone()), "the other node of the zone, the same disk");
        assert_eq!(cluster.machines[first].table().mounts(), []);

        // No node of the zone is left: it waits, though zone-b has room again.
        cluster.taint(1 - first);
        cluster.ask(|client| async move {
            let none = json!({"spec": {"taints": null}});
            client.patch::<Node>("", "node-2", &Patch::Merge(none)).await.unwrap();
        });
        cluster.delete();
        cluster.create();
        cluster.run_for(120);
        let pod = cluster.pod().unwrap();
        assert_eq!((phase(&pod), pod.spec.as_ref().unwrap().node_name.as_deref()), ("Pending", None));
        assert!(cluster.lab.world.world_now() < SimTime::from_secs(600));
    }
}
