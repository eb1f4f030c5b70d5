//! S1: operations on the namespace are linearizable, per path and across renames.
//!
//! Every answer carries the journal index that it reflects, so the order is given and need not be searched: it is held
//! against real time (`order`), and a model replayed in that order must give every answer that clients saw. Only changes
//! whose outcome nobody knows are placed by search (`search`). The scan after settling is replayed last, as listings.

mod components;
mod diagnose;
mod footprint;
mod order;
mod search;

#[cfg(test)]
mod generated;

use std::collections::BTreeMap;

use super::history::{Answer, Call, Operation, Outcome, Seen};
use super::judge::Finding;
use super::model::{split, within};
use super::observation::FinalTree;
use super::record::{RunRecord, Setup};
use crate::base::SimTime;
use crate::stack::wire::OpId;
use footprint::Whereabouts;
use search::{Placing, Search, Window};

/// `client` of the listings that the final scan is replayed as.
pub const SCAN_CLIENT: u32 = u32::MAX;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let scanned = record.final_tree.as_ref().map(|tree| scan(tree, &record.setup)).unwrap_or_default();
    let history: Vec<&Operation> = record.history.iter().chain(&scanned).collect();
    let mut sorted = order::sort(history.iter().copied());
    let mut finding = Finding { checks: sorted.placed.len() as u64, ..Finding::default() };
    finding.violations.extend(order::against_time(&sorted.placed));
    finding.violations.extend(order::shared_indexes(&sorted.placed));
    let external = search::without_external(&mut sorted, &record.setup);
    if external > 0 {
        finding.notes.push(format!("{external} operations below mount points were ordered, not replayed"));
    }
    if sorted.unplaced > 0 {
        finding.notes.push(format!("{} answers carried no journal index and were not replayed", sorted.unplaced));
    }
    let places = Whereabouts::new(history.iter().copied());
    let search =
        |window| Search::new(&sorted, &history, &places, &record.setup, window, record.bounds.search_steps).run();
    let placing = match search(Window::WhileAwaited) {
        Placing::Found { steps, effects } => Placing::Found { steps, effects },
        _ => search(Window::AnyTime),
    };
    match placing {
        Placing::Found { steps, effects } if !sorted.floating.is_empty() => finding.notes.push(format!(
            "{} of {} unknown outcomes must have taken effect ({steps} steps)",
            effects.len(),
            sorted.floating.len()
        )),
        Placing::Found { .. } => {}
        Placing::Impossible(violation) | Placing::Undecided(violation) => finding.violations.push(*violation),
    }
    finding
}

/// The final scan as listings that come after everything.
fn scan(tree: &FinalTree, setup: &Setup) -> Vec<Operation> {
    let external = |path: &str| setup.external.iter().any(|mount| within(path, mount));
    let mut listings: BTreeMap<&str, Vec<Seen>> = BTreeMap::from([("/", vec![])]);
    for (path, seen) in &tree.entries {
        listings.entry(split(path).0).or_default().push(seen.clone());
        if seen.dir {
            listings.entry(path).or_default();
        }
    }
    let listing = |(seq, (path, mut entries)): (usize, (&str, Vec<Seen>))| {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let answer = Answer::Entries(entries);
        Operation {
            client: SCAN_CLIENT,
            op: OpId { client: u64::MAX, seq: seq as u64 },
            call: Call::List { path: path.into() },
            invoked: tree.at,
            attempts: 1,
            outcome: Outcome::Acked { returned: SimTime::NEVER, index: u64::MAX, term: u64::MAX, answer },
        }
    };
    listings.into_iter().filter(|(path, _)| !external(path)).enumerate().map(listing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::history::Refusal;
    use crate::oracle::testing::{History, at, file, seen};
    use crate::oracle::violation::Violation;

    fn names(h: &History) -> Vec<&'static str> {
        let record = RunRecord { history: h.ops.clone(), ..RunRecord::default() };
        check(&record).violations.iter().map(Violation::name).collect()
    }
    fn no(refusal: Refusal) -> Answer {
        Answer::Refused(refusal)
    }
    fn info(path: &str, id: u64, dir: bool) -> Answer {
        Answer::Info(seen(path, id, dir))
    }

    #[test]
    fn a_correct_history_passes() {
        let mut h = History::default();
        h.mkdir("/d").span(0, 1).acked_with(1, info("/d", 1, true));
        h.create("/d/f").span(2, 3).acked_with(2, info("/d/f", 2, false));
        h.create("/d/f").span(2, 4).acked_with(3, no(Refusal::AlreadyExists));
        h.complete("/d/f", 2, 10).span(4, 5).acked(4);
        h.rename("/d/f", "/d/g").span(6, 7).acked(5);
        h.list("/d").span(8, 9).acked_with(5, Answer::Entries(vec![file("/d/g", 2, 10)]));
        h.delete("/d").span(10, 11).acked(6);
        h.stat("/d/g").span(12, 13).acked_with(6, no(Refusal::NotFound));
        assert_eq!(names(&h), [""; 0]);
    }

    #[test]
    fn an_unknown_change_may_be_seen_or_not_but_not_both() {
        for (answers, want) in [(&[true, true][..], 0), (&[false, false], 0), (&[false, true], 0), (&[true, false], 1)]
        {
            let mut h = History::default();
            h.create("/f").span(0, 1);
            for (i, there) in answers.iter().enumerate() {
                let answer = if *there { info("/f", 7, false) } else { no(Refusal::NotFound) };
                let t = 10 * i as u64;
                h.stat("/f").span(t + 2, t + 3).acked_with(5, answer);
            }
            // Both reads reflect index 5: the later of the two may see more only if the change came in between, which
            // one index forbids; the search is weaker than that and lets it pass.
            assert_eq!(names(&h).len(), want, "{answers:?}: {:?}", names(&h));
        }
    }

    #[test]
    fn an_unknown_change_takes_effect_once_at_most() {
        let mut h = History::default();
        h.create("/f").span(0, 1);
        h.delete("/f").span(2, 3).acked(5);
        assert_eq!(names(&h), [""; 0]);
        h.delete("/f").span(4, 5).acked(6);
        assert_eq!(names(&h), ["NotLinearizable"]);
    }

    #[test]
    fn an_unknown_change_has_no_effect_before_its_invocation() {
        let mut h = History::default();
        h.stat("/f").span(0, 1).acked_with(5, info("/f", 7, false));
        h.create("/f").span(2, 3);
        assert_eq!(names(&h), ["NotLinearizable"]);
    }

    #[test]
    fn unknown_renames_carry_files_along() {
        let mut h = History::default();
        h.create("/a").span(0, 1).acked_with(1, info("/a", 7, false));
        h.rename("/a", "/b").span(2, 3);
        h.rename("/b", "/c").span(2, 3);
        h.stat("/c").span(10, 11).acked_with(9, info("/c", 7, false));
        h.stat("/a").span(12, 13).acked_with(9, no(Refusal::NotFound));
        assert_eq!(names(&h), [""; 0]);
        h.stat("/b").span(14, 15).acked_with(9, info("/b", 7, false));
        assert_eq!(names(&h).len(), 1, "it cannot be at both places");
    }

    #[test]
    fn an_early_choice_is_revised() {
        // Placed late, the unknown rename would carry /c's file; only before the acknowledged rename it carries /a's.
        let mut h = History::default();
        h.create("/a").span(0, 1).acked_with(1, info("/a", 1, false));
        h.create("/c").span(0, 1).acked_with(2, info("/c", 2, false));
        h.rename("/a", "/b").span(2, 3);
        h.rename("/c", "/a").span(4, 5).acked(9);
        h.create("/x").span(6, 7).acked_with(10, info("/x", 3, false));
        h.stat("/b").span(8, 9).acked_with(10, info("/b", 1, false));
        h.stat("/a").span(8, 9).acked_with(10, info("/a", 2, false));
        assert_eq!(names(&h), [""; 0]);
    }

    #[test]
    fn an_unknown_completion_is_found_where_the_file_went() {
        let mut h = History::default();
        h.create("/t").span(0, 1).acked_with(1, info("/t", 1, false));
        h.complete("/t", 1, 10).span(2, 3);
        h.rename("/t", "/f").span(4, 5).acked(3);
        h.stat("/f").span(6, 7).acked_with(4, info("/f", 1, false));
        h.stat("/f").span(8, 9).acked_with(5, Answer::Info(file("/f", 1, 10)));
        assert_eq!(names(&h), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_called_by_its_name() {
        let mut h = History::default();
        h.create("/f").span(0, 1).acked_with(1, info("/f", 1, false));
        h.stat("/f").span(2, 3).acked_with(2, no(Refusal::NotFound));
        assert_eq!(names(&h), ["LostAckedWrite"]);

        let mut h = History::default();
        h.create("/f").span(0, 1).acked_with(1, info("/f", 1, false));
        h.delete("/f").span(2, 3).acked(2);
        h.stat("/f").span(4, 5).acked_with(3, info("/f", 1, false));
        assert_eq!(names(&h), ["ResurrectedEntry"]);

        let mut h = History::default();
        h.create("/f").span(0, 9).acked_with(2, no(Refusal::AlreadyExists)).attempts(2);
        assert_eq!(names(&h), ["AppliedTwice"]);

        let mut h = History::default();
        h.create("/f").span(0, 1).acked_with(1, info("/f", 1, false));
        h.stat("/f").span(2, 3).acked_with(2, no(Refusal::NotFound));
        h.stat("/f").span(4, 5).acked_with(3, info("/f", 1, false));
        assert_eq!(names(&h), ["StaleRead"]);

        let mut h = History::default();
        h.create("/f").span(0, 1).acked_with(1, info("/f", 1, false));
        h.complete("/f", 1, 10).span(2, 3).acked(2);
        h.stat("/f").span(4, 5).acked_with(2, info("/f", 1, false));
        assert_eq!(names(&h), ["LostAckedWrite"]);

        let mut h = History::default();
        for (id, path) in [(1, "/f"), (2, "/g")] {
            h.create(path).span(id * 4, id * 4 + 1).acked_with(id * 2, info(path, id, false));
            h.complete(path, id, 10).span(id * 4 + 2, id * 4 + 3).acked(id * 2 + 1);
        }
        h.stat("/g").span(20, 21).acked_with(5, Answer::Info(file("/g", 1, 10)));
        assert_eq!(names(&h), ["NotLinearizable"], "a whole file in the wrong place");
    }

    #[test]
    fn versions_of_one_inode_never_go_back() {
        let with = |version| Answer::Info(Seen { version, ..file("/f", 1, 10) });
        for (versions, want) in [([2, 2], 0), ([2, 3], 0), ([3, 2], 1)] {
            let mut h = History::default();
            h.create("/f").span(0, 1).acked_with(1, info("/f", 1, false));
            h.complete("/f", 1, 10).span(2, 3).acked(2);
            h.stat("/f").span(4, 5).acked_with(5, with(versions[0]));
            h.stat("/f").span(6, 7).acked_with(6, with(versions[1]));
            assert_eq!(names(&h).len(), want, "{versions:?}");
        }
    }

    #[test]
    fn the_final_tree_is_the_last_answer() {
        let mut h = History::default();
        h.mkdir("/d").span(0, 1).acked(1);
        h.create("/d/f").span(2, 3).acked_with(2, info("/d/f", 2, false));
        h.create("/d/g").span(2, 3);
        let with = |entries: Vec<(&str, Seen)>| RunRecord {
            history: h.ops.clone(),
            final_tree: Some(FinalTree {
                at: at(99),
                entries: entries.into_iter().map(|(path, seen)| (path.to_string(), seen)).collect(),
                unreadable: vec![],
            }),
            ..RunRecord::default()
        };
        let (d, f, g) = (seen("/d", 1, true), seen("/d/f", 2, false), seen("/d/g", 3, false));
        for (entries, want) in [
            (vec![("/d", d.clone()), ("/d/f", f.clone())], &[][..]),
            (vec![("/d", d.clone()), ("/d/f", f.clone()), ("/d/g", g.clone())], &[]),
            (vec![("/d", d.clone()), ("/d/g", g)], &["LostAckedWrite"]),
            (vec![("/d", d), ("/d/f", f.clone()), ("/x", Seen { name: "x".into(), ..f })], &["NotLinearizable"]),
        ] {
            let violations = check(&with(entries)).violations;
            assert_eq!(violations.iter().map(Violation::name).collect::<Vec<_>>(), want, "{violations:?}");
        }
    }
}
