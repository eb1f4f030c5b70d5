//! What the harness saw of the Kubernetes that a cluster lives on. A run without one leaves it out, and the oracles that
//! judge it are idle.
//!
//! Everything here is a fact with its time: what ran where, what was mounted and written, what a row showed beside what was
//! true at that moment. Where a rule of upstream's allows an exception (a forced deletion, a controller that cannot see),
//! the fact says that it was so; whether that excuses anything is the oracle's to decide.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::LogDigest;
use crate::base::SimTime;

mod ledger;

mod placement;

mod shared;

mod truth;

pub use ledger::{Ledger, Running};
pub use placement::{Neighbour, Placement};
pub use truth::{CacheTruth, LostWorkers, SetTruth};

/// One run's Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Every process of every container, for S11.
    pub processes: Vec<PodProcess>,
    /// Every mount of a disk that one node at a time may write, for S11.
    pub disks: Vec<DiskUse>,
    /// Every binding that the scheduler made, for S11.
    pub placements: Vec<Placement>,
    /// Rows read from the API server, in order of time, for S12.
    pub rows: Vec<RowSeen>,
    /// Places that were searched for the values of secrets, for S13.
    pub searches: Vec<SecretSearch>,
    /// What was counted before the story and after its end, for L6.
    pub resources: Vec<ResourceCount>,
    /// Homes of metadata as those who serve from them present them, in order of time, for S6.
    pub journals: Vec<JournalSeen>,
    /// What a healthy cluster comes to after the heal, for L3.
    pub aims: Vec<Aim>,
}

/// One process of a container, as the machine saw it and not as the API server tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodProcess {
    /// `namespace/name`: the identity.
    pub pod: String,
    /// Of the pod's object; another pod of the same name has another one.
    pub uid: String,
    /// Of the container; a sandbox's own process is none.
    pub container: String,
    /// Where.
    pub node: String,
    /// Since when it runs.
    pub from: SimTime,
    /// Until when; `None` if to the end of the run. The power that goes ends it too.
    pub until: Option<SimTime>,
    /// When a person or a controller took the pod's object away without the word of its kubelet: a deletion by force, a node
    /// that was removed or is out of service. The kubelet's own word, or none, is `None`.
    pub abandoned: Option<SimTime>,
}

/// One mount of a ReadWriteOnce disk on one node, from the first process that may write to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// The cloud's handle.
    pub disk: String,
    /// Where.
    pub node: String,
    /// Since when it is mounted.
    pub mounted: SimTime,
    /// Until when; `None` if to the end of the run.
    pub unmounted: Option<SimTime>,
    /// The first write that reached the disk.
    pub first_write: Option<SimTime>,
    /// The last write that reached the disk.
    pub last_write: Option<SimTime>,
    /// When the cloud took it although it was mounted.
    pub taken: Option<SimTime>,
    /// Whether upstream allows that: the node was unhealthy for six minutes, or out of service.
    pub forced: bool,
}

/// One object's row at one instant, beside the truth of that instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSeen {
    /// When it was read.
    pub at: SimTime,
    /// Kind and name, such as `dataset default/hbase`.
    pub object: String,
    /// What it shows.
    pub cells: Vec<Cell>,
    /// How far it may lag behind the truth; [`ROW_LAG`] for Fluid's objects.
    pub within: Duration,
    /// How its `cachedPercentage` is reckoned, if it has one.
    pub share: Option<Share>,
    /// Why whoever writes the row cannot know better now, such as `master 0 does not answer`. Upstream's row freezes then.
    pub blind: Option<String>,
}

impl RowSeen {
    /// Whether whoever writes it could see, and every cell that is judged shows the truth of the same instant.
    pub fn is_right(&self) -> bool {
        self.blind.is_none() && self.cells.iter().all(|cell| cell.truth.is_empty() || cell.truth.contains(&cell.shown))
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// By the name of the status field: `phase`, `ufsTotal`, `cached`.
    pub name: String,
    /// As the API server has it.
    pub shown: String,
    /// What was true at that instant, written in the same way: all that would be right. Empty if that is not judged.
    pub truth: Vec<String>,
    /// Whether it is taken once and never again, as Fluid's `ufsTotal` is: whatever was true before is still right.
    pub once: bool,
}

/// How a runtime reckons what it has cached of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// Alluxio, GooseFS: copies and deleted files count, so it may pass 100 %.
    Unbounded,
    /// JindoFS: at most 100 %.
    AtMostWhole,
}

/// Fluid's longest way from a change to its row: a round every 90 s, numbers at most every 5 s.
pub const ROW_LAG: Duration = Duration::from_secs(95);

/// One place that was searched, see [`super::secrets::Needles`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSearch {
    /// Such as `the trace`, `logs of hbase-master-0`, `GET /api/v1/configmaps`.
    pub place: String,
    /// How many values were looked for.
    pub secrets: u64,
    /// How many bytes there were.
    pub bytes: u64,
    /// What was found.
    pub exposed: Vec<Exposure>,
}

/// A secret's value in a place that should not hold it. The value itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exposure {
    /// `namespace/name key`.
    pub secret: String,
    /// How it was written: `plain`, `base64`, …
    pub form: String,
    /// What stood around it, without it.
    pub around: String,
}

/// Something that must not grow from story to story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceCount {
    /// What and where, such as `mounts on node n1`.
    pub what: String,
    /// Before the story.
    pub baseline: u64,
    /// After everything that it made was taken down and had time to go.
    pub end: u64,
    /// The most there was at once.
    pub peak: u64,
    /// How much of it a correct system ever needs at once, if that is known.
    pub most: Option<u64>,
}

/// A home of metadata as the master that serves from it presents it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSeen {
    /// When.
    pub at: SimTime,
    /// The home: a disk's handle, or pod and uid for an `emptyDir`. What is wiped or new is another home.
    #[serde(with = "shared")]
    pub home: Arc<str>,
    /// The master, such as `demo-jindofs-master-0`.
    #[serde(with = "shared")]
    pub member: Arc<str>,
    /// The release whose masters are one cluster.
    #[serde(with = "shared")]
    pub group: Arc<str>,
    /// The name that the cluster got when it was formed; empty before that.
    #[serde(with = "shared")]
    pub cluster: Arc<str>,
    /// The epoch: a Raft term, or a count of starts that is itself durable.
    pub term: u64,
    /// The last entry that the home holds now.
    pub last: u64,
    /// Up to which entry the home is known to hold what was decided: durable here, and committed.
    pub kept: u64,
    /// Whether the master works with it: votes, replicates or answers.
    pub serving: bool,
    /// What the master, or the operator's tool, said about going back, if anything did.
    pub noticed: Option<String>,
    /// The group keeps its metadata on nothing that lasts: it may begin anew.
    pub volatile: bool,
    /// Index and digest of the state that it serves, if known.
    pub state: Option<(u64, u128)>,
    /// Digests of entries of its log, ascending; may be the tail only.
    pub log: Vec<LogDigest>,
}

/// Something that must be so some time after the heal, and stay so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aim {
    /// What, such as `pod default/hbase-master-0`.
    pub what: String,
    /// How it should be: `Ready`.
    pub wanted: String,
    /// How it is at the end.
    pub seen: String,
    /// Since when it is as it should be, without a break to the end; `None` if it is not.
    pub since: Option<SimTime>,
    /// How long after the heal it may take.
    pub within: Duration,
}

/// A pod is ready again. After the heal every node has its power and its kubelet: a back-off of 300 s may be under way, and
/// the volumes of the pod before take a grace and a back-off of 122 s more.
pub const PODS_CONVERGE: Duration = Duration::from_secs(540);
/// A pod that is being deleted is gone, its grace not counted: an unmount that fails is tried again after 122 s at most, and
/// what it waits for may need one more try.
pub const PODS_GO: Duration = Duration::from_secs(300);
/// Two rounds of Fluid's controllers, and their pace.
pub const DATASET_CONVERGES: Duration = Duration::from_secs(185);
/// Fluid's recovery of mounts looks every 5 s; the fuse pod's back-off comes before.
pub const MOUNTS_CONVERGE: Duration = Duration::from_secs(310);
/// A worker registers again within its back-off; blocks are reported with it.
pub const REGISTRATIONS_CONVERGE: Duration = Duration::from_secs(60);
