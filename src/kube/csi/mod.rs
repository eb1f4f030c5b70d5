//! Volumes on a node: the mount table, the driver trait with its registry, and the drivers.
//!
//! | file | what it is |
//! |---|---|
//! | [`mount`] | the kernel's mount table of a node, pure |
//! | [`host`] | what drivers and the kubelet ask of the node's kernel and disks |
//! | [`driver`] | NodeStage, NodePublish and their inverses; which drivers are registered |
//! | [`disk`] | cloud disks: attached, staged, bound into pods |
//! | [`fluid`] | Fluid's fuse plugin: node labels, bind mounts of the fuse, recovery of broken ones |

pub mod mount;

pub mod host;

pub mod driver;

pub mod disk;

pub mod fluid;
