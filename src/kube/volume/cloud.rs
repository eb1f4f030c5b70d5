//! The cloud that owns the disks: what a CSI driver's controller calls, and what is really attached where.
//!
//! Rule: a disk is in one zone and attached to one machine at most; a second attach is refused. A request that was accepted
//! is carried out when its time has come, whether or not the caller still lives; that is how a detach can outlive the
//! controller that asked for it. [`Disks`] is the pure state; its history is the truth that an oracle may ask for.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use crate::base::{SimTime, lock};
use crate::rt::time::{Instant, sleep};

/// What the cloud refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// There is no such disk.
    #[error("disk {0} not found")]
    NoDisk(String),
    /// There is no such machine.
    #[error("instance {0} not found")]
    NoMachine(String),
    /// A disk reaches machines of its zone only.
    #[error("disk {disk} is in zone {zone}, instance {machine} is not")]
    OtherZone {
        /// The disk.
        disk: String,
        /// Its zone.
        zone: String,
        /// The machine.
        machine: String,
    },
    /// It is attached to a machine already.
    #[error("disk {disk} is already attached to instance {machine}")]
    InUse {
        /// The disk.
        disk: String,
        /// Where it is.
        machine: String,
    },
}

/// An answer that takes time.
pub type CloudFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, CloudError>> + Send + 'a>>;

/// The disk service of a cloud. All calls may be repeated.
pub trait DiskCloud: Send + Sync {
    /// Makes a disk of that name, or finds it; gives its handle.
    fn create(&self, name: String, bytes: i64, zone: String) -> CloudFuture<'_, String>;

    /// Removes a disk that is attached nowhere; one that is gone is fine.
    fn delete(&self, disk: String) -> CloudFuture<'_, ()>;

    /// Attaches a disk to a machine; one that is there already is fine.
    fn attach(&self, disk: String, machine: String) -> CloudFuture<'_, ()>;

    /// Detaches a disk from a machine; one that is not there is fine.
    fn detach(&self, disk: String, machine: String) -> CloudFuture<'_, ()>;
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A new disk: name, bytes, zone.
    Create(String, i64, String),
    /// No such disk any more.
    Delete(String),
    /// Disk and machine.
    Attach(String, String),
    /// Disk and machine.
    Detach(String, String),
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Size in bytes.
    pub bytes: i64,
    /// Where it is, for ever.
    pub zone: String,
    /// The machine that has it.
    pub attached: Option<String>,
    /// Every attach (with the machine) and detach, in order of time.
    pub history: Vec<(SimTime, Option<String>)>,
}

/// The state of the cloud's disks, as a pure machine over a handed-in time.
#[derive(Debug, Default)]
pub struct Disks {
    machines: BTreeMap<String, String>,
    disks: BTreeMap<String, Disk>,
    /// Accepted and not carried out yet, by due time and ticket.
    open: BTreeMap<(SimTime, u64), Request>,
    done: BTreeMap<u64, Result<(), CloudError>>,
    tickets: u64,
}

impl Disks {
    /// A machine of a zone: what nodes are called is what machines are called.
    pub fn add_machine(&mut self, machine: &str, zone: &str) {
        self.machines.insert(machine.into(), zone.into());
    }

    /// The machine is gone for good; its disks are free.
    pub fn remove_machine(&mut self, machine: &str, now: SimTime) {
        self.settle(now);
        self.machines.remove(machine);
        for disk in self.disks.values_mut().filter(|disk| disk.attached.as_deref() == Some(machine)) {
            disk.attached = None;
            disk.history.push((now, None));
        }
    }

    /// Accepts a request that takes until `due`; gives the ticket for its outcome.
    pub fn accept(&mut self, request: Request, due: SimTime) -> u64 {
        self.tickets += 1;
        self.open.insert((due, self.tickets), request);
        self.tickets
    }

    /// Carries out what is due.
    pub fn settle(&mut self, now: SimTime) {
        while let Some(entry) = self.open.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, ticket), request) = entry.remove_entry();
            let outcome = self.carry_out(request, at);
            self.done.insert(ticket, outcome);
        }
    }

    /// The outcome of a request that is due; it can be taken once.
    pub fn outcome(&mut self, ticket: u64, now: SimTime) -> Option<Result<(), CloudError>> {
        self.settle(now);
        self.done.remove(&ticket)
    }

    /// The disks by handle, as they are now.
    pub fn disks(&mut self, now: SimTime) -> &BTreeMap<String, Disk> {
        self.settle(now);
        &self.disks
    }

    fn carry_out(&mut self, request: Request, at: SimTime) -> Result<(), CloudError> {
        match request {
            Request::Create(name, bytes, zone) => {
                let disk = Disk { bytes, zone, attached: None, history: Vec::new() };
                self.disks.entry(name).or_insert(disk);
            }
            Request::Delete(name) => {
                if let Some(machine) = self.disks.get(&name).and_then(|disk| disk.attached.clone()) {
                    return Err(CloudError::InUse { disk: name, machine });
                }
                self.disks.remove(&name);
            }
            Request::Attach(name, machine) => {
                let zone = self.machines.get(&machine).ok_or_else(|| CloudError::NoMachine(machine.clone()))?;
                let disk = self.disks.get_mut(&name).ok_or_else(|| CloudError::NoDisk(name.clone()))?;
                match disk.attached.clone() {
                    Some(there) if there == machine => {}
                    Some(there) => return Err(CloudError::InUse { disk: name, machine: there }),
                    None if *zone != disk.zone => {
                        return Err(CloudError::OtherZone { disk: name, zone: disk.zone.clone(), machine });
                    }
                    None => {
                        disk.attached = Some(machine.clone());
                        disk.history.push((at, Some(machine)));
                    }
                }
            }
            Request::Detach(name, machine) => {
                let there = self.disks.get_mut(&name).filter(|disk| disk.attached.as_ref() == Some(&machine));
                if let Some(disk) = there {
                    disk.attached = None;
                    disk.history.push((at, None));
                }
            }
        }
        Ok(())
    }
}

/// How long the cloud takes. Defaults: what block volumes of public clouds usually take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudTimes {
    /// Until a new disk is there.
    pub create: Duration,
    /// Until a disk is gone.
    pub delete: Duration,
    /// Until a disk is attached.
    pub attach: Duration,
    /// Until a disk is detached.
    pub detach: Duration,
}

impl Default for CloudTimes {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { create: s(3), delete: s(3), attach: s(5), detach: s(5) }
    }
}

/// A cloud in memory, for tests and for worlds that need no real disks behind it.
#[derive(Debug)]
pub struct MemoryCloud {
    times: CloudTimes,
    began: Instant,
    state: Mutex<Disks>,
}

impl MemoryCloud {
    /// Without machines and disks. To be made inside the world whose clock it shall follow.
    pub fn new(times: CloudTimes) -> Self {
        Self { times, began: Instant::now(), state: Mutex::default() }
    }

    /// Looks at, or changes, the state as it is now.
    pub fn with<R>(&self, f: impl FnOnce(&mut Disks, SimTime) -> R) -> R {
        let now = self.now();
        let mut state = lock(&self.state);
        state.settle(now);
        f(&mut state, now)
    }

    fn now(&self) -> SimTime {
        SimTime::ZERO + self.began.elapsed()
    }

    fn request(&self, request: Request, takes: Duration) -> CloudFuture<'_, ()> {
        let ticket = self.with(|state, now| state.accept(request, now + takes));
        Box::pin(async move {
            loop {
                if let Some(outcome) = self.with(|state, now| state.outcome(ticket, now)) {
                    return outcome;
                }
                sleep(takes.max(Duration::from_millis(1))).await;
            }
        })
    }
}

impl DiskCloud for MemoryCloud {
    fn create(&self, name: String, bytes: i64, zone: String) -> CloudFuture<'_, String> {
        let made = self.request(Request::Create(name.clone(), bytes, zone), self.times.create);
        Box::pin(async move { made.await.map(|()| name) })
    }

    fn delete(&self, disk: String) -> CloudFuture<'_, ()> {
        self.request(Request::Delete(disk), self.times.delete)
    }

    fn attach(&self, disk: String, machine: String) -> CloudFuture<'_, ()> {
        self.request(Request::Attach(disk, machine), self.times.attach)
    }

    fn detach(&self, disk: String, machine: String) -> CloudFuture<'_, ()> {
        self.request(Request::Detach(disk, machine), self.times.detach)
    }
}
