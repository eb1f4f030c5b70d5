//! Keeps the book of a run's Kubernetes: looks and events in, facts with their times out.
//!
//! Whoever looks at the cluster between steps of the world tells what there is at that moment; the ledger finds out what has
//! begun and what has ended since the look before. A process that is gone at a look ended there, and one that is new began
//! there: two that followed each other between two looks do not overlap. Pure; judges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Aim, ClusterRecord, DiskUse, JournalSeen, Placement, PodProcess, ResourceCount, RowSeen, SecretSearch};
use crate::base::SimTime;

/// A container's process at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The process's own name on its machine: another start has another one.
    pub id: String,
    /// `namespace/name` of the pod.
    pub pod: String,
    /// Of the pod's object.
    pub uid: String,
    /// The container.
    pub container: String,
    /// The node.
    pub node: String,
}

/// The book.
#[derive(Debug, Default)]
pub struct Ledger {
    record: ClusterRecord,
    /// Places in the record, by process.
    running: BTreeMap<(String, String), usize>,
    /// By disk and node.
    mounted: BTreeMap<(String, String), usize>,
    aims: BTreeMap<String, Aim>,
    counts: BTreeMap<String, ResourceCount>,
}

impl Ledger {
    /// All processes of containers on all machines, frozen ones too.
    pub fn look(&mut self, at: SimTime, running: &[Running]) {
        let key = |process: &Running| (process.node.clone(), process.id.clone());
        let here: BTreeMap<(String, String), &Running> =
            running.iter().map(|process| (key(process), process)).collect();
        let gone: Vec<(String, String)> = self.running.keys().filter(|key| !here.contains_key(*key)).cloned().collect();
        for key in gone {
            let process = self.running.remove(&key).and_then(|place| self.record.processes.get_mut(place));
            process.into_iter().for_each(|process| process.until = Some(at));
        }
        for (key, process) in here {
            if self.running.contains_key(&key) {
                continue;
            }
            self.running.insert(key, self.record.processes.len());
            self.record.processes.push(PodProcess {
                pod: process.pod.clone(),
                uid: process.uid.clone(),
                container: process.container.clone(),
                node: process.node.clone(),
                from: at,
                until: None,
                abandoned: None,
            });
        }
    }

    /// A pod's object was taken away without its kubelet's word.
    pub fn abandoned(&mut self, at: SimTime, uid: &str) {
        for process in self.record.processes.iter_mut().filter(|process| process.uid == uid) {
            process.abandoned.get_or_insert(at);
        }
    }

    /// A disk is mounted on a node.
    pub fn mounted(&mut self, at: SimTime, disk: &str, node: &str) {
        let key = (disk.to_owned(), node.to_owned());
        if self.mounted.contains_key(&key) {
            return;
        }
        self.mounted.insert(key, self.record.disks.len());
        self.record.disks.push(DiskUse {
            disk: disk.into(),
            node: node.into(),
            mounted: at,
            unmounted: None,
            first_write: None,
            last_write: None,
            taken: None,
            forced: false,
        });
    }

    fn disk(&mut self, disk: &str, node: &str) -> Option<&mut DiskUse> {
        let place = self.mounted.get(&(disk.to_owned(), node.to_owned()))?;
        self.record.disks.get_mut(*place)
    }

    /// A write of that node reached the disk.
    pub fn wrote(&mut self, at: SimTime, disk: &str, node: &str) {
        if let Some(disk) = self.disk(disk, node) {
            disk.first_write.get_or_insert(at);
            disk.last_write = Some(at);
        }
    }

    /// The cloud took the disk from the node; `forced` if upstream's rules allow that under a mount. Nothing if it is not
    /// mounted there.
    pub fn taken(&mut self, at: SimTime, disk: &str, node: &str, forced: bool) {
        if let Some(disk) = self.disk(disk, node) {
            disk.taken.get_or_insert(at);
            disk.forced |= forced;
        }
    }

    /// The disk is not mounted on the node any more.
    pub fn unmounted(&mut self, at: SimTime, disk: &str, node: &str) {
        if let Some(disk) = self.disk(disk, node) {
            disk.unmounted = Some(at);
        }
        self.mounted.remove(&(disk.to_owned(), node.to_owned()));
    }

    /// How something is that should be as `wanted`. Told at every look.
    pub fn aim(&mut self, at: SimTime, what: &str, (wanted, seen): (&str, &str), within: Duration) {
        let before = self.aims.get(what).filter(|aim| aim.wanted == wanted).and_then(|aim| aim.since);
        let since = (wanted == seen).then(|| before.unwrap_or(at));
        let aim = Aim { what: what.into(), wanted: wanted.into(), seen: seen.into(), since, within };
        self.aims.insert(what.into(), aim);
    }

    /// Nobody wants that any more.
    pub fn aim_dropped(&mut self, what: &str) {
        self.aims.remove(what);
    }

    /// How much there is of something. The first count is the baseline, the last one the end. `most` is what is ever needed.
    pub fn count(&mut self, what: &str, now: u64, most: Option<u64>) {
        let new = || ResourceCount { what: what.into(), baseline: now, end: now, peak: now, most };
        let count = self.counts.entry(what.into()).or_insert_with(new);
        (count.end, count.peak, count.most) = (now, count.peak.max(now), most);
    }

    /// A row and its truth.
    pub fn row(&mut self, row: RowSeen) {
        self.record.rows.push(row);
    }

    /// A binding.
    pub fn placement(&mut self, placement: Placement) {
        self.record.placements.push(placement);
    }

    /// A place that was searched.
    pub fn search(&mut self, search: SecretSearch) {
        self.record.searches.push(search);
    }

    /// A home of metadata. Kept if it shows anything new.
    pub fn journal(&mut self, seen: JournalSeen) {
        let last = self.record.journals.iter().rfind(|other| other.home == seen.home && other.member == seen.member);
        if last.is_none_or(|last| JournalSeen { at: seen.at, ..last.clone() } != seen) {
            self.record.journals.push(seen);
        }
    }

    /// All of it.
    pub fn close(mut self) -> ClusterRecord {
        self.record.aims = self.aims.into_values().collect();
        self.record.resources = self.counts.into_values().collect();
        self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::record::RunRecord;
    use crate::oracle::testing::at;
    use crate::oracle::{converge, identity};

    fn running(id: &str, uid: &str, node: &str) -> Running {
        let (pod, container) = ("default/m-0".into(), "m".into());
        Running { id: id.into(), pod, uid: uid.into(), container, node: node.into() }
    }

    fn found(ledger: Ledger) -> Vec<&'static str> {
        let record = RunRecord {
            cluster: Some(ledger.close()),
            healed: Some(at(0)),
            ended: at(100_000),
            ..RunRecord::default()
        };
        let all = [identity::check(&record), converge::check(&record), converge::resources(&record)];
        all.iter().flat_map(|finding| &finding.violations).map(|found| found.name()).collect()
    }

    #[test]
    fn processes_that_follow_each_other_between_two_looks_do_not_overlap() {
        let mut ledger = Ledger::default();
        ledger.look(at(1), &[running("a", "u1", "n1")]);
        ledger.look(at(2), &[running("b", "u2", "n2")]);
        ledger.look(at(3), &[running("b", "u2", "n2"), running("c", "u3", "n1")]);
        let spans: Vec<_> = ledger.record.processes.iter().map(|p| (p.from, p.until)).collect();
        assert_eq!(spans, [(at(1), Some(at(2))), (at(2), None), (at(3), None)]);
        assert_eq!(found(ledger), ["TwoProcessesOnePod"], "the third runs beside the second");
    }

    #[test]
    fn a_pod_that_was_given_up_may_run_on() {
        let mut ledger = Ledger::default();
        ledger.look(at(1), &[running("a", "u1", "n1")]);
        ledger.abandoned(at(2), "u1");
        ledger.look(at(3), &[running("a", "u1", "n1"), running("b", "u2", "n2")]);
        assert_eq!(found(ledger), [""; 0]);
    }

    #[test]
    fn writes_and_detaches_count_while_a_disk_is_mounted() {
        let mut ledger = Ledger::default();
        ledger.wrote(at(0), "d", "n1");
        ledger.mounted(at(1), "d", "n1");
        ledger.wrote(at(2), "d", "n1");
        ledger.unmounted(at(3), "d", "n1");
        ledger.taken(at(4), "d", "n1", false);
        ledger.mounted(at(5), "d", "n2");
        ledger.wrote(at(6), "d", "n2");
        assert_eq!(ledger.record.disks.len(), 2);
        assert_eq!((ledger.record.disks[0].first_write, ledger.record.disks[0].taken), (Some(at(2)), None));
        assert_eq!(found(ledger), [""; 0]);
        let mut ledger = Ledger::default();
        ledger.mounted(at(1), "d", "n1");
        ledger.taken(at(2), "d", "n1", false);
        assert_eq!(found(ledger), ["DiskTakenFromWriter"]);
    }

    #[test]
    fn an_aim_counts_from_when_it_was_last_reached() {
        let tell = |seen: &[(u64, &str)]| {
            let mut ledger = Ledger::default();
            seen.iter().for_each(|(t, seen)| ledger.aim(at(*t), "pod", ("Ready", seen), Duration::from_secs(50)));
            ledger
        };
        assert_eq!(found(tell(&[(10_000, "Pending"), (20_000, "Ready"), (90_000, "Ready")])), [""; 0]);
        assert_eq!(found(tell(&[(10_000, "Ready"), (60_000, "Failed"), (70_000, "Ready")])), ["NotConverged"]);
        let mut dropped = tell(&[(10_000, "Pending")]);
        dropped.aim_dropped("pod");
        assert_eq!(found(dropped), [""; 0]);
    }

    #[test]
    fn counts_keep_the_first_the_last_and_the_most() {
        let mut ledger = Ledger::default();
        [3, 9, 4].into_iter().for_each(|n| ledger.count("mounts on n1", n, Some(8)));
        assert_eq!(found(ledger), ["ResourceLeaked", "ResourceUnbounded"]);
    }
}
