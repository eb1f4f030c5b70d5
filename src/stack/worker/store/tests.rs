//! The plan against a naive model, and the store on simulated disks.

mod plan;
