//! Faults on a cluster of real masters: what they hit, what ends them, and what they count.

use std::time::Duration;

use super::*;
use crate::base::{Seed, Stream};
use crate::sim::cluster::build;
use crate::sim::scenario::target::Role;
use crate::sim::scenario::{Fault, Scenario, Step, load};
use crate::world::engine::glass::Glass;

/// A scenario with these steps.
fn scenario(steps: &str) -> Scenario {
    let text = format!(
        "
name: faults
about: Faults by themselves.
nodes: [n1, n2, n3]
manifests: [dataset.yaml, runtime.yaml]
under_stores:
  - {{url: https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/, files: []}}
links:
  - {{from: masters, to: masters, latency: {{const: 3ms}}}}
steps: {steps}
"
    );
    let read = |path: &str| match path {
        "dataset.yaml" => Ok(include_bytes!("../../../scenarios/manifests/goosefs/dataset.yaml").to_vec()),
        _ => Ok(include_bytes!("../../../scenarios/manifests/goosefs/runtime.yaml").to_vec()),
    };
    load::parse("faults.yaml", text, &read).unwrap_or_else(|error| panic!("{error}"))
}

/// A cluster whose masters run, and the faults of a story.
struct Bench {
    lab: Lab,
    cluster: Cluster,
    faults: Faults,
    steps: Vec<Fault>,
    chance: Stream,
}

impl Bench {
    fn new(steps: &str) -> Self {
        let scenario = scenario(steps);
        let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
        let mut cluster = build(&lab, &scenario, Seed(1));
        for member in 0..cluster.members.len() {
            cluster.start(&lab, member);
        }
        let fault = |step| match step {
            Step::Fault(fault) => Some(fault),
            _ => None,
        };
        let steps = scenario.spec.steps.into_iter().filter_map(fault).collect();
        let bench = Self { lab, cluster, faults: Faults::default(), steps, chance: Seed(1).stream("test", 0) };
        bench.run(30);
        bench
    }

    fn run(&self, secs: u64) {
        self.lab.world.run_until(self.lab.now() + Duration::from_secs(secs));
    }

    /// The next step, with master 0 for a leader.
    fn step(&mut self) -> Vec<usize> {
        let fault = self.steps.remove(0);
        let leader = self.cluster.of(Role::Master).next();
        let aim = Aim { leader, chance: &mut self.chance };
        self.faults.inject(&self.lab, &mut self.cluster, &fault, aim)
    }

    fn expire(&mut self) {
        let now = self.lab.now();
        self.faults.expire(&self.lab, &mut self.cluster, now);
    }

    fn counts(&self) -> Vec<u64> {
        self.faults.effects(&self.lab).iter().map(|effect| effect.effects).collect()
    }
}

#[test]
fn a_thaw_mends_nothing_but_pauses() {
    let mut bench = Bench::new("[{partition: {from: leader}}, {freeze: leader}, {thaw: leader}, {heal: leader}]");
    let cut = bench.step()[0];
    bench.step();
    bench.run(1);
    bench.step();
    assert_eq!((bench.cluster.members[cut].life, bench.faults.cut_off(cut)), (Life::Up, true));
    bench.step();
    assert!(!bench.faults.cut_off(cut));
    assert!(bench.counts().iter().all(|count| *count > 0), "{:?}", bench.counts());
}

#[test]
fn a_fault_counts_what_it_did_and_not_what_a_later_one_does_to_the_same_links() {
    let mut bench = Bench::new("[{partition: {from: masters, to: masters, for: 1ms}}, {partition: {from: masters}}]");
    bench.step();
    bench.expire();
    bench.lab.world.run_until(bench.lab.now() + Duration::from_millis(1));
    bench.expire();
    let first = bench.counts()[0];
    bench.step();
    bench.run(20);
    assert_eq!(bench.counts()[0], first);
    assert!(bench.counts()[1] > first, "{:?}", bench.counts());
}

#[test]
fn held_segments_arrive_and_masters_that_hear_late_are_apart_meanwhile() {
    let mut bench = Bench::new("[{hold: {from: leader, to: masters, for: 2s}}]");
    let leader = bench.step()[0];
    let hosts: Vec<HostId> = bench.cluster.of(Role::Master).map(|i| bench.cluster.members[i].host).collect();
    assert!(bench.faults.cut_off(leader) && !bench.faults.talk(hosts[0], hosts[1]));
    assert!(bench.faults.talk(hosts[1], hosts[2]));
    bench.run(10);
    assert!(bench.counts()[0] > 0);
    bench.expire();
    assert!(!bench.faults.cut_off(leader) && bench.faults.talk(hosts[0], hosts[1]));
}

#[test]
fn the_end_of_a_grace_kills_no_later_start() {
    let mut bench = Bench::new("[{terminate: leader}, {restart: victim}]");
    let told = bench.step()[0];
    bench.run(5);
    assert_eq!(bench.cluster.notice_exits(&bench.lab), [0; 0], "it was asked to end");
    assert_eq!(bench.cluster.members[told].life, Life::Stopped);
    bench.step();
    bench.run(40);
    bench.expire();
    let member = &bench.cluster.members[told];
    assert_eq!((member.life, member.incarnation), (Life::Up, 2));
    assert_eq!(bench.counts(), [1]);
}

#[test]
fn a_master_at_another_address_is_found_by_its_name() {
    let mut bench = Bench::new("[{kill: leader}, {restart: {target: victim, new_address: true}}]");
    let moved = bench.step()[0];
    let before = bench.cluster.members[moved].ip;
    bench.run(1);
    bench.step();
    assert_ne!(bench.cluster.members[moved].ip, before);
    let others = bench.cluster.of(Role::Master).filter(|i| *i != moved).map(|i| bench.cluster.members[i].host);
    let others: Vec<HostId> = others.collect();
    let host = bench.cluster.members[moved].host;
    let heard = |bench: &Bench| others.iter().map(|o| bench.lab.world.link_counters(*o, host).sent).sum::<u64>();
    let sent = heard(&bench);
    bench.run(60);
    assert!(heard(&bench) > sent + 10, "nobody found it");
    let term = |i: usize| bench.cluster.facts(i).map(|facts| facts.term);
    assert!(bench.cluster.leader().is_some());
    let terms: Vec<_> = bench.cluster.of(Role::Master).map(term).collect();
    assert!(terms.iter().all(|t| *t == terms[0] && t.is_some()), "{terms:?}");
}

#[test]
fn who_uses_a_mount_shares_its_fate() {
    let mut bench = Bench::new("[{freeze: fuse/0}, {thaw: fuse/0}, {kill: fuse/0}]");
    let fuse = bench.cluster.of(Role::Fuse).next().unwrap();
    let nap = async {
        for _ in 0..3 {
            crate::rt::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let guest = bench.lab.world.start(bench.cluster.members[fuse].host, "client", Box::pin(nap)).unwrap();
    bench.cluster.members[fuse].guests.push(guest);
    bench.step();
    bench.run(10);
    assert!(bench.lab.world.running(guest), "frozen with its mount");
    bench.step();
    bench.run(1);
    bench.step();
    assert!(!bench.lab.world.running(guest));
    assert_eq!(bench.counts(), [1, 1]);
}
