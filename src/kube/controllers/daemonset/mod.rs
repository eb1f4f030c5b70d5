//! The DaemonSet controller: one pod on every node that fits.

pub mod template;

pub mod plan;
