//! One run: a scenario, its cluster, faults, workload, phases and outcome.

pub mod scenario;
