//! The integration tests: one binary, a module a subject.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache;
mod cli;
mod client;
mod conformance;
mod deadlock;
mod determinism;
mod engines;
mod journal;
mod fluid;
mod kube_api;
mod kube_control;
mod kube_rules;
mod kube_scheduler;
mod kubelet;
mod live;
mod log_store;
mod masters;
mod object_store;
mod raft_appends;
mod relay;
mod scenario_in_rust;
mod seam;
mod single_master;
mod tidy;
mod under_store;
mod worker;
