//! The small outcome that is kept under `snapshots/`: what must not change without somebody looking at it.
//!
//! Rule: times are rounded and counts that move with every code change are left out, so that a snapshot changes when
//! behaviour does.

use std::fmt::Write;

use crate::oracle::Violation;
use crate::sim::outcome::Outcome;

/// Outcomes of one scenario, one paragraph per seed, in the order given.
pub fn snapshot(outcomes: &[Outcome]) -> String {
    outcomes.iter().map(one).collect()
}

fn one(outcome: &Outcome) -> String {
    let declared = if outcome.as_declared() { "as declared" } else { "NOT as declared" };
    let mut out = format!("seed {}: {}, {declared}\n", outcome.seed, outcome.verdict);
    let mut names: Vec<&str> = outcome.violations.iter().map(Violation::name).collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        let _ = writeln!(out, "  violations: {}", names.join(", "));
    }
    let phases: Vec<String> = outcome.phases.iter().map(|p| format!("{} {:.0} s", p.phase, p.until)).collect();
    if !phases.is_empty() {
        let _ = writeln!(out, "  phases end: {}", phases.join(", "));
    }
    for failover in &outcome.failovers {
        let new = failover.new_leader.as_deref().unwrap_or("nobody");
        let after = failover.new_leader_at.map(|at| (at - failover.killed_at).as_secs() + 1);
        let within = after.map_or_else(String::new, |s| format!(" within {s} s"));
        let _ = writeln!(out, "  {}: {} -> {new}{within}", failover.fault, failover.old_leader);
    }
    for fault in &outcome.faults {
        let acted = match (&fault.skipped, fault.effects) {
            (Some(why), _) => format!("skipped, {why}"),
            (None, 0) => "no effect".into(),
            (None, _) => "acted".into(),
        };
        let _ = writeln!(out, "  fault {}: {acted}", fault.fault);
    }
    for screen in outcome.screens.iter().filter(|screen| screen.text.contains("leader master")) {
        let _ = writeln!(out, "  screen {}: {}", screen.name, screen.text.lines().next().unwrap_or(""));
    }
    let _ = writeln!(out, "  escapes: {} getrandom, {} clock", outcome.escapes.getrandom, outcome.escapes.clock);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::outcome::tests::sample;

    #[test]
    fn a_snapshot_is_short_and_leaves_moving_counts_out() {
        let mut moved = sample();
        moved.events += 17;
        moved.trace_hash.0 += 1;
        assert_eq!(snapshot(&[sample()]), snapshot(&[moved]));
        insta::with_settings!({ snapshot_path => "../../snapshots/report", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("snapshot", snapshot(&[sample()]));
        });
    }
}
