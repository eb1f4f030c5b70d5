//! The rules of the simulated Kubernetes as tables: each row names the upstream rule that it follows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod objects;

mod taints;

mod scheduler;

mod preemption;

mod volumes;

mod states;

mod statefulset;

mod replicaset;

mod deployment;

mod daemonset;

mod job;

mod endpoints;

mod node_lifecycle;

mod taint_eviction;

mod pod_gc;

mod garbage_collector;

mod binder;

mod attach;
