//! The caches that Fluid installs, and what it calls their parts.
//!
//! Names are those of the charts of fluid-cloudnative/fluid v1.0.8: a cluster script, a dashboard or a user's habit
//! finds the same pods, services and ConfigMaps here.

use std::ops::Range;

/// Which cache a runtime is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavor {
    /// Alluxio 2.x.
    Alluxio,
    /// Tencent's GooseFS: Alluxio's masters and workers under other names.
    GooseFs,
    /// JindoFS: one master with its metadata in a directory, or three by Raft.
    Jindo,
}

impl Flavor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Alluxio, Self::GooseFs, Self::Jindo];

    /// The word in labels, in the rows of a dataset and in mount paths.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alluxio => "alluxio",
            Self::GooseFs => "goosefs",
            Self::Jindo => "jindo",
        }
    }

    /// The runtime's kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Alluxio => "AlluxioRuntime",
            Self::GooseFs => "GooseFSRuntime",
            Self::Jindo => "JindoRuntime",
        }
    }

    /// Between the dataset's name and a part's: `-jindofs` or nothing.
    const fn infix(self) -> &'static str {
        match self {
            Self::Alluxio | Self::GooseFs => "",
            Self::Jindo => "-jindofs",
        }
    }

    /// Name of the masters' StatefulSet: `hbase-master`, `demo-jindofs-master`.
    pub fn master(self, name: &str) -> String {
        format!("{name}{}-master", self.infix())
    }

    /// Name of the workers' StatefulSet or DaemonSet.
    pub fn worker(self, name: &str) -> String {
        format!("{name}{}-worker", self.infix())
    }

    /// Name of the fuse pods' DaemonSet.
    pub fn fuse(self, name: &str) -> String {
        format!("{name}{}-fuse", self.infix())
    }

    /// Name of the ConfigMap with the configuration of the roles.
    pub fn config(self, name: &str) -> String {
        format!("{name}{}-config", self.infix())
    }

    /// Name of the ConfigMap that says what was installed.
    pub fn values(self, name: &str) -> String {
        format!("{name}-{}-values", self.word())
    }

    /// Value of the label `role`: `alluxio-master`.
    pub fn role(self, part: &str) -> String {
        format!("{}-{part}", self.word())
    }

    /// Before the properties' names: `alluxio.master.hostname`. Jindo's have none.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Alluxio => "alluxio.",
            Self::GooseFs => "goosefs.",
            Self::Jindo => "",
        }
    }

    /// Ports of the node that masters and workers may take when they use its network; the end is not part of it.
    pub const fn port_range(self) -> Range<u16> {
        match self {
            Self::Alluxio => 20_000..26_000,
            Self::GooseFs => 26_000..32_000,
            Self::Jindo => 18_000..20_000,
        }
    }

    /// Where a node keeps the mount of a dataset: `/runtime-mnt/alluxio/default/hbase`.
    pub fn mount_root(self, namespace: &str, name: &str) -> String {
        format!("/runtime-mnt/{}/{namespace}/{name}", self.word())
    }

    /// Directory below [`Flavor::mount_root`] that is the mount itself.
    pub fn mount_point(self, namespace: &str, name: &str) -> String {
        format!(
            "{}/{}-fuse",
            self.mount_root(namespace, name),
            if self == Self::Jindo { "jindofs" } else { self.word() }
        )
    }

    /// `mount_type` of the volume: what `/proc/mounts` shows when the mount is there.
    pub const fn mount_type(self) -> &'static str {
        match self {
            Self::Alluxio => "fuse.alluxio-fuse",
            Self::GooseFs => "fuse.goosefs-fuse",
            Self::Jindo => "fuse.jindofs-fuse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Flavor::{Alluxio, GooseFs, Jindo};

    #[test]
    fn parts_have_the_names_of_the_documents() {
        assert_eq!(GooseFs.master("hbase"), "hbase-master");
        assert_eq!(GooseFs.worker("hbase"), "hbase-worker");
        assert_eq!(Alluxio.fuse("hbase"), "hbase-fuse");
        assert_eq!(Jindo.master("demo"), "demo-jindofs-master");
        assert_eq!(Alluxio.values("hbase"), "hbase-alluxio-values");
    }

    #[test]
    fn the_first_port_of_a_range_is_the_one_of_the_documents() {
        assert_eq!((GooseFs.port_range().start, Alluxio.port_range().start), (26_000, 20_000));
    }
}
