//! The simulated Kubernetes, with upstream's names.
//!
//! Components are programs on the seam, one module each. They meet only through the API server, so that each can be
//! killed, partitioned and restarted like any other program.

pub mod quantity;

pub mod matching;

pub mod kind;

pub mod store;

pub mod apiserver;

pub mod client;

pub mod kubectl;

mod query;

mod digest;

mod json;

pub mod clock;

pub mod scheduler;

pub mod volume;

pub mod runtime;

pub mod csi;

pub mod kubelet;

pub mod fluid;

pub mod controllers;
