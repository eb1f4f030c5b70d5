//! What must be true of a scenario beyond its form.
//!
//! Pure functions from a scenario to problems; each names the place by its path in the document, such as
//! `steps.3.kill`, and says what to write instead.

use super::diagnostic::closest;
use super::fault::Fault;
use super::manifest::ManifestSource;
use super::step::{LeaderExpect, Step};
use super::target::{Role, Target, Targets};
use super::value::Span;
use super::workload::SizeRange;
use super::world::{Latency, SpanRange};
use super::{ExpectedVerdict, Scenario, Spec, url_host};
use crate::kube::fluid::api::{self, Level};
use crate::kube::quantity::Quantity;
use crate::oracle::Violation;

/// Nodes that a scenario may have.
const MAX_NODES: usize = 1000;

/// One mistake of sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path in the document: keys and indexes joined by dots.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Collects problems.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Problem { place: place.into(), message: message.into(), help: help.into() });
    }

    fn unless(&mut self, fine: bool, place: &str, message: &str, help: &str) {
        if !fine {
            self.add(place, message, help);
        }
    }

    fn spans(&mut self, place: &str, range: SpanRange) {
        let message = format!("`min` is {} and `max` is {}", range.min, range.max);
        self.unless(range.min <= range.max, &format!("{place}.max"), &message, "write a `max` that is not below `min`");
    }

    fn sizes(&mut self, place: &str, range: &SizeRange) {
        let message = format!("`min` is {} and `max` is {}", range.min, range.max);
        let fine = range.min.get() <= range.max.get();
        self.unless(fine, &format!("{place}.max"), &message, "write a `max` that is not below `min`");
    }

    fn latency(&mut self, place: &str, latency: &Latency) {
        match latency {
            Latency::Const(_) => {}
            Latency::Uniform(range) => self.spans(&format!("{place}.uniform"), *range),
            Latency::Exponential(e) => {
                self.spans(&format!("{place}.exponential"), SpanRange { min: e.min, max: e.max });
            }
        }
    }
}

/// Problems of the spec by itself.
pub fn spec(path: &str, spec: &Spec) -> Vec<Problem> {
    let mut found = Problems::default();
    let stem = std::path::Path::new(path).file_stem().map(|s| s.to_string_lossy().into_owned());
    if let Some(stem) = stem.filter(|stem| *stem != spec.name) {
        found.add(
            "name",
            format!("the scenario is named `{}` and its file `{stem}`", spec.name),
            format!("write {stem}"),
        );
    }
    found.unless(
        !spec.about.trim().is_empty(),
        "about",
        "nothing is said",
        "say in a line what happens and what must hold",
    );
    nodes(&mut found, spec);
    for (i, source) in spec.manifests.iter().enumerate() {
        if let ManifestSource::File(name) = source {
            let place = format!("manifests.{i}");
            found.unless(!name.starts_with('/'), &place, "an absolute path", "write a path relative to this file");
        }
    }
    under_stores(&mut found, spec);
    parameters(&mut found, spec);
    workload(&mut found, spec);
    limits(&mut found, spec);
    verdict(&mut found, spec);
    found.0
}

fn nodes(found: &mut Problems, spec: &Spec) {
    let fine = (1..=MAX_NODES).contains(&spec.nodes.len());
    found.unless(fine, "nodes", &format!("{} nodes", spec.nodes.len()), "name between 1 and 1000 nodes");
    for (i, node) in spec.nodes.iter().enumerate() {
        let place = format!("nodes.{i}");
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        let fine = !node.is_empty() && node.len() <= 253 && node.bytes().all(legal);
        found.unless(fine, &place, "this is no name of a node", "write lower-case letters, digits, `-` and `.`");
        found.unless(!spec.nodes[..i].contains(node), &place, "a second node of this name", "give it another name");
    }
}

fn under_stores(found: &mut Problems, spec: &Spec) {
    for (i, store) in spec.under_stores.iter().enumerate() {
        let place = format!("under_stores.{i}");
        let rest = store.url.strip_prefix("https://").or_else(|| store.url.strip_prefix("http://"));
        let fine = rest.is_some_and(|rest| !url_host(rest).is_empty() && rest.contains('/') && rest.ends_with('/'));
        let help = "write one such as https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/";
        found.unless(fine, &format!("{place}.url"), "this is not a web location that ends with `/`", help);
        let mut seen: Vec<&str> = Vec::new();
        for (j, file) in store.files.iter().enumerate() {
            let place = format!("{place}.files.{j}.path");
            let parts = || file.path.split('/');
            let fine = parts().all(|part| !matches!(part, "" | "." | ".."))
                && !file.path.chars().any(|c| c.is_control() || matches!(c, '"' | '<' | '>' | '?' | '#' | '%'));
            found.unless(fine, &place, "this is no relative path", "write one such as docs/index.html");
            let inside =
                |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let clash = seen.iter().any(|other| inside(&file.path, other) || inside(other, &file.path));
            found.unless(!clash, &place, "this path is taken", "give each file its own path; a file is no directory");
            seen.push(&file.path);
        }
    }
}

fn parameters(found: &mut Problems, spec: &Spec) {
    let all = &spec.parameters;
    let nonzero = |found: &mut Problems, place: &str, span: Span| {
        let place = format!("parameters.{place}");
        found.unless(!span.0.is_zero(), &place, "this takes no time at all", "write a duration such as 1s");
    };
    nonzero(found, "raft.heartbeat", all.raft.heartbeat);
    nonzero(found, "raft.election_timeout.min", all.raft.election_timeout.min);
    nonzero(found, "worker.heartbeat", all.worker.heartbeat);
    nonzero(found, "master.lost_worker_detection", all.master.lost_worker_detection);
    nonzero(found, "client.retry_base", all.client.retry_base);
    nonzero(found, "client.request_timeout", all.client.request_timeout);
    found.spans("parameters.raft.election_timeout", all.raft.election_timeout);
    found.unless(
        all.raft.heartbeat < all.raft.election_timeout.min,
        "parameters.raft.heartbeat",
        "followers would stand for election between two heartbeats",
        "write less than election_timeout.min; Ratis takes half of it",
    );
    found.unless(all.raft.snapshot_every > 0, "parameters.raft.snapshot_every", "no entries", "write 1 or more");
    let segment = all.raft.segment_size.get();
    found.unless(segment >= 4096, "parameters.raft.segment_size", "too small", "write 4Ki or more");
    let block = all.master.block_size.get();
    found.unless(block >= 1024, "parameters.master.block_size", "too small for a block", "write 1Ki or more");
    found.unless(
        all.worker.heartbeat < all.master.worker_timeout,
        "parameters.worker.heartbeat",
        "every worker would count as lost between two heartbeats",
        "write less than master.worker_timeout",
    );
    let fine = all.client.retry_base <= all.client.retry_max;
    found.unless(fine, "parameters.client.retry_base", "longer than retry_max", "write at most retry_max");
    found.spans("parameters.disk.latency", all.disk.latency);
    found.spans("parameters.disk.sync", all.disk.sync);
    let bandwidth = all.disk.bandwidth.get();
    found.unless(bandwidth > 0, "parameters.disk.bandwidth", "a disk without bandwidth", "write one such as 500Mi");
    let fine = all.clock.drift_ppm <= 100_000;
    found.unless(fine, "parameters.clock.drift_ppm", "more than 10 percent", "write at most 100000");
}

fn workload(found: &mut Problems, spec: &Spec) {
    let load = &spec.workload;
    found.spans("workload.think_time", load.think_time);
    found.sizes("workload.file_size", &load.file_size);
    found.sizes("workload.read_size", &load.read_size);
    if load.clients == 0 {
        return;
    }
    found.unless(load.mix.total() > 0, "workload.mix", "clients without operations", "give at least one a weight");
    found.unless(load.paths > 0, "workload.paths", "no paths to work on", "write 1 or more");
    let fine = load.root.starts_with('/') && load.root.len() > 1 && !load.root.ends_with('/');
    found.unless(fine, "workload.root", "this is no directory below /", "write one such as /work");
    let paced = !load.think_time.max.0.is_zero() || load.operations.is_some();
    let help = "give `operations` a bound, or `think_time` a `max`";
    found.unless(paced, "workload.think_time", "clients that never pause and never end", help);
}

fn limits(found: &mut Problems, spec: &Spec) {
    let limits = &spec.limits;
    found.unless(!limits.time.0.is_zero(), "limits.time", "no time at all", "write one such as 30m");
    found.unless(limits.events > 0, "limits.events", "no events at all", "write one such as 50000000");
    found.unless(limits.events_per_second > 0, "limits.events_per_second", "no events at all", "write 1 or more");
    let waits = spec.steps.iter().map(|step| match step {
        Step::Wait(span) => span.0,
        _ => std::time::Duration::ZERO,
    });
    let story = waits.fold(std::time::Duration::ZERO, std::time::Duration::saturating_add);
    let message = format!("the steps alone wait for {}", Span(story));
    found.unless(story < limits.time.0, "limits.time", &message, "write more than that");
}

fn verdict(found: &mut Problems, spec: &Spec) {
    let declared: &[String] = match &spec.verdict {
        ExpectedVerdict::Violation(names) => names,
        _ => &[],
    };
    for (i, name) in declared.iter().enumerate().filter(|(_, name)| !Violation::NAMES.contains(&name.as_str())) {
        let help = match closest(name, Violation::NAMES.iter().copied()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("write one of {}", Violation::NAMES.join(", ")),
        };
        found.add(format!("verdict.violation.{i}"), format!("no violation is called `{name}`"), help);
    }
    let empty = matches!(&spec.verdict, ExpectedVerdict::Violation(names) if names.is_empty());
    found.unless(
        !empty,
        "verdict.violation",
        "no violation is named",
        "name the broken promise, such as LostAckedWrite",
    );
    let fine = spec.planted.is_none() || !declared.is_empty() || empty;
    let help = "write `verdict: {violation: [...]}` with the promise it breaks";
    found.unless(fine, "planted", "a planted bug must be caught", help);
}

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
                let help = "write one of leader, service, live_workers, output";
                found.unless(!expect.is_empty(), &place, "nothing is expected", help);
                let fine = typed || expect.output.is_none();
                found.unless(fine, &format!("{place}.output"), "no command was run yet", "put a `run` step before it");
                let compares = matches!(expect.leader, Some(LeaderExpect::Changed | LeaderExpect::Unchanged));
                let help = "write present, or put a fault before it";
                found.unless(hit || !compares, &format!("{place}.leader"), "no fault happened yet", help);
                let workers = expect.live_workers.unwrap_or(0);
                let there = scenario.runtime.spec.replicas;
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
        Fault::Partition(_) | Fault::Degrade(_) => "from",
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
        Fault::Partition(cut) => hosts.check(found, &format!("{place}.to"), &cut.to),
        Fault::Degrade(links) => {
            hosts.check(found, &format!("{place}.to"), &links.to);
            let fine = links.latency.is_some() || links.loss.is_some();
            found.unless(fine, place, "nothing gets worse", "add `latency` or `loss`");
            if let Some(latency) = &links.latency {
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
struct Hosts(Vec<super::PlannedHost>);

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
                Target::Follower | Target::Followers if self.count(Role::Master) < 2 => {
                    found.add(place, "one master has no followers", "raise spec.master.replicas of the runtime");
                }
                _ => {}
            }
        }
    }
}

/// Problems of the dataset.
pub fn dataset(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    let dataset = &scenario.dataset;
    name(&mut found, &dataset.metadata.name);
    found.unless(!dataset.spec.mounts.is_empty(), "spec.mounts", "nothing is mounted", "add a mount");
    for (i, mount) in dataset.spec.mounts.iter().enumerate() {
        let place = format!("spec.mounts.{i}");
        let others = &dataset.spec.mounts[..i];
        let taken = others.iter().any(|other| other.name == mount.name);
        found.unless(!taken, &format!("{place}.name"), "a second mount of this name", "give it another name");
        let taken = others.iter().any(|other| other.path() == mount.path());
        found.unless(!taken, &format!("{place}.path"), "a second mount at this path", "give it another path");
        let path = mount.path();
        let fine = path.starts_with('/') && !path.contains("..") && path.len() > 1;
        found.unless(fine, &format!("{place}.path"), "this is no path below /", "write one such as /hbase");
        let load = &scenario.spec.workload;
        let inside = load.clients > 0 && format!("{}/", load.root).starts_with(&format!("{path}/"));
        let message = format!("the workload writes below {}, and a web under-store is read-only", load.root);
        found.unless(!inside, &format!("{place}.path"), &message, "choose another workload.root");
        let served = scenario.spec.under_stores.iter().any(|store| mount.mount_point.starts_with(&store.url));
        let help = "add an entry with this url to `under_stores` of the scenario";
        found.unless(served, &format!("{place}.mountPoint"), "the scenario has no such under-store", help);
    }
    found.0
}

/// Problems of the runtime.
pub fn runtime(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    let runtime = &scenario.runtime;
    let (own, dataset) = (&runtime.metadata, &scenario.dataset.metadata);
    name(&mut found, &own.name);
    if own != dataset {
        let message = format!(
            "the runtime is {}/{} and the dataset {}/{}",
            own.namespace, own.name, dataset.namespace, dataset.name
        );
        found.add("metadata.name", message, format!("write {}: Fluid pairs them by name", dataset.name));
    }
    let masters = runtime.spec.master.replicas;
    let place = "spec.master.replicas";
    if masters.is_multiple_of(2) {
        let help = match masters {
            0 => "write 1 or 3: it must be a positive odd number, as the GooseFS document requires".to_string(),
            n => format!(
                "write {} or {}: it must be odd, as the GooseFS document requires; {n} masters survive no more failures than {}",
                n - 1,
                n + 1,
                n - 1
            ),
        };
        found.add(place, format!("the number of masters is even: {masters}"), help);
    }
    let nodes = scenario.spec.nodes.len();
    let many = |count: u32, what: &str| format!("{count} {what} and {nodes} node{}", if nodes == 1 { "" } else { "s" });
    let fits = |count: u32| (count as usize) <= nodes;
    let help = "write at most one per node, or add nodes: masters use the same port of their host";
    found.unless(fits(masters), place, &many(masters, "masters"), help);
    let workers = runtime.spec.replicas;
    found.unless(workers > 0, "spec.replicas", "no workers", "write 1 or more");
    let help = "write at most one per node, or add nodes: a dataset has its nodes for itself";
    found.unless(fits(workers), "spec.replicas", &many(workers, "workers"), help);
    let levels = &runtime.spec.tieredstore.levels;
    found.unless(!levels.is_empty(), "spec.tieredstore.levels", "no level", "add a level");
    for (i, one) in levels.iter().enumerate() {
        level(&mut found, &format!("spec.tieredstore.levels.{i}"), one);
        let taken = levels[..i].iter().any(|other| other.mediumtype == one.mediumtype);
        found.unless(
            !taken,
            &format!("spec.tieredstore.levels.{i}.mediumtype"),
            "a second level of this medium",
            "list its paths in one level",
        );
    }
    found.0
}

fn level(found: &mut Problems, place: &str, level: &Level) {
    let paths: Vec<&str> = level.path.split(',').map(str::trim).collect();
    let fine = paths.iter().all(|path| path.starts_with('/') && path.len() > 1);
    found.unless(fine, &format!("{place}.path"), "this is no absolute path", "write one such as /mnt/disk1");
    match (&level.quota, &level.quota_list) {
        (Some(_), Some(_)) => {
            found.add(format!("{place}.quotaList"), "both `quota` and `quotaList`", "keep one of them");
        }
        (None, None) => found.add(place, "no quota", "add `quota`, such as 2G"),
        (Some(quota), None) => {
            let fine = quota.get() >= paths.len() as u64;
            found.unless(fine, &format!("{place}.quota"), "no room for a byte", "write one such as 2G");
        }
        (None, Some(list)) => {
            let quotas: Vec<&str> = list.split(',').map(str::trim).collect();
            let place = format!("{place}.quotaList");
            let message = format!("{} quotas for {} paths", quotas.len(), paths.len());
            found.unless(quotas.len() == paths.len(), &place, &message, "write one per path");
            for error in quotas.iter().filter_map(|quota| quota.parse::<Quantity>().err()) {
                found.add(&place, error.to_string(), "write quantities such as 1Gi,2Gi");
            }
        }
    }
    let (high, low) = level.watermarks();
    let percent = |millionths: u32| f64::from(millionths) / 10_000.0;
    let message = format!("`low` is {} % and `high` is {} %", percent(low), percent(high));
    found.unless(low <= high, &format!("{place}.low"), &message, "write a `low` that is not above `high`");
}

fn name(found: &mut Problems, name: &str) {
    let help = "write lower-case letters, digits and `-`, beginning with a letter (a DNS-1035 label)";
    found.unless(api::is_dns1035(name), "metadata.name", &format!("Fluid refuses the name `{name}`"), help);
}
