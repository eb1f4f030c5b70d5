//! S11: one pod identity, one process; a ReadWriteOnce disk is never written from two nodes; taints, affinity and zones are
//! respected ([`super::placed`]).
//!
//! Kubernetes promises at most one pod of a name, and a kubelet one process a container. The first promise ends where
//! somebody takes a pod's object away without its kubelet's word (a deletion by force, a node removed or out of service):
//! the old process may then run on. The fence must hold all the same: what reaches a disk comes from one node, and nobody
//! takes a disk from under a writer but by upstream's own rules for a forced detach.

use std::collections::BTreeMap;

use super::cluster::{DiskUse, PodProcess};
use super::judge::Finding;
use super::placed;
use super::record::RunRecord;
use super::violation::Violation;
use crate::base::SimTime;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let Some(cluster) = &record.cluster else { return finding };
    processes(&cluster.processes, &mut finding);
    disks(&cluster.disks, &mut finding);
    placed::check(&cluster.placements, &mut finding);
    finding
}

/// Whether both spans share more than a moment.
fn overlap(first: (SimTime, Option<SimTime>), second: (SimTime, Option<SimTime>)) -> bool {
    let end = |span: (SimTime, Option<SimTime>)| span.1.unwrap_or(SimTime::NEVER);
    first.0 < end(second) && second.0 < end(first)
}

fn processes(all: &[PodProcess], finding: &mut Finding) {
    let mut same: BTreeMap<(&str, &str), Vec<&PodProcess>> = BTreeMap::new();
    for process in all {
        same.entry((&process.pod, &process.container)).or_default().push(process);
    }
    for group in same.values_mut() {
        group.sort_by_key(|process| process.from);
        for (i, later) in group.iter().enumerate() {
            let twin = |earlier: &&&PodProcess| {
                let allowed = earlier.uid != later.uid && earlier.abandoned.is_some_and(|at| at <= later.from);
                overlap((earlier.from, earlier.until), (later.from, later.until)) && !allowed
            };
            let found = group[..i].iter().find(twin);
            finding.check(found.map(|earlier| Violation::TwoProcessesOnePod {
                pod: later.pod.clone(),
                container: later.container.clone(),
                first: place(earlier),
                second: place(later),
                at: later.from,
            }));
        }
    }
}

fn place(process: &PodProcess) -> String {
    format!("of pod {} on {}, since {:.3} s", process.uid, process.node, process.from)
}

fn disks(all: &[DiskUse], finding: &mut Finding) {
    for (i, one) in all.iter().enumerate() {
        let taken = one.taken.filter(|at| !one.forced && one.unmounted.is_none_or(|gone| *at < gone));
        finding.check(taken.map(|at| Violation::DiskTakenFromWriter {
            disk: one.disk.clone(),
            node: one.node.clone(),
            at,
        }));
        for other in all[..i].iter().filter(|other| other.disk == one.disk && other.node != one.node) {
            let (Some(one_wrote), Some(other_wrote)) = (writes(one), writes(other)) else { continue };
            let at = one_wrote.0.max(other_wrote.0);
            let both = one_wrote.0 <= other_wrote.1 && other_wrote.0 <= one_wrote.1;
            finding.check(both.then(|| Violation::TwoWritersOneDisk {
                disk: one.disk.clone(),
                first: other.node.clone(),
                second: one.node.clone(),
                at,
            }));
        }
    }
}

/// The first and the last write of a mount, if it wrote.
fn writes(disk: &DiskUse) -> Option<(SimTime, SimTime)> {
    let first = disk.first_write?;
    Some((first, disk.last_write.unwrap_or(first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::cluster::ClusterRecord;
    use crate::oracle::testing::at;

    fn names(cluster: ClusterRecord) -> Vec<&'static str> {
        let record = RunRecord { cluster: Some(cluster), ..RunRecord::default() };
        check(&record).violations.iter().map(Violation::name).collect()
    }

    fn process(uid: &str, node: &str, from: u64, until: Option<u64>) -> PodProcess {
        PodProcess {
            pod: "default/hbase-master-0".into(),
            uid: uid.into(),
            container: "master".into(),
            node: node.into(),
            from: at(from),
            until: until.map(at),
            abandoned: None,
        }
    }

    #[test]
    fn a_pod_runs_once_unless_somebody_gave_the_old_one_up() {
        let forced = |t, process| PodProcess { abandoned: Some(at(t)), ..process };
        let next = || process("u2", "n2", 10, None);
        for (why, all, want) in [
            ("one after the other", vec![process("u1", "n1", 0, Some(10)), next()], 0),
            ("the old one runs on", vec![process("u1", "n1", 0, None), next()], 1),
            ("in any order", vec![next(), process("u1", "n1", 0, Some(11))], 1),
            ("after a deletion by force", vec![forced(9, process("u1", "n1", 0, None)), next()], 0),
            ("before it", vec![forced(11, process("u1", "n1", 0, None)), next()], 1),
            ("one pod twice", vec![forced(0, process("u1", "n1", 0, None)), process("u1", "n1", 10, None)], 1),
            ("a restart", vec![process("u1", "n1", 0, Some(5)), process("u1", "n1", 6, None)], 0),
        ] {
            let got = names(ClusterRecord { processes: all, ..ClusterRecord::default() });
            assert_eq!(got, vec!["TwoProcessesOnePod"; want], "{why}");
        }
        let other = PodProcess { container: "job-master".into(), ..next() };
        let both = vec![process("u1", "n1", 0, None), other];
        assert_eq!(names(ClusterRecord { processes: both, ..ClusterRecord::default() }), [""; 0]);
    }

    fn disk(node: &str, writes: Option<(u64, u64)>) -> DiskUse {
        DiskUse {
            disk: "d-1".into(),
            node: node.into(),
            mounted: at(0),
            unmounted: None,
            first_write: writes.map(|(first, _)| at(first)),
            last_write: writes.map(|(_, last)| at(last)),
            taken: None,
            forced: false,
        }
    }

    #[test]
    fn a_disk_is_written_from_one_node() {
        for (first, second, want) in [
            (Some((0, 10)), Some((11, 20)), &[][..]),
            (Some((0, 12)), Some((11, 20)), &["TwoWritersOneDisk"]),
            (Some((15, 16)), Some((11, 20)), &["TwoWritersOneDisk"]),
            (None, Some((11, 20)), &[]),
        ] {
            let disks = vec![disk("n1", first), disk("n2", second)];
            assert_eq!(names(ClusterRecord { disks, ..ClusterRecord::default() }), want);
            let disks = vec![disk("n1", first), disk("n1", second)];
            assert_eq!(names(ClusterRecord { disks, ..ClusterRecord::default() }), [""; 0], "two mounts of one node");
        }
    }

    #[test]
    fn a_disk_is_taken_after_the_unmount_or_by_the_rules_of_force() {
        let taken = |unmounted: Option<u64>, forced| DiskUse {
            unmounted: unmounted.map(at),
            taken: Some(at(5)),
            forced,
            ..disk("n1", None)
        };
        for (disk, want) in [
            (taken(None, false), &["DiskTakenFromWriter"][..]),
            (taken(Some(9), false), &["DiskTakenFromWriter"]),
            (taken(Some(5), false), &[]),
            (taken(None, true), &[]),
        ] {
            assert_eq!(names(ClusterRecord { disks: vec![disk], ..ClusterRecord::default() }), want);
        }
    }

    #[test]
    fn a_run_without_kubernetes_has_nothing_to_check() {
        assert_eq!(check(&RunRecord::default()), Finding::default());
    }
}
