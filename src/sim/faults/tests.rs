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
    // Long enough for a standby's timers, too: the seed chose who really leads.
    bench.run(5);
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

#[test]
fn connects_that_fail_and_connections_that_are_reset_are_counted_and_end() {
    let cut = "{from: masters, to: masters}";
    let fails = |how: &str| format!("{{connect_fails: {{from: masters, to: masters, how: {how}, for: 20s}}}}");
    for how in ["refused", "dropped"] {
        let mut bench = Bench::new(&format!("[{}, {{reset_connections: {cut}}}]", fails(how)));
        bench.step();
        bench.step();
        bench.run(20);
        bench.expire();
        let counts = bench.counts();
        assert!(counts.iter().all(|count| *count > 0), "{how}: {counts:?}");
        bench.run(180);
        assert_eq!(bench.counts(), counts, "{how}: it is over");
        assert!(bench.cluster.leader().is_some(), "{how}");
    }
}

#[test]
fn spoiled_lookups_are_counted_by_what_spoils_them_and_end() {
    for what in ["answers: unknown", "answers: silent", "latency: {const: 3s}"] {
        let dns = format!("{{dns: {{target: masters, {what}, for: 15s}}}}");
        let mut bench = Bench::new(&format!("[{dns}, {{reset_connections: {{from: masters, to: masters}}}}]"));
        bench.step();
        bench.step();
        bench.run(15);
        bench.expire();
        let counts = bench.counts();
        assert!(counts.iter().all(|count| *count > 0), "{what}: {counts:?}");
        bench.run(180);
        assert_eq!(bench.counts(), counts, "{what}: it is over");
        assert!(bench.cluster.leader().is_some(), "{what}");
    }
}

#[test]
fn a_stale_resolver_sends_its_host_to_where_a_master_was() {
    let steps = "[{dns: {target: fuse/0, answers: stale}}, {kill: master/0}, \
                 {restart: {target: victim, new_address: true}}, {heal: all}]";
    let mut bench = Bench::new(steps);
    let fuse = bench.cluster.of(Role::Fuse).next().unwrap();
    let moved = bench.cluster.of(Role::Master).next().unwrap();
    let found = |bench: &Bench| {
        let answer = std::sync::Arc::new(std::sync::Mutex::new(None));
        let (slot, name) = (answer.clone(), format!("{}:1", bench.cluster.members[moved].plan.name));
        let ask = async move {
            let found = crate::rt::net::lookup_host(&name).await;
            *crate::base::lock(&slot) = found.ok().map(|addresses| addresses[0].ip());
        };
        bench.lab.world.start(bench.cluster.members[fuse].host, "ask", Box::pin(ask)).unwrap();
        bench.run(1);
        *crate::base::lock(&answer)
    };
    let before = Some(bench.cluster.members[moved].ip.into());
    bench.step();
    assert_eq!((found(&bench), bench.counts()), (before, vec![0]), "nothing has moved yet");
    bench.step();
    bench.step();
    assert_eq!((found(&bench), bench.counts()[0]), (before, 1));
    bench.step();
    let now = Some(bench.cluster.members[moved].ip.into());
    assert_ne!(now, before);
    assert_eq!((found(&bench), bench.counts()[0]), (now, 1));
}

#[test]
fn bursts_and_long_tails_are_laid_over_links() {
    let rule = "{from: masters, to: masters, burst: {enter: 1/5, exit: 1/3}, \
                latency: {pareto: {min: 2ms, shape_milli: 1500, max: 1s}}}";
    let mut bench = Bench::new(&format!("[{{degrade: {rule}}}]"));
    let hosts: Vec<HostId> = bench.cluster.of(Role::Master).map(|i| bench.cluster.members[i].host).collect();
    let lost = |bench: &Bench| {
        let pairs = hosts.iter().flat_map(|a| hosts.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        pairs.map(|(a, b)| bench.lab.world.link_counters(a, b).lost).sum::<u64>()
    };
    assert_eq!(lost(&bench), 0);
    bench.step();
    bench.run(60);
    assert!(bench.counts()[0] > 0 && lost(&bench) > 5, "{:?}, {} lost", bench.counts(), lost(&bench));
    let rule = bench.lab.world.link(hosts[0], hosts[1]).unwrap();
    assert!(matches!(rule.latency, crate::world::engine::Latency::Pareto { shape_milli: 1500, .. }));
}
