//! Names and order of the story: hosts that are there, expectations that can be met.
//!
//! Roles such as `leader` are resolved in the run; here only what can never be is refused.

use super::{Problem, Problems};
use crate::sim::scenario::diagnostic::closest;
use crate::sim::scenario::fault::Fault;
use crate::sim::scenario::step::{LeaderExpect, Step};
use crate::sim::scenario::target::{Role, Target, Targets};
use crate::sim::scenario::{PlannedHost, Scenario};

/// Problems of names: hosts in steps and links that are not in the cluster.
pub fn names(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    let hosts = Hosts::of(scenario);
    for (i, link) in scenario.spec.links.iter().enumerate() {
        for (side, targets) in [("from", &link.from), ("to", &link.to)] {
            let place = format!("links.{i}.{side}");
            let Some(targets) = targets else { continue };
            hosts.check(&mut found, &place, targets);
            let changing =
                |t: &&Target| matches!(t, Target::Leader | Target::Follower | Target::Followers | Target::Victim);
            if let Some(target) = targets.0.iter().find(changing) {
                found.add(
                    &place,
                    format!("`{target}` changes while the run goes on"),
                    "write masters, master/0 or a name",
                );
            }
        }
        if let Some(latency) = &link.latency {
            found.latency(&format!("links.{i}.latency"), latency);
        }
        if let Some(burst) = &link.burst {
            found.burst(&format!("links.{i}.burst"), burst);
        }
        let fine = link.bandwidth.as_ref().is_none_or(|b| b.get() > 0);
        found.unless(fine, &format!("links.{i}.bandwidth"), "a link without bandwidth", "write one such as 1Gi");
    }
    let (mut hit, mut typed) = (false, false);
    for (i, step) in scenario.spec.steps.iter().enumerate() {
        let place = format!("steps.{i}.{}", step.name());
        match step {
            Step::Wait(_) => {}
            Step::Run(run) => {
                typed = true;
                if let Some(on) = &run.on {
                    hosts.check(&mut found, &format!("{place}.on"), &on.clone().into());
                    let fine = !matches!(on, Target::Member(Role::UnderStore, _) | Target::UnderStores);
                    found.unless(fine, &format!("{place}.on"), "no commands run there", "write a host of the cluster");
                }
            }
            Step::Expect(expect) => {
                let help = "write one of leader, service, live_workers, snapshots_installed, output";
                found.unless(!expect.is_empty(), &place, "nothing is expected", help);
                let fine = typed || expect.output.is_none();
                found.unless(fine, &format!("{place}.output"), "no command was run yet", "put a `run` step before it");
                let compares = matches!(expect.leader, Some(LeaderExpect::Changed | LeaderExpect::Unchanged));
                let help = "write present, or put a fault before it";
                found.unless(hit || !compares, &format!("{place}.leader"), "no fault happened yet", help);
                let lasts = expect.service.is_none() || expect.within.is_some();
                let message = "one moment says nothing about the service";
                found.unless(lasts, &format!("{place}.service"), message, "add `within`: by when, or for how long");
                let workers = expect.live_workers.unwrap_or(0);
                let there = scenario.runtime.workers();
                let message = format!("{workers} live workers, and the runtime has {there}");
                found.unless(workers <= there, &format!("{place}.live_workers"), &message, "write at most that many");
            }
            Step::Fault(fault) => {
                check_fault(&mut found, &hosts, &place, fault, hit);
                hit |= !fault.is_remedy();
            }
        }
    }
    found.0
}

fn check_fault(found: &mut Problems, hosts: &Hosts, place: &str, fault: &Fault, hit: bool) {
    let key = match fault {
        Fault::Partition(_)
        | Fault::Hold(_)
        | Fault::Degrade(_)
        | Fault::ResetConnections(_)
        | Fault::ConnectFails(_) => "from",
        _ => "target",
    };
    hosts.check(found, &format!("{place}.{key}"), fault.target());
    let victim = fault.target().0.contains(&Target::Victim);
    found.unless(
        hit || !victim,
        &format!("{place}.{key}"),
        "nothing was hit yet",
        "put a fault before it, or name a host",
    );
    match fault {
        Fault::Partition(cut) | Fault::Hold(cut) => hosts.check(found, &format!("{place}.to"), &cut.to),
        Fault::Degrade(links) => {
            hosts.check(found, &format!("{place}.to"), &links.to);
            let fine = links.latency.is_some() || links.loss.is_some() || links.burst.is_some();
            found.unless(fine, place, "nothing gets worse", "add `latency`, `loss` or `burst`");
            if let Some(latency) = &links.latency {
                found.latency(&format!("{place}.latency"), latency);
            }
            if let Some(burst) = &links.burst {
                found.burst(&format!("{place}.burst"), burst);
            }
        }
        Fault::ResetConnections(links) => hosts.check(found, &format!("{place}.to"), &links.to),
        Fault::ConnectFails(links) => hosts.check(found, &format!("{place}.to"), &links.to),
        Fault::Dns(dns) => {
            let fine = dns.answers.is_some() || dns.latency.is_some();
            found.unless(fine, place, "nothing gets worse", "add `answers` or `latency`");
            if let Some(latency) = &dns.latency {
                found.latency(&format!("{place}.latency"), latency);
            }
        }
        Fault::BitRot(rot) => {
            let fine = rot.target.0.iter().all(|t| hosts.only(t, Role::Worker));
            found.unless(
                fine,
                &format!("{place}.target"),
                "only workers hold blocks",
                "write worker, workers or worker/0",
            );
        }
        Fault::DiskError(disk) => {
            found.unless(disk.odds.num > 0, &format!("{place}.odds"), "this never happens", "write one such as 1/2");
        }
        _ => {}
    }
}

/// The hosts of a cluster, by name and role.
struct Hosts(Vec<PlannedHost>);

impl Hosts {
    fn of(scenario: &Scenario) -> Self {
        Self(scenario.hosts())
    }

    fn count(&self, role: Role) -> usize {
        self.0.iter().filter(|host| host.role == role).count()
    }

    /// Whether a target means hosts of that role only.
    fn only(&self, target: &Target, role: Role) -> bool {
        match target {
            Target::Worker | Target::Workers => role == Role::Worker,
            Target::Victim => true,
            Target::Member(own, _) => *own == role,
            Target::Host(name) => self.0.iter().any(|host| host.name == *name && host.role == role),
            _ => false,
        }
    }

    fn check(&self, found: &mut Problems, place: &str, targets: &Targets) {
        found.unless(!targets.0.is_empty(), place, "no target", "name at least one");
        for (i, target) in targets.0.iter().enumerate() {
            let place = if targets.0.len() > 1 { format!("{place}.{i}") } else { place.to_string() };
            match target {
                Target::Member(role, index) => {
                    let count = self.count(*role);
                    let message = format!("there is no {target}: there are {count} of them");
                    let help = format!("write {role}/0 to {role}/{}", count.saturating_sub(1), role = role.as_str());
                    found.unless((*index as usize) < count, &place, &message, &help);
                }
                Target::Host(name) if !self.0.iter().any(|host| host.name == *name) => {
                    let mut known: Vec<&str> = Target::words().collect();
                    known.extend(self.0.iter().map(|host| host.name.as_str()));
                    let help = match closest(name, known) {
                        Some(known) => format!("did you mean `{known}`?"),
                        None => {
                            let names: Vec<&str> = self.0.iter().take(8).map(|host| host.name.as_str()).collect();
                            format!("write a role such as leader, or one of {}", names.join(", "))
                        }
                    };
                    found.add(place, format!("no host is called `{name}`"), help);
                }
                Target::UnderStores if self.count(Role::UnderStore) == 0 => {
                    found.add(place, "there is no under-store", "list it under `under_stores`");
                }
                Target::Nodes if self.count(Role::Node) == 0 => {
                    found.add(place, "the scenario has no Kubernetes", "add `kubernetes: {}`, or name another target");
                }
                Target::Follower | Target::Followers if self.count(Role::Master) < 2 => {
                    found.add(place, "one master has no followers", "raise spec.master.replicas of the runtime");
                }
                _ => {}
            }
        }
    }
}
