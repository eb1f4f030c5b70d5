//! The rules of the simulated Kubernetes as tables: each row names the upstream rule that it follows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod objects;

mod taints;

mod scheduler;

mod preemption;

mod volumes;
