//! Rows of the dataset and its runtime, beside what is true at that moment.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sets::{Sets, Stored};
use crate::base::SimTime;
use crate::kube::client::decoded;
use crate::kube::controllers::node_lifecycle::NodeLifecycleConfig;
use crate::kube::fluid::api::{AlluxioRuntime, Dataset, GooseFsRuntime, JindoRuntime, RuntimeStatus};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::install::runtime_controller;
use crate::kube::store::{Object, Store};
use crate::oracle::cluster::{CacheTruth, LostWorkers, RowSeen};
use crate::sim::cluster::{Cluster, cached_bytes};
use crate::sim::kubernetes::{Kubernetes, Node, Part};
use crate::sim::scenario::Scenario;
use crate::sim::scenario::target::Role;
use crate::world::lab::Lab;

/// Between two looks: Fluid's own shortest interval.
const EVERY: Duration = Duration::from_secs(5);

/// All rows.
#[derive(Default)]
pub(super) struct Rows {
    all: Vec<RowSeen>,
    looked: Option<SimTime>,
    stored: Stored,
    /// As they were at the last look.
    sets: Option<Sets>,
    workers: Workers,
    dark: DarkNodes,
    /// What the last look was about, if the rows were right. Seen again it tells nothing: rows that are right need no later
    /// look to be judged.
    right: Option<Signs>,
    /// The dataset was bound once: before that its phase is an aim.
    bound: bool,
    /// How often it was unbound since.
    unbound: u32,
}

/// All that a look tells follows from this.
#[derive(Debug, PartialEq, Eq)]
struct Signs {
    /// The store's decisive revision, of which the rows are.
    revision: u64,
    truth: CacheTruth,
    /// Why whoever writes the rows cannot see.
    blind: Option<String>,
}

/// When each worker ran last and what it had, by its node, which has one of a dataset at most.
#[derive(Default)]
struct Workers(BTreeMap<String, (SimTime, u64)>);

impl Workers {
    /// Takes down those that run now. Gives the bytes of those that ran within `patience` and do not, and how many they are.
    fn note(&mut self, running: BTreeMap<String, u64>, now: SimTime, patience: Duration) -> (u64, u64) {
        self.0.extend(running.into_iter().map(|(node, bytes)| (node, (now, bytes))));
        self.0.retain(|_, (ran, _)| now.since(*ran) <= patience);
        let gone = self.0.values().filter(|(ran, _)| *ran != now);
        gone.fold((0, 0), |(bytes, count), (_, own)| (bytes + own, count + 1))
    }
}

/// What a runtime says of itself, once it does. Whoever watches it has decoded the same.
fn runtime_status(runtime: &Object, flavor: Flavor) -> Option<RuntimeStatus> {
    let json = runtime.json();
    match flavor {
        Flavor::Alluxio => decoded::<AlluxioRuntime>(json).ok()?.status.clone(),
        Flavor::GooseFs => decoded::<GooseFsRuntime>(json).ok()?.status.clone(),
        Flavor::Jindo => decoded::<JindoRuntime>(json).ok()?.status.clone(),
    }
}

/// Since when nodes have no power.
#[derive(Default)]
struct DarkNodes(BTreeMap<String, SimTime>);

impl DarkNodes {
    /// Takes down which nodes have power. Names one that has none and that Kubernetes has not missed yet: until then its pods
    /// are ready to everybody else.
    fn note<'a>(&mut self, nodes: impl Iterator<Item = (&'a str, bool)>, now: SimTime) -> Option<String> {
        let config = NodeLifecycleConfig::default();
        let mut unmissed = None;
        for (name, powered) in nodes {
            if powered {
                self.0.remove(name);
                continue;
            }
            let since = *self.0.entry(name.to_owned()).or_insert(now);
            if now.since(since) <= config.grace.monitor + config.period {
                unmissed = Some(name.to_owned());
            }
        }
        unmissed
    }
}

/// Where and when a look is taken.
#[derive(Clone, Copy)]
struct Scene<'a> {
    lab: &'a Lab,
    cluster: &'a Cluster,
    kubernetes: &'a Kubernetes,
    scenario: &'a Scenario,
    sets: Sets,
    now: SimTime,
}

impl Rows {
    /// Reads the rows and reckons the truth.
    pub fn look(&mut self, lab: &Lab, cluster: &Cluster, scenario: &Scenario, now: SimTime) {
        let Some(kubernetes) = &cluster.kubernetes else { return };
        let sets = self.stored.sets(kubernetes, scenario);
        if !self.is_due(sets, now) {
            return;
        }
        let scene = Scene { lab, cluster, kubernetes, scenario, sets, now };
        let signs = self.bound.then(|| self.signs(scene));
        if self.right.is_none() || self.right != signs {
            self.right = None;
            self.tell(scene, signs);
        }
    }

    /// Adds the rows as they are.
    fn tell(&mut self, scene: Scene<'_>, signs: Option<Signs>) {
        let Scene { kubernetes, scenario, now, .. } = scene;
        let Some(spec) = &scenario.spec.kubernetes else { return };
        let meta = &scenario.dataset.metadata;
        let find = |word: &str| kubernetes.object(word, &meta.namespace, &meta.name);
        let flavor = scenario.runtime.flavor();
        let runtimes = format!("{}runtimes", flavor.word());
        // Fluid unbinds a dataset whose runtime goes; what its row says then is an aim again.
        let runtime = find(&runtimes).filter(|runtime| !runtime.is_deleting());
        let dataset = find("datasets").filter(|_| runtime.is_some());
        let dataset = dataset.and_then(|dataset| decoded::<Dataset>(dataset.json()).ok());
        let Some(dataset) = dataset.as_ref().and_then(|dataset| dataset.status.as_ref()) else {
            // One that is bound again is another one to whoever judges.
            self.unbound += u32::from(std::mem::take(&mut self.bound));
            return;
        };
        self.bound |= dataset.phase.to_string() == "Bound";
        if !self.bound {
            return;
        }
        let signs = signs.unwrap_or_else(|| self.signs(scene));
        let mut name = format!("{}/{}", meta.namespace, meta.name);
        if self.unbound > 0 {
            name += &format!(", bound again ({})", self.unbound);
        }
        let mut row = signs.truth.dataset(now, &name, dataset, spec.fluid.profile().health, flavor);
        if scenario.spec.workload.clients > 0 {
            // It changes with every write: the row may show what was true between two looks.
            row.cells.iter_mut().filter(|cell| cell.name == "cached").for_each(|cell| cell.truth.clear());
        }
        let runtime = runtime.and_then(|runtime| runtime_status(&runtime, flavor));
        let runtime = runtime.map(|runtime| signs.truth.runtime(now, &name, &runtime));
        let rows = [row].into_iter().chain(runtime).map(|row| RowSeen { blind: signs.blind.clone(), ..row });
        let begin = self.all.len();
        self.all.extend(rows);
        self.right = self.all[begin..].iter().all(RowSeen::is_right).then_some(signs);
    }

    fn signs(&mut self, scene: Scene<'_>) -> Signs {
        let Scene { kubernetes, scenario, now, .. } = scene;
        let truth = self.truth(scene);
        let nodes = kubernetes.nodes.iter().map(|node| (node.machine.id.node.as_str(), node.powered));
        let unmissed = self.dark.note(nodes, now);
        let unmissed = unmissed.map(|node| format!("{node} is without power and not missed yet"));
        let blind = blind(scene.cluster).or_else(|| unwritten(kubernetes, scenario.runtime.flavor())).or(unmissed);
        Signs { revision: kubernetes.server.look(Store::decisive_revision), truth, blind }
    }

    /// Every so often, and whenever a set has changed: Fluid may have come by while a pod was away for a second.
    fn is_due(&mut self, sets: Sets, now: SimTime) -> bool {
        let due = self.sets != Some(sets) || self.looked.is_none_or(|at| now.since(at) >= EVERY);
        if due {
            (self.sets, self.looked) = (Some(sets), Some(now));
        }
        due
    }

    fn truth(&mut self, scene: Scene<'_>) -> CacheTruth {
        let Scene { scenario, sets: Sets { masters, workers, fuses }, .. } = scene;
        let runtime = &scenario.runtime;
        let quota: u64 = runtime.tieredstore().levels.iter().flat_map(|l| l.dirs()).map(|(_, q)| q).sum();
        let running = stores(scene.lab, scene.kubernetes, &runtime.flavor().worker(&runtime.metadata().name));
        let (cached, capacity) = (running.values().sum(), quota * running.len() as u64);
        let knobs = &scenario.spec.parameters.master;
        let patience = knobs.worker_timeout.0 + knobs.lost_worker_detection.0;
        let (bytes, gone) = self.workers.note(running, scene.now, patience);
        let lost = LostWorkers { cached: bytes, capacity: quota * gone };
        let (under_stores, files) = below(scene.cluster, scenario);
        CacheTruth { masters, workers, fuses, cached, capacity, lost, under_stores, files }
    }

    /// All of them.
    pub fn told(self) -> Vec<RowSeen> {
        self.all
    }
}

/// Fluid asks master 0 and nobody else.
fn blind(cluster: &Cluster) -> Option<String> {
    let first = cluster.of(Role::Master).next()?;
    let member = &cluster.members[first];
    (member.process.is_none() || !member.running()).then(|| format!("{} does not answer", member.plan.name))
}

/// Nobody writes the rows while their controller is away: its pod tolerates every taint and stays on a node that is dead.
fn unwritten(kubernetes: &Kubernetes, flavor: Flavor) -> Option<String> {
    let controller = runtime_controller(flavor);
    let own = |pod: &str| pod.strip_prefix(controller.as_str()).is_some_and(|rest| rest.starts_with('-'));
    kubernetes.running(own, |_| true).is_none().then(|| format!("no {controller} runs"))
}

/// Bytes of blocks of the workers that run, by node. A worker that was scaled out is none of the scenario's members.
fn stores(lab: &Lab, kubernetes: &Kubernetes, set: &str) -> BTreeMap<String, u64> {
    let of_set = |pod: &str| pod.rsplit_once('-').is_some_and(|(own, _)| own == set);
    let bytes = |node: &Node| {
        let seen = node.running(of_set, |part| matches!(part, Part::Worker(_)))?;
        let Part::Worker(store) = seen.part else { return None };
        let bytes = cached_bytes(lab, node.machine.id.host, store.get().map_or(&[][..], Vec::as_slice));
        Some((node.machine.id.node.clone(), bytes))
    };
    kubernetes.nodes.iter().filter_map(bytes).collect()
}

/// Bytes and number of the under-stores' files below the dataset's mounts.
fn below(cluster: &Cluster, scenario: &Scenario) -> (u64, u64) {
    let of = |mount: &crate::kube::fluid::api::Mount| cluster.programs().bytes_below(&mount.mount_point);
    scenario.dataset.spec.mounts.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::cluster::SetTruth;

    fn at(ms: u64) -> SimTime {
        SimTime::from_millis(ms)
    }

    #[test]
    fn a_pod_that_was_away_for_a_second_is_seen() {
        let of = |ready| Sets {
            masters: Some(SetTruth { desired: 3, there: 3, ready }),
            workers: None,
            fuses: SetTruth::default(),
        };
        let mut rows = Rows::default();
        let seen =
            [(0, 3, true), (1_000, 3, false), (1_200, 2, true), (2_200, 3, true), (7_100, 3, false), (7_200, 3, true)];
        for (ms, ready, due) in seen {
            assert_eq!(rows.is_due(of(ready), at(ms)), due, "{ms} ms");
        }
    }

    #[test]
    fn a_worker_that_is_gone_counts_until_the_masters_miss_it() {
        let patience = Duration::from_secs(310);
        let running = |all: &[(&str, u64)]| all.iter().map(|(node, bytes)| ((*node).to_owned(), *bytes)).collect();
        let mut workers = Workers::default();
        assert_eq!(workers.note(running(&[("a", 10), ("b", 20)]), at(0), patience), (0, 0));
        assert_eq!(workers.note(running(&[("a", 11)]), at(5_000), patience), (20, 1));
        assert_eq!(workers.note(running(&[("a", 11)]), at(310_000), patience), (20, 1));
        assert_eq!(workers.note(running(&[("a", 11)]), at(311_000), patience), (0, 0));
        assert_eq!(workers.note(running(&[("a", 11), ("b", 0)]), at(320_000), patience), (0, 0), "it is back");
    }

    #[test]
    fn a_node_without_power_is_missed_after_45_s() {
        let mut dark = DarkNodes::default();
        let mut look = |powered, ms| dark.note([("a", true), ("b", powered)].into_iter(), at(ms)).is_some();
        let seen = [(true, 0), (false, 10_000), (false, 55_000), (false, 55_001), (true, 60_000), (false, 61_000)];
        assert_eq!(seen.map(|(powered, ms)| look(powered, ms)), [false, true, true, false, false, true]);
    }
}
