//! A node's machine: containers as processes of the world, mounts as disks of the world.
//!
//! Implements what a kubelet asks of its node, [`ContainerRuntime`](crate::kube::runtime::ContainerRuntime) in `runtime` and
//! [`VolumeHost`](crate::kube::csi::host::VolumeHost) in `volumes`. The state belongs to the node: it outlives the kubelet and
//! the containers, and what is in memory goes with the power. Differs: a container's processes run on the node's own host, so
//! an address that a pod has of its own is a name only, and a program that listens needs the node's network.

mod container;

mod http;

mod runtime;

mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use container::{Container, Lived, Log, Part, mount_of, on_node};

use super::desk::Desk;
use super::fuse_server::FuseDoor;
use super::images::Images;
use crate::base::{HostId, ProcessId, SimTime, lock};
use crate::kube::csi::driver::CsiDrivers;
use crate::kube::csi::fluid::FLUID_DRIVER;
use crate::kube::csi::mount::{FileSystem, MountTable, Place, below};
use crate::kube::runtime::SandboxStatus;
use crate::kube::volume::cloud::MemoryCloud;
use crate::rt::chan::watch;
use crate::stack::fuse::Errno;

/// How long a machine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineTimes {
    /// To pull an image.
    pub pull: Duration,
    /// To make a container and start its first process.
    pub start: Duration,
    /// To run `mount` or `umount`: what others do meanwhile comes in between.
    pub mount: Duration,
}

impl Default for MachineTimes {
    /// An image that is near, and containerd's usual time.
    fn default() -> Self {
        Self { pull: Duration::from_secs(2), start: Duration::from_millis(300), mount: Duration::from_millis(15) }
    }
}

/// Which machine it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// Its host in the world.
    pub host: HostId,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its number, from which its pods' addresses follow.
    pub number: u8,
}

/// What is on the machine.
#[derive(Default)]
pub struct State {
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<Container>,
    images: BTreeSet<String>,
    table: MountTable,
    /// Where the world shows the disks of devices and memory: by file system.
    shown: BTreeMap<FileSystem, String>,
    doors: BTreeMap<u64, FuseDoor>,
    /// Containers that are forgotten.
    past: Vec<Lived>,
    next: u32,
}

/// Where a path of the node really is.
#[derive(Clone)]
pub enum Spot {
    /// On a disk, at this path of the node's host.
    Disk(String),
    /// Behind a fuse, at this path of it.
    Fuse(FuseDoor, String),
}

/// One node's machine. Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    /// Which it is.
    pub id: Identity,
    /// CSI plugins that are registered with its kubelet.
    pub drivers: CsiDrivers,
    pub(super) desk: Desk,
    images: Arc<Images>,
    cloud: Arc<MemoryCloud>,
    times: MachineTimes,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Machine {
    /// A machine with nothing on it.
    pub fn new(id: Identity, desk: Desk, images: Arc<Images>, cloud: Arc<MemoryCloud>, times: MachineTimes) -> Self {
        let drivers = CsiDrivers::default();
        Self { id, drivers, desk, images, cloud, times, state: Arc::default(), changed: watch::channel(0).0 }
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Looks at the containers, oldest first.
    pub fn containers<R>(&self, look: impl FnOnce(&[Container]) -> R) -> R {
        look(&lock(&self.state).containers)
    }

    /// Counts beginnings, ends and removals of containers: whoever saw this number before finds the same ones running.
    pub fn turns(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Looks at the lives of all processes that containers ever had here, in no particular order.
    pub fn lives(&self, look: impl FnOnce(&[Lived])) {
        let state = lock(&self.state);
        let now = state.containers.iter().filter(|c| c.process.is_some()).map(Lived::of);
        let all: Vec<Lived> = state.past.iter().cloned().chain(now).collect();
        look(&all);
    }

    /// The mount table.
    pub fn table(&self) -> MountTable {
        lock(&self.state).table.clone()
    }

    /// Looks at the mount table.
    pub fn look_at_table<R>(&self, look: impl FnOnce(&MountTable) -> R) -> R {
        look(&lock(&self.state).table)
    }

    /// Told by the harness: notes which containers have ended. Gives how many had.
    pub fn settle(&self, now: SimTime, running: impl Fn(ProcessId) -> bool) -> usize {
        let mut state = lock(&self.state);
        let mut ended = Vec::new();
        for container in state.containers.iter_mut().filter(|c| c.runs()) {
            if container.process.is_some_and(|process| !running(process)) {
                container.ended(now);
                ended.push(container.record.id.0.clone());
                if matches!(container.part, Part::CsiPlugin) {
                    self.drivers.unregister(FLUID_DRIVER);
                }
            }
        }
        ended.iter().for_each(|id| state.table.server_died(id));
        drop(state);
        if !ended.is_empty() {
            self.bump();
        }
        ended.len()
    }

    /// The power goes: containers, sandboxes and mounts with it. Disks and images stay.
    pub fn power_lost(&self, now: SimTime) {
        self.drivers.unregister(FLUID_DRIVER);
        let mut state = lock(&self.state);
        state.containers.iter_mut().filter(|c| c.runs()).for_each(|c| c.ended(now));
        state.sandboxes.iter_mut().for_each(|sandbox| sandbox.ready = false);
        state.table = MountTable::default();
        state.doors.clear();
        state.shown.clear();
        drop(state);
        self.bump();
    }

    /// Notes that a container ends for want of memory. Gives whether it runs.
    pub fn out_of_memory(&self, container: &str) -> bool {
        let mut state = lock(&self.state);
        let found = state.containers.iter_mut().find(|c| c.runs() && c.record.id.0 == container);
        found.map(|container| container.oom = true).is_some()
    }

    /// Where the path is, mounts followed.
    ///
    /// # Errors
    /// `ENOTCONN` behind a fuse whose server is dead; `EIO` on a disk that the world does not show.
    pub fn find(&self, path: &str) -> Result<Spot, Errno> {
        let state = lock(&self.state);
        let place = state.table.resolve(path).map_err(|_| Errno(libc::ENOTCONN))?;
        state.spot(&place)
    }

    /// As [`Self::find`], for a container that still sees the mounts `own`. Also gives whether writes are refused.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_in(&self, own: Option<&MountTable>, path: &str) -> Result<(Spot, bool), Errno> {
        let state = lock(&self.state);
        let gone = Errno(libc::ENOTCONN);
        let place = own.unwrap_or(&state.table).resolve(path).map_err(|_| gone)?;
        if !state.table.answers(&place.fs) {
            return Err(gone);
        }
        Ok((state.spot(&place)?, place.read_only))
    }

    /// A fuse server of the container has mounted itself at the node's path.
    pub fn mount_fuse(&self, target: &str, server: &str, door: FuseDoor) -> u64 {
        let mut state = lock(&self.state);
        let session = state.table.mount_fuse(target, server);
        state.doors.insert(session, door.of_session(session));
        session
    }

    /// Unmounts what fuse servers that are dead by now left at the node's path.
    pub fn clear_dead_fuses(&self, target: &str) {
        let mut state = lock(&self.state);
        let dead = |table: &MountTable| table.at(target).last().is_some_and(|mount| !table.answers(&mount.place.fs));
        while dead(&state.table) && state.table.unmount(target).is_ok() {}
    }

    /// A fuse server has ended in good order; a mount on which others stand stays.
    pub fn unmount_fuse(&self, target: &str) {
        let _ = lock(&self.state).table.unmount(target);
    }

    /// Whether the server of a fuse session lives.
    pub fn fuse_lives(&self, session: u64) -> bool {
        let state = lock(&self.state);
        let alive = state.table.answers(&FileSystem::Fuse { session, server: String::new() });
        alive && state.doors.contains_key(&session)
    }

    /// Told whenever a container has begun, ended or gone.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl State {
    fn spot(&self, place: &Place) -> Result<Spot, Errno> {
        match &place.fs {
            FileSystem::Host => Ok(Spot::Disk(place.path.clone())),
            FileSystem::Fuse { session, .. } => {
                let door = self.doors.get(session).cloned().ok_or(Errno(libc::ENOTCONN))?;
                Ok(Spot::Fuse(door, place.path.clone()))
            }
            fs => self.shown.get(fs).map(|at| Spot::Disk(below(at, &place.path))).ok_or(Errno::EIO),
        }
    }
}
