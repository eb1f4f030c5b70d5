//! The simulated machines: engines that give time, tasks and network, and the disks that every engine shares.
//!
//! Nothing here knows the stack or Kubernetes; both reach the world through [`crate::rt`] and through the harness.

pub mod disk;
pub mod engine;
pub mod lab;
pub mod s3;
pub mod web;
