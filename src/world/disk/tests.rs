//! The disks as processes and the harness use them: handles, mounts, faults, time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::base::{HostId, ProcessId, Seed, SimTime};
use crate::rt::backend::{FileKey, Files, OpenFlags};

const HOST: HostId = HostId(0);
const MS: Duration = Duration::from_millis(1);

struct Rig {
    disks: Disks,
    disk: DiskId,
    now: Rc<Cell<SimTime>>,
    process: Rc<Cell<u32>>,
}

fn rig(config: DiskConfig) -> Rig {
    let (now, process) = (Rc::new(Cell::new(SimTime::ZERO)), Rc::new(Cell::new(0)));
    let (clock, owner) = (now.clone(), process.clone());
    let disks = Disks::new(Seed(1), move || clock.get(), move || Some(ProcessId(owner.get())));
    let disk = disks.add_disk(config);
    disks.mount(HOST, "/", disk).unwrap();
    Rig { disks, disk, now, process }
}

fn plain() -> Rig {
    rig(DiskConfig { timing: Timing { read: MS, sync: 2 * MS, bandwidth: 1_000_000 }, ..DiskConfig::default() })
}

impl Rig {
    fn open(&self, path: &str) -> FileKey {
        let flags = OpenFlags { read: true, write: true, create: true, ..OpenFlags::default() };
        self.disks.open(HOST, path, flags).result.unwrap()
    }

    fn sync(&self, file: FileKey) -> Result<(), Option<i32>> {
        let key = self.disks.sync_begin(file, false).result.unwrap();
        self.disks.sync_end(key).map_err(|e| e.raw_os_error())
    }

    fn sync_dir(&self, path: &str) {
        let key = self.disks.sync_dir_begin(HOST, path).result.unwrap();
        self.disks.sync_end(key).unwrap();
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Option<i32>> {
        let fs = self.disks.file_system(self.disk).unwrap();
        fs.contents(path).map(<[u8]>::to_vec).map_err(|e| e.raw_os_error())
    }
}

fn write(rig: &Rig, file: FileKey, offset: u64, data: &[u8]) -> Result<usize, Option<i32>> {
    rig.disks.write_at(file, offset, data).result.map_err(|e| e.raw_os_error())
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let rig = plain();
    let file = rig.open("/f");
    rig.sync_dir("/");
    write(&rig, file, 0, &[1; 600]).unwrap();
    let sync = rig.disks.sync_begin(file, true);
    // Two milliseconds and 600 bytes at a megabyte a second, behind the directory's two.
    assert_eq!(sync.takes, 4 * MS + Duration::from_micros(600));
    write(&rig, file, 0, &[2; 600]).unwrap();
    rig.disks.sync_end(sync.result.unwrap()).unwrap();
    let fs = rig.disks.file_system(rig.disk).unwrap();
    let mut oldest = fs.clone();
    oldest.crash(&mut Oldest);
    assert_eq!(oldest.contents("/f").unwrap(), [1; 600]);
}

#[test]
fn a_sync_that_the_process_did_not_live_to_see_promises_nothing() {
    let rig = plain();
    let file = rig.open("/f");
    rig.sync_dir("/");
    write(&rig, file, 0, b"x").unwrap();
    let sync = rig.disks.sync_begin(file, true).result.unwrap();
    rig.disks.process_died(ProcessId(0));
    assert!(rig.disks.sync_end(sync).is_err());
    assert_eq!(write(&rig, file, 0, b"y"), Err(Some(libc::EBADF)));
    assert_eq!(rig.read("/f").unwrap(), b"x", "the page cache survives a kill");
}

#[test]
fn handles_belong_to_their_process_and_a_key_is_never_reused() {
    let rig = plain();
    let first = rig.open("/a");
    rig.process.set(1);
    let second = rig.open("/b");
    rig.disks.process_died(ProcessId(0));
    assert_eq!(write(&rig, first, 0, b"x"), Err(Some(libc::EBADF)));
    let third = rig.open("/c");
    assert_ne!(first, third);
    assert_eq!((write(&rig, second, 0, b"x"), write(&rig, third, 0, b"x")), (Ok(1), Ok(1)));
}

#[test]
fn an_unlinked_file_lives_while_it_is_open_and_then_gives_back_its_space() {
    let rig = rig(DiskConfig { capacity: 1000, ..DiskConfig::default() });
    let file = rig.open("/f");
    write(&rig, file, 0, &[7; 800]).unwrap();
    rig.disks.remove_file(HOST, "/f").result.unwrap();
    let mut buf = [0; 10];
    assert_eq!((rig.disks.read_at(file, 795, &mut buf).result.unwrap(), buf[0]), (5, 7));
    let other = rig.open("/g");
    assert_eq!(write(&rig, other, 0, &[1; 300]), Ok(200), "a short write takes what fits");
    assert_eq!(write(&rig, other, 200, &[1; 100]), Err(Some(libc::ENOSPC)));
    rig.disks.close(file);
    assert_eq!(write(&rig, other, 200, &[1; 100]), Ok(100));
    assert_eq!(rig.disks.space(HOST, "/").result.unwrap().available, 700);
}

#[test]
fn each_host_sees_its_mounts_and_the_longest_wins() {
    let rig = plain();
    let volume = rig.disks.add_disk(DiskConfig::default());
    rig.disks.mount(HOST, "/data", volume).unwrap();
    rig.open("/data/f");
    rig.open("/database");
    assert!(rig.read("/database").is_ok() && rig.read("/data/f").is_err());
    let moved = rig.disks.rename(HOST, "/database", "/data/g").result.unwrap_err();
    assert_eq!(moved.kind(), std::io::ErrorKind::CrossesDevices);
    assert_eq!(rig.disks.mount(HostId(1), "/", volume), Err(DiskError::InUse(volume, HOST)));
    assert_eq!(rig.disks.unmount(HOST, "/data"), Ok(volume));
    rig.disks.mount(HostId(1), "/", volume).unwrap();
    assert!(rig.disks.metadata(HostId(1), "/f").result.is_ok(), "the content moved with the disk");
    assert!(rig.disks.metadata(HostId(2), "/f").result.is_err());
}

#[test]
fn a_snapshot_is_a_state_of_its_own() {
    let rig = plain();
    let file = rig.open("/f");
    write(&rig, file, 0, b"old").unwrap();
    rig.sync(file).unwrap();
    rig.sync_dir("/");
    let image = rig.disks.snapshot(rig.disk).unwrap();
    write(&rig, file, 0, b"new").unwrap();
    rig.disks.restore(rig.disk, &image).unwrap();
    assert_eq!(rig.read("/f").unwrap(), b"old");
    assert_eq!(write(&rig, file, 0, b"x"), Err(Some(libc::EBADF)));
    rig.disks.wipe(rig.disk).unwrap();
    assert_eq!(rig.read("/f"), Err(Some(libc::ENOENT)));
}

#[test]
fn faults_act_where_they_should_and_say_how_often() {
    let rig = plain();
    let file = rig.open("/journal");
    rig.sync_dir("/");
    let inject = |fault| rig.disks.inject(rig.disk, fault).unwrap();
    let until = SimTime::from_secs(9);
    let stall = inject(DiskFault::Stall { until });
    assert_eq!(rig.disks.write_at(file, 0, b"x").takes, Duration::from_secs(9));
    rig.now.set(until);
    assert_eq!(rig.disks.write_at(file, 0, b"x").takes, Duration::ZERO);
    let slow = inject(DiskFault::Slow { factor: 10 });
    assert!(rig.disks.sync_begin(file, true).takes >= 20 * MS);
    let lie = inject(DiskFault::LyingSync { under: "/journal".into(), odds: Odds::ONCE });
    assert_eq!(rig.sync(file), Ok(()));
    let mut oldest = rig.disks.file_system(rig.disk).unwrap();
    oldest.crash(&mut Oldest);
    assert_eq!(oldest.contents("/journal").unwrap(), b"", "the sync lied");
    let error = inject(DiskFault::ReadError { under: String::new(), odds: Odds::ONCE });
    let read = || rig.disks.read_at(file, 0, &mut [0]).result.map_err(|e| e.raw_os_error());
    assert_eq!((read(), read()), (Err(Some(libc::EIO)), Ok(1)));
    let read_only = inject(DiskFault::ReadOnly);
    assert_eq!(write(&rig, file, 0, b"x"), Err(Some(libc::EROFS)));
    assert!(rig.disks.create_dir(HOST, "/d").result.is_err());
    rig.disks.clear_all();
    assert_eq!(write(&rig, file, 0, b"x"), Ok(1));
    assert_eq!([stall, slow, lie, error, read_only].map(|fault| rig.disks.hits(fault)), [1, 2, 1, 1, 2]);
}

#[test]
fn the_kernel_writes_back_what_is_old() {
    let rig = plain();
    let file = rig.open("/f");
    write(&rig, file, 0, b"old").unwrap();
    for seconds in [31, 62] {
        rig.now.set(SimTime::from_secs(seconds));
        drop(rig.disks.create_dir(HOST, &format!("/{seconds}")));
    }
    let mut oldest = rig.disks.file_system(rig.disk).unwrap();
    oldest.crash(&mut Oldest);
    assert_eq!(oldest.contents("/f").unwrap(), b"old");
}

#[test]
fn memory_is_empty_after_a_power_loss_and_a_disk_reads_cold() {
    let rig = plain();
    let memory = rig.disks.add_disk(DiskConfig { volatile: true, timing: Timing::NONE, ..DiskConfig::default() });
    rig.disks.mount(HOST, "/mem", memory).unwrap();
    for path in ["/f", "/mem/f"] {
        let file = rig.open(path);
        write(&rig, file, 0, &[1; 1000]).unwrap();
        rig.sync(file).unwrap();
    }
    rig.sync_dir("/");
    rig.sync_dir("/mem");
    rig.disks.power_loss(HOST);
    assert!(rig.disks.metadata(HOST, "/mem/f").result.is_err());
    let file = rig.open("/f");
    let mut buf = [0; 1000];
    assert_eq!(rig.disks.read_at(file, 0, &mut buf).takes, 2 * MS, "one for the request, one for its bytes");
    rig.now.set(SimTime::from_secs(1));
    assert_eq!(rig.disks.read_at(file, 0, &mut buf).takes, Duration::ZERO, "cached by now");
}
