//! The pod garbage collector: pods that nobody runs any more.

pub mod plan;
