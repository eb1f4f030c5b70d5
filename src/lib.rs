//! Stormglass: deterministic simulation and chaos for distributed caches on Kubernetes.
//!
//! Layers, each importing only from the left of itself:
//! `base -> trace -> rt -> { stack | kube | world } -> oracle -> sim -> hunt -> report -> cli`.
//! README.md tells what each is for.

pub mod base;

pub mod trace;

pub mod rt;

pub mod stack;

pub mod kube;

pub mod world;

pub mod oracle;

pub mod sim;

pub mod hunt;

pub mod report;

pub mod cli;
