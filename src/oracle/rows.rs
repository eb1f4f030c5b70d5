//! S12: the rows of datasets, runtimes, volumes and claims tell the truth within the reconcile interval; no number is
//! negative; the share of what is cached follows from the numbers beside it.
//!
//! A cell may show what was true at any moment of the interval before it was read, and at its beginning. What is taken once
//! may show any earlier truth. While whoever writes the row cannot know better (upstream asks master 0 and nobody else), the
//! row freezes: that is noted, and judged again an interval after the end of the blindness.

use std::collections::BTreeMap;

use super::cluster::{Cell, RowSeen, Share};
use super::judge::Finding;
use super::record::RunRecord;
use super::violation::Violation;
use crate::base::{ByteSize, SimTime};

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let Some(cluster) = &record.cluster else { return finding };
    let mut objects: BTreeMap<&str, Vec<&RowSeen>> = BTreeMap::new();
    for row in &cluster.rows {
        objects.entry(&row.object).or_default().push(row);
    }
    for rows in objects.values_mut() {
        rows.sort_by_key(|row| row.at);
        object(rows, &mut finding);
    }
    finding
}

/// All that was seen of one object, in order of time.
fn object(rows: &[&RowSeen], finding: &mut Finding) {
    // One violation a cell tells the story; a frozen one would fill the report.
    let mut told: Vec<(&str, &str)> = Vec::new();
    let mut blind: Option<&str> = None;
    for (i, row) in rows.iter().enumerate() {
        if let Some(why) = row.blind.as_deref().filter(|why| blind != Some(*why)) {
            finding.notes.push(format!("{} cannot be kept true from {:.3} s on: {why}", row.object, row.at));
        }
        blind = row.blind.as_deref();
        let impossible = impossible(row);
        if impossible.is_empty() {
            finding.check(None);
        }
        for (column, violation) in impossible {
            let new = !told.contains(&(column, "impossible"));
            told.extend(new.then_some((column, "impossible")));
            finding.check(new.then_some(violation));
        }
        // Whoever shows the truth has nothing left to be told of, judged or not.
        for cell in row.cells.iter().filter(|cell| cell.truth.contains(&cell.shown)) {
            told.retain(|old| *old != (cell.name.as_str(), "untrue"));
        }
        if !may_be_judged(&rows[..=i], row) {
            continue;
        }
        for cell in row.cells.iter().filter(|cell| !cell.truth.is_empty()) {
            let untrue = !is_true(&rows[..=i], row, cell);
            let new = untrue && !told.contains(&(&cell.name, "untrue"));
            told.extend(new.then_some((cell.name.as_str(), "untrue")));
            if !untrue {
                told.retain(|old| *old != (cell.name.as_str(), "untrue"));
            }
            finding.check(new.then(|| Violation::RowUntrue {
                object: row.object.clone(),
                column: cell.name.clone(),
                shown: cell.shown.clone(),
                truth: cell.truth.join("` or `"),
                since: untrue_since(&rows[..=i], cell),
                at: row.at,
            }));
        }
    }
}

/// The beginning of the interval that a row may lag behind.
fn horizon(row: &RowSeen) -> SimTime {
    SimTime::ZERO + row.at.elapsed().saturating_sub(row.within)
}

/// Whether the whole interval before was watched, and whoever writes the row could see.
fn may_be_judged(seen: &[&RowSeen], row: &RowSeen) -> bool {
    let horizon = horizon(row);
    let watched = seen.first().is_some_and(|first| first.at <= horizon && row.at.elapsed() >= row.within);
    let before = seen.iter().rposition(|other| other.at <= horizon).unwrap_or(0);
    watched && seen[before..].iter().all(|other| other.blind.is_none())
}

/// The same cell of the rows that count for `row`.
fn truths<'a>(seen: &[&'a RowSeen], row: &RowSeen, cell: &Cell) -> Vec<&'a str> {
    let horizon = horizon(row);
    let from = if cell.once { 0 } else { seen.iter().rposition(|other| other.at <= horizon).unwrap_or(0) };
    let same = seen[from..].iter().flat_map(|other| &other.cells).filter(|other| other.name == cell.name);
    same.flat_map(|other| other.truth.iter().map(String::as_str)).collect()
}

fn is_true(seen: &[&RowSeen], row: &RowSeen, cell: &Cell) -> bool {
    // Its own row is one of them, and nearly always right.
    if cell.truth.contains(&cell.shown) {
        return true;
    }
    let truths = truths(seen, row, cell);
    if truths.contains(&cell.shown.as_str()) {
        return true;
    }
    // A number that moved on was between two looks what it was at neither.
    let numbers: Option<Vec<u64>> = truths.iter().map(|text| number(text)).collect();
    let (Some(shown), Some(numbers)) = (number(&cell.shown), numbers) else { return false };
    let (low, high) = (numbers.iter().min(), numbers.iter().max());
    low.zip(high).is_some_and(|(low, high)| (*low..=*high).contains(&shown))
}

/// Since when the cell shows what is shown although something else is true.
fn untrue_since(seen: &[&RowSeen], cell: &Cell) -> SimTime {
    let own = |row: &&&RowSeen| {
        let same = row.cells.iter().find(|other| other.name == cell.name);
        same.is_some_and(|other| other.shown == cell.shown && !other.truth.contains(&cell.shown))
    };
    seen.iter().rev().take_while(own).last().map_or(SimTime::ZERO, |row| row.at)
}

/// A size or a plain number.
fn number(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.0)
}

/// What no moment can make true, with its column.
fn impossible(row: &RowSeen) -> Vec<(&str, Violation)> {
    let negative =
        |cell: &&Cell| cell.shown.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let found = |cell: &Cell, why: String| Violation::RowImpossible {
        object: row.object.clone(),
        column: cell.name.clone(),
        shown: cell.shown.clone(),
        why,
        at: row.at,
    };
    let mut all: Vec<(&str, Violation)> = row
        .cells
        .iter()
        .filter(negative)
        .map(|cell| (cell.name.as_str(), found(cell, "it counts what there is".into())))
        .collect();
    let cell = |name: &str| row.cells.iter().find(|cell| cell.name == name);
    let of = (cell("cachedPercentage"), cell("cached"), cell("ufsTotal"), row.share);
    if let (Some(share), Some(cached), Some(total), Some(rule)) = of
        && let Some((low, high)) = shares(&cached.shown, &total.shown, rule)
    {
        let shown = share.shown.strip_suffix('%').and_then(tenths);
        if !shown.is_some_and(|shown| (low..=high).contains(&shown)) {
            all.push((&share.name, found(share, format!("{} of {} is cached", cached.shown, total.shown))));
        }
    }
    all
}

/// `100.0` as 1000.
fn tenths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let [digit] = part.as_bytes() else { return None };
    let digit = char::from(*digit).to_digit(10)?;
    Some(whole.parse::<u64>().ok()? * 10 + u64::from(digit))
}

/// The least and the greatest share, in tenths of a percent, that two printed sizes allow: each is rounded to a hundredth of
/// its unit. None while the total is no size.
fn shares(cached: &str, total: &str, rule: Share) -> Option<(u64, u64)> {
    let (cached, total) = (range(cached)?, range(total)?);
    let share = |part: u64, whole: u64, up: bool| match u128::from(whole) {
        0 => 0,
        whole => (u128::from(part) * 1_000 + if up { whole } else { 0 }) / whole,
    };
    // The share is itself rounded: one tenth more on either side.
    let low = share(cached.0, total.1, false).saturating_sub(1);
    let high = share(cached.1, total.0, true) + 1;
    let clamp = |share: u128| if rule == Share::AtMostWhole { share.min(1_000) } else { share };
    Some((u64::try_from(clamp(low)).ok()?, u64::try_from(clamp(high)).ok()?))
}

/// The sizes that print as `text`.
fn range(text: &str) -> Option<(u64, u64)> {
    let size = number(text)?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let unit = format!("1{unit}").parse::<ByteSize>().ok()?.0;
    Some((size.saturating_sub(unit / 200), size.saturating_add(unit / 200)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::oracle::cluster::{ClusterRecord, ROW_LAG};
    use crate::oracle::testing::at;

    fn cell(name: &str, shown: &str, truth: &str) -> Cell {
        let truth = Some(truth.to_string()).filter(|truth| !truth.is_empty()).into_iter().collect();
        Cell { name: name.into(), shown: shown.into(), truth, once: false }
    }

    fn row(secs: u64, cells: Vec<Cell>) -> RowSeen {
        let object = "dataset default/hbase".into();
        RowSeen { at: at(secs * 1_000), object, cells, within: ROW_LAG, share: None, blind: None }
    }

    fn found(rows: Vec<RowSeen>) -> Finding {
        let cluster = ClusterRecord { rows, ..ClusterRecord::default() };
        check(&RunRecord { cluster: Some(cluster), ..RunRecord::default() })
    }

    fn names(rows: Vec<RowSeen>) -> Vec<&'static str> {
        found(rows).violations.iter().map(Violation::name).collect()
    }

    /// A phase as it is shown and as it is, every 10 s.
    fn phases(until: u64, shown: impl Fn(u64) -> &'static str, truth: impl Fn(u64) -> &'static str) -> Vec<RowSeen> {
        (0..=until / 10).map(|i| row(i * 10, vec![cell("phase", shown(i * 10), truth(i * 10))])).collect()
    }

    #[test]
    fn a_row_may_lag_by_the_interval_and_no_more() {
        let failed_from = |from: u64| move |t: u64| if t >= from { "Failed" } else { "Bound" };
        for (shown, truth, want) in [(300, 200, 0), (310, 200, 1), (310, 210, 0), (150, 200, 1)] {
            let rows = phases(400, failed_from(shown), failed_from(truth));
            assert_eq!(names(rows), vec!["RowUntrue"; want], "shown from {shown} s, true from {truth} s");
        }
        let rows = phases(400, |_| "Bound", failed_from(200));
        let Some(Violation::RowUntrue { since, at: seen, .. }) = found(rows).violations.pop() else { panic!("untrue") };
        assert_eq!((since, seen), (at(200_000), at(300_000)), "told once, since when");
    }

    #[test]
    fn what_was_not_watched_is_not_judged() {
        assert_eq!(names(phases(90, |_| "Bound", |_| "Failed")), [""; 0]);
        assert_eq!(names(phases(100, |_| "Bound", |_| "Failed")), ["RowUntrue"]);
    }

    #[test]
    fn a_blind_controller_is_noted_and_judged_an_interval_after_it_sees_again() {
        let blind = |until: u64, all: Vec<RowSeen>| -> Vec<RowSeen> {
            let why =
                |row: &RowSeen| (200..until).contains(&row.at.elapsed().as_secs()).then(|| "master 0".to_string());
            all.into_iter().map(|row| RowSeen { blind: why(&row), ..row }).collect()
        };
        let frozen = |until| phases(until, |_| "Bound", |t| if t >= 200 { "Failed" } else { "Bound" });
        let finding = found(blind(900, frozen(900)));
        assert_eq!((finding.violations.len(), finding.notes.len()), (0, 1), "{finding:?}");
        assert_eq!(names(blind(400, frozen(480))), [""; 0]);
        assert_eq!(names(blind(400, frozen(500))), ["RowUntrue"]);
    }

    #[test]
    fn a_right_row_ends_the_story_of_an_untrue_one_although_nobody_judges_it() {
        let shown = |t| if (120..180).contains(&t) { "Bound" } else { "Failed" };
        let all = phases(300, shown, |_| "Bound").into_iter();
        // Judged are rows from 100 s on, but for those whose interval has a blind one in it.
        let blind = |row: &RowSeen| (row.at == at(110_000)).then(|| "master 0".to_string());
        assert_eq!(names(all.map(|row| RowSeen { blind: blind(&row), ..row }).collect()), ["RowUntrue"; 2]);
    }

    proptest! {
        #[test]
        fn rows_that_are_right_need_not_be_told_again(
            runs in vec((1..15_usize, 0..3_usize, 0..3_usize, prop::bool::weighted(0.1)), 1..12),
        ) {
            let words = ["Bound", "Failed", "Updating"];
            let looks = runs.iter().flat_map(|(times, shown, truth, blind)| {
                vec![(words[*shown], words[*truth], *blind); *times]
            });
            let look = |(i, (shown, truth, blind)): (usize, (&str, &str, bool))| RowSeen {
                blind: blind.then(|| "master 0".into()),
                ..row(i as u64 * 10, vec![cell("phase", shown, truth)])
            };
            let all: Vec<RowSeen> = looks.enumerate().map(look).collect();
            let again = |i: usize| all[i - 1].is_right() && all[i].is_right() && all[i - 1].cells == all[i].cells;
            let told = (0..all.len()).filter(|i| *i == 0 || !again(*i)).map(|i| all[i].clone()).collect();
            let (all, told) = (found(all), found(told));
            prop_assert_eq!((all.violations, all.notes), (told.violations, told.notes));
        }
    }

    #[test]
    fn a_number_that_moves_is_right_between_two_looks() {
        let sizes = |shown: &'static str, low: &'static str, high: &'static str| {
            let truth = |t| if t < 150 { low } else { high };
            (0..=20).map(|i| row(i * 10, vec![cell("cached", shown, truth(i * 10))])).collect::<Vec<_>>()
        };
        let last = |rows: Vec<RowSeen>| {
            let shown = rows[20].cells[0].shown.clone();
            let truth = |row: RowSeen| {
                let shown = if row.at < at(200_000) { row.cells[0].truth[0].clone() } else { shown.clone() };
                RowSeen { cells: vec![Cell { shown, ..row.cells[0].clone() }], ..row }
            };
            names(rows.into_iter().map(truth).collect())
        };
        assert_eq!(last(sizes("1.50GiB", "1.00GiB", "2.00GiB")), [""; 0]);
        assert_eq!(last(sizes("2.01GiB", "1.00GiB", "2.00GiB")), ["RowUntrue"]);
        assert_eq!(last(sizes("[Calculating]", "1.00GiB", "2.00GiB")), ["RowUntrue"]);
    }

    #[test]
    fn what_is_taken_once_may_be_old() {
        let total = |once| {
            let truth = |t| if t < 50 { "550.82MiB" } else { "550.85MiB" };
            let cell = |t| Cell { once, ..cell("ufsTotal", "550.82MiB", truth(t)) };
            (0..=40).map(|i| row(i * 10, vec![cell(i * 10)])).collect::<Vec<_>>()
        };
        assert_eq!(names(total(true)), [""; 0]);
        assert_eq!(names(total(false)), ["RowUntrue"]);
    }

    #[test]
    fn numbers_are_possible() {
        let share = |cached: &str, total: &str, share: &str, rule| {
            let cells =
                vec![cell("cached", cached, ""), cell("ufsTotal", total, ""), cell("cachedPercentage", share, "")];
            names(vec![RowSeen { share: Some(rule), ..row(0, cells) }])
        };
        for (cached, total, shown, rule, good) in [
            ("550.82MiB", "550.82MiB", "100.0%", Share::Unbounded, true),
            ("275.41MiB", "550.82MiB", "50.0%", Share::Unbounded, true),
            ("275.41MiB", "550.82MiB", "0.0%", Share::Unbounded, false),
            ("1.00GiB", "512.00MiB", "200.0%", Share::Unbounded, true),
            ("1.00GiB", "512.00MiB", "200.0%", Share::AtMostWhole, false),
            ("1.00GiB", "512.00MiB", "100.0%", Share::AtMostWhole, true),
            ("1.00GiB", "512.00MiB", "100.0%", Share::Unbounded, false),
            ("1.00GiB", "[Calculating]", "0.0%", Share::Unbounded, true),
            ("0.00B", "0.00B", "0.0%", Share::Unbounded, true),
            ("1.00GiB", "4.00GiB", "a quarter", Share::Unbounded, false),
        ] {
            let want: &[&str] = if good { &[] } else { &["RowImpossible"] };
            assert_eq!(share(cached, total, shown, rule), want, "{shown} of {cached} in {total}");
        }
        let negative =
            |shown: &str| names(vec![row(0, vec![cell("cached", shown, "")]), row(1, vec![cell("cached", shown, "")])]);
        assert_eq!((negative("-1.00GiB"), negative("-")), (vec!["RowImpossible"], vec![]), "told once");
    }
}
