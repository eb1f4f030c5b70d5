//! What Fluid's controllers ask of the cache itself.
//!
//! Upstream they run the cache's command line in a container, always in that of master 0, and read what it prints:
//! `alluxio fs mount`, `fsadmin report summary`, `fs count /`. Here the questions are a trait that the harness answers
//! the same way, so that a controller that asks a dead pod waits or fails as upstream's does. Values of secrets pass
//! through [`UnderStoreMount`] and nowhere else; it prints without them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::flavor::Flavor;
use crate::base::planted::{Bug, planted};

/// What a probe gives, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProbeError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The pod, or its container, is not there or did not answer.
    #[error("{0} does not answer")]
    Unreachable(String),
    /// The command failed.
    #[error("{command}: {message}")]
    Failed {
        /// Which.
        command: String,
        /// What it printed.
        message: String,
    },
}

/// The pod that is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Container.
    pub container: String,
}

impl PodRef {
    /// The container that controllers ask: that of a runtime's master 0, whoever leads.
    pub fn master(flavor: Flavor, namespace: &str, name: &str) -> Self {
        let container = if flavor == Flavor::Jindo { "jindofs-master".into() } else { flavor.role("master") };
        Self { namespace: namespace.into(), name: format!("{}-0", flavor.master(name)), container }
    }
}

/// An under-store to mount.
#[derive(Clone, PartialEq, Eq)]
pub struct UnderStoreMount {
    /// Path in the cache.
    pub path: String,
    /// Location of the under-store.
    pub location: String,
    /// Refuse writes.
    pub read_only: bool,
    /// Visible to others.
    pub shared: bool,
    /// Options, in the clear.
    pub options: BTreeMap<String, String>,
    /// Options from secrets.
    pub secrets: BTreeMap<String, String>,
}

impl fmt::Debug for UnderStoreMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if planted(Bug::KeysInLog) {
            return write!(f, "{} at {} {:?} and secrets {:?}", self.location, self.path, self.options, self.secrets);
        }
        let names: Vec<_> = self.secrets.keys().collect();
        let Self { path, location, options, .. } = self;
        write!(f, "{location} at {path} {options:?} and secrets {names:?}")
    }
}

/// Bytes of the cache.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// That workers may keep.
    pub total: u64,
    /// That they keep, copies and blocks of deleted files included.
    pub used: u64,
}

/// What lies below a path.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// Answers a controller's questions about a running cache.
pub trait CacheProbe: Send + Sync {
    /// Whether the cluster serves, as `fsadmin report` tells by its exit code.
    fn ready<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()>;
    /// Paths of the mounts there are.
    fn mounts<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Vec<String>>;
    /// Mounts an under-store. Nothing if the path has it already.
    fn mount<'a>(&'a self, master: &'a PodRef, mount: &'a UnderStoreMount) -> Answer<'a, ()>;
    /// Unmounts a path.
    fn unmount<'a>(&'a self, master: &'a PodRef, path: &'a str) -> Answer<'a, ()>;
    /// Loads the metadata below all mounts, and counts what lies there. May take long.
    fn count<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Content>;
    /// Room and use of the workers.
    fn capacity<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Capacity>;
    /// Name of the pod of the master that leads, as the second line of `fsadmin report` tells.
    fn leader<'a>(&'a self, master: &'a PodRef) -> Answer<'a, String>;
    /// What the info file of a backup tells, which the container of a restored master mounts.
    fn backup_info<'a>(&'a self, master: &'a PodRef, file: &'a str) -> Answer<'a, Content>;
    /// Frees what is cached.
    fn free<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_prints_without_its_secrets() {
        let mount = UnderStoreMount {
            path: "/".into(),
            location: "oss://bucket/dir".into(),
            read_only: true,
            shared: false,
            options: BTreeMap::from([("fs.oss.endpoint".into(), "oss.example".into())]),
            secrets: BTreeMap::from([("fs.oss.accessKeySecret".into(), "hush".into())]),
        };
        let text = format!("{mount:?}");
        assert!(text.contains("accessKeySecret") && !text.contains("hush"), "{text}");
        let Ok(_plant) = crate::base::planted::plant(&[Bug::KeysInLog]) else { return };
        assert!(format!("{mount:?}").contains("hush"));
    }
}
