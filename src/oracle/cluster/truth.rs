//! What a dataset's and a runtime's row should show, reckoned from what there is and not from what the controllers think.
//!
//! The rules are Fluid's own, written down a second time: which sets make a dataset `Failed` differs by version
//! ([`HealthRule`]), a phase follows from the pods that are ready, sizes have two decimals. Numbers that upstream leaves as
//! they were while a set is unhealthy are not judged then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cell, RowSeen, Share};
use crate::base::{ByteSize, SimTime};
use crate::kube::fluid::api::{CALCULATING, DatasetStatus, RuntimeStatus};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::profile::HealthRule;

/// Pods of one set, as their nodes have them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetTruth {
    /// Asked for.
    pub desired: u32,
    /// That there are.
    pub there: u32,
    /// Whose containers run and are ready.
    pub ready: u32,
}

/// Workers that are gone, and that the masters have not missed yet: they do after five minutes of silence.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWorkers {
    /// Bytes of blocks that they had.
    pub cached: u64,
    /// Bytes that they could keep.
    pub capacity: u64,
}

/// A cache at one instant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheTruth {
    /// `None` if the set is gone.
    pub masters: Option<SetTruth>,
    /// `None` if the set is gone.
    pub workers: Option<SetTruth>,
    /// Fuse pods.
    pub fuses: SetTruth,
    /// Bytes of blocks on the disks of the workers that run.
    pub cached: u64,
    /// Bytes that these workers may keep.
    pub capacity: u64,
    /// What the masters may count on top.
    pub lost: LostWorkers,
    /// Bytes of all files of the under-stores.
    pub under_stores: u64,
    /// How many files these are.
    pub files: u64,
}

fn cell(name: &str, shown: impl ToString, truth: impl IntoIterator<Item = String>) -> Cell {
    Cell { name: name.into(), shown: shown.to_string(), truth: truth.into_iter().collect(), once: false }
}

impl CacheTruth {
    /// Whether the controllers would go on with the rest of a round: if not, numbers stay as they were.
    fn healthy(&self, rule: HealthRule) -> bool {
        [self.masters, self.workers].into_iter().all(|set| match (set, rule) {
            (None, _) => false,
            (Some(set), HealthRule::AnyNotReady) => set.there == set.ready,
            (Some(set), HealthRule::SetGone) => set.desired == 0 || set.ready > 0,
        })
    }

    fn phases(&self, rule: HealthRule) -> &'static [&'static str] {
        let gone = self.masters.is_none() || self.workers.is_none();
        if gone || rule == HealthRule::AnyNotReady && !self.healthy(rule) {
            &["Failed"]
        } else {
            &["Bound", "Updating"]
        }
    }

    /// The row of a dataset that was bound once. Before that its phase is an aim, not a truth.
    pub fn dataset(&self, at: SimTime, name: &str, shown: &DatasetStatus, rule: HealthRule, flavor: Flavor) -> RowSeen {
        // Until the masters miss a worker they count it, and what it had.
        let size = |bytes: u64, lost: u64| {
            let mut sizes = vec![ByteSize(bytes).to_string(), ByteSize(bytes.saturating_add(lost)).to_string()];
            sizes.dedup();
            if self.healthy(rule) { sizes } else { Vec::new() }
        };
        let state = |name: &str| shown.cache_states.get(name).cloned().unwrap_or_default();
        // Loading may take as long as it takes, and nothing is ever loaded again.
        let once = |name: &str, shown: &str, truth: String| {
            let truth = [truth, String::new(), CALCULATING.into()];
            Cell { once: true, ..cell(name, shown, truth) }
        };
        let cells = vec![
            cell("phase", shown.phase, self.phases(rule).iter().map(ToString::to_string)),
            once("ufsTotal", &shown.ufs_total, ByteSize(self.under_stores).to_string()),
            once("fileNum", &shown.file_num, self.files.to_string()),
            cell("cached", state("cached"), size(self.cached, self.lost.cached)),
            cell("cacheCapacity", state("cacheCapacity"), size(self.capacity, self.lost.capacity)),
            cell("cachedPercentage", state("cachedPercentage"), None),
        ];
        let share = if flavor == Flavor::Jindo { Share::AtMostWhole } else { Share::Unbounded };
        let share = Some(share).filter(|_| shown.cache_states.contains_key("cachedPercentage"));
        RowSeen { share, ..row(at, format!("dataset {name}"), cells) }
    }

    /// The row of a runtime that was set up once.
    pub fn runtime(&self, at: SimTime, name: &str, shown: &RuntimeStatus) -> RowSeen {
        let gone = SetTruth { desired: 1, ..SetTruth::default() };
        let (masters, workers) = (self.masters.unwrap_or(gone), self.workers.unwrap_or(gone));
        let number = |n: u32| [n.to_string()];
        let cells = vec![
            cell("masterPhase", shown.master_phase, [phase(masters)]),
            cell("masterNumberReady", shown.master_number_ready, number(masters.ready)),
            cell("workerPhase", shown.worker_phase, [phase(workers)]),
            cell("workerNumberReady", shown.worker_number_ready, number(workers.ready)),
            // Fluid's fuse phase is always that.
            cell("fusePhase", shown.fuse_phase, ["Ready".to_string()]),
            cell("fuseNumberReady", shown.fuse_number_ready, number(self.fuses.ready)),
        ];
        row(at, format!("runtime {name}"), cells)
    }
}

fn row(at: SimTime, object: String, cells: Vec<Cell>) -> RowSeen {
    RowSeen { at, object, cells, within: WITHIN, share: None, blind: None }
}

/// Fluid's own interval, and what the sets' controllers and kubelets take to tell it what it looks at.
const WITHIN: Duration = super::ROW_LAG.saturating_add(Duration::from_secs(10));

fn phase(set: SetTruth) -> String {
    match (set.desired, set.ready) {
        (desired, ready) if ready >= desired => "Ready",
        (_, 0) => "NotReady",
        _ => "PartialReady",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::fluid::api::{DatasetPhase, RuntimePhase};
    use crate::oracle::testing::at;

    fn cache(masters: Option<u32>, workers: Option<u32>) -> CacheTruth {
        let set = |ready| SetTruth { desired: 3, there: 3, ready };
        CacheTruth { masters: masters.map(set), workers: workers.map(set), cached: 1 << 30, ..CacheTruth::default() }
    }

    fn truth(row: &RowSeen, name: &str) -> Vec<String> {
        row.cells.iter().find(|cell| cell.name == name).expect("a cell").truth.clone()
    }

    #[test]
    fn versions_call_the_same_cache_bound_and_failed() {
        use HealthRule::{AnyNotReady, SetGone};
        for (rule, masters, workers, phase, numbers) in [
            (AnyNotReady, Some(3), Some(3), "Bound", true),
            (AnyNotReady, Some(2), Some(3), "Failed", false),
            (SetGone, Some(2), Some(3), "Bound", true),
            (SetGone, Some(0), Some(3), "Bound", false),
            (SetGone, None, Some(3), "Failed", false),
        ] {
            let shown = DatasetStatus { phase: DatasetPhase::Bound, ..DatasetStatus::default() };
            let row = cache(masters, workers).dataset(at(0), "default/hbase", &shown, rule, Flavor::Alluxio);
            assert_eq!(truth(&row, "phase")[0], phase, "{rule:?} {masters:?} {workers:?}");
            let cached: &[&str] = if numbers { &["1.00GiB"] } else { &[] };
            assert_eq!(truth(&row, "cached"), cached, "{rule:?} {masters:?} {workers:?}");
            assert_eq!(row.share, None, "no share is shown yet");
        }
    }

    #[test]
    fn a_lost_worker_may_count_for_a_while() {
        let lost = LostWorkers { cached: 1 << 30, capacity: 0 };
        let (cache, shown) = (CacheTruth { lost, ..cache(Some(3), Some(2)) }, DatasetStatus::default());
        let row = cache.dataset(at(0), "default/hbase", &shown, HealthRule::SetGone, Flavor::Alluxio);
        assert_eq!(truth(&row, "cached"), ["1.00GiB", "2.00GiB"]);
        assert_eq!(truth(&row, "cacheCapacity"), ["0.00B"]);
    }

    #[test]
    fn a_runtime_s_phases_follow_its_pods() {
        let row = cache(Some(0), Some(2)).runtime(at(0), "default/hbase", &RuntimeStatus::default());
        let all = ["masterPhase", "workerPhase", "workerNumberReady"].map(|name| truth(&row, name).remove(0));
        assert_eq!(all, ["NotReady", "PartialReady", "2"]);
        let shown = RuntimeStatus { master_phase: RuntimePhase::Ready, ..RuntimeStatus::default() };
        let row = cache(None, Some(3)).runtime(at(0), "default/hbase", &shown);
        assert_eq!((row.cells[0].shown.as_str(), truth(&row, "masterPhase")), ("Ready", vec!["NotReady".to_string()]));
    }
}
