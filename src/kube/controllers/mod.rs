//! The controllers of kube-controller-manager, with upstream's names.
//!
//! Rule: what a controller decides is a pure function or a small state machine over API objects and a time (`plan.rs` and its
//! like); the loops around it only carry objects in and API calls out. Controllers meet each other through the API server alone.

pub mod meta;

pub mod pod;

pub mod node;

pub mod taints;

pub mod hash;

pub mod revision;

pub mod shared;

pub mod expectations;

pub mod replicaset;

pub mod deployment;

pub mod statefulset;

pub mod daemonset;

pub mod job;

pub mod endpoints;

pub mod node_lifecycle;

pub mod taint_eviction;

pub mod pod_gc;

pub mod garbage_collector;

pub mod protection;

pub mod manager;

pub use manager::{Controller, ControllerManagerConfig};
