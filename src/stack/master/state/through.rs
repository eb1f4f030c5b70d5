//! How files below a writable mount reach its under-store, and what a change does there.
//!
//! A file that is completed below a writable mount of an object store is wanted there, by the mount's write type, until
//! the leader has written it; it is in the replicated state, so a new leader goes on with what the old one left. Removing
//! and renaming go through to the under-store first and into the journal after it.
//! A file that is wanted keeps its inode's version when it gets there: its content is the same.

use std::collections::BTreeSet;

use super::command::Outcome;
use super::hash::SetHash;
use super::path::FsPath;
use super::tree::{Inode, Kind};
use super::{Mount, State};
use crate::stack::ufs::bucket::{BucketUrl, Scheme};
use crate::stack::wire::master::Change;
use crate::stack::wire::{BlockId, FsError, FsResult, InodeId, UfsRef, WriteType};

/// Where files lie in the under-store while they are being written there, below the mount.
pub const PERSISTENCE_DIR: &str = ".alluxio_ufs_persistence";

/// What is to be done in the under-store before a change is journaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Remove a file, or the mark of an empty directory; or a directory with all below.
    Delete {
        /// Where.
        url: String,
        /// Whether with all below.
        dir: bool,
    },
    /// Rename a file, or a directory with all below.
    Rename {
        /// From where.
        from: String,
        /// Where to.
        to: String,
        /// Whether it is a directory.
        dir: bool,
    },
}

/// A file to be written to its under-store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where its bytes go first.
    pub temporary: String,
    /// Where it belongs now; a renaming changes that.
    pub target: String,
    /// Its blocks with their lengths.
    pub blocks: Vec<(BlockId, u64)>,
    /// Bytes.
    pub length: u64,
    /// By which write type.
    pub write: WriteType,
}

/// The files that are wanted.
#[derive(Debug, Default, Clone)]
pub(super) struct WantedFiles {
    files: BTreeSet<InodeId>,
    hash: SetHash,
}

impl WantedFiles {
    pub fn insert(&mut self, file: InodeId) {
        if self.files.insert(file) {
            self.hash.add(&file);
        }
    }

    pub fn remove(&mut self, file: InodeId) -> bool {
        let was = self.files.remove(&file);
        if was {
            self.hash.remove(&file);
        }
        was
    }

    pub fn contains(&self, file: InodeId) -> bool {
        self.files.contains(&file)
    }

    pub fn iter(&self) -> impl Iterator<Item = InodeId> {
        self.files.iter().copied()
    }

    pub fn hash(&self) -> u128 {
        self.hash.get()
    }
}

impl State {
    /// Files that are wanted in their under-stores, oldest first.
    pub fn wanted(&self) -> impl Iterator<Item = InodeId> {
        self.wanted.iter()
    }

    /// What a wanted file's writing needs; none if it is not wanted any more.
    pub fn wanted_file(&self, file: InodeId) -> Option<Wanted> {
        let inode = self.tree.get(file).filter(|_| self.wanted.contains(file))?;
        let Kind::File { length, .. } = inode.kind else { return None };
        let path = self.tree.path_of(file);
        let (_, mount) = self.through(FsPath::parse(&path).ok()?)?;
        let root: BucketUrl = mount.url.parse().ok()?;
        let temporary = root.child(PERSISTENCE_DIR, true).child(&format!("{:010x}", file.0), false).to_string();
        let blocks = self.blocks(&path).ok()?.1;
        let write = mount.options.write_type();
        Some(Wanted { temporary, target: self.target(file)?, blocks, length, write })
    }

    /// Whether the block's file has a copy in its under-store.
    pub fn persisted(&self, block: BlockId) -> bool {
        self.tree.get(block.file()).is_some_and(|inode| inode.ufs.is_some())
    }

    /// Whether changes of `path` go through to an under-store.
    pub fn goes_through(&self, path: &str) -> bool {
        FsPath::parse(path).is_ok_and(|path| self.through(path).is_some())
    }

    /// What `change` does in an under-store.
    ///
    /// # Errors
    /// The change's own, if it is one that would be refused.
    pub fn effect(&self, change: &Change) -> FsResult<Option<Effect>> {
        match change {
            Change::Delete { path, recursive } => {
                let path = FsPath::parse(path)?;
                let id = self.may_delete(path, *recursive)?;
                let stored = self.tree.get(id).filter(|inode| self.through(path).is_some() && stored(inode));
                let Some(inode) = stored else { return Ok(None) };
                // What an empty directory has below by now is not known here, and stays.
                let dir = inode.is_dir() && *recursive;
                Ok(self.target(id).map(|url| Effect::Delete { url, dir }))
            }
            Change::Rename { from, to } => {
                let (from, to) = (FsPath::parse(from)?, FsPath::parse(to)?);
                let Some(moving) = self.may_rename(from, to)? else { return Ok(None) };
                let stored = self.tree.get(moving.source).filter(|inode| self.through(to).is_some() && stored(inode));
                let Some(inode) = stored else { return Ok(None) };
                let urls = self.target(moving.source).zip(self.target_of(to, inode.is_dir()));
                Ok(urls.map(|(from, to)| Effect::Rename { from, to, dir: inode.is_dir() }))
            }
            _ => Ok(None),
        }
    }

    /// The file at `url` holds what `file` holds.
    pub(super) fn persist(
        &mut self,
        file: InodeId,
        url: &str,
        fingerprint: &str,
        freed: &mut Vec<BlockId>,
    ) -> FsResult<Outcome> {
        let Some(wanted) = self.wanted_file(file) else {
            return Err(FsError::NotFound(format!("file {} that is wanted in an under-store", file.0)));
        };
        if wanted.target != url {
            return Err(FsError::Invalid(format!("file {} belongs at {}, not at {url}", file.0, wanted.target)));
        }
        let ufs = UfsRef { url: url.into(), fingerprint: fingerprint.into() };
        self.tree.edit(file, |inode| inode.ufs = Some(Box::new(ufs)));
        self.wanted.remove(file);
        if wanted.write == WriteType::Through {
            self.blocks.free(file, 0, freed);
        }
        Ok(Outcome::Done)
    }

    /// A file was completed: it is wanted if its mount says so.
    pub(super) fn want(&mut self, file: InodeId) {
        let path = self.tree.path_of(file);
        let through = FsPath::parse(&path).ok().and_then(|path| self.through(path));
        if through.is_some_and(|(_, mount)| mount.options.write_type() != WriteType::MustCache) {
            self.wanted.insert(file);
        }
    }

    /// What was renamed, and all below, lies at other places of the under-store now.
    pub(super) fn moved(&mut self, to: &str) {
        let top = FsPath::parse(to).and_then(|path| self.tree.walk(path)).map(|inode| inode.id);
        let Ok(top) = top else { return };
        let mut open = vec![top];
        while let Some(id) = open.pop() {
            let target = self.target(id);
            if let Some(inode) = self.tree.get(id) {
                open.extend(inode.children().into_iter().flat_map(|children| children.values().copied()));
            }
            let has = self.tree.get(id).is_some_and(|inode| inode.ufs.is_some());
            if let Some(url) = target.filter(|_| has) {
                self.tree.edit(id, |inode| {
                    if let Some(ufs) = &mut inode.ufs {
                        ufs.url = url;
                    }
                });
            }
        }
    }

    /// The writable mount of an object store that `path` lies on.
    fn through(&self, path: FsPath<'_>) -> Option<(&str, &Mount)> {
        self.mounts.resolve(path).filter(|(_, mount)| !mount.read_only && Scheme::of(&mount.url).is_some())
    }

    /// Where an inode belongs in its under-store.
    fn target(&self, id: InodeId) -> Option<String> {
        let path = self.tree.path_of(id);
        let dir = self.tree.get(id)?.is_dir();
        self.target_of(FsPath::parse(if path.is_empty() { "/" } else { &path }).ok()?, dir)
    }

    fn target_of(&self, path: FsPath<'_>, dir: bool) -> Option<String> {
        let (point, mount) = self.through(path)?;
        let root: BucketUrl = mount.url.parse().ok()?;
        let rest = path.as_str().strip_prefix(point.trim_end_matches('/'))?.trim_start_matches('/');
        match rest {
            "" => Some(root.into_dir().to_string()),
            rest => Some(root.child(rest, dir).to_string()),
        }
    }
}

/// Whether the under-store has it, or may have something below it.
fn stored(inode: &Inode) -> bool {
    inode.is_dir() || inode.ufs.is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::stack::master::state::Command;
    use crate::stack::wire::{MountOptions, OpId};

    /// A state with an object store at `/m`, and the index of its last command.
    struct Bench {
        state: State,
        index: u64,
    }

    impl Bench {
        fn new(write: &str, read_only: bool) -> Self {
            let mut bench = Self { state: State::default(), index: 0 };
            let options = BTreeMap::from([(MountOptions::WRITE_TYPE[1].to_owned(), write.to_owned())]);
            let options = MountOptions { options, ..MountOptions::default() };
            bench.change(Change::Mount { path: "/m".into(), url: "oss://b/d".into(), read_only, options });
            bench
        }

        fn command(&mut self, command: &Command) -> (FsResult<Outcome>, Vec<BlockId>) {
            self.index += 1;
            let reply = self.state.apply(self.index, command);
            assert_eq!(self.state.check(), Ok(()));
            let again = State::decode(&self.state.encode()).unwrap();
            assert_eq!(again.state_hash(), self.state.state_hash(), "after {command}");
            (reply.result, reply.freed)
        }

        fn change(&mut self, change: Change) -> Outcome {
            let op = OpId { client: 1, seq: self.index };
            self.command(&Command::Change { op, wall_ms: 0, change }).0.unwrap()
        }

        fn through(&mut self, change: Change) -> Outcome {
            let op = OpId { client: 1, seq: self.index };
            self.command(&Command::Through { op, wall_ms: 0, change }).0.unwrap()
        }

        /// A completed file of one block.
        fn file(&mut self, path: &str) -> InodeId {
            let Outcome::Info(info) = self.change(Change::Create { path: path.into(), block_size: 10 }) else {
                panic!("a file")
            };
            self.command(&Command::CommitBlock { block: BlockId::new(info.id, 0), length: 7 }).0.unwrap();
            self.change(Change::Complete { file: info.id, length: 7 });
            info.id
        }

        fn persisted(&mut self, file: InodeId, url: &str) -> (FsResult<Outcome>, Vec<BlockId>) {
            self.command(&Command::Persisted { file, url: url.into(), fingerprint: "\"1\"".into() })
        }

        fn url(&self, path: &str) -> Option<String> {
            self.state.stat(path).unwrap().ufs.map(|ufs| ufs.url)
        }
    }

    fn rename(from: &str, to: &str) -> Change {
        Change::Rename { from: from.into(), to: to.into() }
    }

    fn delete(path: &str, recursive: bool) -> Change {
        Change::Delete { path: path.into(), recursive }
    }

    #[test]
    fn what_is_wanted_follows_from_place_and_write_type() {
        for (write, path, wanted) in [
            ("ASYNC_THROUGH", "/m/f", true),
            ("CACHE_THROUGH", "/m/f", true),
            ("THROUGH", "/m/f", true),
            ("no such type", "/m/f", true),
            ("MUST_CACHE", "/m/f", false),
            ("ASYNC_THROUGH", "/f", false),
        ] {
            let mut bench = Bench::new(write, false);
            let file = bench.file(path);
            assert_eq!(bench.state.wanted().any(|f| f == file), wanted, "{write} {path}");
        }
    }

    #[test]
    fn a_file_is_persisted_where_it_belongs_and_once() {
        let mut bench = Bench::new("ASYNC_THROUGH", false);
        let file = bench.file("/m/f");
        let job = bench.state.wanted_file(file).unwrap();
        assert_eq!((&*job.target, job.length, job.blocks.len()), ("oss://b/d/f", 7, 1));
        assert!(job.temporary.starts_with("oss://b/d/.alluxio_ufs_persistence/"), "{}", job.temporary);
        bench.change(rename("/m/f", "/m/g"));
        assert!(matches!(bench.persisted(file, "oss://b/d/f").0, Err(FsError::Invalid(_))));
        let version = bench.state.stat("/m/g").unwrap().version;
        assert_eq!(bench.persisted(file, "oss://b/d/g"), (Ok(Outcome::Done), vec![]));
        assert_eq!(bench.state.stat("/m/g").unwrap().version, version, "its content is the same");
        assert!(bench.state.persisted(BlockId::new(file, 0)));
        assert!(matches!(bench.persisted(file, "oss://b/d/g").0, Err(FsError::NotFound(_))));
        let gone = bench.file("/m/h");
        bench.change(delete("/m/h", false));
        assert_eq!((bench.state.wanted_file(gone), bench.state.wanted().count()), (None, 0));

        let mut bench = Bench::new("THROUGH", false);
        let file = bench.file("/m/f");
        assert_eq!(bench.persisted(file, "oss://b/d/f"), (Ok(Outcome::Done), vec![BlockId::new(file, 0)]));
    }

    #[test]
    fn what_was_renamed_below_lies_elsewhere_below() {
        let mut bench = Bench::new("ASYNC_THROUGH", false);
        bench.change(Change::Mkdir { path: "/m/a/b".into(), recursive: true });
        let file = bench.file("/m/a/b/f");
        bench.persisted(file, "oss://b/d/a/b/f").0.unwrap();
        bench.through(rename("/m/a", "/m/c"));
        assert_eq!(bench.url("/m/c/b/f").as_deref(), Some("oss://b/d/c/b/f"));
        assert_eq!(bench.url("/m/c/b"), None);
    }

    #[test]
    fn only_what_is_stored_has_an_effect_there() {
        let mut bench = Bench::new("ASYNC_THROUGH", false);
        let stored = bench.file("/m/stored");
        bench.persisted(stored, "oss://b/d/stored").0.unwrap();
        bench.file("/m/new");
        bench.change(Change::Mkdir { path: "/m/dir/sub".into(), recursive: true });
        let s = String::from;
        for (change, want) in [
            (delete("/m/stored", false), Ok(Some(Effect::Delete { url: s("oss://b/d/stored"), dir: false }))),
            (delete("/m/new", false), Ok(None)),
            (delete("/m/dir/sub", false), Ok(Some(Effect::Delete { url: s("oss://b/d/dir/sub/"), dir: false }))),
            (delete("/m/dir", true), Ok(Some(Effect::Delete { url: s("oss://b/d/dir/"), dir: true }))),
            (delete("/m/dir", false), Err(FsError::NotEmpty(s("/m/dir")))),
            (delete("/m", true), Err(FsError::Busy(s("/m")))),
            (
                rename("/m/stored", "/m/dir/x"),
                Ok(Some(Effect::Rename { from: s("oss://b/d/stored"), to: s("oss://b/d/dir/x"), dir: false })),
            ),
            (
                rename("/m/dir", "/m/e"),
                Ok(Some(Effect::Rename { from: s("oss://b/d/dir/"), to: s("oss://b/d/e/"), dir: true })),
            ),
            (rename("/m/new", "/m/stored"), Ok(None)),
            (rename("/m/stored", "/m/stored"), Ok(None)),
            (rename("/m/stored", "/out"), Err(FsError::CrossMount(s("/out")))),
        ] {
            assert_eq!(bench.state.effect(&change), want, "{change:?}");
        }
        assert!(!Bench::new("ASYNC_THROUGH", true).state.goes_through("/m/x"));
        assert!(!bench.state.goes_through("/x"));
    }
}
