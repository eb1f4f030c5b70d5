//! The disks as processes see them: open files, syncs under way, and the file calls of `rt`.
//!
//! Rule: a call acts at once and tells how long the device takes; a sync fixes what it covers when it begins, and makes
//! it durable when it ends. A key of a closed file names nothing: keys carry a generation.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::disks::{Disk, DiskId, Disks, State};
use super::fault::Pages;
use super::fs::{Inode, errno};
use crate::base::{HostId, ProcessId};
use crate::rt::backend::{DiskSpace, FileKey, FileKind, Files, Metadata, OpenFlags, SyncKey, Timed};

/// Whose handle it is.
pub(super) struct Owner {
    pub(super) host: HostId,
    pub(super) process: Option<ProcessId>,
    pub(super) disk: DiskId,
}

struct Handle {
    owner: Owner,
    inode: Inode,
    flags: OpenFlags,
    path: Rc<str>,
}

struct Sync {
    disk: DiskId,
    process: Option<ProcessId>,
    host: HostId,
    inode: Inode,
    dir: bool,
    seq: u64,
    path: Rc<str>,
}

/// A table of things named by slot and generation.
struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn add(&mut self, value: T) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *generation = generation.wrapping_add(1);
        *place = Some(value);
        u64::from(*generation) << 32 | u64::from(slot)
    }

    fn get(&self, key: u64) -> Option<&T> {
        let (generation, value) = self.slots.get(key as u32 as usize)?;
        value.as_ref().filter(|_| u64::from(*generation) == key >> 32)
    }

    fn take(&mut self, key: u64) -> Option<T> {
        self.get(key)?;
        self.free.push(key as u32);
        self.slots[key as u32 as usize].1.take()
    }

    fn take_all(&mut self, mut which: impl FnMut(&T) -> bool) -> Vec<T> {
        let keys = self.slots.iter().enumerate().filter(|(_, (_, value))| value.as_ref().is_some_and(&mut which));
        let keys: Vec<u64> = keys.map(|(slot, (generation, _))| u64::from(*generation) << 32 | slot as u64).collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }
}

/// Open files and syncs under way.
#[derive(Default)]
pub(super) struct Tables {
    handles: Slab<Handle>,
    syncs: Slab<Sync>,
}

impl Tables {
    /// Forgets what belongs to the owners that are `gone`; gives the files whose handle closed.
    pub(super) fn close_all(&mut self, gone: impl Fn(&Owner) -> bool) -> Vec<(DiskId, Inode)> {
        self.syncs.take_all(|sync| gone(&Owner { host: sync.host, process: sync.process, disk: sync.disk }));
        let closed = self.handles.take_all(|handle| gone(&handle.owner));
        closed.into_iter().map(|handle| (handle.owner.disk, handle.inode)).collect()
    }
}

/// What a call on an open file works on.
struct Target<'a> {
    disk: &'a mut Disk,
    handle: &'a Handle,
}

fn target(state: &mut State, file: FileKey) -> io::Result<Target<'_>> {
    let handle = state.tables.handles.get(file.0).ok_or_else(|| errno(libc::EBADF))?;
    let disk = state.disks.get_mut(handle.owner.disk.0 as usize).ok_or_else(|| errno(libc::ENODEV))?;
    Ok(Target { disk, handle })
}

impl Disks {
    /// How long a stall holds a call back.
    fn stall(&self, disk: &mut Disk) -> Duration {
        if disk.faults.none() {
            return Duration::ZERO;
        }
        let now = (self.now)();
        disk.faults.stalled(now).map_or(Duration::ZERO, |until| until.since(now))
    }

    fn on_file<T>(&self, file: FileKey, call: impl FnOnce(&mut Target<'_>) -> io::Result<T>) -> Timed<T> {
        let mut state = self.state.borrow_mut();
        match target(&mut state, file) {
            Ok(mut target) => {
                let takes = self.stall(target.disk);
                Timed { result: call(&mut target), takes }
            }
            Err(error) => Timed { result: Err(error), takes: Duration::ZERO },
        }
    }

    fn on_path<T>(&self, host: HostId, path: &str, call: impl FnOnce(&mut Disk, &str) -> io::Result<T>) -> Timed<T> {
        let mut state = self.state.borrow_mut();
        let found = state.resolve(host, path);
        match found.map(|(id, within)| (state.disk(id), within)) {
            Ok((Some(disk), within)) => {
                let takes = self.stall(disk);
                Timed { result: call(disk, within), takes }
            }
            Ok((None, _)) => Timed { result: Err(errno(libc::ENODEV)), takes: Duration::ZERO },
            Err(error) => Timed { result: Err(error), takes: Duration::ZERO },
        }
    }

    /// A change of names at `path`.
    fn change<T>(&self, host: HostId, path: &str, call: impl FnOnce(&mut Disk, &str) -> io::Result<T>) -> Timed<T> {
        let now = (self.now)();
        self.on_path(host, path, |disk, within| {
            disk.write_back(now);
            writable(disk, path)?;
            call(disk, within)
        })
    }

    fn open_now(&self, host: HostId, path: &str, flags: OpenFlags) -> io::Result<(DiskId, Inode)> {
        let mut state = self.state.borrow_mut();
        let (id, within) = state.resolve(host, path)?;
        let disk = state.disk(id).ok_or_else(|| errno(libc::ENODEV))?;
        let write = flags.write || flags.append;
        if (flags.create || flags.create_new || flags.truncate) && !write {
            return Err(errno(libc::EINVAL));
        }
        if write {
            disk.write_back((self.now)());
        }
        if (flags.create || flags.create_new) && disk.fs.lookup(within).is_err() || flags.truncate {
            writable(disk, path)?;
        }
        let inode = disk.fs.open(within, flags.create, flags.create_new)?;
        if flags.truncate {
            disk.fs.set_len(inode, 0, u64::MAX)?;
        }
        disk.fs.opened(inode);
        Ok((id, inode))
    }

    fn begin(&self, sync: Sync) -> Timed<SyncKey> {
        let mut state = self.state.borrow_mut();
        let now = (self.now)();
        let Some(disk) = state.disk(sync.disk) else {
            return Timed { result: Err(errno(libc::ENODEV)), takes: Duration::ZERO };
        };
        let dirty = disk.fs.file_mut(sync.inode).map_or(0, |file| std::mem::take(&mut file.dirty));
        let slow = if disk.faults.none() { 1 } else { disk.faults.slow() };
        let takes = disk.device.sync(now, dirty, slow).saturating_add(self.stall(disk));
        Timed { result: Ok(SyncKey(state.tables.syncs.add(sync))), takes }
    }
}

/// Refuses a change that a fault does not let through.
fn writable(disk: &mut Disk, path: &str) -> io::Result<()> {
    if disk.faults.none() {
        return Ok(());
    }
    disk.faults.write_fails(path, &mut disk.chance).map_or(Ok(()), |code| Err(errno(code)))
}

/// The device's answer to a sync.
fn end(disk: &mut Disk, sync: &Sync) -> io::Result<()> {
    if !disk.faults.none() {
        if let Some(pages) = disk.faults.sync_fails(&sync.path, &mut disk.chance) {
            if pages == Pages::Lost
                && let Ok(file) = disk.fs.file_mut(sync.inode)
            {
                file.lose(sync.seq);
            }
            return Err(errno(libc::EIO));
        }
        if disk.faults.sync_lies(&sync.path, &mut disk.chance) {
            return Ok(());
        }
    }
    if sync.dir {
        disk.fs.persist_dir(sync.inode, sync.seq);
    } else {
        disk.fs.file_mut(sync.inode)?.persist(sync.seq);
    }
    Ok(())
}

impl Files for Disks {
    fn open(&self, host: HostId, path: &str, flags: OpenFlags) -> Timed<FileKey> {
        let takes = self.on_path(host, path, |_, _| Ok(())).takes;
        let result = self.open_now(host, path, flags).map(|(disk, inode)| {
            let owner = Owner { host, process: (self.process)(), disk };
            FileKey(self.state.borrow_mut().tables.handles.add(Handle { owner, inode, flags, path: path.into() }))
        });
        Timed { result, takes }
    }

    fn read_at(&self, file: FileKey, offset: u64, buf: &mut [u8]) -> Timed<usize> {
        let mut device = Duration::ZERO;
        let timed = self.on_file(file, |Target { disk, handle }| {
            if !handle.flags.read {
                return Err(errno(libc::EBADF));
            }
            if !disk.faults.none() && disk.faults.read_fails(&handle.path, &mut disk.chance) {
                return Err(errno(libc::EIO));
            }
            let content = disk.fs.file_mut(handle.inode)?;
            let n = content.read_at(offset, buf);
            if content.cold > 0 {
                content.cold = content.cold.saturating_sub(n as u64);
                let slow = disk.faults.slow();
                device = disk.device.read((self.now)(), n as u64, slow);
            }
            Ok(n)
        });
        Timed { takes: timed.takes.saturating_add(device), ..timed }
    }

    fn write_at(&self, file: FileKey, offset: u64, data: &[u8]) -> Timed<usize> {
        self.on_file(file, |Target { disk, handle }| {
            if !(handle.flags.write || handle.flags.append) {
                return Err(errno(libc::EBADF));
            }
            disk.write_back((self.now)());
            writable(disk, &handle.path)?;
            let end = disk.fs.file(handle.inode)?.len() as u64;
            let offset = if handle.flags.append { end } else { offset };
            let free = disk.faults.free(disk.fs.used());
            let result = disk.fs.write_at(handle.inode, offset, data, free);
            if !result.as_ref().is_ok_and(|n| *n == data.len()) {
                disk.faults.refused();
            }
            result
        })
    }

    fn set_len(&self, file: FileKey, len: u64) -> Timed<()> {
        self.on_file(file, |Target { disk, handle }| {
            if !(handle.flags.write || handle.flags.append) {
                return Err(errno(libc::EBADF));
            }
            writable(disk, &handle.path)?;
            let free = disk.faults.free(disk.fs.used());
            let result = disk.fs.set_len(handle.inode, len, free);
            if result.is_err() {
                disk.faults.refused();
            }
            result
        })
    }

    fn file_len(&self, file: FileKey) -> Timed<u64> {
        self.on_file(file, |Target { disk, handle }| Ok(disk.fs.file(handle.inode)?.len() as u64))
    }

    fn sync_begin(&self, file: FileKey, _data_only: bool) -> Timed<SyncKey> {
        let sync = {
            let mut state = self.state.borrow_mut();
            target(&mut state, file).map(|Target { disk, handle }| Sync {
                disk: handle.owner.disk,
                process: handle.owner.process,
                host: handle.owner.host,
                inode: handle.inode,
                dir: false,
                seq: disk.fs.seq(),
                path: handle.path.clone(),
            })
        };
        sync.map_or_else(|error| Timed { result: Err(error), takes: Duration::ZERO }, |sync| self.begin(sync))
    }

    fn sync_dir_begin(&self, host: HostId, path: &str) -> Timed<SyncKey> {
        let sync = {
            let mut state = self.state.borrow_mut();
            state.resolve(host, path).and_then(|(id, within)| {
                let fs = &mut state.disk(id).ok_or_else(|| errno(libc::ENODEV))?.fs;
                let (inode, seq) = (fs.lookup(within)?, fs.seq());
                let dir = fs.file(inode).is_err();
                Ok(Sync { disk: id, process: (self.process)(), host, inode, dir, seq, path: path.into() })
            })
        };
        sync.map_or_else(|error| Timed { result: Err(error), takes: Duration::ZERO }, |sync| self.begin(sync))
    }

    fn sync_end(&self, sync: SyncKey) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        // The disk was taken away, or rolled back, while the sync was under way.
        let sync = state.tables.syncs.take(sync.0).ok_or_else(|| errno(libc::EIO))?;
        let disk = state.disk(sync.disk).ok_or_else(|| errno(libc::ENODEV))?;
        end(disk, &sync)
    }

    fn close(&self, file: FileKey) {
        let mut state = self.state.borrow_mut();
        if let Some(handle) = state.tables.handles.take(file.0) {
            state.disk(handle.owner.disk).into_iter().for_each(|disk| disk.fs.closed(handle.inode));
        }
    }

    fn rename(&self, host: HostId, from: &str, to: &str) -> Timed<()> {
        let target = self.state.borrow().resolve(host, to).map(|(id, within)| (id, within.to_owned()));
        let source = self.state.borrow().resolve(host, from).map(|(id, _)| id);
        self.change(host, from, |disk, within| {
            let (id, to) = target?;
            if id != source? {
                return Err(errno(libc::EXDEV));
            }
            disk.fs.rename(within, &to)
        })
    }

    fn remove_file(&self, host: HostId, path: &str) -> Timed<()> {
        self.change(host, path, |disk, within| disk.fs.remove_file(within))
    }

    fn create_dir(&self, host: HostId, path: &str) -> Timed<()> {
        self.change(host, path, |disk, within| disk.fs.create_dir(within))
    }

    fn remove_dir(&self, host: HostId, path: &str) -> Timed<()> {
        self.change(host, path, |disk, within| disk.fs.remove_dir(within))
    }

    fn read_dir(&self, host: HostId, path: &str) -> Timed<Vec<(String, FileKind)>> {
        self.on_path(host, path, |disk, within| disk.fs.read_dir(within))
    }

    fn metadata(&self, host: HostId, path: &str) -> Timed<Metadata> {
        self.on_path(host, path, |disk, within| disk.fs.metadata(within))
    }

    fn space(&self, host: HostId, path: &str) -> Timed<DiskSpace> {
        self.on_path(host, path, |disk, within| {
            disk.fs.lookup(within)?;
            let left = disk.fs.capacity().saturating_sub(disk.fs.used());
            Ok(DiskSpace { total: disk.fs.capacity(), available: left.min(disk.faults.free(disk.fs.used())) })
        })
    }
}
