//! M1, M2: the same seed gives the same trace, and every injected fault had an effect.
//!
//! These judge the run itself and not the system: a run that cannot be repeated, or whose storm was still air, proves
//! nothing. A fault that the engine cannot express is noted as skipped; a goal not reached is as bad as an inert fault.

use super::judge::Finding;
use super::record::RunRecord;
use super::violation::Violation;

/// M1: all hashes of the seed agree, and whoever compared the runs found no other difference. With one hash nobody compared,
/// and nothing is checked.
pub fn determinism(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    if let [first, others @ ..] = &record.trace_hashes[..] {
        for other in others {
            finding.check((first != other || record.trace_difference.is_some()).then(|| Violation::TraceDiffers {
                seed: record.seed,
                hashes: vec![format!("{first:032x}"), format!("{other:032x}")],
                difference: record.trace_difference.clone(),
            }));
        }
    }
    finding
}

/// M2: every fault acted, every goal was reached.
pub fn effects(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    for fault in &record.faults {
        if let Some(why) = &fault.skipped {
            finding.notes.push(format!("`{}` was skipped: {why}", fault.fault));
            continue;
        }
        finding.check((fault.effects == 0).then(|| Violation::FaultWithoutEffect {
            fault: fault.fault.clone(),
            counted: fault.counted.clone(),
            at: fault.at,
        }));
    }
    for goal in &record.goals {
        finding.check((goal.reached == 0).then(|| Violation::GoalNotReached { goal: goal.name.clone() }));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::observation::{FaultEffect, Goal};
    use crate::oracle::testing::at;

    #[test]
    fn hashes_of_one_seed_agree() {
        for (trace_hashes, checks, violations) in
            [(vec![], 0, 0), (vec![7], 0, 0), (vec![7, 7], 1, 0), (vec![7, 8], 1, 1), (vec![7, 7, 8], 2, 1)]
        {
            let finding = determinism(&RunRecord { trace_hashes, ..RunRecord::default() });
            assert_eq!((finding.checks, finding.violations.len()), (checks, violations));
            assert!(finding.violations.iter().all(|found| found.name() == "TraceDiffers"));
        }
        let trace_difference = Some("`events` of the outcomes differs".to_string());
        let finding = determinism(&RunRecord { trace_hashes: vec![7, 7], trace_difference, ..RunRecord::default() });
        assert!(finding.violations[0].to_string().contains("`events`"), "equal traces, unequal reports");
    }

    #[test]
    fn a_fault_acts_or_says_that_it_was_skipped() {
        let fault = |effects, skipped: Option<&str>| FaultEffect {
            fault: "kill leader".into(),
            at: at(1),
            counted: "processes killed".into(),
            effects,
            skipped: skipped.map(String::from),
        };
        for (faults, checks, violations, notes) in [
            (vec![fault(1, None)], 1, 0, 0),
            (vec![fault(0, None)], 1, 1, 0),
            (vec![fault(0, Some("no such engine call"))], 0, 0, 1),
        ] {
            let finding = effects(&RunRecord { faults, ..RunRecord::default() });
            assert_eq!((finding.checks, finding.violations.len(), finding.notes.len()), (checks, violations, notes));
            assert!(finding.violations.iter().all(|found| found.name() == "FaultWithoutEffect"));
        }
    }

    #[test]
    fn a_goal_is_reached() {
        for (reached, want) in [(1, &[][..]), (0, &["GoalNotReached"])] {
            let goals = vec![Goal { name: "failover seen".into(), reached }];
            let found = effects(&RunRecord { goals, ..RunRecord::default() }).violations;
            assert_eq!(found.iter().map(Violation::name).collect::<Vec<_>>(), want);
        }
    }
}
