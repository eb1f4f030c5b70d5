//! One host of the cluster and the life of the program on it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::{HostId, ProcessId};
use crate::sim::progress::ProcessState;
use crate::sim::scenario::PlannedHost;
use crate::stack::observe::Observer;
use crate::world::disk::DiskId;

/// How a member's program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Up,
    /// It runs, but its tasks stand still.
    Frozen,
    /// It does not run; its host has power.
    Stopped,
    /// Its host has no power.
    Dark,
}

/// A host with a role.
pub struct Member {
    /// Name, role, place within the role.
    pub plan: PlannedHost,
    /// Its host in the world.
    pub host: HostId,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its disk, if its role keeps anything.
    pub disk: Option<DiskId>,
    /// How it is.
    pub life: Life,
    /// Its program, if it ever ran.
    pub process: Option<ProcessId>,
    /// Programs of others on its host: the clients that use a mount. They end with its program.
    pub guests: Vec<ProcessId>,
    /// Whether its program was asked to end: then nobody starts it again by itself.
    pub ending: bool,
    /// How often it was given another address.
    pub moves: u32,
    /// How often its program was started.
    pub incarnation: u32,
    /// How often its disk was replaced.
    pub storage: u32,
    /// What a master tells of itself; a new one each start.
    pub observer: Arc<Observer>,
    /// Directories of a worker's store, as its host sees them.
    pub store: Vec<String>,
    /// The container that its program is, on Kubernetes.
    pub container: Option<String>,
    /// Volumes of the cloud that the container mounts, by handle.
    pub volumes: Vec<String>,
    /// The pod object that the container is of: another one has another `emptyDir`.
    pub pod: Option<String>,
}

impl Member {
    /// A member that does not run, on a host without a disk of its own.
    pub fn new(plan: PlannedHost, host: HostId, ip: Ipv4Addr) -> Self {
        Self {
            plan,
            host,
            ip,
            disk: None,
            life: Life::Stopped,
            process: None,
            guests: Vec::new(),
            ending: false,
            moves: 0,
            incarnation: 0,
            storage: 0,
            observer: Arc::new(Observer::default()),
            store: Vec::new(),
            container: None,
            volumes: Vec::new(),
            pod: None,
        }
    }

    /// As progress shows it.
    pub fn process_state(&self, cut_off: bool) -> ProcessState {
        match self.life {
            Life::Up if cut_off => ProcessState::CutOff,
            Life::Up => ProcessState::Up,
            Life::Frozen => ProcessState::Frozen,
            Life::Stopped | Life::Dark => ProcessState::Down,
        }
    }

    /// Whether its program runs, frozen or not.
    pub fn running(&self) -> bool {
        matches!(self.life, Life::Up | Life::Frozen)
    }
}
