//! What the clients do while the story goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Span;
use super::world::SpanRange;
use crate::kube::quantity::Quantity;

/// What the clients do, from the first step on until all steps are done, or until their operations are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Client programs, spread over the fuse clients in turn. 0 means no load.
    pub clients: u32,
    /// Pause of a client between two operations.
    pub think_time: SpanRange,
    /// Operations of all clients together; no bound if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// How long the load goes on after the last step, before everything is healed.
    pub tail: Span,
    /// How often each kind of operation is picked.
    pub mix: Mix,
    /// Size of the pool of paths that all clients share; the fewer, the more they contend.
    pub paths: u32,
    /// Directory where the clients make their files.
    pub root: String,
    /// Sizes of the files that clients write.
    pub file_size: SizeRange,
    /// Sizes of single reads, from the under-store's files and from the clients' own.
    pub read_size: SizeRange,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            clients: 3,
            think_time: SpanRange { min: Span::millis(200), max: Span::millis(1800) },
            operations: None,
            tail: Span::secs(20),
            mix: Mix::default(),
            paths: 12,
            root: "/work".into(),
            file_size: SizeRange { min: Quantity::bytes(0), max: Quantity::bytes(64 << 10) },
            read_size: SizeRange { min: Quantity::bytes(1), max: Quantity::bytes(128 << 10) },
        }
    }
}

/// A closed range of sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SizeRange {
    /// Smallest.
    pub min: Quantity,
    /// Largest; not below `min`.
    pub max: Quantity,
}

/// Weights of the kinds of operation; an operation of weight 0 does not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Make a directory.
    pub mkdir: u32,
    /// Make and write a file.
    pub create: u32,
    /// Rename a file or directory.
    pub rename: u32,
    /// Delete a file or directory.
    pub delete: u32,
    /// List a directory.
    pub list: u32,
    /// Ask for attributes.
    pub stat: u32,
    /// Read a piece of a file.
    pub read: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { mkdir: 2, create: 4, rename: 3, delete: 2, list: 2, stat: 3, read: 4 }
    }
}

impl Mix {
    /// Weights with their names, in order of declaration.
    pub const fn weights(&self) -> [(&'static str, u32); 7] {
        [
            ("mkdir", self.mkdir),
            ("create", self.create),
            ("rename", self.rename),
            ("delete", self.delete),
            ("list", self.list),
            ("stat", self.stat),
            ("read", self.read),
        ]
    }

    /// Sum of all weights.
    pub fn total(&self) -> u64 {
        self.weights().iter().map(|(_, weight)| u64::from(*weight)).sum()
    }
}
