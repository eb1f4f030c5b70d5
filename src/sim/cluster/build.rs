//! Makes the hosts, disks, clocks and links that a scenario asks for.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Cluster, Member, Programs};
use crate::base::time::nanos;
use crate::base::{HostId, Seed, Stream};
use crate::sim::kubernetes::{Ground, Kubernetes};
use crate::sim::scenario::target::Role;
use crate::sim::scenario::{self, PlannedHost, Scenario};
use crate::stack::worker::store::blocks_dir;
use crate::world::disk::{DiskConfig, DiskId, Timing};
use crate::world::engine::{Burst, Clock, Latency, LinkRule, Ratio};
use crate::world::lab::Lab;

/// Where every member's disk is mounted.
pub const DATA: &str = "/";

/// Builds the cluster; nothing runs yet.
pub fn build(lab: &Lab, scenario: &Scenario, seed: Seed) -> Cluster {
    let mut clocks = seed.stream("clocks", 0);
    let mut disks = seed.stream("disks", 0);
    let kubernetes = scenario.spec.kubernetes.as_ref().map(|spec| {
        Kubernetes::new(lab, scenario, spec, seed, |_| Ground {
            disk: disk_config(scenario, &mut disks),
            clock: clock(scenario, &mut clocks),
        })
    });
    let mut members = Vec::new();
    for plan in scenario.hosts() {
        let place = kubernetes.as_ref().and_then(|kubernetes| kubernetes.place(&plan));
        members.push(match place {
            Some((host, ip)) => Member::new(plan, host, ip),
            None => member(lab, scenario, plan, &mut clocks, &mut disks),
        });
    }
    link(lab, scenario, &members);
    let programs = Programs::new(scenario, &members);
    for member in members.iter_mut().filter(|member| member.plan.role == Role::Worker) {
        member.store = programs.store_dirs().map(blocks_dir).collect();
    }
    debug_assert!(members.is_sorted_by_key(|member| member.plan.role), "roles stand together");
    Cluster { members, programs, kubernetes, changes: 0, served: false, ended: None }
}

/// The address of a member after `moves` changes of address.
pub(super) fn address(role: Role, index: u32, moves: u32) -> Ipv4Addr {
    let net = match role {
        Role::Master => 1,
        Role::Worker => 2,
        Role::Fuse => 3,
        Role::UnderStore => 9,
        // Theirs are given by Kubernetes.
        Role::Node | Role::Control => 10,
    };
    let net = net + 20 * (moves % 12) as u8;
    Ipv4Addr::new(10, net, (index / 250) as u8, (index % 250) as u8 + 1)
}

fn member(lab: &Lab, scenario: &Scenario, plan: PlannedHost, clocks: &mut Stream, disks: &mut Stream) -> Member {
    let ip = address(plan.role, plan.index, 0);
    let host = lab.world.add_host(&plan.name, ip);
    lab.world.set_clock(host, clock(scenario, clocks));
    let disk = matches!(plan.role, Role::Master | Role::Worker).then(|| disk(lab, scenario, host, disks));
    Member { disk, ..Member::new(plan, host, ip) }
}

/// Offset and drift within the scenario's bounds, either way.
fn clock(scenario: &Scenario, stream: &mut Stream) -> Clock {
    let bounds = &scenario.spec.parameters.clock;
    let mut either_way = |most: u64| {
        let size = i64::try_from(stream.range(0..=most)).unwrap_or(i64::MAX);
        if stream.ratio(1, 2) { -size } else { size }
    };
    Clock { drift_ppm: either_way(bounds.drift_ppm.into()), offset_ns: either_way(nanos(bounds.offset.0)) }
}

fn disk_config(scenario: &Scenario, stream: &mut Stream) -> DiskConfig {
    let params = &scenario.spec.parameters.disk;
    let timing =
        Timing { read: params.latency.draw(stream), sync: params.sync.draw(stream), bandwidth: params.bandwidth.get() };
    DiskConfig { capacity: params.size.get(), timing, ..DiskConfig::default() }
}

fn disk(lab: &Lab, scenario: &Scenario, host: HostId, stream: &mut Stream) -> DiskId {
    let disk = lab.disks.add_disk(disk_config(scenario, stream));
    let mounted = lab.disks.mount(host, DATA, disk);
    debug_assert!(mounted.is_ok(), "a new disk on a new host: {mounted:?}");
    disk
}

/// A scenario's distribution as the network's.
pub fn latency(latency: scenario::Latency) -> Latency {
    match latency {
        scenario::Latency::Const(span) => Latency::Const(span.0),
        scenario::Latency::Uniform(range) => Latency::Uniform { low: range.min.0, high: range.max.0 },
        scenario::Latency::Exponential(e) => Latency::Exponential { min: e.min.0, mean: e.mean.0, max: e.max.0 },
        scenario::Latency::Lognormal(l) => {
            Latency::LogNormal { median: l.median.0, sigma_milli: l.sigma_milli, max: l.max.0 }
        }
        scenario::Latency::Pareto(p) => Latency::Pareto { min: p.min.0, shape_milli: p.shape_milli, max: p.max.0 },
    }
}

/// A scenario's bursts as the network's.
pub fn burst(burst: scenario::Burst) -> Burst {
    Burst { enter: ratio(burst.enter), exit: ratio(burst.exit) }
}

/// Odds as the network takes them: 32 bits each, scaled down together where they are larger.
pub fn ratio(odds: scenario::Odds) -> Ratio {
    let shift = 64 - (odds.num.max(odds.den) >> 32).leading_zeros();
    Ratio { num: (odds.num >> shift) as u32, den: (odds.den >> shift) as u32 }
}

fn link(lab: &Lab, scenario: &Scenario, members: &[Member]) {
    let default = LinkRule {
        latency: Latency::Uniform { low: Duration::from_micros(100), high: Duration::from_micros(500) },
        ..LinkRule::default()
    };
    lab.world.set_default_link(default);
    let matches = |targets: &Option<scenario::Targets>, member: &Member| {
        targets.as_ref().is_none_or(|targets| targets.0.iter().any(|t| super::target::names(t, member)))
    };
    for rule in &scenario.spec.links {
        let own = LinkRule {
            latency: rule.latency.map_or(default.latency, latency),
            loss: rule.loss.map(ratio).unwrap_or_default(),
            burst: rule.burst.map(burst),
            bandwidth: rule.bandwidth.as_ref().map(|b| b.get()),
        };
        for from in members.iter().filter(|m| matches(&rule.from, m)) {
            for to in members.iter().filter(|m| m.host != from.host && matches(&rule.to, m)) {
                lab.world.set_link(from.host, to.host, Some(own));
                lab.world.set_link(to.host, from.host, Some(own));
            }
        }
    }
}
