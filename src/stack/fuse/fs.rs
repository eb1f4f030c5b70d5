//! The POSIX operations, as FUSE's low-level interface has them: nodes and handles in, answers or errnos out.
//!
//! Each is an async call that ends within the client's budget; calls may run side by side. A real mount and a simulated one
//! both drive it. Rule: what the caller was told has been acknowledged by a master; attributes may be as old as the cache's
//! bound. Permissions and owners are not kept.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

use super::attrs::{AttrCache, Ticket};
use super::data::{Counters, DataCounters, DataPath, DataTimes};
use super::errno::Errno;
use super::handles::{HandleId, Handles};
use super::nodes::{NodeId, Nodes};
use super::reader::{Piece, Reader};
use super::workers::Workers;
use super::writer::Writer;
use crate::base::lock;
use crate::base::planted::{Bug, planted};
use crate::rt::time::{Duration, Instant, sleep};
use crate::stack::client::FileSystemClient;
use crate::stack::ufs::bucket::Scheme;
use crate::stack::ufs::{Mounted, UnderStore};
use crate::stack::wire::master::{Change, MasterAnswer};
use crate::stack::wire::{FileInfo, FsError, InodeId, MountInfo, WriteType};

/// How often a closing writer looks whether its file is stored.
const STORED_POLL: Duration = Duration::from_millis(200);

/// How one mount behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FuseOptions {
    /// Block size of new files, in bytes. Alluxio: 64 MB.
    pub block_size: u64,
    /// This client's host name, as workers' addresses have it: the worker there is preferred.
    pub local_host: Option<String>,
    /// How old attributes may be; libfuse's `attr_timeout` is 1 s.
    pub attr_bound: Duration,
    /// How many paths' attributes are kept.
    pub attrs_max: usize,
    /// How many names are known at once.
    pub nodes_max: usize,
    /// How many files may be open at once.
    pub handles_max: usize,
    /// How long a list of workers is used. Alluxio: 2 min.
    pub worker_refresh: Duration,
    /// Whether closing a file below a writable mount waits for its under-store. The mount's own write type says whether the
    /// file gets there at all.
    pub write_type: WriteType,
    /// Time-outs of reads and writes.
    pub times: DataTimes,
}

impl Default for FuseOptions {
    fn default() -> Self {
        Self {
            block_size: 64 << 20,
            local_host: None,
            attr_bound: Duration::from_secs(1),
            attrs_max: 10_000,
            nodes_max: 100_000,
            handles_max: 4096,
            worker_refresh: Duration::from_secs(120),
            write_type: WriteType::default(),
            times: DataTimes::default(),
        }
    }
}

/// What `stat(2)` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// The master's inode number.
    pub ino: u64,
    /// Whether it is a directory.
    pub dir: bool,
    /// Bytes; of a file being written here, those written so far.
    pub size: u64,
    /// 512-byte units.
    pub blocks: u64,
    /// Permission bits: 0755 or 0644.
    pub perm: u16,
    /// Last change, milliseconds since the epoch.
    pub mtime_ms: u64,
}

/// A node and its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Node id; counts as one lookup.
    pub node: NodeId,
    /// Attributes.
    pub attr: Attr,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Name.
    pub name: String,
    /// Attributes.
    pub attr: Attr,
}

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Names it in all later calls.
    pub handle: HandleId,
    /// The file as it was when it was opened.
    pub info: FileInfo,
}

/// What `statvfs(3)` tells: the cache's space, not the under-store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Unit of the counts, bytes.
    pub block_size: u64,
    /// All blocks of live workers.
    pub blocks: u64,
    /// Of them free.
    pub free: u64,
    /// Longest name, bytes.
    pub name_max: u32,
}

#[derive(Clone)]
enum Open {
    Read(Arc<Reader>),
    Write(Arc<Writer>),
}

/// One mount.
pub struct Fuse {
    options: FuseOptions,
    data: DataPath,
    nodes: Mutex<Nodes>,
    handles: Mutex<Handles<Open>>,
    attrs: Mutex<AttrCache>,
}

impl Fuse {
    /// A mount on `client`'s masters. `store` is read when no worker can give the bytes.
    pub fn new(client: Arc<FileSystemClient>, store: Arc<dyn UnderStore>, options: FuseOptions) -> Self {
        let workers = Workers::new(options.local_host.clone(), options.worker_refresh);
        let store = Arc::new(Mounted::new(store, client.clone()));
        Self {
            data: DataPath { client, workers, store, times: options.times, counters: Counters::default() },
            nodes: Mutex::new(Nodes::new(options.nodes_max)),
            handles: Mutex::new(Handles::new(options.handles_max)),
            attrs: Mutex::new(AttrCache::new(options.attr_bound, options.attrs_max)),
            options,
        }
    }

    /// The client of the masters.
    pub fn client(&self) -> &Arc<FileSystemClient> {
        &self.data.client
    }

    /// Bytes by where they came from.
    pub fn counters(&self) -> DataCounters {
        self.data.counters()
    }

    /// The node of an absolute path, without asking whether it exists and without counting a lookup.
    ///
    /// # Errors
    /// `EINVAL`, `ENAMETOOLONG`, `ENFILE`.
    pub fn node(&self, path: &str) -> Result<NodeId, Errno> {
        lock(&self.nodes).walk(path)
    }

    /// Finds `name` in `parent`.
    pub async fn lookup(&self, parent: NodeId, name: &str) -> Result<Entry, Errno> {
        let path = lock(&self.nodes).path_in(parent, name)?;
        let info = self.stat(&path).await?;
        let node = self.known(parent, name)?;
        Ok(Entry { node, attr: self.attr(&info) })
    }

    /// Takes lookups back.
    pub fn forget(&self, node: NodeId, lookups: u64) {
        lock(&self.nodes).forget(node, lookups);
    }

    /// Attributes.
    pub async fn getattr(&self, node: NodeId) -> Result<Attr, Errno> {
        let path = lock(&self.nodes).path(node)?;
        let info = self.stat(&path).await?;
        Ok(self.attr(&info))
    }

    /// All entries of a directory, by name, without `.` and `..`.
    pub async fn readdir(&self, node: NodeId) -> Result<Vec<DirEntry>, Errno> {
        let path = lock(&self.nodes).path(node)?;
        let ticket = lock(&self.attrs).begin();
        let entries = self.data.client.list(&path, self.deadline()).await?;
        let mut attrs = lock(&self.attrs);
        for info in &entries {
            attrs.insert(ticket, &format!("{}/{}", path.trim_end_matches('/'), info.name), info.clone());
        }
        drop(attrs);
        Ok(entries.into_iter().map(|info| DirEntry { attr: self.attr(&info), name: info.name }).collect())
    }

    /// Opens a file: for reading, or with `O_WRONLY | O_TRUNC` for writing it anew, which replaces the file as Alluxio does:
    /// by deleting and creating it. `flags` are Linux's.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for other ways of writing; `EBUSY` for a file that is being written.
    pub async fn open(&self, node: NodeId, flags: i32) -> Result<Opened, Errno> {
        let path = lock(&self.nodes).path(node)?;
        lock(&self.handles).room()?;
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            let anew = flags & libc::O_ACCMODE == libc::O_WRONLY && flags & libc::O_TRUNC != 0;
            if !anew || flags & libc::O_APPEND != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            if self.stat(&path).await?.dir {
                return Err(Errno::EISDIR);
            }
            self.change(&[&path], Change::Delete { path: path.clone(), recursive: false }).await?;
            return self.create_at(path).await;
        }
        let (mut info, blocks) = self.data.client.blocks(&path, self.deadline()).await?;
        if planted(Bug::ListingNotRevalidated)
            && let Some(listed) = lock(&self.attrs).get(&path, Instant::now()).filter(|listed| listed.completed)
        {
            info = listed.clone();
        }
        let reader = Reader::new(path, info.clone(), blocks)?;
        let handle = lock(&self.handles).insert(Open::Read(Arc::new(reader)))?;
        Ok(Opened { handle, info })
    }

    /// Makes a file and opens it for writing; `EEXIST` if the name is taken.
    pub async fn create(&self, parent: NodeId, name: &str) -> Result<(Entry, Opened), Errno> {
        let path = lock(&self.nodes).path_in(parent, name)?;
        lock(&self.handles).room()?;
        let opened = self.create_at(path).await?;
        let node = self.known(parent, name)?;
        Ok((Entry { node, attr: self.attr(&opened.info) }, opened))
    }

    /// The bytes at `offset`, at most `size`; fewer only at the end of the file.
    pub async fn read(&self, handle: HandleId, offset: u64, size: u64) -> Result<Bytes, Errno> {
        let mut pieces = self.read_pieces(handle, offset, size).await?;
        if pieces.len() == 1 {
            return Ok(pieces.remove(0).data);
        }
        let mut all = BytesMut::with_capacity(pieces.iter().map(|piece| piece.data.len()).sum());
        pieces.iter().for_each(|piece| all.extend_from_slice(&piece.data));
        Ok(all.freeze())
    }

    /// As [`Self::read`], with the source of each piece, in order.
    pub async fn read_pieces(&self, handle: HandleId, offset: u64, size: u64) -> Result<Vec<Piece>, Errno> {
        let Open::Read(reader) = lock(&self.handles).get(handle)? else { return Err(Errno::EBADF) };
        Ok(reader.read(&self.data, offset, size, self.deadline()).await?)
    }

    /// Appends `bytes`, whose `offset` must be the end of the file so far.
    pub async fn write(&self, handle: HandleId, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let Open::Write(writer) = lock(&self.handles).get(handle)? else { return Err(Errno::EBADF) };
        writer.write(&self.data, offset, bytes, self.deadline()).await?;
        Ok(bytes.len())
    }

    /// `close(2)`: completes a file that was written.
    pub async fn flush(&self, handle: HandleId) -> Result<(), Errno> {
        let open = lock(&self.handles).get(handle)?;
        self.complete(&open).await
    }

    /// Tells what ended the writing; see [`super::writer`] for what is durable then.
    pub async fn fsync(&self, handle: HandleId) -> Result<(), Errno> {
        let open = lock(&self.handles).get(handle)?;
        match open {
            Open::Read(_) => Ok(()),
            Open::Write(writer) => writer.check().await,
        }
    }

    /// The last close. The handle is gone even if completing the file fails.
    pub async fn release(&self, handle: HandleId) -> Result<(), Errno> {
        let open = lock(&self.handles).remove(handle)?;
        self.complete(&open).await
    }

    /// Makes a directory.
    pub async fn mkdir(&self, parent: NodeId, name: &str) -> Result<Entry, Errno> {
        let path = lock(&self.nodes).path_in(parent, name)?;
        match self.change(&[&path], Change::Mkdir { path: path.clone(), recursive: false }).await? {
            MasterAnswer::Info(info) => Ok(Entry { node: self.known(parent, name)?, attr: self.attr(&info) }),
            _ => Err(Errno::EIO),
        }
    }

    /// Removes a file; handles that are open on it stay.
    pub async fn unlink(&self, parent: NodeId, name: &str) -> Result<(), Errno> {
        self.remove(parent, name, false).await
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, parent: NodeId, name: &str) -> Result<(), Errno> {
        self.remove(parent, name, true).await
    }

    /// Renames, over a file or an empty directory that has the new name.
    pub async fn rename(&self, from: (NodeId, &str), to: (NodeId, &str)) -> Result<(), Errno> {
        let (old, new) = {
            let nodes = lock(&self.nodes);
            (nodes.path_in(from.0, from.1)?, nodes.path_in(to.0, to.1)?)
        };
        self.change(&[&old, &new], Change::Rename { from: old.clone(), to: new.clone() }).await?;
        lock(&self.nodes).renamed(from, to);
        Ok(())
    }

    /// The cache's space.
    pub async fn statfs(&self) -> Result<StatFs, Errno> {
        let workers = self.data.client.workers(self.deadline()).await?;
        let tiers = || workers.iter().flat_map(|worker| &worker.tiers);
        let capacity = tiers().fold(0u64, |sum, tier| sum.saturating_add(tier.capacity));
        let used = tiers().fold(0u64, |sum, tier| sum.saturating_add(tier.used));
        const UNIT: u64 = 4096;
        let free = capacity.saturating_sub(used) / UNIT;
        Ok(StatFs { block_size: UNIT, blocks: capacity / UNIT, free, name_max: 255 })
    }

    /// Files open now.
    pub fn open_files(&self) -> usize {
        lock(&self.handles).len()
    }

    fn deadline(&self) -> Instant {
        self.data.client.deadline()
    }

    /// From the cache or the masters.
    async fn stat(&self, path: &str) -> Result<FileInfo, Errno> {
        let ticket: Ticket = {
            let attrs = lock(&self.attrs);
            if let Some(info) = attrs.get(path, Instant::now()) {
                return Ok(info.clone());
            }
            attrs.begin()
        };
        let info = self.data.client.stat(path, self.deadline()).await?;
        lock(&self.attrs).insert(ticket, path, info.clone());
        Ok(info)
    }

    fn attr(&self, info: &FileInfo) -> Attr {
        let mut size = info.length;
        if !info.dir && !info.completed {
            let handles = lock(&self.handles);
            let own = |open: &Open| match open {
                Open::Write(writer) if writer.info.id == info.id => Some(writer.length()),
                _ => None,
            };
            size = handles.iter().find_map(own).unwrap_or(size);
        }
        Attr {
            ino: info.id.0,
            dir: info.dir,
            size,
            blocks: size.div_ceil(512),
            perm: if info.dir { 0o755 } else { 0o644 },
            mtime_ms: info.mtime_ms,
        }
    }

    /// Counts a lookup of a name that exists.
    fn known(&self, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
        let mut nodes = lock(&self.nodes);
        let node = nodes.intern(parent, name)?;
        nodes.looked_up(node);
        Ok(node)
    }

    async fn create_at(&self, path: String) -> Result<Opened, Errno> {
        let change = Change::Create { path: path.clone(), block_size: self.options.block_size };
        let MasterAnswer::Info(info) = self.change(&[&path], change).await? else { return Err(Errno::EIO) };
        let writer = Writer::new(path, info.clone());
        let handle = lock(&self.handles).insert(Open::Write(Arc::new(writer)))?;
        Ok(Opened { handle, info })
    }

    async fn complete(&self, open: &Open) -> Result<(), Errno> {
        let Open::Write(writer) = open else { return Ok(()) };
        let paths = [writer.path.as_str()];
        let _forget = Forget::new(&self.attrs, &paths);
        let info = writer.complete(&self.data, self.deadline()).await?;
        if self.options.write_type.waits() {
            self.until_stored(&writer.path, info.id).await?;
        }
        Ok(())
    }

    /// Waits until a file is in its under-store, if its mount says that it gets there.
    async fn until_stored(&self, path: &str, file: InodeId) -> Result<(), Errno> {
        let deadline = self.deadline();
        let inside =
            |mount: &MountInfo| format!("{path}/").starts_with(&format!("{}/", mount.path.trim_end_matches('/')));
        let mounts = self.data.client.mounts(false, deadline).await?;
        let mount = mounts.into_iter().filter(inside).max_by_key(|mount| mount.path.len());
        let gets_there = |mount: &MountInfo| {
            let write = mount.options.write_type();
            !mount.read_only && Scheme::of(&mount.url).is_some() && write != WriteType::MustCache
        };
        if !mount.is_some_and(|mount| gets_there(&mount)) {
            return Ok(());
        }
        while Instant::now() < deadline {
            match self.data.client.stat(path, deadline).await {
                Ok(info) if info.id == file && info.ufs.is_none() => sleep(STORED_POLL).await,
                // Stored, or removed or renamed meanwhile.
                Ok(_) | Err(FsError::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EIO)
    }

    /// `rmdir` if `dir`, else `unlink`. As the kernel does, looks first what it is.
    async fn remove(&self, parent: NodeId, name: &str, dir: bool) -> Result<(), Errno> {
        let path = lock(&self.nodes).path_in(parent, name)?;
        match (self.stat(&path).await?.dir, dir) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.change(&[&path], Change::Delete { path: path.clone(), recursive: false }).await?;
        lock(&self.nodes).removed(parent, name);
        Ok(())
    }

    async fn change(&self, paths: &[&str], change: Change) -> Result<MasterAnswer, Errno> {
        let _forget = Forget::new(&self.attrs, paths);
        Ok(self.data.client.change(change, self.deadline()).await.answer()?)
    }
}

/// Forgets attributes when a change begins and when it ends, however it ends.
struct Forget<'a> {
    attrs: &'a Mutex<AttrCache>,
    paths: &'a [&'a str],
}

impl<'a> Forget<'a> {
    fn new(attrs: &'a Mutex<AttrCache>, paths: &'a [&'a str]) -> Self {
        let this = Self { attrs, paths };
        this.forget();
        this
    }

    fn forget(&self) {
        let mut attrs = lock(self.attrs);
        self.paths.iter().for_each(|path| attrs.changed(path));
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}
