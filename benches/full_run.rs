//! Simulated seconds a CPU second of a whole run: 3 masters, 3 workers, clients that each change the namespace once a
//! second, Raft heartbeats of 200 ms, worker heartbeats of 1 s; everything on: trace hash, observations, oracles.
//!
//! `3`, `10`, `30`, `100` are clients. The throughput's elements are simulated seconds. `write` is a `mkdir`, an entry of the
//! journal, refused or not; one time in ten a removal, which looks first what there is; `file` is a file of 1 KiB created,
//! written through a worker, committed and completed, or removed; `kubernetes` is `write` on a cluster that Fluid formed on
//! Kubernetes, and `whole` the same run without, both from boot to verdict.
//! Time is CPU time of the thread that runs the world, so that other work on the machine does not count.
//! Before the timings, the growth of resident memory from 10 to 100 clients is printed, a host each.

use std::hint::black_box;

use common::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stormglass::base::Seed;
use stormglass::oracle::Verdict;
use stormglass::sim::outcome::Outcome;
use stormglass::sim::progress::Silent;
use stormglass::sim::scenario::Scenario;
use stormglass::sim::{Options, run};
use workload::{WRITE, scenario, scenario_with};

#[path = "common/cpu_time.rs"]
mod common;
#[path = "common/workload.rs"]
mod workload;

const SIMULATED: u64 = 600;
const FILE: &str = "{mkdir: 0, create: 1, rename: 0, delete: 1, list: 0, stat: 0, read: 0}";

fn one(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario, Options { seed: Seed(7), ..Options::default() }, &mut Silent);
    assert_eq!(outcome.verdict, Verdict::Pass, "{:?}", outcome.violations);
    outcome
}

/// Resident set in KiB, as the kernel counts it.
fn resident() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a bench is not a run")]
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn full_run(c: &mut Criterion<CpuTime>) {
    let small = {
        one(&scenario(10, WRITE, SIMULATED));
        resident()
    };
    one(&scenario(100, WRITE, SIMULATED));
    let large = resident();
    #[expect(clippy::disallowed_macros, reason = "a bench tells what it measured")]
    {
        eprintln!("memory: {} KiB a client host ({small} KiB at 10 clients, {large} KiB at 100)", (large - small) / 90);
    }

    let mut group = c.benchmark_group("full_run");
    group.sample_size(10).throughput(Throughput::Elements(SIMULATED));
    for clients in [3, 10, 30, 100] {
        let scenario = scenario(clients, WRITE, SIMULATED);
        group.bench_with_input(BenchmarkId::new("write", clients), &scenario, |b, s| b.iter(|| black_box(one(s))));
    }
    let files = scenario(3, FILE, SIMULATED);
    group.bench_with_input(BenchmarkId::new("file", 3), &files, |b, s| b.iter(|| black_box(one(s))));
    // The control plane takes half a minute to bring the cache up: seconds of the whole run count here.
    let kubernetes = scenario_with("kubernetes: {fluid: goosefs}", 3, WRITE, SIMULATED);
    for (name, scenario) in [("whole", scenario(3, WRITE, SIMULATED)), ("kubernetes", kubernetes)] {
        group.throughput(Throughput::Elements(one(&scenario).ended.elapsed().as_secs()));
        group.bench_with_input(BenchmarkId::new(name, 3), &scenario, |b, s| b.iter(|| black_box(one(s))));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = full_run
}
criterion_main!(benches);
