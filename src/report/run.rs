//! The report of one run. Its last line is the trace hash.
//!
//! What the user came for comes last, where the terminal stops: the violations, the verdict, the command that shows the
//! run again.

use std::fmt::Write;

use super::Paint;
use super::table::{render, table};
use crate::base::SimTime;
use crate::oracle::{FaultEffect, OracleReport, Verdict};
use crate::sim::outcome::{Failover, Outcome, PhaseTime};
use crate::sim::scenario::ExpectedVerdict;

/// The whole report. `program` is how this program was called, for the command that shows a run again.
pub fn report(outcome: &Outcome, program: &str, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.strong(&format!("{}, seed {}", outcome.scenario, outcome.seed)));
    screens(&mut out, outcome, paint);
    phases(&mut out, outcome, paint);
    failovers(&mut out, outcome, paint);
    faults(&mut out, outcome, paint);
    for end in &outcome.tables {
        section(&mut out, &end.title, paint);
        out += &render(end, 2);
    }
    oracles(&mut out, outcome, paint);
    counters(&mut out, outcome, paint);
    out.push_str(&ending(outcome, program, paint));
    out
}

/// Violations, the command that shows the run again if it did not end as declared, and the trace hash.
pub fn ending(outcome: &Outcome, program: &str, paint: Paint) -> String {
    let mut out = String::new();
    if !outcome.violations.is_empty() {
        section(&mut out, "violations", paint);
        for violation in &outcome.violations {
            let text = violation.to_string();
            let (name, rest) = text.split_once(": ").unwrap_or((&text, ""));
            let _ = writeln!(out, "  {}: {rest}", paint.bad(name));
        }
    }
    if !outcome.notes.is_empty() {
        section(&mut out, "notes", paint);
        for note in &outcome.notes {
            let _ = writeln!(out, "  {note}");
        }
    }
    let _ = writeln!(out, "\n{}", headline(outcome, paint));
    if !outcome.as_declared() {
        let _ = writeln!(out, "reproduce: {}", outcome.reproduce(program));
    }
    let _ = writeln!(out, "trace {}", outcome.trace_hash);
    out
}

/// `goosefs-leader-crash, seed 7: pass`, and what was declared where that is something else.
pub fn headline(outcome: &Outcome, paint: Paint) -> String {
    let word = outcome.verdict.to_string();
    let found = match (outcome.verdict, outcome.as_declared()) {
        (_, false) => paint.bad(&word),
        (Verdict::Pass, true) => paint.good(&word),
        (_, true) => paint.warn(&word),
    };
    let declared = match (&outcome.expected, outcome.as_declared()) {
        (ExpectedVerdict::Pass, _) => String::new(),
        (_, true) => ", as the scenario declares".into(),
        (ExpectedVerdict::Unavailable, false) => ", but the scenario declares expected unavailability".into(),
        (ExpectedVerdict::Violation(names), false) => format!(", but the scenario declares {}", names.join(" or ")),
    };
    format!("{}, seed {}: {found}{declared}", paint.strong(&outcome.scenario), outcome.seed)
}

fn section(out: &mut String, title: &str, paint: Paint) {
    let _ = writeln!(out, "\n{}", paint.strong(title));
}

/// `12.345 s`.
fn seconds(at: SimTime) -> String {
    format!("{at:.3} s")
}

fn phases(out: &mut String, outcome: &Outcome, paint: Paint) {
    if outcome.phases.is_empty() {
        return;
    }
    section(out, "phases", paint);
    let row = |p: &PhaseTime| {
        let took = (p.until - p.from).as_secs_f64();
        vec![p.phase.to_string(), seconds(p.from), seconds(p.until), format!("{took:.3} s")]
    };
    let rows = outcome.phases.iter().map(row).collect();
    *out += &render(&table("phases", &["PHASE", "FROM", "UNTIL", "TOOK"], rows), 2);
}

fn screens(out: &mut String, outcome: &Outcome, paint: Paint) {
    for screen in &outcome.screens {
        let title = if screen.name == screen.command { String::new() } else { format!("  ({})", screen.name) };
        let at = paint.faint(&format!("[{}]", seconds(screen.at)));
        let _ = writeln!(out, "\n{at} {}$ {}{title}", screen.host, paint.strong(&screen.command));
        for line in screen.text.lines() {
            let _ = writeln!(out, "  {line}");
        }
        if screen.status != 0 {
            let _ = writeln!(out, "  {}", paint.bad(&format!("exit status {}", screen.status)));
        }
    }
}

fn failovers(out: &mut String, outcome: &Outcome, paint: Paint) {
    if !outcome.failovers.is_empty() {
        section(out, "failovers", paint);
        for failover in &outcome.failovers {
            let served = if failover.serving_at.is_some() { "" } else { ", and no change was acknowledged since" };
            let _ = writeln!(out, "  {}{served}", failover_line(failover));
        }
    }
}

/// One failover in one line.
pub fn failover_line(failover: &Failover) -> String {
    let after = |at: SimTime| format!("{:.3} s", (at - failover.killed_at).as_secs_f64());
    let mut line = format!("{} hit {} at {}", failover.fault, failover.old_leader, seconds(failover.killed_at));
    let _ = match (&failover.new_leader, failover.new_leader_at) {
        (Some(leader), Some(at)) => write!(line, "; {leader} leads after {}", after(at)),
        _ => write!(line, "; nobody leads"),
    };
    if let Some(at) = failover.serving_at {
        let _ = write!(line, ", acknowledges a change after {}", after(at));
    }
    line
}

fn faults(out: &mut String, outcome: &Outcome, paint: Paint) {
    if outcome.faults.is_empty() {
        return;
    }
    section(out, "faults", paint);
    let row = |effect: &FaultEffect| {
        let done = match &effect.skipped {
            Some(why) => format!("skipped: {why}"),
            None => format!("{} {}", effect.effects, effect.counted),
        };
        vec![seconds(effect.at), effect.fault.clone(), done]
    };
    let rows = outcome.faults.iter().map(row).collect();
    *out += &render(&table("faults", &["AT", "FAULT", "EFFECT"], rows), 2);
}

fn oracles(out: &mut String, outcome: &Outcome, paint: Paint) {
    if outcome.oracles.is_empty() {
        return;
    }
    section(out, "oracles", paint);
    let row = |oracle: &OracleReport| {
        vec![oracle.id.clone(), oracle.checks.to_string(), oracle.violations.to_string(), oracle.promise.clone()]
    };
    let rows = outcome.oracles.iter().map(row).collect();
    *out += &render(&table("oracles", &["ID", "CHECKS", "VIOLATIONS", "PROMISE"], rows), 2);
}

fn counters(out: &mut String, outcome: &Outcome, paint: Paint) {
    section(out, "counters", paint);
    let own = [
        ("simulated seconds".to_string(), format!("{:.3}", outcome.ended)),
        ("events".into(), outcome.events.to_string()),
        ("escapes to getrandom".into(), outcome.escapes.getrandom.to_string()),
        ("escapes to clocks".into(), outcome.escapes.clock.to_string()),
    ];
    let counted = outcome.counters.iter().map(|(name, n)| (name.clone(), n.to_string()));
    let rows: Vec<(String, String)> = own.into_iter().chain(counted).collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        let _ = writeln!(out, "  {name:<width$}  {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::outcome::tests::sample;

    #[test]
    fn the_last_line_is_the_trace_hash_and_a_failure_says_how_to_see_it_again() {
        let mut outcome = sample();
        let text = report(&outcome, "stormglass", Paint::PLAIN);
        assert_eq!(text.lines().last(), Some("trace 0000000000000000000000000000002a"));
        assert!(!text.contains("reproduce:") && !text.contains('\x1b'), "{text}");
        outcome.verdict = Verdict::Safety;
        let text = report(&outcome, "stormglass", Paint::PLAIN);
        assert!(text.contains("reproduce: stormglass run 'a b/story.yaml' --seed 7\n"), "{text}");
        assert_eq!(text.lines().last(), Some("trace 0000000000000000000000000000002a"));
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let painted = report(&sample(), "stormglass", Paint::new(true));
        let mut plain = String::new();
        for part in painted.split('\x1b') {
            plain += part.strip_prefix('[').and_then(|p| p.split_once('m')).map_or(part, |(_, rest)| rest);
        }
        assert_eq!(plain, report(&sample(), "stormglass", Paint::PLAIN));
    }

    #[test]
    fn a_report_shows_phases_screens_failovers_and_effects() {
        insta::with_settings!({ snapshot_path => "../../snapshots/report", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("run", report(&sample(), "stormglass", Paint::PLAIN));
        });
    }
}
