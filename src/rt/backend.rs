//! What a simulated world gives the seam, and the ambient slot that holds it.
//!
//! Two interfaces, because they vary apart: an [`Engine`] is time, tasks and network (glass, and others beside it); the
//! [`Files`] of simulated disks are shared by every engine. Handles are plain numbers, so that whatever holds one is
//! `Send` and a dead process's destructors have nothing to reach: each call is checked against the calling process.
//! With no world installed on this thread the seam runs on tokio.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use crate::base::{HostId, ProcessId, SimTime, Stream, TaskId};

/// A future that the engine owns.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Names a pending timer; stale once it fired or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerKey(pub u64);

/// Names a socket (listener, stream or lookup) of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey(pub u64);

/// Names an open file of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub u64);

/// Time, tasks and network of one simulated world. All calls come from the one thread that runs it.
pub trait Engine {
    /// The host whose task runs now; none outside of tasks.
    fn host(&self) -> Option<HostId>;
    /// The process whose task runs now.
    fn process(&self) -> Option<ProcessId>;
    /// False when the calling task's process is dead: its destructors are running and must change nothing.
    fn alive(&self) -> bool;

    /// World time, whatever the hosts' clocks show. For the harness's own records; programs have no such clock.
    fn world_time(&self) -> SimTime;
    /// The calling host's monotonic clock: world time, scaled by the host's drift.
    fn now(&self) -> SimTime;
    /// The calling host's wall clock since the Unix epoch: offset, drift and jumps included.
    fn wall(&self) -> Duration;
    /// Arms a timer for `deadline` on the calling host's monotonic clock; `waker` is woken once when it is reached.
    fn timer_start(&self, deadline: SimTime, waker: &Waker) -> TimerKey;
    /// Replaces the waker of a timer that has not fired. False if it has fired already.
    fn timer_rewake(&self, timer: TimerKey, waker: &Waker) -> bool;
    /// Forgets a timer; nothing if it has fired.
    fn timer_cancel(&self, timer: TimerKey);

    /// Starts `future` as a task of the calling process. `None` if that process is dead.
    fn spawn(&self, name: &'static str, future: BoxFuture) -> Option<TaskId>;
    /// Drops the task's future before its next poll.
    fn abort(&self, task: TaskId);
    /// Tells what the running task is about to wait for; shown by the deadlock report.
    fn waiting_for(&self, what: &'static str);
    /// A task of the calling process panicked; `message` is the panic's.
    fn panicked(&self, message: &str);
    /// Ready once the calling process was asked to end (SIGTERM).
    fn poll_terminated(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// A random stream of the calling host's process, forked by name.
    fn stream(&self, domain: &str) -> Stream;

    /// Binds and listens. Port 0 picks a free one. Errors: `AddrInUse`, `AddrNotAvailable`.
    fn tcp_listen(&self, addr: SocketAddr) -> io::Result<SocketKey>;
    /// The next established connection and its peer.
    fn tcp_poll_accept(&self, listener: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<(SocketKey, SocketAddr)>>;
    /// Sends the SYN. The handshake's end is seen by [`Engine::tcp_poll_connected`].
    fn tcp_connect(&self, to: SocketAddr) -> io::Result<SocketKey>;
    /// Ready once established, or with `ConnectionRefused`, `TimedOut`, `HostUnreachable`.
    fn tcp_poll_connected(&self, stream: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// As `AsyncRead::poll_read`: no bytes and `Ok` is end of stream.
    fn tcp_poll_read(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
    /// As `AsyncWrite::poll_write`.
    fn tcp_poll_write(&self, stream: SocketKey, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    /// Half close: FIN after what was written.
    fn tcp_shutdown(&self, stream: SocketKey) -> io::Result<()>;
    /// The program let go of the socket (its `Drop`): FIN, or RST if unread bytes are left, as Linux does.
    fn tcp_close(&self, socket: SocketKey);
    /// Own address.
    fn tcp_local(&self, socket: SocketKey) -> io::Result<SocketAddr>;
    /// Other side's address; `NotConnected` for a listener.
    fn tcp_peer(&self, stream: SocketKey) -> io::Result<SocketAddr>;
    /// Starts a DNS lookup of a host name (no port).
    fn dns_start(&self, name: &str) -> SocketKey;
    /// The lookup's addresses, in order; `NotFound` for an unknown name, `TimedOut` with a dead resolver. Frees the key
    /// when ready.
    fn dns_poll(&self, lookup: SocketKey, cx: &mut Context<'_>) -> Poll<io::Result<Vec<std::net::IpAddr>>>;
    /// Frees a lookup that nobody waits for any more.
    fn dns_cancel(&self, lookup: SocketKey);

    /// One line of the stack's own log (`tracing`), already formatted.
    fn log(&self, level: &'static str, target: &str, message: &str);
}

/// How to open a file; std's `OpenOptions`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct OpenFlags {
    /// Allow reads.
    pub read: bool,
    /// Allow writes.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Cut to length 0.
    pub truncate: bool,
    /// Make it if missing.
    pub create: bool,
    /// Make it, fail with `AlreadyExists` if it is there.
    pub create_new: bool,
}

/// File or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// What `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// File or directory.
    pub kind: FileKind,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// What `statvfs` tells, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the file system.
    pub total: u64,
    /// Bytes that may still be written.
    pub available: u64,
}

/// A result and the simulated time that the device takes to give it. The effect is at the call; the caller sleeps
/// `takes` before it looks at the result.
#[derive(Debug)]
pub struct Timed<T> {
    /// What the call gives.
    pub result: io::Result<T>,
    /// How long it takes; zero for a call that the page cache answers.
    pub takes: Duration,
}

/// A sync that has begun: what it will make durable is fixed, and becomes durable at [`Files::sync_end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncKey(pub u64);

/// The simulated disks, seen by the host whose task runs now. Paths are absolute within that host; each host sees the
/// disks mounted on it. `now` is world time. Errors are std's kinds with the errno of Linux.
pub trait Files {
    /// Opens or makes a file.
    fn open(&self, host: HostId, path: &str, flags: OpenFlags) -> Timed<FileKey>;
    /// Reads at an offset; fewer bytes than asked only at the end of the file.
    fn read_at(&self, file: FileKey, offset: u64, buf: &mut [u8]) -> Timed<usize>;
    /// Writes at an offset (at the end for `append`), zeros in a gap; gives the bytes taken, which may be fewer.
    fn write_at(&self, file: FileKey, offset: u64, data: &[u8]) -> Timed<usize>;
    /// Cuts or extends with zeros.
    fn set_len(&self, file: FileKey, len: u64) -> Timed<()>;
    /// Length now.
    fn file_len(&self, file: FileKey) -> Timed<u64>;
    /// Begins `fsync`: everything written to the file so far. `data_only` is `fdatasync` (length still included).
    fn sync_begin(&self, file: FileKey, data_only: bool) -> Timed<SyncKey>;
    /// Begins `fsync` of a directory: its entries so far.
    fn sync_dir_begin(&self, host: HostId, path: &str) -> Timed<SyncKey>;
    /// The device has answered: the data are durable, or the error of the device.
    fn sync_end(&self, sync: SyncKey) -> io::Result<()>;
    /// Closes; never an error, never a sync.
    fn close(&self, file: FileKey);
    /// Atomic replacement within one disk; `CrossesDevices` otherwise.
    fn rename(&self, host: HostId, from: &str, to: &str) -> Timed<()>;
    /// Unlinks a file.
    fn remove_file(&self, host: HostId, path: &str) -> Timed<()>;
    /// Makes one directory; the parent must be there.
    fn create_dir(&self, host: HostId, path: &str) -> Timed<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, host: HostId, path: &str) -> Timed<()>;
    /// Names in a directory, sorted.
    fn read_dir(&self, host: HostId, path: &str) -> Timed<Vec<(String, FileKind)>>;
    /// `stat`.
    fn metadata(&self, host: HostId, path: &str) -> Timed<Metadata>;
    /// `statvfs` of the disk that holds `path`.
    fn space(&self, host: HostId, path: &str) -> Timed<DiskSpace>;
}

/// The world that this thread runs.
#[derive(Clone)]
pub struct Backend {
    /// Time, tasks, network.
    pub engine: Rc<dyn Engine>,
    /// Disks.
    pub files: Rc<dyn Files>,
}

thread_local! {
    static WORLD: RefCell<Option<Backend>> = const { RefCell::new(None) };
}

/// Makes `backend` the world of this thread until the guard is dropped.
#[must_use = "the world is gone when the guard is dropped"]
pub fn enter(backend: Backend) -> Entered {
    Entered { before: WORLD.with(|w| w.replace(Some(backend))) }
}

/// Keeps a world installed; restores what was there before.
pub struct Entered {
    before: Option<Backend>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // What goes may allocate and ask for the time, which asks for the world: it is let go of last.
        let ended = WORLD.with(|w| w.replace(self.before.take()));
        drop(ended);
    }
}

/// Whether this thread runs a simulated world.
pub fn simulated() -> bool {
    WORLD.try_with(|w| w.borrow().is_some()).unwrap_or(false)
}

/// Time of this thread's world, for the harness's records; zero outside of a world.
pub fn world_now() -> SimTime {
    with_engine(|e| e.world_time()).unwrap_or_default()
}

/// Runs `f` on the world of this thread; `None` where tokio is the backend.
pub(crate) fn with_engine<R>(f: impl FnOnce(&dyn Engine) -> R) -> Option<R> {
    WORLD.try_with(|w| w.borrow().as_ref().map(|b| f(&*b.engine))).ok().flatten()
}

/// Runs `f` on the disks of this thread's world and the calling host.
pub(crate) fn with_files<R>(f: impl FnOnce(&dyn Files, HostId) -> R) -> Option<R> {
    WORLD
        .try_with(|w| {
            w.borrow().as_ref().and_then(|b| {
                let host = b.engine.host().filter(|_| b.engine.alive())?;
                Some(f(&*b.files, host))
            })
        })
        .ok()
        .flatten()
}
