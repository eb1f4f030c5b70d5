//! What must be true of a scenario beyond its form.
//!
//! Pure functions from a scenario to problems; each names the place by its path in the document, such as
//! `steps.3.kill`, and says what to write instead.

mod manifests;

mod names;

use super::diagnostic::closest;
use super::manifest::ManifestSource;
use super::step::Step;
use super::value::Span;
use super::workload::SizeRange;
use super::world::{Burst, Latency, SpanRange, UnderStore};
use super::{ExpectedVerdict, Spec, url_host};
use crate::oracle::Violation;
use crate::stack::ufs::bucket::BucketUrl;

pub use manifests::{dataset, runtime};
pub use names::names;

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
            Latency::Lognormal(l) => {
                let message = format!("longer than the longest, {}", l.max);
                self.unless(l.median <= l.max, &format!("{place}.lognormal.median"), &message, "write at most that");
            }
            Latency::Pareto(p) => {
                let place = format!("{place}.pareto");
                self.spans(&place, SpanRange { min: p.min, max: p.max });
                let help = "write one such as 1500";
                self.unless(p.shape_milli > 0, &format!("{place}.shape_milli"), "a tail without end", help);
            }
        }
    }

    fn burst(&mut self, place: &str, burst: &Burst) {
        for (side, odds, message) in
            [("enter", burst.enter, "no burst ever begins"), ("exit", burst.exit, "a burst never ends")]
        {
            self.unless(odds.num > 0, &format!("{place}.{side}"), message, "write one such as 1/4");
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
    commands(&mut found, spec);
    under_stores(&mut found, spec);
    parameters(&mut found, spec);
    workload(&mut found, spec);
    limits(&mut found, spec);
    verdict(&mut found, spec);
    found.0
}

fn commands(found: &mut Problems, spec: &Spec) {
    for (i, step) in spec.steps.iter().enumerate() {
        let Step::Run(run) = step else { continue };
        if !run.command.uses_kubectl() {
            continue;
        }
        let help = "add `kubernetes: {}` to the scenario";
        found.unless(spec.kubernetes.is_some(), &format!("steps.{i}.run"), "kubectl without Kubernetes", help);
        let help = "leave `on` out";
        found.unless(run.on.is_none(), &format!("steps.{i}.run.on"), "kubectl is typed on the user's host", help);
    }
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
        if store.is_bucket() {
            bucket(found, &place, store);
        } else {
            web(found, &place, store);
        }
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

fn web(found: &mut Problems, place: &str, store: &UnderStore) {
    let rest = store.url.strip_prefix("https://").or_else(|| store.url.strip_prefix("http://"));
    let fine = rest.is_some_and(|rest| !url_host(rest).is_empty() && rest.contains('/') && rest.ends_with('/'));
    let help = "write one such as https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/ or oss://bucket/dir/";
    found.unless(fine, &format!("{place}.url"), "this is not a web location that ends with `/`, nor a bucket", help);
    for (field, given) in [("endpoint", store.endpoint.is_some()), ("credentials", store.credentials.is_some())] {
        found.unless(!given, &format!("{place}.{field}"), "a web location has none", "leave it out");
    }
}

fn bucket(found: &mut Problems, place: &str, store: &UnderStore) {
    match store.url.parse::<BucketUrl>() {
        Ok(_) if store.url.ends_with('/') => {}
        Ok(_) => found.add(format!("{place}.url"), "this does not end with `/`", format!("write {}/", store.url)),
        Err(error) => found.add(format!("{place}.url"), error.to_string(), "write one such as oss://bucket/dir/"),
    }
    let help = "write the host that serves it, such as oss-cn-beijing.aliyuncs.com";
    match &store.endpoint {
        None => found.add(place, "a bucket has no `endpoint`", help),
        Some(endpoint) => {
            let (host, port) = endpoint.split_once(':').unwrap_or((endpoint, "80"));
            let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            let fine = !host.is_empty() && host.bytes().all(legal) && port.parse::<u16>().is_ok_and(|port| port > 0);
            found.unless(fine, &format!("{place}.endpoint"), "this is no name of a host", help);
        }
    }
    let help = "write `credentials: {keys: {id: ..., secret: ...}}`, or `{secret: {name: ..., id: ..., secret: ...}}`";
    found.unless(store.credentials.is_some(), place, "a bucket that lets nobody in", help);
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
    // Half of it is openraft's election timeout, which must leave room for a heartbeat that is late.
    let shortest = Span(all.raft.heartbeat.0.saturating_mul(12) / 5);
    let message = format!("too short for a heartbeat of {}", all.raft.heartbeat);
    found.unless(
        all.raft.election_timeout.max >= shortest,
        "parameters.raft.election_timeout.max",
        &message,
        &format!("write {shortest} or more, or a shorter heartbeat"),
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
