//! One client program: a mount, and one operation after the other on it until the load ends.
//!
//! It uses the mount as an application would; the history is written by the recorder's hooks. Errors are part of life and
//! end nothing. A program that is started again is a new client of the masters, with new operation ids.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::check::CheckedFile;
use super::plan::{self, LoadSpec, Step};
use super::record::Recorder;
use crate::base::{self, Stream, lock};
use crate::rt::chance;
use crate::rt::time::sleep;
use crate::stack::client::{ClientOptions, FileSystemClient};
use crate::stack::fuse::{Errno, Fuse, FuseOptions, NodeId};
use crate::stack::ufs::UnderStore;
use crate::stack::wire::master::Change;

/// How many clients make the shared directories at their start.
const PIONEERS: u32 = 3;
/// Longest single write call, in bytes; Linux's FUSE splits there by default.
const WRITE_MAX: u64 = 128 << 10;

/// The load of one run, shared by all clients.
pub struct Load {
    spec: LoadSpec,
    recorder: Arc<Recorder>,
    stopped: AtomicBool,
    running: AtomicU32,
    begun: AtomicU64,
    failed: Mutex<BTreeMap<Errno, u64>>,
}

impl Load {
    /// A load that nobody carries yet.
    pub fn new(spec: LoadSpec, recorder: Arc<Recorder>) -> Arc<Self> {
        Arc::new(Self {
            spec,
            recorder,
            stopped: AtomicBool::new(false),
            running: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            failed: Mutex::default(),
        })
    }

    /// What the clients saw.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Asks all clients to end after the operation that is under way.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Client programs that have begun and neither ended nor died.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether no more operations will begin.
    pub fn over(&self) -> bool {
        let all = self.spec.operations.is_some_and(|most| self.begun() >= most);
        all || self.stopped.load(Ordering::Relaxed) || self.spec.mix.total() == 0
    }

    /// Operations of the mix that were begun.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// What operations of the mix failed with, and how often.
    pub fn failed(&self) -> BTreeMap<Errno, u64> {
        lock(&self.failed).clone()
    }
}

/// Counts a client as running. When it goes, however it does, nobody waits for its calls any more.
struct Running<'a>(&'a Load, u32);

impl<'a> Running<'a> {
    fn new(load: &'a Load, number: u32) -> Self {
        load.running.fetch_add(1, Ordering::Relaxed);
        Self(load, number)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.recorder.abandon(self.1);
    }
}

/// The program of workload client `number`. Ends when the load is over.
pub async fn run(load: Arc<Load>, number: u32, client: ClientOptions, fuse: FuseOptions, store: Arc<dyn UnderStore>) {
    let _running = Running::new(&load, number);
    let client = Arc::new(FileSystemClient::audited(client, load.recorder.audit(number)));
    let user = User { load: &load, number, fuse: Fuse::new(client, store, fuse) };
    let outside = load.recorder.under_store_paths();
    let mut stream = chance::stream("workload");
    user.settle_in().await;
    while !load.over() {
        sleep(stream.duration(load.spec.think.0, load.spec.think.1)).await;
        if load.over() {
            return;
        }
        let recent = load.recorder.recent();
        let Some(step) = plan::next(&load.spec, &mut stream, &recent, &outside) else { return };
        load.begun.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(client = number, ?step, "begins");
        if let Err(errno) = user.carry_out(step, &mut stream).await {
            *lock(&load.failed).entry(errno).or_default() += 1;
        }
    }
}

/// Who uses the mount.
struct User<'a> {
    load: &'a Load,
    number: u32,
    fuse: Fuse,
}

impl User<'_> {
    /// Makes the shared directories; the first clients all try, so that they contend from the start.
    async fn settle_in(&self) {
        if self.number >= PIONEERS {
            return;
        }
        for dir in &self.load.spec.dirs {
            if self.load.over() {
                return;
            }
            if let Err(errno) = self.change(Change::Mkdir { path: dir.clone(), recursive: true }).await {
                tracing::debug!(%dir, %errno, "not made");
            }
        }
    }

    async fn carry_out(&self, step: Step, stream: &mut Stream) -> Result<(), Errno> {
        match step {
            Step::Mkdir(path) => {
                let (parent, name) = self.split(&path)?;
                self.fuse.mkdir(parent, name).await.map(drop)
            }
            Step::Write { path, size } => self.write(&path, size, stream).await,
            Step::Rename { from, to } => self.fuse.rename(self.split(&from)?, self.split(&to)?).await,
            Step::Delete { path, tree: true } => self.change(Change::Delete { path, recursive: true }).await,
            Step::Delete { path, tree: false } => {
                let (parent, name) = self.split(&path)?;
                match self.fuse.unlink(parent, name).await {
                    Err(Errno::EISDIR) => self.fuse.rmdir(parent, name).await,
                    other => other,
                }
            }
            Step::List(path) => self.fuse.readdir(self.fuse.node(&path)?).await.map(drop),
            Step::Stat(path) => self.fuse.getattr(self.fuse.node(&path)?).await.map(drop),
            Step::Read { path, at, size } => self.read(&path, at, size).await,
        }
    }

    /// `open(O_CREAT)`, half the time with `O_TRUNC` instead of `O_EXCL`; writes of random lengths; `close`.
    async fn write(&self, path: &str, size: u64, stream: &mut Stream) -> Result<(), Errno> {
        let (parent, name) = self.split(path)?;
        let anew = stream.ratio(1, 2);
        let open = match self.fuse.create(parent, name).await {
            Ok((_, open)) => open,
            Err(Errno::EEXIST) if anew => self.fuse.open(self.fuse.node(path)?, libc::O_WRONLY | libc::O_TRUNC).await?,
            Err(errno) => return Err(errno),
        };
        // The recorder knew the content before the create returned.
        let content = self.load.recorder.content(open.info.id).ok_or(Errno::EIO)?;
        let bytes = base::Content::of(&content.key, content.version);
        let mut written = Ok(());
        let mut offset = 0;
        while offset < size && written.is_ok() {
            let length = stream.range(1..=WRITE_MAX).min(size - offset);
            let data = bytes.bytes(offset, length as usize);
            written = self.fuse.write(open.handle, offset, &data).await.map(drop);
            offset += length;
        }
        if written.is_ok() && stream.ratio(1, 8) {
            written = self.fuse.fsync(open.handle).await;
        }
        if written.is_ok() {
            written = self.fuse.flush(open.handle).await;
        }
        let released = self.fuse.release(open.handle).await;
        written.and(released)
    }

    async fn read(&self, path: &str, at: u64, size: u64) -> Result<(), Errno> {
        let file = CheckedFile::open(&self.fuse, &self.load.recorder, self.number, path).await?;
        let offset = (u128::from(file.file.info.length) * u128::from(at)) >> 64;
        let read = file.read(offset as u64, size).await;
        file.close().await;
        read.map(drop)
    }

    /// What POSIX has no call for.
    async fn change(&self, change: Change) -> Result<(), Errno> {
        let client = self.fuse.client();
        client.change(change, client.deadline()).await.answer()?;
        Ok(())
    }

    /// The node of the directory, and the name in it.
    fn split<'p>(&self, path: &'p str) -> Result<(NodeId, &'p str), Errno> {
        let (dir, name) = path.rsplit_once('/').ok_or(Errno::EINVAL)?;
        Ok((self.fuse.node(if dir.is_empty() { "/" } else { dir })?, name))
    }
}
