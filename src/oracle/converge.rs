//! L3: after the heal applied indexes, registrations, pods, mounts and the phases of datasets come to what they should be,
//! and stay so. L6: what a story made is gone after its end, and nothing is heaped up meanwhile.
//!
//! Bounds count from the heal, or from the end of a time beyond the fault budget. What the run did not live to see is noted.

use super::judge::Finding;
use super::liveness::well_since;
use super::record::RunRecord;
use super::violation::Violation;

/// L3: every aim is reached in time and kept.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let (Some(cluster), Some(well)) = (&record.cluster, well_since(record)) else { return finding };
    for aim in &cluster.aims {
        let waited = aim.since.unwrap_or(record.ended).since(well);
        let late = waited > aim.within;
        if aim.since.is_none() && !late {
            finding.notes.push(format!(
                "{} is `{}` and not `{}` when the run ends, {waited:?} after the heal: not due yet",
                aim.what, aim.seen, aim.wanted
            ));
            continue;
        }
        finding.check(late.then(|| Violation::NotConverged {
            what: aim.what.clone(),
            wanted: aim.wanted.clone(),
            seen: aim.seen.clone(),
            waited,
            bound: aim.within,
        }));
    }
    finding
}

/// L6: at the end there is no more than at the beginning, and never more than is needed.
pub fn resources(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    for count in record.cluster.iter().flat_map(|cluster| &cluster.resources) {
        finding.check((count.end > count.baseline).then(|| Violation::ResourceLeaked {
            what: count.what.clone(),
            baseline: count.baseline,
            end: count.end,
        }));
        let Some(most) = count.most else { continue };
        finding.check((count.peak > most).then(|| Violation::ResourceUnbounded {
            what: count.what.clone(),
            peak: count.peak,
            most,
        }));
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oracle::cluster::{Aim, ClusterRecord, ResourceCount};
    use crate::oracle::record::Core;
    use crate::oracle::testing::{at, outage};

    fn aim(since: Option<u64>) -> Aim {
        Aim {
            what: "pod default/hbase-master-0".into(),
            wanted: "Ready".into(),
            seen: if since.is_some() { "Ready" } else { "Pending" }.into(),
            since: since.map(at),
            within: Duration::from_secs(60),
        }
    }

    fn record(aims: Vec<Aim>, ended: u64, core: Core) -> RunRecord {
        let cluster = Some(ClusterRecord { aims, ..ClusterRecord::default() });
        RunRecord { cluster, core, healed: Some(at(10_000)), ended: at(ended), ..RunRecord::default() }
    }

    #[test]
    fn everything_comes_together_in_time() {
        for (since, ended, want) in [
            (Some(5_000), 200_000, &[][..]),
            (Some(70_000), 200_000, &[]),
            (Some(71_000), 200_000, &["NotConverged"]),
            (None, 200_000, &["NotConverged"]),
            (None, 69_000, &[]),
        ] {
            let finding = check(&record(vec![aim(since)], ended, Core::Kept));
            assert_eq!(finding.violations.iter().map(Violation::name).collect::<Vec<_>>(), want, "{since:?} {ended}");
            assert_eq!(finding.notes.len(), usize::from(since.is_none() && want.is_empty()));
        }
    }

    #[test]
    fn time_counts_from_when_all_was_well() {
        for (core, violations) in [
            (Core::Beyond(vec![outage(1, Some(100_000))]), 0),
            (Core::Beyond(vec![outage(1, None)]), 0),
            (Core::Beyond(vec![outage(1, Some(10_000))]), 1),
        ] {
            assert_eq!(check(&record(vec![aim(Some(150_000))], 200_000, core)).violations.len(), violations);
        }
    }

    #[test]
    fn what_was_made_goes_again() {
        for (baseline, end, peak, most, want) in [
            (3, 3, 9, None, &[][..]),
            (3, 2, 9, Some(9), &[]),
            (3, 4, 9, None, &["ResourceLeaked"]),
            (0, 0, 51, Some(50), &["ResourceUnbounded"]),
        ] {
            let count = ResourceCount { what: "mounts on node n1".into(), baseline, end, peak, most };
            let cluster = Some(ClusterRecord { resources: vec![count], ..ClusterRecord::default() });
            let found = resources(&RunRecord { cluster, ..RunRecord::default() }).violations;
            assert_eq!(found.iter().map(Violation::name).collect::<Vec<_>>(), want);
        }
    }
}
