//! Simulated seconds a CPU second of a whole run: 3 masters, 3 workers, clients that each change the namespace once a
//! second, Raft heartbeats of 200 ms, worker heartbeats of 1 s; everything on: trace hash, observations, oracles.
//!
//! `3`, `10`, `30`, `100` are clients. The throughput's elements are simulated seconds. `write` is a `mkdir`, one time in ten
//! an `rmdir`, refused or not: an entry of the journal each; `file` is a file of 1 KiB created, written through a worker,
//! committed and completed, or removed.
//! Time is CPU time of the thread that runs the world, so that other work on the machine does not count.
//! Before the timings, the growth of resident memory from 10 to 100 clients is printed, a host each.

use std::fmt::Write;
use std::hint::black_box;

use common::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stormglass::base::Seed;
use stormglass::oracle::Verdict;
use stormglass::sim::outcome::Outcome;
use stormglass::sim::progress::Silent;
use stormglass::sim::scenario::{Scenario, load};
use stormglass::sim::{Options, run};

#[path = "common/cpu_time.rs"]
mod common;

const SIMULATED: u64 = 600;
const WRITE: &str = "{mkdir: 9, create: 0, rename: 0, delete: 1, list: 0, stat: 0, read: 0}";
const FILE: &str = "{mkdir: 0, create: 1, rename: 0, delete: 1, list: 0, stat: 0, read: 0}";

fn scenario(clients: u32, mix: &str) -> Scenario {
    let mut nodes = String::new();
    for n in 0..clients.max(3) {
        let _ = write!(nodes, "{}node-{n}", if n == 0 { "" } else { ", " });
    }
    let text = format!(
        r#"name: full-run
about: The workload of the speed table.
nodes: [{nodes}]
manifests:
  - inline: |
      apiVersion: data.fluid.io/v1alpha1
      kind: Dataset
      metadata: {{name: hbase}}
      spec:
        mounts: [{{mountPoint: "https://mirror/apache/hbase/stable/", name: hbase}}]
      ---
      apiVersion: data.fluid.io/v1alpha1
      kind: GooseFSRuntime
      metadata: {{name: hbase}}
      spec:
        replicas: 3
        tieredstore: {{levels: [{{mediumtype: MEM, path: /dev/shm, quota: 2Gi, high: "0.95", low: "0.7"}}]}}
        master: {{replicas: 3}}
under_stores:
  - {{url: "https://mirror/apache/hbase/stable/", files: [{{path: CHANGES.md, size: 4096}}]}}
parameters:
  raft: {{heartbeat: 200ms, election_timeout: {{min: 600ms, max: 1200ms}}, snapshot_every: 2000000}}
  client: {{attribute_cache: 1s}}
workload:
  clients: {clients}
  think_time: {{min: 1s, max: 1s}}
  tail: 0s
  paths: 400
  mix: {mix}
  file_size: {{min: 1024, max: 1024}}
steps:
  - wait: {SIMULATED}s
"#
    );
    let nothing = |path: &str| Err(format!("{path} is not there"));
    match load::parse("full-run.yaml", text, &nothing) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    }
}

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
        one(&scenario(10, WRITE));
        resident()
    };
    one(&scenario(100, WRITE));
    let large = resident();
    #[expect(clippy::disallowed_macros, reason = "a bench tells what it measured")]
    {
        eprintln!("memory: {} KiB a client host ({small} KiB at 10 clients, {large} KiB at 100)", (large - small) / 90);
    }

    let mut group = c.benchmark_group("full_run");
    group.sample_size(10).throughput(Throughput::Elements(SIMULATED));
    for clients in [3, 10, 30, 100] {
        let scenario = scenario(clients, WRITE);
        group.bench_with_input(BenchmarkId::new("write", clients), &scenario, |b, s| b.iter(|| black_box(one(s))));
    }
    let files = scenario(3, FILE);
    group.bench_with_input(BenchmarkId::new("file", 3), &files, |b, s| b.iter(|| black_box(one(s))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = full_run
}
criterion_main!(benches);
