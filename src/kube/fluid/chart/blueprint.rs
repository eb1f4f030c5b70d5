//! What a dataset, its runtime and the profile come to, the same for all flavors.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, ResourceRequirements, Toleration, Volume, VolumeMount};

use crate::kube::fluid::api::{
    AlluxioRuntimeSpec, CleanPolicy, Dataset, Fuse, GooseFsRuntimeSpec, JindoPart, JindoRuntimeSpec, Master,
    NetworkMode, Placement, TieredStore, Worker,
};
use crate::kube::fluid::backup::{BackupLocation, Place};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::profile::Profile;

/// Ports of the masters and workers. In a network of their own they are those of the stack; with the node's network
/// they are handed out from the flavor's range, in the order of these fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSet {
    /// A master's RPC: what `masterInfo` shows.
    pub master_rpc: u16,
    /// A master's web page.
    pub master_web: u16,
    /// A master's embedded journal (Raft).
    pub master_embedded: u16,
    /// A worker's RPC.
    pub worker_rpc: u16,
    /// A worker's web page.
    pub worker_web: u16,
}

impl PortSet {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// From a list of [`PortSet::COUNT`]; `None` if it is shorter.
    pub fn from_list(ports: &[u16]) -> Option<Self> {
        let &[master_rpc, master_web, master_embedded, worker_rpc, worker_web, ..] = ports else { return None };
        Some(Self { master_rpc, master_web, master_embedded, worker_rpc, worker_web })
    }

    /// What the stack listens on in a network of its own.
    pub const fn native(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Alluxio | Flavor::GooseFs => Self {
                master_rpc: 19_998,
                master_web: 19_999,
                master_embedded: 19_200,
                worker_rpc: 29_999,
                worker_web: 30_000,
            },
            Flavor::Jindo => Self {
                master_rpc: 8_101,
                master_web: 8_104,
                master_embedded: 8_103,
                worker_rpc: 6_101,
                worker_web: 6_104,
            },
        }
    }

    /// As a list, in the order in which they are handed out.
    pub const fn list(&self) -> [u16; Self::COUNT] {
        [self.master_rpc, self.master_web, self.master_embedded, self.worker_rpc, self.worker_web]
    }
}

/// What one role asks for.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Part {
    /// Its own properties.
    pub properties: BTreeMap<String, String>,
    /// Labels that its nodes have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it puts up with.
    pub tolerations: Vec<Toleration>,
    /// Whether it uses the node's network.
    pub host_network: bool,
    /// Processor and memory.
    pub resources: ResourceRequirements,
    /// Volumes of the runtime that it mounts.
    pub volume_mounts: Vec<VolumeMount>,
}

/// Where the masters of Alluxio and GooseFS begin from, if their journal is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The backup.
    pub location: BackupLocation,
    /// The node that has it, if it lies on one: the masters go there.
    pub node: Option<String>,
}

/// What is installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Which cache.
    pub flavor: Flavor,
    /// Differences by version.
    pub profile: Profile,
    /// Of dataset and runtime.
    pub name: String,
    /// Of dataset and runtime.
    pub namespace: String,
    /// Of the dataset, for labels that would be too long.
    pub dataset_uid: String,
    /// Number of masters.
    pub masters: u32,
    /// Number of workers that the controller scales to.
    pub workers: u32,
    /// Ports.
    pub ports: PortSet,
    /// Where workers keep blocks.
    pub tiers: TieredStore,
    /// Properties of all roles.
    pub properties: BTreeMap<String, String>,
    /// Volumes that roles may mount.
    pub volumes: Vec<Volume>,
    /// The masters.
    pub master: Part,
    /// The workers.
    pub worker: Part,
    /// The fuse pods.
    pub fuse: Part,
    /// Install no fuse pods.
    pub fuse_disabled: bool,
    /// When the fuse pods go.
    pub clean_policy: CleanPolicy,
    /// Whether workers share their nodes.
    pub placement: Placement,
    /// What the workers' nodes must be like.
    pub node_affinity: Option<NodeSelector>,
    /// Access modes of the claim.
    pub access_modes: Vec<String>,
    /// Where the masters begin from.
    pub restore: Option<Restore>,
}

/// The backup that a dataset names. JindoFS has none; what is no location was refused before.
fn restore(flavor: Flavor, dataset: &Dataset) -> Option<Restore> {
    let wanted = dataset.spec.data_restore_location.as_ref().filter(|_| flavor != Flavor::Jindo)?;
    let location = BackupLocation::parse(wanted.path.as_deref()?).ok()?;
    let node = wanted.node_name.clone().filter(|_| location.place == Place::Node);
    Some(Restore { location, node })
}

impl Blueprint {
    /// For an AlluxioRuntime.
    pub fn alluxio(dataset: &Dataset, spec: &AlluxioRuntimeSpec, profile: Profile, ports: PortSet) -> Self {
        let base = Self::base(Flavor::Alluxio, dataset, profile, ports, &spec.tieredstore);
        let (master, worker, fuse) = (&spec.master, &spec.worker, &spec.fuse);
        base.with_roles(master, worker, fuse, spec.replicas, &spec.properties, &spec.volumes)
    }

    /// For a GooseFSRuntime.
    pub fn goosefs(dataset: &Dataset, spec: &GooseFsRuntimeSpec, profile: Profile, ports: PortSet) -> Self {
        let base = Self::base(Flavor::GooseFs, dataset, profile, ports, &spec.tieredstore);
        let (master, worker, fuse) = (&spec.master, &spec.worker, &spec.fuse);
        base.with_roles(master, worker, fuse, spec.replicas, &spec.properties, &spec.volumes)
    }

    /// For a JindoRuntime.
    pub fn jindo(dataset: &Dataset, spec: &JindoRuntimeSpec, profile: Profile, ports: PortSet) -> Self {
        let host_network = spec.network_mode == NetworkMode::HostNetwork;
        let master = Part {
            properties: spec.master.properties.clone(),
            node_selector: spec.master.node_selector.clone(),
            tolerations: spec.master.tolerations.clone(),
            host_network,
            resources: spec.master.resources.clone(),
            volume_mounts: spec.master.volume_mounts.clone(),
        };
        let part = |part: &JindoPart| Part {
            properties: part.properties.clone(),
            node_selector: part.node_selector.clone(),
            tolerations: part.tolerations.clone(),
            host_network,
            resources: part.resources.clone(),
            volume_mounts: part.volume_mounts.clone(),
        };
        let base = Self::base(Flavor::Jindo, dataset, profile, ports, &spec.tieredstore);
        Self {
            masters: spec.master.effective_replicas(),
            workers: if spec.worker.disabled { 0 } else { spec.replicas },
            properties: spec.properties.clone(),
            volumes: spec.volumes.clone(),
            master,
            worker: part(&spec.worker),
            fuse: part(&spec.fuse),
            fuse_disabled: spec.fuse.disabled,
            clean_policy: spec.fuse.clean_policy,
            ..base
        }
        .with_tolerations(dataset)
    }

    fn base(flavor: Flavor, dataset: &Dataset, profile: Profile, ports: PortSet, tiers: &TieredStore) -> Self {
        let modes = &dataset.spec.access_modes;
        let mut tiers = tiers.clone();
        tiers.levels.sort_by_key(|level| level.mediumtype);
        Self {
            flavor,
            profile,
            name: dataset.metadata.name.clone().unwrap_or_default(),
            namespace: dataset.metadata.namespace.clone().unwrap_or_default(),
            dataset_uid: dataset.metadata.uid.clone().unwrap_or_default(),
            masters: 1,
            workers: 0,
            ports,
            tiers,
            properties: BTreeMap::new(),
            volumes: Vec::new(),
            master: Part::default(),
            worker: Part::default(),
            fuse: Part::default(),
            fuse_disabled: false,
            clean_policy: CleanPolicy::default(),
            placement: dataset.spec.placement,
            node_affinity: dataset.spec.node_affinity.as_ref().and_then(|affinity| affinity.required.clone()),
            restore: restore(flavor, dataset),
            access_modes: if modes.is_empty() { vec![profile.access_mode.into()] } else { modes.clone() },
        }
        .with_tolerations(dataset)
    }

    fn with_roles(
        self,
        master: &Master,
        worker: &Worker,
        fuse: &Fuse,
        workers: u32,
        properties: &BTreeMap<String, String>,
        volumes: &[Volume],
    ) -> Self {
        let tolerations = self.fuse.tolerations.clone();
        let host = |mode: NetworkMode| mode == NetworkMode::HostNetwork;
        Self {
            masters: master.replicas,
            workers,
            properties: properties.clone(),
            volumes: volumes.to_vec(),
            clean_policy: fuse.clean_policy,
            master: Part {
                properties: master.properties.clone(),
                node_selector: master.node_selector.clone(),
                tolerations: Vec::new(),
                host_network: host(master.network_mode),
                resources: master.resources.clone(),
                volume_mounts: master.volume_mounts.clone(),
            },
            worker: Part {
                properties: worker.properties.clone(),
                node_selector: worker.node_selector.clone(),
                tolerations: tolerations.clone(),
                host_network: host(worker.network_mode),
                resources: worker.resources.clone(),
                volume_mounts: worker.volume_mounts.clone(),
            },
            fuse: Part {
                properties: fuse.properties.clone(),
                node_selector: fuse.node_selector.clone(),
                tolerations,
                host_network: host(fuse.network_mode),
                resources: fuse.resources.clone(),
                volume_mounts: fuse.volume_mounts.clone(),
            },
            ..self
        }
    }

    /// Workers and fuse pods put up with what the dataset does.
    fn with_tolerations(mut self, dataset: &Dataset) -> Self {
        self.worker.tolerations.extend(dataset.spec.tolerations.iter().cloned());
        self.fuse.tolerations.extend(dataset.spec.tolerations.iter().cloned());
        self
    }

    /// Names of the masters' pods, which are their hosts' names as well.
    pub fn master_pods(&self) -> Vec<String> {
        let set = self.flavor.master(&self.name);
        (0..self.masters).map(|i| format!("{set}-{i}")).collect()
    }

    /// `default-hbase`: value of [`labels::DATASET`](crate::kube::fluid::labels::DATASET).
    pub fn dataset_label(&self) -> String {
        format!("{}-{}", self.namespace, self.name)
    }

    /// The label selector of the workers as text, for the scale subresource.
    pub fn worker_selector(&self) -> String {
        format!("app={},release={},role={}", self.flavor.word(), self.name, self.flavor.role("worker"))
    }

    /// Whether the masters are a Raft group.
    pub const fn embedded(&self) -> bool {
        self.masters > 1
    }
}
