//! Whom a step means: a role (`leader`), a member of a role (`worker/0`) or a host by name (`hbase-master-1`).
//!
//! Roles such as `leader` are resolved when the step is reached; members and names when the scenario is loaded.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kube::quantity::text_value;

/// What a host is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A master: `{dataset}-master-{i}`.
    Master,
    /// A worker: `{dataset}-worker-{i}`.
    Worker,
    /// A fuse client: `{dataset}-fuse-{i}`, one per node.
    Fuse,
    /// A server of an under-store.
    UnderStore,
    /// A node's kubelet, on Kubernetes; its power is the node's.
    Node,
    /// A program of the control plane, on Kubernetes: `kube-scheduler` and its like.
    Control,
}

impl Role {
    /// As steps and reports write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::Fuse => "fuse",
            Self::UnderStore => "under_store",
            Self::Node => "node",
            Self::Control => "control",
        }
    }
}

/// One or several hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The master that leads when the step is reached; the newest term wins if several say so.
    Leader,
    /// One other master, picked by the seed.
    Follower,
    /// All other masters.
    Followers,
    /// All masters.
    Masters,
    /// One worker, picked by the seed.
    Worker,
    /// All workers.
    Workers,
    /// One fuse client, picked by the seed.
    Fuse,
    /// All fuse clients.
    Fuses,
    /// The servers of all under-stores.
    UnderStores,
    /// All nodes of Kubernetes.
    Nodes,
    /// Every host that the last fault before this step hit; `thaw`, `restart` and `heal` do not count.
    Victim,
    /// All hosts.
    All,
    /// The `n`-th of a role, from 0.
    Member(Role, u32),
    /// A host by name.
    Host(String),
}

/// Roles that are one word.
const WORDS: [(&str, Target); 12] = [
    ("leader", Target::Leader),
    ("follower", Target::Follower),
    ("followers", Target::Followers),
    ("masters", Target::Masters),
    ("worker", Target::Worker),
    ("workers", Target::Workers),
    ("fuse", Target::Fuse),
    ("fuses", Target::Fuses),
    ("under_stores", Target::UnderStores),
    ("nodes", Target::Nodes),
    ("victim", Target::Victim),
    ("all", Target::All),
];

/// Why a text is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a target; write a role (leader, follower, masters, worker, …), master/0, worker/0, fuse/0 or a host's name"
)]
pub struct TargetError(String);

impl Target {
    /// The words for roles, for suggestions.
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(word, _)| *word)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some((_, target)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(target.clone());
        }
        let refuse = || TargetError(text.into());
        if let Some((role, index)) = text.split_once('/') {
            let role = match role {
                "master" => Role::Master,
                "worker" => Role::Worker,
                "fuse" => Role::Fuse,
                "under_store" => Role::UnderStore,
                "node" => Role::Node,
                _ => return Err(refuse()),
            };
            return index.parse().map(|index| Self::Member(role, index)).map_err(|_| refuse());
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if text.is_empty() || !text.chars().all(legal) {
            return Err(refuse());
        }
        Ok(Self::Host(text.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(role, index) => write!(f, "{}/{index}", role.as_str()),
            Self::Host(name) => f.write_str(name),
            role => match WORDS.iter().find(|(_, target)| target == role) {
                Some((word, _)) => f.write_str(word),
                None => unreachable!("every other target is a word"),
            },
        }
    }
}

text_value!(
    Target,
    "Target",
    "a role, role/index or a host's name",
    r"^[A-Za-z0-9._-]+(/[0-9]+)?$",
    "A role (leader, follower, followers, masters, worker, workers, fuse, fuses, under_stores, nodes, victim, all), a member (master/0, worker/0, fuse/0, node/0) or a name (hbase-master-0, kube-scheduler)."
);

/// One target or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(pub Vec<Target>);

impl From<Target> for Targets {
    fn from(target: Target) -> Self {
        Self(vec![target])
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, target) in self.0.iter().enumerate() {
            write!(f, "{}{target}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target such as leader, or a list of targets")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Targets, E> {
                text.parse().map(|target| Targets(vec![target])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Targets, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Targets)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for Targets {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Targets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Target>();
        json_schema!({
            "description": "One target or a list of them.",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for (word, target) in WORDS {
            assert_eq!(word.parse(), Ok(target.clone()));
            assert_eq!(target.to_string(), word);
        }
    }

    #[test]
    fn members_and_names() {
        assert_eq!("worker/0".parse(), Ok(Target::Member(Role::Worker, 0)));
        assert_eq!("hbase-master-1".parse(), Ok(Target::Host("hbase-master-1".into())));
        for text in ["", "worker/", "worker/x", "leader/0", "a b", "worker/-1", "worker/99999999999"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
