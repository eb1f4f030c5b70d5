//! S4: one leader per term acknowledges writes; a member's term never goes back; a deposed leader is fenced.
//!
//! Election safety and the durable vote of Raft (Ongaro, 2014, section 3.4 and figure 3.2). Nobody's claim to lead is
//! believed by itself: a member that just woke may call itself leader of its old term. Two members that claim one and the
//! same term are a violation whenever they are seen, since no term ever has two leaders.

use std::collections::BTreeMap;

use super::history::{Operation, Outcome};
use super::judge::Finding;
use super::observation::{MasterObservation, Role};
use super::record::{Core, Outage, RunRecord};
use super::violation::Violation;
use crate::base::SimTime;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    terms(&record.masters, &mut finding);
    fences(&record.history, &mut finding);
    quorum(record, &mut finding);
    finding
}

fn terms(masters: &[MasterObservation], finding: &mut Finding) {
    let mut leaders: BTreeMap<u64, &MasterObservation> = BTreeMap::new();
    let mut last: BTreeMap<(u64, u32), &MasterObservation> = BTreeMap::new();
    let mut votes: BTreeMap<(u64, u32, u64), u64> = BTreeMap::new();
    for now in masters {
        if now.role == Role::Leader {
            let first = leaders.entry(now.term).or_insert(now);
            finding.check((first.member != now.member).then(|| Violation::TwoLeadersOneTerm {
                term: now.term,
                first: first.name.clone(),
                second: now.name.clone(),
                at: now.at,
            }));
        }
        // A member that is down tells nothing of its term.
        if now.role == Role::Down {
            continue;
        }
        if let Some(was) = last.insert((now.member, now.storage), now) {
            finding.check((now.term < was.term).then(|| Violation::TermWentBack {
                member: now.name.clone(),
                was: was.term,
                now: now.term,
                at: now.at,
            }));
        }
        // Not every observation tells a vote; the first one told in a term stays.
        if let Some(second) = now.voted_for {
            let (member, term) = (now.name.clone(), now.term);
            let first = *votes.entry((now.member, now.storage, term)).or_insert(second);
            let twice = first != second;
            finding.check(twice.then_some(Violation::VotedTwice { member, term, first, second, at: now.at }));
        }
    }
}

/// What an answer says of the leader that gave it.
#[derive(Clone, Copy)]
struct Answered<'a> {
    op: &'a Operation,
    invoked: SimTime,
    returned: SimTime,
    term: u64,
    index: u64,
}

impl<'a> Answered<'a> {
    fn of(op: &'a Operation) -> Option<Self> {
        match op.outcome {
            Outcome::Acked { returned, index, term, .. } if index > 0 => {
                Some(Self { op, invoked: op.invoked, returned, term, index })
            }
            _ => None,
        }
    }
}

/// An answer of an older term to something that was asked after a newer term had answered. For a change that is enough; a
/// read must besides reflect less.
fn fences(history: &[Operation], finding: &mut Finding) {
    let mut acked: Vec<Answered<'_>> = history.iter().filter_map(Answered::of).collect();
    let mut returned = acked.clone();
    returned.sort_by_key(|answered| answered.returned);
    acked.sort_by_key(|answered| answered.invoked);
    let mut newest: Option<Answered<'_>> = None;
    let mut done = returned.into_iter().peekable();
    for asked in acked {
        while let Some(other) = done.next_if(|other| other.returned < asked.invoked) {
            if newest.is_none_or(|newest| (other.term, other.index) > (newest.term, newest.index)) {
                newest = Some(other);
            }
        }
        let Some(newer) = newest else { continue };
        let late = asked.term < newer.term && (asked.op.acked_change() || asked.index < newer.index);
        finding.check(late.then(|| Violation::DeposedLeaderAcked {
            operation: Box::new(asked.op.clone()),
            newer: Box::new(newer.op.clone()),
        }));
    }
}

/// No change can be acknowledged while no majority exists.
fn quorum(record: &RunRecord, finding: &mut Finding) {
    let Core::Beyond(outages) = &record.core else { return };
    for op in record.history.iter().filter(|op| op.acked_change()) {
        let Outcome::Acked { returned, index, .. } = op.outcome else { continue };
        let inside = |o: &&Outage| !o.quorum && op.invoked >= o.from && o.until.is_none_or(|until| returned < until);
        let outage = outages.iter().filter(|_| index > 0).find(inside);
        finding.check(
            outage.map(|outage| Violation::AckedWithoutQuorum {
                operation: Box::new(op.clone()),
                why: outage.why.clone(),
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::history::Answer;
    use crate::oracle::testing::{History, master, outage};

    fn names(record: &RunRecord) -> Vec<&'static str> {
        check(record).violations.iter().map(Violation::name).collect()
    }
    fn seen(masters: Vec<MasterObservation>) -> Vec<&'static str> {
        names(&RunRecord { masters, ..RunRecord::default() })
    }

    #[test]
    fn two_leaders_of_different_terms_may_be_seen_at_once() {
        let leader = |t, member, term| MasterObservation { role: Role::Leader, ..master(t, member, term) };
        assert_eq!(seen(vec![leader(1, 1, 3), leader(1, 2, 4)]), [""; 0]);
        assert_eq!(seen(vec![leader(1, 1, 4), leader(9, 2, 4)]), ["TwoLeadersOneTerm"]);
        assert_eq!(seen(vec![leader(1, 1, 4), master(9, 2, 4)]), [""; 0]);
    }

    #[test]
    fn terms_go_back_only_with_a_new_disk() {
        assert_eq!(seen(vec![master(1, 1, 4), master(2, 1, 4), master(3, 1, 5)]), [""; 0]);
        assert_eq!(seen(vec![master(1, 1, 4), master(2, 1, 3)]), ["TermWentBack"]);
        assert_eq!(seen(vec![master(1, 1, 4), MasterObservation { storage: 1, ..master(2, 1, 0) }]), [""; 0]);
        assert_eq!(seen(vec![master(1, 1, 4), MasterObservation { role: Role::Down, ..master(2, 1, 0) }]), [""; 0]);
    }

    #[test]
    fn one_vote_in_a_term() {
        let vote = |t, term, voted| MasterObservation { voted_for: Some(voted), ..master(t, 1, term) };
        assert_eq!(seen(vec![vote(1, 4, 2), vote(2, 5, 3)]), [""; 0]);
        assert_eq!(seen(vec![vote(1, 4, 2), vote(2, 4, 3)]), ["VotedTwice"]);
        assert_eq!(seen(vec![vote(1, 4, 2), master(2, 1, 4), vote(3, 4, 3)]), ["VotedTwice"], "silence is no new vote");
    }

    #[test]
    fn an_old_leader_acknowledges_nothing_that_was_asked_later() {
        for (invoked, want) in [(2, &[][..]), (6, &["DeposedLeaderAcked"])] {
            let mut h = History::default();
            h.mkdir("/a").span(0, 5).acked(7).term(2);
            h.mkdir("/b").span(invoked, 9).acked(6).term(1);
            assert_eq!(names(&RunRecord { history: h.ops, ..RunRecord::default() }), want);
        }
        for (index, want) in [(7, &[][..]), (6, &["DeposedLeaderAcked"])] {
            let mut h = History::default();
            h.mkdir("/a").span(0, 5).acked(7).term(2);
            h.stat("/b").span(6, 9).acked_with(index, Answer::Done).term(1);
            assert_eq!(names(&RunRecord { history: h.ops, ..RunRecord::default() }), want);
        }
    }

    #[test]
    fn no_majority_no_acknowledgement() {
        // While disks are full a majority may still acknowledge what fits.
        let hampered = Outage { quorum: true, ..outage(30, Some(50)) };
        let core = Core::Beyond(vec![outage(10, Some(20)), hampered, outage(60, None)]);
        let cases = [
            ((11, 15), &["AckedWithoutQuorum"][..]),
            ((9, 15), &[]),
            ((11, 25), &[]),
            ((35, 40), &[]),
            ((61, 62), &["AckedWithoutQuorum"]),
        ];
        for (span, want) in cases {
            let mut h = History::default();
            h.mkdir("/a").span(span.0, span.1).acked(7);
            assert_eq!(names(&RunRecord { history: h.ops, core: core.clone(), ..RunRecord::default() }), want);
        }
    }
}
