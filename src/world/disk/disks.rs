//! All disks of a world: which host sees which disk where, and what the harness does to them.
//!
//! Rule: a disk is not part of a host. It keeps its content while hosts come and go, is mounted on one host at a time
//! unless it is `shared`, and draws from a stream of its own. The file calls of processes are in `files.rs`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::crash::{ByStream, CrashStates};
use super::device::{Device, Timing};
use super::fault::{DiskFault, FaultId, Faults};
use super::files::Tables;
use super::fs::{FileSystem, errno};
use crate::base::{HostId, ProcessId, Seed, SimTime, Stream};

/// Names a disk of this world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub u32);

/// What a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskConfig {
    /// Size in bytes.
    pub capacity: u64,
    /// What it costs.
    pub timing: Timing,
    /// Memory (tmpfs): empty after a power loss.
    pub volatile: bool,
    /// May be mounted on several hosts (`ReadWriteMany`).
    pub shared: bool,
    /// Unsynced changes reach the platter on their own after this long; between once and twice it.
    pub writeback: Duration,
}

impl Default for DiskConfig {
    /// 64 GiB of NVMe, writeback as Linux's `dirty_expire_centisecs` (30 s).
    fn default() -> Self {
        let writeback = Duration::from_secs(30);
        Self { capacity: 64 << 30, timing: Timing::NVME, volatile: false, shared: false, writeback }
    }
}

/// What the harness asked of a disk and cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// There is no such disk.
    #[error("there is no disk {0:?}")]
    NoDisk(DiskId),
    /// It is mounted and may not be mounted twice.
    #[error("{0:?} is in use by {1}")]
    InUse(DiskId, HostId),
    /// Something else is mounted there.
    #[error("{1} is taken on {0}")]
    Taken(HostId, String),
    /// Nothing is mounted there.
    #[error("nothing is mounted at {1} on {0}")]
    NotMounted(HostId, String),
}

/// The durable content of a disk at one time.
#[derive(Debug, Clone)]
pub struct DiskImage(FileSystem);

impl DiskImage {
    /// Changes that the disk had seen by then, since it was made or emptied.
    pub fn changes(&self) -> u64 {
        self.0.changes()
    }
}

pub(super) struct Disk {
    pub(super) fs: FileSystem,
    pub(super) device: Device,
    pub(super) faults: Faults,
    pub(super) chance: Stream,
    pub(super) config: DiskConfig,
    crash_chance: Stream,
    /// When the last writeback was, and the last change that was there then.
    written_back: (SimTime, u64),
}

impl Disk {
    /// Brings old changes to the platter, as the kernel's flusher does.
    pub(super) fn write_back(&mut self, now: SimTime) {
        let (at, seq) = self.written_back;
        if now.since(at) < self.config.writeback {
            return;
        }
        if !self.faults.holds_writeback() {
            self.fs.write_back(seq);
        }
        self.written_back = (now, self.fs.seq());
    }

    fn crash(&mut self) {
        if self.config.volatile {
            self.replace(FileSystem::new(self.config.capacity));
        }
        let mut survival = ByStream::new(&mut self.crash_chance, self.written_back.1, self.fs.seq());
        self.fs.crash(&mut survival);
        self.device.reset();
    }

    fn replace(&mut self, fs: FileSystem) {
        self.fs = fs;
        self.device.reset();
        self.written_back.1 = 0;
    }
}

pub(super) struct Mount {
    pub(super) at: String,
    pub(super) disk: DiskId,
}

/// Every disk of a world. Single-threaded; calls never re-enter.
pub struct Disks {
    pub(super) now: Rc<dyn Fn() -> SimTime>,
    pub(super) process: Rc<dyn Fn() -> Option<ProcessId>>,
    pub(super) state: RefCell<State>,
    seed: Seed,
    fault_ids: Cell<u32>,
}

pub(super) struct State {
    pub(super) disks: Vec<Disk>,
    pub(super) mounts: BTreeMap<HostId, Vec<Mount>>,
    pub(super) tables: Tables,
}

impl State {
    pub(super) fn disk(&mut self, id: DiskId) -> Option<&mut Disk> {
        self.disks.get_mut(id.0 as usize)
    }

    /// The disk that holds `path` on `host`, and the path within it.
    pub(super) fn resolve<'p>(&self, host: HostId, path: &'p str) -> io::Result<(DiskId, &'p str)> {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(errno(libc::EINVAL));
        }
        let mounts = self.mounts.get(&host).map_or(&[][..], Vec::as_slice);
        let below = |at: &str| {
            let rest = path.strip_prefix(at.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then_some(rest)
        };
        let found = mounts.iter().find_map(|mount| Some((mount.disk, below(&mount.at)?)));
        found.ok_or_else(|| errno(libc::ENOENT))
    }
}

impl Disks {
    /// No disks. `now` is the world's time, `process` the process whose task runs (the owner of what it opens).
    pub fn new(
        seed: Seed,
        now: impl Fn() -> SimTime + 'static,
        process: impl Fn() -> Option<ProcessId> + 'static,
    ) -> Self {
        let state = State { disks: Vec::new(), mounts: BTreeMap::new(), tables: Tables::default() };
        let (now, process) = (Rc::new(now), Rc::new(process));
        Self { now, process, state: RefCell::new(state), seed: seed.fork("disk", 0), fault_ids: Cell::new(0) }
    }

    /// A new, empty disk, mounted nowhere.
    pub fn add_disk(&self, config: DiskConfig) -> DiskId {
        let mut state = self.state.borrow_mut();
        let entity = state.disks.len() as u32;
        state.disks.push(Disk {
            fs: FileSystem::new(config.capacity),
            device: Device::new(config.timing),
            faults: Faults::default(),
            chance: self.seed.stream("fault", entity.into()),
            crash_chance: self.seed.stream("crash", entity.into()),
            config,
            written_back: (SimTime::ZERO, 0),
        });
        DiskId(entity)
    }

    fn with<T>(&self, id: DiskId, f: impl FnOnce(&mut Disk) -> T) -> Result<T, DiskError> {
        self.state.borrow_mut().disk(id).map(f).ok_or(DiskError::NoDisk(id))
    }

    /// Shows `disk` at the absolute path `at` of `host`; the longest mount that matches a path wins.
    ///
    /// # Errors
    /// `NoDisk`; `InUse` for a disk that is mounted on another host and not shared; `Taken`.
    pub fn mount(&self, host: HostId, at: &str, disk: DiskId) -> Result<(), DiskError> {
        let shared = self.with(disk, |d| d.config.shared)?;
        let mut state = self.state.borrow_mut();
        let users = state.mounts.iter().filter(|(_, mounts)| mounts.iter().any(|m| m.disk == disk));
        if let Some((user, _)) = users.into_iter().find(|(user, _)| **user != host && !shared) {
            return Err(DiskError::InUse(disk, *user));
        }
        let mounts = state.mounts.entry(host).or_default();
        if mounts.iter().any(|m| m.at == at) {
            return Err(DiskError::Taken(host, at.into()));
        }
        mounts.push(Mount { at: at.into(), disk });
        mounts.sort_by(|a, b| b.at.len().cmp(&a.at.len()).then_with(|| a.at.cmp(&b.at)));
        Ok(())
    }

    /// Takes a disk away, cleanly: everything is written back. Open handles on it give `EBADF` from now on.
    ///
    /// # Errors
    /// `NotMounted`.
    pub fn unmount(&self, host: HostId, at: &str) -> Result<DiskId, DiskError> {
        let disk = self.take_mount(host, at)?;
        let mut state = self.state.borrow_mut();
        state.disk(disk).into_iter().for_each(|d| d.fs.sync_all());
        close_all(&mut state, |owner| owner.disk == disk && owner.host == host);
        Ok(disk)
    }

    /// Takes a disk away without a sync, as a forced detach does: what was not durable may be lost.
    ///
    /// # Errors
    /// `NotMounted`.
    pub fn detach(&self, host: HostId, at: &str) -> Result<DiskId, DiskError> {
        let disk = self.take_mount(host, at)?;
        let mut state = self.state.borrow_mut();
        close_all(&mut state, |owner| owner.disk == disk && owner.host == host);
        state.disk(disk).into_iter().for_each(Disk::crash);
        Ok(disk)
    }

    fn take_mount(&self, host: HostId, at: &str) -> Result<DiskId, DiskError> {
        let mut state = self.state.borrow_mut();
        let mounts = state.mounts.entry(host).or_default();
        let index = mounts.iter().position(|m| m.at == at);
        index.map(|i| mounts.remove(i).disk).ok_or_else(|| DiskError::NotMounted(host, at.into()))
    }

    /// The disks that `host` sees, with their mount points.
    pub fn mounts(&self, host: HostId) -> Vec<(String, DiskId)> {
        let state = self.state.borrow();
        state.mounts.get(&host).into_iter().flatten().map(|m| (m.at.clone(), m.disk)).collect()
    }

    /// The host loses power: handles are gone, and of the unsynced changes a legal subset survives, drawn from each
    /// disk's own stream. Mounts stay.
    pub fn power_loss(&self, host: HostId) {
        let mut state = self.state.borrow_mut();
        close_all(&mut state, |owner| owner.host == host);
        let mut disks: Vec<DiskId> = state.mounts.get(&host).into_iter().flatten().map(|m| m.disk).collect();
        disks.sort_unstable();
        disks.dedup();
        for id in disks {
            // Another host's page cache is its own; the model has one per disk, so a shared disk keeps it.
            let elsewhere = state.mounts.iter().any(|(other, m)| *other != host && m.iter().any(|m| m.disk == id));
            if let Some(disk) = state.disk(id)
                && !elsewhere
            {
                disk.crash();
            }
        }
    }

    /// The process is gone: its handles close; what it wrote stays in the page cache.
    pub fn process_died(&self, process: ProcessId) {
        close_all(&mut self.state.borrow_mut(), |owner| owner.process == Some(process));
    }

    /// Turns a fault on.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn inject(&self, disk: DiskId, fault: DiskFault) -> Result<FaultId, DiskError> {
        let id = FaultId(self.fault_ids.get());
        self.with(disk, |d| d.faults.inject(id, fault, d.fs.used()))?;
        self.fault_ids.set(id.0 + 1);
        Ok(id)
    }

    /// Turns a fault off; its count stays readable. Calls that it already delayed keep their delay.
    pub fn clear(&self, fault: FaultId) {
        self.state.borrow_mut().disks.iter_mut().for_each(|disk| disk.faults.clear(Some(fault)));
    }

    /// Turns all faults of all disks off.
    pub fn clear_all(&self) {
        self.state.borrow_mut().disks.iter_mut().for_each(|disk| disk.faults.clear(None));
    }

    /// How often a fault acted; 0 for one that was never injected.
    pub fn hits(&self, fault: FaultId) -> u64 {
        self.state.borrow().disks.iter().find_map(|disk| disk.faults.hits(fault)).unwrap_or(0)
    }

    /// Flips the bits of `mask` in one byte of a file, on the platter and in the cache. The path is the disk's own.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` past the end of the file or for an empty mask.
    pub fn rot(&self, disk: DiskId, path: &str, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let fs = &mut state.disk(disk).ok_or_else(|| errno(libc::ENODEV))?.fs;
        let inode = fs.lookup(path)?;
        let offset = usize::try_from(offset).map_err(|_| errno(libc::EINVAL))?;
        if mask == 0 || offset >= fs.file(inode)?.len() {
            return Err(errno(libc::EINVAL));
        }
        fs.file_mut(inode)?.rot(offset, mask);
        Ok(())
    }

    /// A name vanishes, from the platter too: a damaged directory. The path is the disk's own.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn lose_entry(&self, disk: DiskId, path: &str) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.disk(disk).ok_or_else(|| errno(libc::ENODEV))?.fs.lose_entry(path)
    }

    /// A crash-consistent image, as a volume snapshot takes it: what a power loss now would leave.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn snapshot(&self, disk: DiskId) -> Result<DiskImage, DiskError> {
        self.with(disk, |d| {
            let mut image = d.fs.clone();
            image.crash(&mut ByStream::new(&mut d.crash_chance, d.written_back.1, d.fs.seq()));
            DiskImage(image)
        })
    }

    /// Rolls the disk back to an image. Handles on it are gone.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn restore(&self, disk: DiskId, image: &DiskImage) -> Result<(), DiskError> {
        self.with(disk, |d| d.replace(image.0.clone()))?;
        close_all(&mut self.state.borrow_mut(), |owner| owner.disk == disk);
        Ok(())
    }

    /// Empties the disk. Handles on it are gone.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn wipe(&self, disk: DiskId) -> Result<(), DiskError> {
        self.with(disk, |d| d.replace(FileSystem::new(d.config.capacity)))?;
        close_all(&mut self.state.borrow_mut(), |owner| owner.disk == disk);
        Ok(())
    }

    /// Changes the size, as a volume expansion does. Never below what is used.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn resize(&self, disk: DiskId, capacity: u64) -> Result<(), DiskError> {
        self.with(disk, |d| {
            d.config.capacity = capacity.max(d.fs.used());
            d.fs.resize(d.config.capacity);
        })
    }

    /// A copy of the file system with its unsynced changes; [`CrashStates`] walks what a power loss may leave of it.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn file_system(&self, disk: DiskId) -> Result<FileSystem, DiskError> {
        self.with(disk, |d| d.fs.clone())
    }

    /// Looks at the file system, unsynced changes included, without a copy. `look` must not call back.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn look<T>(&self, disk: DiskId, look: impl FnOnce(&FileSystem) -> T) -> Result<T, DiskError> {
        self.with(disk, |d| look(&d.fs))
    }

    /// Replaces the content by a file system, one of [`CrashStates`] for example. Handles on it are gone.
    ///
    /// # Errors
    /// `NoDisk`.
    pub fn put_file_system(&self, disk: DiskId, fs: FileSystem) -> Result<(), DiskError> {
        self.restore(disk, &DiskImage(fs))
    }
}

impl FileSystem {
    /// All states that a power loss may leave, at most `limit`.
    pub fn crash_states(&self, limit: usize) -> CrashStates<'_> {
        CrashStates::new(self, limit)
    }
}

/// Closes handles and forgets syncs.
fn close_all(state: &mut State, gone: impl Fn(&super::files::Owner) -> bool) {
    for (disk, inode) in state.tables.close_all(gone) {
        state.disk(disk).into_iter().for_each(|d| d.fs.closed(inode));
    }
}
