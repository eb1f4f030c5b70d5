//! The mount table: which path stands for which under-store.
//!
//! Paths are keys as text. That is sound because neither a mount point nor a directory above one can be renamed or deleted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hash::SetHash;
use super::path::FsPath;
use crate::base::Secret;
use crate::stack::wire::{MountInfo, MountOptions};

/// One under-store in the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mount {
    /// Its location.
    pub url: String,
    /// Whether changes below are refused.
    pub read_only: bool,
    /// How to reach it.
    pub options: MountOptions,
}

impl Mount {
    /// As who asks for it at `path` gets it; without `secrets`, their values are left out.
    pub fn info(&self, path: &str, secrets: bool) -> MountInfo {
        let mut options = self.options.clone();
        if !secrets {
            options.secrets.values_mut().for_each(|value| *value = Secret::default());
        }
        MountInfo { path: path.into(), url: self.url.clone(), read_only: self.read_only, options }
    }
}

/// All mounts by path.
#[derive(Debug, Default, Clone)]
pub(super) struct MountTable {
    mounts: BTreeMap<String, Mount>,
    hash: SetHash,
}

impl MountTable {
    pub fn get(&self, path: FsPath<'_>) -> Option<&Mount> {
        self.mounts.get(path.as_str())
    }

    /// The mount that `path` lies on: the one with the longest prefix.
    pub fn resolve(&self, path: FsPath<'_>) -> Option<(&str, &Mount)> {
        if self.mounts.is_empty() {
            return None;
        }
        let mut at = path;
        loop {
            if let Some((point, mount)) = self.mounts.get_key_value(at.as_str()) {
                return Some((point, mount));
            }
            at = at.split()?.0;
        }
    }

    /// Whether a mount point lies below `path`, not counting `path` itself.
    pub fn below(&self, path: FsPath<'_>) -> bool {
        if path.is_root() {
            return self.mounts.keys().any(|point| point.len() > 1);
        }
        if self.mounts.is_empty() {
            return false;
        }
        let prefix = format!("{}/", path.as_str());
        self.mounts.range(prefix.clone()..).next().is_some_and(|(point, _)| point.starts_with(&prefix))
    }

    /// Whether `path` is a mount point or has one below: then it must stay where it is.
    pub fn holds(&self, path: FsPath<'_>) -> bool {
        self.get(path).is_some() || self.below(path)
    }

    pub fn insert(&mut self, path: FsPath<'_>, mount: Mount) {
        self.hash.add(&(path.as_str(), &mount));
        if let Some(old) = self.mounts.insert(path.as_str().to_string(), mount) {
            self.hash.remove(&(path.as_str(), &old));
        }
    }

    pub fn remove(&mut self, path: FsPath<'_>) {
        if let Some(old) = self.mounts.remove(path.as_str()) {
            self.hash.remove(&(path.as_str(), &old));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mount)> {
        self.mounts.iter().map(|(path, mount)| (path.as_str(), mount))
    }

    pub fn hash(&self) -> u128 {
        self.hash.get()
    }

    /// The hash is right.
    pub fn check(&self) -> Result<(), String> {
        let mut hash = SetHash::default();
        self.iter().for_each(|item| hash.add(&item));
        if hash != self.hash { Err("mount table: hash differs from its content".into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let path = |text| FsPath::parse(text).unwrap();
        let mut table = MountTable::default();
        assert_eq!(table.resolve(path("/a")), None);
        for point in ["/", "/a", "/a/b", "/ab"] {
            table.insert(
                path(point),
                Mount { url: format!("https://mirror{point}"), read_only: true, options: MountOptions::default() },
            );
        }
        for (asked, point) in [
            ("/", "/"),
            ("/x", "/"),
            ("/a", "/a"),
            ("/a/x", "/a"),
            ("/a/b/c", "/a/b"),
            ("/a/bc", "/a"),
            ("/ab/c", "/ab"),
        ] {
            assert_eq!(table.resolve(path(asked)).map(|(p, _)| p), Some(point), "{asked}");
        }
        for (asked, below) in [("/", true), ("/a", true), ("/a/b", false), ("/ab", false), ("/x", false)] {
            assert_eq!(table.below(path(asked)), below, "{asked}");
        }
        table.remove(path("/a"));
        assert_eq!(table.resolve(path("/a/x")).map(|(p, _)| p), Some("/"));
        assert_eq!(table.check(), Ok(()));
    }
}
