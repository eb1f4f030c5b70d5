//! A failover test in Rust, for what a scenario file cannot say: steps made by a loop, promises of one's own.
//!
//! Each seed runs in a process of its own, so that a run is the first of its process and strictly repeatable.
//! `STORMGLASS_SEED=7 cargo test leaders_that_are_killed` runs one seed alone; so does the test start itself again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::Command;

use stormglass::base::{Seed, SimTime};
use stormglass::oracle::Verdict;
use stormglass::rt::time::Duration;
use stormglass::sim::outcome::{Failover, Phase};
use stormglass::sim::progress::{HostState, Progress};
use stormglass::sim::scenario::{Scenario, load};
use stormglass::sim::{self, Options};

const ROUNDS: usize = 3;

#[test]
fn leaders_that_are_killed_in_turn_are_replaced_in_time() {
    for_seeds("scenario_in_rust::leaders_that_are_killed_in_turn_are_replaced_in_time", 0..3, |seed| {
        let mut watch = Watch::default();
        let outcome = sim::run(&rolling_kills(), Options { seed, ..Options::default() }, &mut watch);

        assert_eq!(outcome.verdict, Verdict::Pass, "{:?}", outcome.violations);
        assert_eq!(watch.phases, [Boot, Safety, Heal, Converge, Serve, Settle]);
        assert_eq!(watch.failovers.len(), ROUNDS);
        for failover in &watch.failovers {
            assert_ne!(failover.new_leader.as_ref(), Some(&failover.old_leader));
        }
        for failover in &outcome.failovers {
            let outage = failover.serving_at.unwrap().since(failover.killed_at);
            assert!(outage < Duration::from_secs(45), "{outage:?} without service");
        }
        // The first leader's term and one more for each kill, or more where votes were split; each with one leader.
        assert!(watch.leaders.len() > ROUNDS, "{:?}", watch.leaders);
        assert!(watch.leaders.values().all(|leaders| leaders.len() == 1), "{:?}", watch.leaders);
    });
}

use Phase::{Boot, Converge, Heal, Safety, Serve, Settle};

/// Kills whoever leads, again and again; each time the victim comes back before the next one goes.
fn rolling_kills() -> Scenario {
    let round = "
  - kill: leader
  - expect: {leader: changed, within: 40s}
  - wait: 10s
  - restart: victim
  - wait: 20s";
    let text = format!(
        "
name: rolling-leader-kills
about: Three leaders in a row are killed.
nodes: [192.168.1.145, 192.168.1.146, 192.168.1.147]
manifests: [manifests/goosefs/dataset.yaml, manifests/goosefs/runtime.yaml]
under_stores:
  - url: https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/
    files: [{{path: CHANGES.md, size: 1290000}}, {{path: RELEASENOTES.md, size: 640000}}]
parameters:
  master: {{block_size: 1Mi}}
steps:
  - wait: 20s{}
",
        round.repeat(ROUNDS)
    );
    // As if it lay beside the scenario files: manifests are found from there.
    load::parse("scenarios/rolling-leader-kills.yaml", text, &read).unwrap_or_else(|error| panic!("{error}"))
}

#[expect(clippy::disallowed_methods, reason = "manifests are read before the run")]
fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}

/// What this test wants to know of a run while it goes on.
#[derive(Default)]
struct Watch {
    phases: Vec<Phase>,
    failovers: Vec<Failover>,
    /// Who was seen to lead, by term.
    leaders: BTreeMap<u64, BTreeSet<String>>,
}

impl Progress for Watch {
    fn on_phase(&mut self, _: SimTime, phase: Phase) {
        self.phases.push(phase);
    }

    fn on_failover(&mut self, _: SimTime, failover: &Failover) {
        // Told once more when the new leader serves.
        if failover.serving_at.is_none() {
            self.failovers.push(failover.clone());
        }
    }

    fn on_roles(&mut self, _: SimTime, hosts: &[HostState]) {
        for host in hosts.iter().filter(|host| host.role == "leader") {
            self.leaders.entry(host.term.unwrap()).or_default().insert(host.name.clone());
        }
    }
}

/// Runs `body` once for each seed, each time in a process of its own. `test` is the full name of the calling test.
#[expect(
    clippy::disallowed_methods,
    reason = "a run learns its seed from its environment, and has a process of its own"
)]
fn for_seeds(test: &str, seeds: Range<u64>, body: impl FnOnce(Seed)) {
    const SEED: &str = "STORMGLASS_SEED";
    if let Ok(seed) = std::env::var(SEED) {
        return body(seed.parse().unwrap());
    }
    for seed in seeds {
        let this = std::env::current_exe().unwrap();
        let run = Command::new(this).args([test, "--exact"]).env(SEED, seed.to_string()).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        // A name that no test has would pass, too.
        let passed = run.status.success() && said.contains("1 passed");
        assert!(passed, "{said}\nagain: {SEED}={seed} cargo test {test}");
    }
}
