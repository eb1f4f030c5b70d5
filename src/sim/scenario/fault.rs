//! The faults that a step can inject.
//!
//! Rule: each fault names its target, and ends after `for` or when a `heal` step (or the heal phase) removes it. A fault
//! that had no effect makes the run vacuous; what counts as an effect is said at each.

use schemars::{JsonSchema, Schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::target::{Target, Targets};
use super::value::{Odds, Span};
use super::world::{Burst, Latency};

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// End a process at once, as `kill -9` does: its kernel lives on and resets its connections. Acts if it ran.
    Kill(Stop),
    /// Cut the power of a host: peers hear nothing, what was not synced may be lost. Acts if it ran.
    PowerLoss(Stop),
    /// Ask a process to end and kill it after its grace. Acts if it ran.
    Terminate(Terminate),
    /// Stop a process without telling it, as a long garbage collection does; its kernel goes on acknowledging. Acts if it ran.
    Freeze(Pause),
    /// Let a frozen process go on. Acts if it was frozen.
    Thaw(Targets),
    /// Start what was stopped again. Acts if it was down.
    Restart(Restart),
    /// Cut the network between two groups. Acts if it dropped a segment.
    Partition(Partition),
    /// Keep back what two groups send each other, and let all of it arrive at the end. Acts if it held a segment.
    Hold(Partition),
    /// Make links slow or lossy. Acts if it delayed or dropped a segment.
    Degrade(Degrade),
    /// Reset all connections between two groups at both ends, as a middlebox that lost its state. Acts if there was one.
    ResetConnections(ResetConnections),
    /// Let no new connections begin; those that stand go on. Acts if somebody tried to connect.
    ConnectFails(ConnectFails),
    /// Break or slow down the resolver of a host. Acts if it changed what a lookup found, or when.
    Dns(Dns),
    /// Leave no space on a disk: writes fail with ENOSPC. Acts if a write failed.
    DiskFull(DiskFull),
    /// Make a disk answer with EIO. Acts if a call failed.
    DiskError(DiskError),
    /// Make a disk answer nothing. Acts if a call waited.
    DiskStall(Pause),
    /// Flip one bit in cached blocks that are at rest, behind their checksums. Acts if a block was there.
    BitRot(BitRot),
    /// Step a host's wall clock. Acts if the host ran.
    ClockJump(ClockJump),
    /// End faults: `all`, or those of the given hosts. Restarts nothing.
    Heal(Targets),
    /// Deletes the pods of members, as `kubectl delete pod` does; whoever made them makes new ones. Kubernetes only.
    /// Effect: pods deleted.
    DeletePod(Targets),
    /// The kernel kills a member's program for want of memory. Kubernetes only. Effect: processes killed.
    OutOfMemory(Targets),
    /// Take a snapshot of the volumes of members, as a crash leaves them. Kubernetes only. Acts if there was a volume.
    SnapshotVolumes(VolumeImage),
    /// Put the volumes of members back to a snapshot, a program that uses them or not. Kubernetes only. Acts if what a
    /// volume held was something else.
    RestoreVolumes(VolumeImage),
}

/// A process or host that is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_targets)]
pub struct Stop {
    /// Which.
    pub target: Targets,
    /// Start it again after so long. Without it, a `restart` step or the heal phase does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_after: Option<Span>,
}

/// A process that is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_targets)]
pub struct Terminate {
    /// Which.
    pub target: Targets,
    /// How long until it is killed; Kubernetes' default of 30 s.
    #[serde(default = "grace")]
    pub grace: Span,
    /// Start it again after so long. Without it, a `restart` step or the heal phase does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_after: Option<Span>,
}

fn grace() -> Span {
    Span::secs(30)
}

/// Something that is started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_targets)]
pub struct Restart {
    /// Which.
    pub target: Targets,
    /// Under another address than before, as a pod that was made anew; its name follows.
    #[serde(default)]
    pub new_address: bool,
}

/// Something that stands still for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_targets)]
pub struct Pause {
    /// Which.
    pub target: Targets,
    /// How long. Without it, until it is thawed or healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

/// Which way a partition cuts, seen from `from`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Nothing passes.
    #[default]
    Both,
    /// What `to` sends does not arrive at `from`.
    In,
    /// What `from` sends does not arrive at `to`.
    Out,
}

/// Two groups that cannot talk. Hosts in both groups still talk to themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// One side.
    pub from: Targets,
    /// The other side; all other hosts if not given.
    #[serde(default = "everyone")]
    pub to: Targets,
    /// Which way is cut.
    #[serde(default)]
    pub direction: Direction,
    /// How long. Without it, until healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

fn everyone() -> Targets {
    Targets(vec![Target::All])
}

/// Links that are slow or lossy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Degrade {
    /// One side.
    pub from: Targets,
    /// The other side; all other hosts if not given.
    #[serde(default = "everyone")]
    pub to: Targets,
    /// Which way is slow.
    #[serde(default)]
    pub direction: Direction,
    /// One-way latency meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Chance that a segment is lost, and sent again by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Odds>,
    /// Losses in bursts, on top of `loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
    /// How long. Without it, until healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

/// Connections that are reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetConnections {
    /// One side.
    pub from: Targets,
    /// The other side; all other hosts if not given.
    #[serde(default = "everyone")]
    pub to: Targets,
}

/// What becomes of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectFailure {
    /// Answered with RST, as by a firewall that rejects: the connect fails at once.
    Refused,
    /// Dropped, as by a firewall that drops: the connect fails after 127 s, or whenever its caller gives up.
    Dropped,
}

/// Connections that cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectFails {
    /// One side.
    pub from: Targets,
    /// The other side; all other hosts if not given.
    #[serde(default = "everyone")]
    pub to: Targets,
    /// Which way connections cannot be opened: `out`, from `from` to `to`.
    #[serde(default)]
    pub direction: Direction,
    /// How they fail.
    pub how: ConnectFailure,
    /// How long. Without it, until healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

/// What a resolver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsFailure {
    /// No such name, whatever is asked.
    Unknown,
    /// Nothing: the lookup fails after 10 s.
    Silent,
    /// What was right when the fault began.
    Stale,
}

/// A resolver that is broken or slow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Whose resolver.
    pub target: Targets,
    /// What it answers; the truth if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<DnsFailure>,
    /// How long an answer takes meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How long. Without it, until healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

/// A disk without space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_targets)]
pub struct DiskFull {
    /// Whose disk.
    pub target: Targets,
    /// How long. Without it, until healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

/// Calls that a broken disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskCall {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Syncs of files and directories; the data then may or may not be durable, as on Linux.
    Sync,
}

/// A disk that answers with EIO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskError {
    /// Whose disk.
    pub target: Targets,
    /// Which calls.
    pub on: DiskCall,
    /// How many of them.
    #[serde(default = "always")]
    pub odds: Odds,
    /// How long. Without it, until healed.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
}

fn always() -> Odds {
    Odds::ALWAYS
}

/// Bits that flip at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = or_targets)]
pub struct BitRot {
    /// Whose cached blocks.
    pub target: Targets,
    /// How many blocks at most, picked by the seed; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u32>,
}

/// Volumes and a snapshot of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeImage {
    /// Whose volumes: those of their pods, or of the pods they had last.
    pub target: Targets,
    /// What the snapshot is called. A second one of this name takes the place of the first.
    pub name: String,
}

/// A wall clock that is stepped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockJump {
    /// Whose clock.
    pub target: Targets,
    /// How far.
    pub by: Span,
    /// Back instead of forward.
    #[serde(default)]
    pub back: bool,
}

impl Fault {
    /// The keys of faults in a scenario file.
    pub const NAMES: [&str; 22] = [
        "kill",
        "power_loss",
        "terminate",
        "freeze",
        "thaw",
        "restart",
        "partition",
        "hold",
        "degrade",
        "reset_connections",
        "connect_fails",
        "dns",
        "disk_full",
        "disk_error",
        "disk_stall",
        "bit_rot",
        "clock_jump",
        "heal",
        "delete_pod",
        "out_of_memory",
        "snapshot_volumes",
        "restore_volumes",
    ];

    /// Its key in a scenario file.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::PowerLoss(_) => "power_loss",
            Self::Terminate(_) => "terminate",
            Self::Freeze(_) => "freeze",
            Self::Thaw(_) => "thaw",
            Self::Restart(_) => "restart",
            Self::Partition(_) => "partition",
            Self::Hold(_) => "hold",
            Self::Degrade(_) => "degrade",
            Self::ResetConnections(_) => "reset_connections",
            Self::ConnectFails(_) => "connect_fails",
            Self::Dns(_) => "dns",
            Self::DiskFull(_) => "disk_full",
            Self::DiskError(_) => "disk_error",
            Self::DiskStall(_) => "disk_stall",
            Self::BitRot(_) => "bit_rot",
            Self::ClockJump(_) => "clock_jump",
            Self::Heal(_) => "heal",
            Self::DeletePod(_) => "delete_pod",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::SnapshotVolumes(_) => "snapshot_volumes",
            Self::RestoreVolumes(_) => "restore_volumes",
        }
    }

    /// Whom it hits; for network faults the `from` side.
    pub const fn target(&self) -> &Targets {
        match self {
            Self::Kill(stop) | Self::PowerLoss(stop) => &stop.target,
            Self::Terminate(stop) => &stop.target,
            Self::Freeze(pause) | Self::DiskStall(pause) => &pause.target,
            Self::Thaw(target) | Self::Heal(target) | Self::DeletePod(target) | Self::OutOfMemory(target) => target,
            Self::Restart(restart) => &restart.target,
            Self::Partition(cut) | Self::Hold(cut) => &cut.from,
            Self::Degrade(links) => &links.from,
            Self::ResetConnections(links) => &links.from,
            Self::ConnectFails(links) => &links.from,
            Self::Dns(dns) => &dns.target,
            Self::DiskFull(disk) => &disk.target,
            Self::DiskError(disk) => &disk.target,
            Self::BitRot(rot) => &rot.target,
            Self::ClockJump(clock) => &clock.target,
            Self::SnapshotVolumes(image) | Self::RestoreVolumes(image) => &image.target,
        }
    }

    /// How long it lasts, if the fault itself says so.
    pub const fn lasting(&self) -> Option<Span> {
        match self {
            Self::Kill(stop) | Self::PowerLoss(stop) => stop.restart_after,
            Self::Terminate(stop) => stop.restart_after,
            Self::Freeze(pause) | Self::DiskStall(pause) => pause.lasting,
            Self::Partition(cut) | Self::Hold(cut) => cut.lasting,
            Self::Degrade(links) => links.lasting,
            Self::ConnectFails(links) => links.lasting,
            Self::Dns(dns) => dns.lasting,
            Self::DiskFull(disk) => disk.lasting,
            Self::DiskError(disk) => disk.lasting,
            Self::Thaw(_)
            | Self::Restart(_)
            | Self::ResetConnections(_)
            | Self::BitRot(_)
            | Self::ClockJump(_)
            | Self::DeletePod(_)
            | Self::OutOfMemory(_)
            | Self::SnapshotVolumes(_)
            | Self::RestoreVolumes(_)
            | Self::Heal(_) => None,
        }
    }

    /// Whether it ends or undoes other faults rather than being one.
    pub const fn is_remedy(&self) -> bool {
        matches!(self, Self::Thaw(_) | Self::Restart(_) | Self::Heal(_))
    }
}

/// `kill leader`, `partition leader from masters (out)`, as reports print it.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.target())?;
        let (to, direction) = match self {
            Self::Partition(cut) | Self::Hold(cut) => (&cut.to, cut.direction),
            Self::Degrade(links) => (&links.to, links.direction),
            Self::ResetConnections(links) => (&links.to, Direction::Both),
            Self::ConnectFails(links) => (&links.to, links.direction),
            _ => return self.lasting().map_or(Ok(()), |span| write!(f, " for {span}")),
        };
        let way = match direction {
            Direction::Both => "<->",
            Direction::In => "<-",
            Direction::Out => "->",
        };
        write!(f, " {way} {to}")?;
        self.lasting().map_or(Ok(()), |span| write!(f, " for {span}"))
    }
}

/// Lets a fault whose only needed field is `target` be written as the target alone: `kill: leader`.
macro_rules! target_alone {
    ($type:ty, $from:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let short: fn(Targets) -> $type = $from;
                if *self == short(self.target.clone()) {
                    self.target.serialize(serializer)
                } else {
                    Self::serialize(self, serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;

                impl<'de> Visitor<'de> for Either {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a target such as leader, or a mapping with `target`")
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        text.parse::<Target>().map(|target| ($from)(target.into())).map_err(E::custom)
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<$type, A::Error> {
                        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(|targets| ($from)(Targets(targets)))
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        <$type>::deserialize(MapAccessDeserializer::new(map))
                    }
                }

                deserializer.deserialize_any(Either)
            }
        }
    };
}

target_alone!(Stop, |target| Stop { target, restart_after: None });
target_alone!(Terminate, |target| Terminate { target, grace: grace(), restart_after: None });
target_alone!(Restart, |target| Restart { target, new_address: false });
target_alone!(Pause, |target| Pause { target, lasting: None });
target_alone!(DiskFull, |target| DiskFull { target, lasting: None });
target_alone!(BitRot, |target| BitRot { target, blocks: None });

/// Adds the short form to the schema of a fault.
fn or_targets(schema: &mut Schema) {
    let whole = std::mem::take(schema);
    *schema = schemars::json_schema!({ "anyOf": [{ "$ref": "#/$defs/Targets" }, whole] });
}
