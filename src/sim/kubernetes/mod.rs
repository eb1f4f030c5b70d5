//! The simulated Kubernetes of a run: nodes and control plane as processes of the world, Fluid on top.
//!
//! What `kube` asks of the machines under it is implemented here: containers are processes, volumes are disks, the cloud's
//! disks are disks of the world, names go to the world's resolver. Programs leave orders on the desk, and
//! [`Kubernetes::serve`] carries them out between two slices of time.

mod app;
mod desk;
mod fuse_server;
mod images;
mod machine;
mod node;
mod plane;
mod probe;
mod tool;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use self::desk::{Desk, Medium, Order};
use self::images::{FluidSetup, Images};
pub use self::machine::{Container, Lived, Machine, Part};
use self::machine::{Identity, MachineTimes};
pub use self::node::Node;
use self::plane::Plane;
pub use self::plane::{API, Component};
use self::probe::ExecProbe;
use crate::base::{HostId, ProcessId, Seed, SimTime, lock};
use crate::kube::apiserver::{ApiServer, ApiServerConfig};
use crate::kube::clock;
use crate::kube::csi::fluid::FluidPluginConfig;
use crate::kube::csi::mount::MountError;
use crate::kube::fluid;
use crate::kube::fluid::operation::OperationConfig;
use crate::kube::fluid::runtime::RuntimeConfig;
use crate::kube::kind::Kinds;
use crate::kube::kubelet::config::KubeletConfig;
use crate::kube::store::{DeleteOptions, Object, Selection};
use crate::kube::volume::cloud::{CloudTimes, MemoryCloud};
use crate::rt::chan::watch;
use crate::sim::scenario::Scenario;
use crate::sim::scenario::kubernetes::KubernetesSpec;
use crate::sim::workload::Recorder;
use crate::world::disk::{DiskConfig, DiskError, DiskId, Timing};
use crate::world::engine::Clock;
use crate::world::lab::Lab;

/// Memory of a node that may be used as a disk, if nothing limits it.
const SHM: u64 = 8 << 30;

/// Nodes and control plane.
pub struct Kubernetes {
    /// The objects.
    pub server: Arc<ApiServer>,
    /// The cloud's disks.
    pub cloud: Arc<MemoryCloud>,
    /// Nodes, in the scenario's order.
    pub nodes: Vec<Node>,
    /// Where users type.
    pub user: HostId,
    images: Arc<Images>,
    machines: Arc<Mutex<BTreeMap<String, Machine>>>,
    desk: Desk,
    plane: Plane,
    pub(crate) plane_host: (HostId, Ipv4Addr),
    pub(crate) components: BTreeMap<Component, ProcessId>,
    /// The world's disk of each volume.
    volumes: BTreeMap<String, DiskId>,
    /// Where volumes are shown: host, path and handle.
    shown: Vec<(HostId, String, String)>,
    /// Volumes that the cloud took from a node where they were mounted: handle, node, when, whether by upstream's rules.
    taken: Vec<(String, String, SimTime, bool)>,
    ended: Option<u64>,
}

/// What a node of the scenario gets: its host's disks and clock.
pub struct Ground {
    /// Size and times of the node's own disk.
    pub disk: DiskConfig,
    /// Its clocks.
    pub clock: Clock,
}

impl Kubernetes {
    /// Builds hosts and disks; nothing runs yet. `ground` gives what each node stands on.
    pub fn new(
        lab: &Lab,
        scenario: &Scenario,
        spec: &KubernetesSpec,
        seed: Seed,
        mut ground: impl FnMut(usize) -> Ground,
    ) -> Self {
        let plane_ip = Ipv4Addr::new(10, 0, 0, 250);
        let plane_host = lab.world.add_host("apiserver", plane_ip);
        let user = lab.world.add_host("user", Ipv4Addr::new(10, 0, 0, 251));
        let desk = Desk::default();
        let images = Arc::new(Images::new(scenario.spec.parameters.clone()));
        let cloud = Arc::new(MemoryCloud::new(CloudTimes::default()));
        let (mut nodes, mut machines) = (Vec::new(), BTreeMap::new());
        for (number, name) in scenario.spec.nodes.iter().enumerate() {
            let Ground { disk, clock } = ground(number);
            let config = spec.node(name, number);
            let IpAddr::V4(ip) = config.ip else { continue };
            let host = lab.world.add_host(name, ip);
            lab.world.set_clock(host, clock);
            let root = lab.disks.add_disk(disk);
            let memory = lab.disks.add_disk(memory(None));
            for (at, disk) in [("/", root), ("/dev/shm", memory)] {
                let mounted = lab.disks.mount(host, at, disk);
                debug_assert!(mounted.is_ok(), "a new disk on a new host: {mounted:?}");
            }
            let zone = config.zone.clone().unwrap_or_default();
            cloud.with(|disks, _| disks.add_machine(name, &zone));
            let id = Identity { node: name.clone(), host, ip, number: u8::try_from(number).unwrap_or(u8::MAX) };
            let machine = Machine::new(id, desk.clone(), images.clone(), cloud.clone(), MachineTimes::default());
            machines.insert(name.clone(), machine.clone());
            nodes.push(Node {
                config: KubeletConfig::new(config),
                machine,
                kubelet: None,
                powered: true,
                shutdown: watch::channel(false).0,
            });
        }
        let machines = Arc::new(Mutex::new(machines));
        let kinds = fluid::kinds(Kinds::builtin());
        let server = ApiServer::new(kinds, ApiServerConfig::default(), seed.fork("apiserver", 0));
        let profile = spec.fluid.profile();
        images.set_up_fluid(FluidSetup {
            probe: Arc::new(ExecProbe::new(desk.clone(), images.clone(), machines.clone())),
            runtime: RuntimeConfig { profile, ..RuntimeConfig::default() },
            operations: OperationConfig { profile, ..OperationConfig::default() },
            plugin: FluidPluginConfig { recovery: spec.fuse_recovery, ..FluidPluginConfig::default() },
        });
        let plane = Plane { server: server.clone(), cloud: cloud.clone(), desk: desk.clone() };
        Self {
            server,
            cloud,
            nodes,
            user,
            images,
            machines,
            desk,
            plane,
            plane_host: (plane_host, plane_ip),
            components: BTreeMap::new(),
            volumes: BTreeMap::new(),
            shown: Vec::new(),
            taken: Vec::new(),
            ended: None,
        }
    }

    /// Mounts write into this history.
    pub fn keep_history(&self, recorder: &Arc<Recorder>) {
        self.images.keep_history(recorder);
    }

    /// Starts the control plane and every kubelet.
    pub fn start(&mut self, lab: &Lab) {
        for component in Component::ALL {
            self.start_component(lab, component);
        }
        (0..self.nodes.len()).for_each(|node| self.start_kubelet(lab, node));
    }

    /// Starts a component that does not run.
    pub fn start_component(&mut self, lab: &Lab, component: Component) {
        if self.components.get(&component).is_some_and(|process| lab.world.running(*process)) {
            return;
        }
        let (host, ip) = self.plane_host;
        let program = self.plane.program(component, ip.into());
        if let Ok(process) = lab.world.start(host, component.name(), program) {
            self.components.insert(component, process);
        }
    }

    /// Kills a component. Gives whether it ran.
    pub fn kill_component(&mut self, lab: &Lab, component: Component) -> bool {
        let process = self.components.remove(&component).filter(|process| lab.world.running(*process));
        process.inspect(|process| lab.world.kill(*process)).is_some()
    }

    /// Starts a node's kubelet, unless it runs or has no power.
    pub fn start_kubelet(&mut self, lab: &Lab, node: usize) {
        let node = &mut self.nodes[node];
        if !node.powered || node.kubelet.is_some_and(|process| lab.world.running(process)) {
            return;
        }
        node.kubelet = lab.world.start(node.machine.id.host, "kubelet", node.kubelet_program()).ok();
    }

    /// Kills a node's kubelet; its containers go on. Gives whether it ran.
    pub fn kill_kubelet(&mut self, lab: &Lab, node: usize) -> bool {
        let process = self.nodes[node].kubelet.take().filter(|process| lab.world.running(*process));
        process.inspect(|process| lab.world.kill(*process)).is_some()
    }

    /// The node on a host.
    pub fn node_on(&self, host: HostId) -> Option<usize> {
        self.nodes.iter().position(|node| node.machine.id.host == host)
    }

    /// Pulls the plug of a node. Gives whether it had power.
    pub fn power_loss(&mut self, lab: &Lab, node: usize) -> bool {
        let node = &mut self.nodes[node];
        if !node.powered {
            return false;
        }
        let host = node.machine.id.host;
        lab.power_loss(host);
        node.powered = false;
        node.kubelet = None;
        node.machine.power_lost(lab.now());
        for (at, disk) in lab.disks.mounts(host) {
            if at != "/" && at != "/dev/shm" {
                let _ = lab.disks.unmount(host, &at);
                if !self.volumes.values().any(|volume| *volume == disk) {
                    let _ = lab.disks.wipe(disk);
                }
            }
        }
        self.shown.retain(|(on, _, _)| *on != host);
        true
    }

    /// Gives a node its power back; its kubelet starts.
    pub fn power_on(&mut self, lab: &Lab, node: usize) {
        let place = &mut self.nodes[node];
        if !place.powered {
            lab.world.power_on(place.machine.id.host);
            place.powered = true;
        }
        self.start_kubelet(lab, node);
    }

    /// Carries out what was ordered, notes what ended. Gives whether anything changed.
    pub fn serve(&mut self, lab: &Lab) -> bool {
        let orders = self.desk.take();
        let mut changed = !orders.is_empty();
        for order in orders {
            self.carry_out(lab, order);
        }
        self.forced_detach(lab);
        let ended = lab.world.ended();
        if ended.is_none() || ended != self.ended {
            self.ended = ended;
            let now = lab.now();
            for node in &self.nodes {
                changed |= node.machine.settle(now, |process| lab.world.running(process)) > 0;
            }
        }
        changed
    }

    fn carry_out(&mut self, lab: &Lab, order: Order) {
        match order {
            Order::Start { host, name, program, started } => {
                started(lab.world.start(host, &name, program).ok());
            }
            Order::Terminate(process) => lab.world.terminate(process),
            Order::Kill(process) => lab.world.kill(process),
            Order::Mount { host, at, medium, done } => {
                let _ = done.send(self.mount(lab, host, &at, medium));
            }
            Order::Unmount { host, at, done } => {
                let _ = done.send(self.unmount(lab, host, &at));
            }
            Order::Resolve(name, addresses) => lab.world.set_dns(&name, &addresses),
        }
    }

    fn mount(&mut self, lab: &Lab, host: HostId, at: &str, medium: Medium) -> Result<(), MountError> {
        let disk = match &medium {
            Medium::Memory(limit) => lab.disks.add_disk(memory(*limit)),
            Medium::Volume(handle) => self.volume(lab, handle).ok_or_else(|| MountError::NotFound(handle.clone()))?,
        };
        lab.disks.mount(host, at, disk).map_err(|error| match error {
            DiskError::InUse(..) | DiskError::Taken(..) => MountError::Busy(at.into()),
            DiskError::NoDisk(_) | DiskError::NotMounted(..) => MountError::NotFound(at.into()),
        })?;
        if let Medium::Volume(handle) = medium {
            self.shown.push((host, at.into(), handle));
        }
        Ok(())
    }

    /// The world's disk of a volume of the cloud, made when it is first seen.
    pub fn volume(&mut self, lab: &Lab, handle: &str) -> Option<DiskId> {
        if let Some(disk) = self.volumes.get(handle) {
            return Some(*disk);
        }
        let bytes = self.cloud.with(|disks, now| disks.disks(now).get(handle).map(|disk| disk.bytes))?;
        let capacity = u64::try_from(bytes).ok()?;
        let disk = lab.disks.add_disk(DiskConfig { capacity, timing: Timing::CLOUD, ..DiskConfig::default() });
        self.volumes.insert(handle.into(), disk);
        Some(disk)
    }

    /// The world's disks of volumes, by handle.
    pub fn volumes(&self) -> &BTreeMap<String, DiskId> {
        &self.volumes
    }

    fn unmount(&mut self, lab: &Lab, host: HostId, at: &str) -> Result<(), MountError> {
        let disk = lab.disks.unmount(host, at).map_err(|_| MountError::NotMounted(at.into()))?;
        self.shown.retain(|(on, path, _)| *on != host || path != at);
        if !self.volumes.values().any(|volume| *volume == disk) {
            // Memory that is unmounted is gone.
            let _ = lab.disks.wipe(disk);
        }
        Ok(())
    }

    /// A disk that the cloud has taken from a machine is gone there, mounted or not: what was not synced may be lost.
    fn forced_detach(&mut self, lab: &Lab) {
        if self.shown.is_empty() {
            return;
        }
        let node_of = |host: HostId| self.nodes.iter().find(|node| node.machine.id.host == host);
        let attached = |host: HostId, handle: &str| {
            let name = node_of(host).map(|node| node.machine.id.node.clone());
            self.cloud.with(|disks, now| disks.disks(now).get(handle).is_some_and(|disk| disk.attached == name))
        };
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.shown.iter().cloned().partition(|(host, _, handle)| attached(*host, handle));
        for (host, at, handle) in gone {
            let _ = lab.disks.detach(host, &at);
            let Some(node) = self.node_on(host) else { continue };
            let name = self.nodes[node].machine.id.node.clone();
            let forced = self.may_be_forced(&name);
            self.taken.push((handle, name, lab.now(), forced));
        }
        self.shown = kept;
    }

    /// Deletes the pod object of that uid with its grace. Gives whether there was one that was not going already.
    pub fn delete_pod(&self, uid: &str) -> bool {
        self.server.with_store(|store| {
            let Some(pods) = store.kinds().by_word("pods") else { return false };
            let everything = Selection::default();
            let found = store.list(pods, &everything).find(|pod| pod.uid() == uid && !pod.is_deleting());
            let found = found.map(|pod| pod.key.clone());
            found.is_some_and(|key| store.delete(pods, &key, &DeleteOptions::default(), clock::now()).is_ok())
        })
    }

    /// An object as the API server has it.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.server.look(|store| store.find_word(kind, namespace, name).cloned())
    }

    /// All objects of a kind.
    pub fn objects(&self, kind: &str) -> Vec<Arc<Object>> {
        self.server.look(|store| {
            let Some(kind) = store.kinds().by_word(kind) else { return Vec::new() };
            store.list(kind, &Selection::default()).cloned().collect()
        })
    }

    /// Notes that a container is killed for want of memory. Gives whether there is such a container.
    pub fn out_of_memory(&self, container: &str) -> bool {
        self.nodes.iter().any(|node| node.machine.out_of_memory(container))
    }

    /// Whether upstream takes a volume from the node by force: it is out of service, or has not been well for six minutes.
    fn may_be_forced(&self, node: &str) -> bool {
        // A node whose object is gone uses nothing any more.
        let Some(node) = self.object("nodes", "", node) else { return true };
        let taints = node.at("spec.taints").and_then(serde_json::Value::as_array);
        let out = taints.into_iter().flatten().any(|taint| taint["key"] == "node.kubernetes.io/out-of-service");
        out || !node.is_true("Ready")
    }

    /// Whether any volume is shown now.
    pub fn shows_volumes(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Volumes as they are shown now: node and handle.
    pub fn shown(&self) -> Vec<(String, String)> {
        let named = |(host, _, handle): &(HostId, String, String)| {
            let node = self.node_on(*host)?;
            Some((self.nodes[node].machine.id.node.clone(), handle.clone()))
        };
        self.shown.iter().filter_map(named).collect()
    }

    /// Volumes that were taken from under their mounts.
    pub fn taken(&self) -> &[(String, String, SimTime, bool)] {
        &self.taken
    }

    /// The node and the running container of the pod and part that are asked for, the latest start if there are several.
    pub fn running(&self, pod: impl Fn(&str) -> bool, part: impl Fn(&Part) -> bool) -> Option<(&Node, Seen)> {
        self.nodes.iter().find_map(|node| node.running(&pod, &part).map(|seen| (node, seen)))
    }

    /// All machines by node.
    pub fn machines(&self) -> BTreeMap<String, Machine> {
        lock(&self.machines).clone()
    }
}

/// A running container, as the harness looks at it.
#[derive(Clone)]
pub struct Seen {
    /// Its name on the node.
    pub id: String,
    /// The pod object's uid.
    pub uid: String,
    /// Its process.
    pub process: Option<ProcessId>,
    /// What it is.
    pub part: Part,
    /// Volumes of the cloud that it mounts, by handle.
    pub volumes: Vec<String>,
}

impl Seen {
    /// Looks at a container.
    pub fn of(container: &Container) -> Self {
        Self {
            id: container.record.id.0.clone(),
            uid: container.spec.pod.uid.clone(),
            process: container.process,
            part: container.part.clone(),
            volumes: container.volumes.clone(),
        }
    }
}

fn memory(limit: Option<u64>) -> DiskConfig {
    let capacity = limit.unwrap_or(SHM);
    DiskConfig { capacity, timing: Timing::NONE, volatile: true, ..DiskConfig::default() }
}
