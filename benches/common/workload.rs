//! The workload of whole runs: 3 masters, 3 workers, clients that each do one thing a second on a node of their own. The
//! speeds of builds (`full_run`) and of engines (`engines`) are told by it.

use std::fmt::Write;

use stormglass::sim::scenario::{Scenario, load};

/// Changes of the namespace: a `mkdir` is an entry of the journal, refused or not; a removal looks first what there is.
pub const WRITE: &str = "{mkdir: 9, create: 0, rename: 0, delete: 1, list: 0, stat: 0, read: 0}";

/// The cluster with so many clients, each doing one operation of `mix` a second for `seconds` simulated seconds.
pub fn scenario(clients: u32, mix: &str, seconds: u64) -> Scenario {
    scenario_with("", clients, mix, seconds)
}

/// The same with `more` on top: a field of the scenario, such as `kubernetes: {fluid: goosefs}`.
pub fn scenario_with(more: &str, clients: u32, mix: &str, seconds: u64) -> Scenario {
    let mut nodes = String::new();
    for n in 0..clients.max(3) {
        let _ = write!(nodes, "{}node-{n}", if n == 0 { "" } else { ", " });
    }
    let text = format!(
        r#"name: full-run
about: The workload of the speed table.
nodes: [{nodes}]
{more}
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
  - wait: {seconds}s
"#
    );
    let nothing = |path: &str| Err(format!("{path} is not there"));
    match load::parse("full-run.yaml", text, &nothing) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    }
}
