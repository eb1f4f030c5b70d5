//! The kubelet: what makes a node run the pods that are bound to it.
//!
//! Decisions are state machines with a time argument; the async parts around them only wait and carry out.

pub mod config;

mod backoff;

pub mod probe;

pub mod pod;

pub mod admission;

pub mod environment;
