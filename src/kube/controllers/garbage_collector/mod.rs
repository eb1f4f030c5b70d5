//! The garbage collector: what is owned goes with its owner.

pub mod graph;
