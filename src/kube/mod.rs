//! The simulated Kubernetes, with upstream's names.
//!
//! So far only the manifests that a cluster is formed from; scheduler, kubelet and controllers come on top of them.

pub mod quantity;

pub mod matching;

pub mod fluid;

pub mod controllers;
