//! A node's mount table: who is mounted where, over what, and whether it still answers.
//!
//! Linux's rules as far as volumes need them: mounts stack (the topmost at a path is seen), a bind mount shows the same
//! file system from the directory that it was made of and joins its peer group, a fuse file system whose server is dead
//! answers `ENOTCONN` wherever it is bound, and unmounting a mount that others stand on is refused.
//! Pure: the table is the kernel's state of one node. It survives the kubelet and the plugins, and goes with the power.
//! Differs: no mount namespaces. A container that pins its mounts keeps the [`Place`] that it was given at its start.

use std::collections::BTreeSet;

/// A file system, as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSystem {
    /// The node's own disks; every path that is under no mount.
    Host,
    /// The file system of an attached volume, by its device.
    Device(String),
    /// Memory: numbered, as each mount has its own; at most that many bytes, if limited.
    Tmpfs {
        /// Its number on this node.
        id: u64,
        /// Limit in bytes.
        limit: Option<u64>,
    },
    /// A fuse server's: numbered, as each start of the server has its own.
    Fuse {
        /// Its number on this node.
        session: u64,
        /// Who serves it: the container.
        server: String,
    },
}

/// A directory in a file system: what a path means once mounts are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file system.
    pub fs: FileSystem,
    /// Absolute path inside of it.
    pub path: String,
    /// Mounted so that writes are refused.
    pub read_only: bool,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Number; grows with every mount.
    pub id: u64,
    /// Where.
    pub target: String,
    /// What is seen there.
    pub place: Place,
    /// Mounts made of each other by binding share one.
    pub peer_group: u64,
}

/// Why the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// `ENOTCONN`: the fuse server is dead.
    #[error("{0}: transport endpoint is not connected")]
    NotConnected(String),
    /// `EINVAL`: nothing is mounted there.
    #[error("{0}: not mounted")]
    NotMounted(String),
    /// `EBUSY`: something is mounted below, or the device is in use.
    #[error("{0}: target is busy")]
    Busy(String),
    /// `ENOENT`: no such device or directory.
    #[error("{0}: no such file or directory")]
    NotFound(String),
    /// The device or the disk failed.
    #[error("{0}: input/output error")]
    Io(String),
}

/// The mounts of a node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MountTable {
    /// Oldest first.
    mounts: Vec<Mount>,
    next: u64,
    dead: BTreeSet<u64>,
}

/// Whether `path` is `root` or lies below it.
pub fn is_within(path: &str, root: &str) -> bool {
    let root = root.trim_end_matches('/');
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `rest` below `root`; `root` itself if `rest` is the root.
pub fn below(root: &str, rest: &str) -> String {
    let rest = rest.trim_matches('/');
    match (root.trim_end_matches('/'), rest) {
        ("", "") => "/".into(),
        (root, "") => root.into(),
        (root, rest) => format!("{root}/{rest}"),
    }
}

impl MountTable {
    /// The table, oldest mount first.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// What is mounted at exactly `target`, the topmost last.
    pub fn at(&self, target: &str) -> Vec<&Mount> {
        self.mounts.iter().filter(|m| m.target == target).collect()
    }

    /// The mount that a path is in, if not the node's own disks: the deepest target, of those the latest.
    fn covering(&self, path: &str) -> Option<&Mount> {
        self.mounts.iter().filter(|m| is_within(path, &m.target)).max_by_key(|m| (m.target.len(), m.id))
    }

    /// What `path` means now.
    ///
    /// # Errors
    /// [`MountError::NotConnected`] in a fuse file system whose server is dead.
    pub fn resolve(&self, path: &str) -> Result<Place, MountError> {
        let Some(mount) = self.covering(path) else {
            return Ok(Place { fs: FileSystem::Host, path: path.into(), read_only: false });
        };
        let place = Place { path: below(&mount.place.path, &path[mount.target.len()..]), ..mount.place.clone() };
        if self.answers(&place.fs) { Ok(place) } else { Err(MountError::NotConnected(path.into())) }
    }

    /// Whether the file system still answers.
    pub fn answers(&self, fs: &FileSystem) -> bool {
        !matches!(fs, FileSystem::Fuse { session, .. } if self.dead.contains(session))
    }

    /// Mounts `fs` at `target`, over whatever is there.
    pub fn mount(&mut self, fs: FileSystem, target: &str, read_only: bool) -> u64 {
        self.next += 1;
        let place = Place { fs, path: "/".into(), read_only };
        self.mounts.push(Mount { id: self.next, target: target.into(), place, peer_group: self.next });
        self.next
    }

    /// A number for a new file system ([`FileSystem::Tmpfs`], [`FileSystem::Fuse`]).
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Mounts a new tmpfs.
    pub fn mount_tmpfs(&mut self, target: &str, limit: Option<u64>) -> u64 {
        let id = self.fresh();
        self.mount(FileSystem::Tmpfs { id, limit }, target, false)
    }

    /// Mounts the file system of a fuse server that has just started; gives its session.
    pub fn mount_fuse(&mut self, target: &str, server: &str) -> u64 {
        let session = self.fresh();
        self.mount(FileSystem::Fuse { session, server: server.into() }, target, false);
        session
    }

    /// `mount --bind source target`.
    ///
    /// # Errors
    /// [`MountError::NotConnected`] if the source does not answer.
    pub fn bind(&mut self, source: &str, target: &str, read_only: bool) -> Result<u64, MountError> {
        let mut place = self.resolve(source)?;
        place.read_only |= read_only;
        self.next += 1;
        let peer_group = self.covering(source).map_or(0, |m| m.peer_group);
        self.mounts.push(Mount { id: self.next, target: target.into(), place, peer_group });
        Ok(self.next)
    }

    /// Takes the topmost mount at `target` away. A dead fuse can be unmounted.
    ///
    /// # Errors
    /// [`MountError::NotMounted`]; [`MountError::Busy`] with something mounted below.
    pub fn unmount(&mut self, target: &str) -> Result<(), MountError> {
        let Some(at) = self.mounts.iter().rposition(|m| m.target == target) else {
            return Err(MountError::NotMounted(target.into()));
        };
        let below = |m: &Mount| m.target.len() > target.len() && is_within(&m.target, target);
        if self.at(target).len() == 1 && self.mounts.iter().any(below) {
            return Err(MountError::Busy(target.into()));
        }
        self.mounts.remove(at);
        Ok(())
    }

    /// The fuse server of this session is dead. Its mounts stay and answer `ENOTCONN`.
    pub fn fuse_died(&mut self, session: u64) {
        self.dead.insert(session);
    }

    /// Every fuse server that the container ran is dead.
    pub fn server_died(&mut self, server: &str) {
        let of = |m: &Mount| match &m.place.fs {
            FileSystem::Fuse { session, server: owner } if owner == server => Some(*session),
            _ => None,
        };
        let sessions: Vec<u64> = self.mounts.iter().filter_map(of).collect();
        self.dead.extend(sessions);
    }

    /// Mounts on top of each other where there are most; more than one is a stack.
    pub fn deepest(&self) -> usize {
        // Tables are short.
        let at = |target: &str| self.mounts.iter().filter(|mount| mount.target == target).count();
        self.mounts.iter().map(|mount| at(&mount.target)).max().unwrap_or(0)
    }

    /// Whether a device is mounted anywhere: it must not be detached.
    pub fn device_in_use(&self, device: &str) -> bool {
        self.mounts.iter().any(|m| m.place.fs == FileSystem::Device(device.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_below_another_has_no_slash_too_many() {
        for (root, rest, want) in [("/", "/", "/"), ("/a", "/", "/a"), ("/a/", "/b/c", "/a/b/c"), ("/", "/b", "/b")] {
            assert_eq!(below(root, rest), want, "{root} {rest}");
        }
    }

    #[test]
    fn a_bind_of_a_dead_fuse_says_so_until_it_is_bound_again() {
        let mut table = MountTable::default();
        let session = table.mount_fuse("/run/fuse", "fuse-1");
        table.bind("/run/fuse/data", "/pods/a/mount", true).unwrap();
        let place = table.resolve("/pods/a/mount/x").unwrap();
        assert_eq!((place.path.as_str(), place.read_only), ("/data/x", true));
        table.fuse_died(session);
        let dead = MountError::NotConnected("/pods/a/mount/x".into());
        assert_eq!(table.resolve("/pods/a/mount/x"), Err(dead));
        assert!(table.bind("/run/fuse", "/pods/b/mount", true).is_err());
        // The server comes back over its dead mount; the old bind stays broken, a new one over it works.
        table.mount_fuse("/run/fuse", "fuse-2");
        assert!(table.resolve("/run/fuse/x").is_ok());
        assert!(table.resolve("/pods/a/mount/x").is_err());
        table.bind("/run/fuse/data", "/pods/a/mount", true).unwrap();
        assert_eq!(table.resolve("/pods/a/mount/x").unwrap().path, "/data/x");
        assert_eq!(table.deepest(), 2);
        table.unmount("/pods/a/mount").unwrap();
        assert!(table.resolve("/pods/a/mount/x").is_err());
    }

    #[test]
    fn what_others_stand_on_stays() {
        let mut table = MountTable::default();
        table.mount_tmpfs("/a", None);
        table.mount_tmpfs("/a/b", None);
        assert_eq!(table.unmount("/a"), Err(MountError::Busy("/a".into())));
        assert_eq!(table.unmount("/a/b"), Ok(()));
        assert_eq!(table.unmount("/a"), Ok(()));
        assert_eq!(table.unmount("/a"), Err(MountError::NotMounted("/a".into())));
    }

    #[test]
    fn paths_are_compared_by_name_not_by_text() {
        let rows =
            [("/a/b", "/a", true), ("/a", "/a", true), ("/ab", "/a", false), ("/a", "/a/b", false), ("/x", "/", true)];
        for (path, root, want) in rows {
            assert_eq!(is_within(path, root), want, "{path} in {root}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Binds follow to where the source was at that moment, whatever is mounted later: against a model that keeps,
        /// per target, a stack of (file system, path).
        #[test]
        fn targets_show_what_was_mounted_last(steps in prop::collection::vec((0u8..3, 0usize..4, 0usize..4), 1..40)) {
            let paths = ["/m0", "/m1", "/m2", "/m3"];
            let mut table = MountTable::default();
            let mut model: BTreeMap<&str, Vec<(FileSystem, String)>> = BTreeMap::new();
            let seen = |model: &BTreeMap<&str, Vec<(FileSystem, String)>>, path: &str| {
                model.get(path).and_then(|s| s.last()).cloned().unwrap_or((FileSystem::Host, path.to_owned()))
            };
            for (what, a, b) in steps {
                let (a, b) = (paths[a], paths[b]);
                match what {
                    0 => {
                        table.mount(FileSystem::Device(b.into()), a, false);
                        model.entry(a).or_default().push((FileSystem::Device(b.into()), "/".into()));
                    }
                    1 => {
                        table.bind(a, b, false).unwrap();
                        let source = seen(&model, a);
                        model.entry(b).or_default().push(source);
                    }
                    _ => {
                        let popped = model.get_mut(a).is_some_and(|s| s.pop().is_some());
                        prop_assert_eq!(table.unmount(a).is_ok(), popped);
                    }
                }
                for path in paths {
                    let place = table.resolve(path).unwrap();
                    prop_assert_eq!((place.fs, place.path), seen(&model, path));
                }
            }
        }
    }
}
