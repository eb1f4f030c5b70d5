//! What programs inside the world ask of the harness outside: processes started and ended, disks mounted, names told.
//!
//! An engine takes such calls from outside of its tasks only. So a node's container runtime leaves orders on the desk, and
//! the harness carries them out between two slices of time; an order waits for one slice at most. Rule: the desk decides
//! nothing, and an order that was left is carried out even if whoever left it is dead by then.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::base::{HostId, ProcessId, lock};
use crate::kube::csi::mount::MountError;
use crate::rt::backend::BoxFuture;
use crate::rt::chan::oneshot;

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// The disk of a volume, by its handle.
    Volume(String),
    /// New, empty memory of at most so many bytes.
    Memory(Option<u64>),
}

/// Told once the process runs, or that it cannot.
pub type Started = Box<dyn FnOnce(Option<ProcessId>) + Send>;

/// One thing to do.
pub enum Order {
    /// Start a program on a host.
    Start {
        /// Where.
        host: HostId,
        /// Its name.
        name: String,
        /// The program.
        program: BoxFuture,
        /// Whom to tell.
        started: Started,
    },
    /// SIGTERM.
    Terminate(ProcessId),
    /// SIGKILL.
    Kill(ProcessId),
    /// Show a disk on a host.
    Mount {
        /// Where.
        host: HostId,
        /// At which path of it.
        at: String,
        /// What.
        medium: Medium,
        /// Whether it is there.
        done: oneshot::Sender<Result<(), MountError>>,
    },
    /// Take a disk from a host, cleanly.
    Unmount {
        /// Where.
        host: HostId,
        /// At which path of it.
        at: String,
        /// Whether it is gone.
        done: oneshot::Sender<Result<(), MountError>>,
    },
    /// From now on a name resolves to these addresses; to none, it does not resolve.
    Resolve(String, Vec<IpAddr>),
}

/// The desk; clones are the same one.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Vec<Order>>>);

impl Desk {
    /// Leaves an order.
    pub fn leave(&self, order: Order) {
        lock(&self.0).push(order);
    }

    /// Takes all orders, in the order in which they were left.
    pub fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *lock(&self.0))
    }

    /// Starts a program. `None` if the host has no power.
    pub async fn start(&self, host: HostId, name: &str, program: BoxFuture) -> Option<ProcessId> {
        let (tell, told) = oneshot::channel();
        let started: Started = Box::new(move |process| {
            let _ = tell.send(process);
        });
        self.leave(Order::Start { host, name: name.into(), program, started });
        told.await.ok().flatten()
    }

    /// Mounts a disk.
    ///
    /// # Errors
    /// What the harness refuses: no such volume, or another host has it.
    pub async fn mount(&self, host: HostId, at: &str, medium: Medium) -> Result<(), MountError> {
        let (done, told) = oneshot::channel();
        self.leave(Order::Mount { host, at: at.into(), medium, done });
        told.await.unwrap_or_else(|_| Err(MountError::Io(at.into())))
    }

    /// Unmounts a disk.
    ///
    /// # Errors
    /// Nothing is mounted there.
    pub async fn unmount(&self, host: HostId, at: &str) -> Result<(), MountError> {
        let (done, told) = oneshot::channel();
        self.leave(Order::Unmount { host, at: at.into(), done });
        told.await.unwrap_or_else(|_| Err(MountError::Io(at.into())))
    }
}

/// Kills a process when it is dropped, unless it was let go.
pub struct KillOnDrop {
    desk: Desk,
    process: Option<ProcessId>,
}

impl KillOnDrop {
    /// Guards a process that runs.
    pub fn new(desk: &Desk, process: ProcessId) -> Self {
        Self { desk: desk.clone(), process: Some(process) }
    }

    /// The process has ended by itself.
    pub fn release(mut self) {
        self.process = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            self.desk.leave(Order::Kill(process));
        }
    }
}
