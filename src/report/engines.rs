//! What engines can do, and what they made of the same seeds, as tables.

use std::fmt::Write;

use super::Paint;
use super::table::{render, table};
use crate::hunt::compare::{Comparison, Distribution, Opinion};
use crate::world::engine::{Capability, EngineKind, Support, capability};

/// Columns of the plot of failover times.
const WIDTH: usize = 50;
/// From empty to full.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The table of capabilities with its remarks; the README keeps it.
pub fn capabilities() -> String {
    let support = |kind: EngineKind, what| capability::support(kind.capabilities(), what).to_string();
    let row = |what: Capability| {
        let cells = EngineKind::ALL.into_iter().map(|kind| support(kind, what));
        std::iter::once(what.to_string()).chain(cells).collect()
    };
    let rows = Capability::ALL.into_iter().map(row).collect();
    let columns: Vec<&str> = std::iter::once("CAN IT").chain(EngineKind::ALL.map(EngineKind::name)).collect();
    let mut out = render(&table("engines", &columns, rows), 0);
    for kind in EngineKind::ALL {
        let _ = writeln!(out, "\n{kind}");
        for row in kind.capabilities().iter().filter(|row| !row.remark.is_empty() && says(kind, row.support)) {
            let _ = writeln!(out, "  {}, {}: {}", row.capability, row.support, row.remark);
        }
    }
    out
}

/// Of glass only how it does things; of the others what differs as well.
fn says(kind: EngineKind, support: Support) -> bool {
    kind != EngineKind::Glass || support == Support::Yes
}

/// All seeds side by side, the failover times, and whether the engines agree.
pub fn comparison(name: &str, all: &[Comparison], times: &[Distribution], paint: Paint) -> String {
    let mut out = String::new();
    let row = |comparison: &Comparison, opinion: &Opinion| {
        let seconds = |ms: &u64| format!("{:.2}", *ms as f64 / 1000.0);
        let failovers: Vec<String> = opinion.failovers_ms.iter().map(seconds).collect();
        vec![
            comparison.seed.to_string(),
            opinion.engine.to_string(),
            opinion.verdict.to_string(),
            if failovers.is_empty() { "-".into() } else { failovers.join(" ") },
            opinion.acked.to_string(),
            opinion.final_state.map_or("-".into(), |hash| hash.to_string()[..12].to_string()),
            if opinion.broken.is_empty() { "-".into() } else { opinion.broken.join(" ") },
        ]
    };
    let rows = all.iter().flat_map(|c| c.opinions.iter().map(|o| row(c, o)).collect::<Vec<_>>()).collect();
    let columns = ["SEED", "ENGINE", "VERDICT", "FAILOVERS (s)", "ACKED", "FINAL STATE", "BROKEN"];
    out.push_str(&render(&table("seeds", &columns, rows), 0));
    let _ = write!(out, "\n{}", plot(times));
    for comparison in all {
        let Some(disagreement) = &comparison.disagreement else { continue };
        let _ = writeln!(out, "\nseed {}: {}", comparison.seed, paint.bad(&disagreement.to_string()));
        for opinion in &comparison.opinions {
            let found = opinion.violation.as_deref().unwrap_or("nothing found");
            let _ = writeln!(out, "  {}: {}\n    {}", opinion.engine, found.replace('\n', "\n    "), opinion.reproduce);
        }
    }
    skipped(&mut out, all);
    let differ = all.iter().filter(|c| c.disagreement.is_some()).count();
    let compared = all.iter().filter(|c| c.compared()).count();
    let word = match (differ, compared) {
        (0, 0) => paint.bad("nothing was compared"),
        (0, _) => paint.good(&format!("engines agree on {compared} of {} seeds compared", all.len())),
        _ => paint.bad(&format!("engines disagree on {differ} of {} seeds", all.len())),
    };
    let _ = writeln!(out, "\n{}: {word}", paint.strong(name));
    out
}

/// What was left out, once per engine and fault.
fn skipped(out: &mut String, all: &[Comparison]) {
    let mut lines: Vec<String> = all.iter().flat_map(|c| &c.opinions).flat_map(|o| o.skipped.clone()).collect();
    lines.sort();
    lines.dedup();
    for line in lines {
        let _ = writeln!(out, "skipped: {line}");
    }
}

/// Failover times of each engine on one scale.
fn plot(times: &[Distribution]) -> String {
    let least = times.iter().filter_map(|d| d.failovers_ms.first()).min();
    let most = times.iter().filter_map(|d| d.failovers_ms.last()).max();
    let (Some(&least), Some(&most)) = (least, most) else { return "no failovers\n".into() };
    let range = (most - least).max(1);
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let mut out = format!("failover times, {} to {}\n", seconds(least), seconds(most));
    for distribution in times {
        let mut buckets = [0usize; WIDTH];
        for ms in &distribution.failovers_ms {
            let at = (u128::from(ms - least) * (WIDTH as u128 - 1) / u128::from(range)) as usize;
            buckets[at] += 1;
        }
        let top = buckets.iter().copied().max().unwrap_or_default().max(1);
        let bar: String = buckets.iter().map(|n| BARS[(n * 8).div_ceil(top)]).collect();
        let quantile = |percent| distribution.quantile(percent).map_or("-".into(), seconds);
        let _ = writeln!(
            out,
            "  {:<8}|{bar}| {} failovers, half within {}, 90 % within {}",
            distribution.engine,
            distribution.failovers_ms.len(),
            quantile(50),
            quantile(90)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::hunt::compare::{distributions, tests::opinion};
    use crate::oracle::Verdict;

    const G: EngineKind = EngineKind::Glass;
    const T: EngineKind = EngineKind::Turmoil;

    fn text(verdicts: [Verdict; 2], broken: &[&str]) -> String {
        let all = [Comparison::new(Seed(3), vec![opinion(G, verdicts[0], &[]), opinion(T, verdicts[1], broken)])];
        comparison("story", &all, &distributions(&all), Paint::PLAIN)
    }

    #[test]
    fn agreement_and_disagreement_are_told_with_the_oracle_and_the_commands() {
        let good = text([Verdict::Pass, Verdict::Pass], &[]);
        assert!(good.ends_with("story: engines agree on 1 of 1 seeds compared\n"), "{good}");
        assert!(good.contains("13.50") && good.contains("1 failovers, half within 13.5 s"), "{good}");
        let bad = text([Verdict::Pass, Verdict::Safety], &["S2"]);
        assert!(bad.contains("seed 3: S2 is broken on turmoil only"), "{bad}");
        assert!(bad.ends_with("story: engines disagree on 1 of 1 seeds\n"), "{bad}");
        let alone = text([Verdict::Pass, Verdict::Skipped], &[]);
        assert!(alone.ends_with("story: nothing was compared\n"), "{alone}");
    }

    #[test]
    fn the_plot_has_a_line_per_engine_on_one_scale() {
        let times = [
            Distribution { engine: G, failovers_ms: vec![1_000, 1_000, 2_000] },
            Distribution { engine: T, failovers_ms: vec![3_000] },
        ];
        let text = plot(&times);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "failover times, 1.0 s to 3.0 s");
        assert!(lines[1].starts_with("  glass   |█") && lines[2].contains("█| 1 failovers"), "{text}");
        assert_eq!(plot(&[]), "no failovers\n");
    }

    #[test]
    fn every_capability_is_in_the_table() {
        let text = capabilities();
        for what in Capability::ALL {
            assert!(text.contains(what.words()), "{what}");
        }
    }
}
