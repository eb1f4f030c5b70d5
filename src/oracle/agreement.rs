//! S5: logs agree, equal state at equal applied index, and what is committed stays.
//!
//! Log matching, leader completeness and state machine safety of Raft (Ongaro, 2014, figure 3.2), as far as digests show
//! them. Entries above the commit may differ and be replaced; an entry that anybody knew to be committed never is.

use std::collections::BTreeMap;

use super::judge::Finding;
use super::ledger::Ledger;
use super::observation::{LogDigest, LogId, MasterObservation, Role};
use super::record::RunRecord;
use super::violation::Violation;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let mut names: Ledger<(u32, u64), (u128, &MasterObservation)> = Ledger::default();
    let mut committed: Ledger<u32, (LogId, u128, &MasterObservation)> = Ledger::default();
    let mut states: BTreeMap<(u32, u64), (u128, &str)> = BTreeMap::new();
    let life = lives(&record.masters);
    for master in record.masters.iter().filter(|m| m.role != Role::Down) {
        let life = life(master);
        for pair in master
            .log
            .windows(2)
            .filter(|pair| pair[0].id.index >= pair[1].id.index || pair[0].id.term > pair[1].id.term)
        {
            let detail = format!(
                "term {} index {} follows term {} index {}",
                pair[1].id.term, pair[1].id.index, pair[0].id.term, pair[0].id.index
            );
            let (first, second) = (master.name.clone(), master.name.clone());
            finding.violations.push(Violation::LogsDisagree { first, second, index: pair[1].id.index, detail });
        }
        for entry in &master.log {
            let (hash, by) = *names.first((life, entry.id.term), entry.id.index, || (entry.hash, master));
            finding.check((hash != entry.hash).then(|| Violation::LogsDisagree {
                first: by.name.clone(),
                second: master.name.clone(),
                index: entry.id.index,
                detail: format!("two payloads in term {}: {hash:032x} and {:032x}", entry.id.term, entry.hash),
            }));
            if entry.id.index <= master.committed {
                let (id, hash, by) = *committed.first(life, entry.id.index, || (entry.id, entry.hash, master));
                finding.check(((id, hash) != (entry.id, entry.hash)).then(|| replaced(id, by, entry, master)));
            }
        }
        if let Some(hash) = master.state_hash.filter(|_| master.applied > 0) {
            let (was, name) = *states.entry((life, master.applied)).or_insert((hash, &master.name));
            finding.check((was != hash).then(|| Violation::StateDiverged {
                applied: master.applied,
                first: name.into(),
                second: master.name.clone(),
                first_hash: format!("{was:032x}"),
                second_hash: format!("{hash:032x}"),
            }));
        }
    }
    incomplete_leaders(&record.masters, &mut finding);
    finding
}

/// Counts the logs. Nobody remembers for a member that is alone: with a new disk it begins a new one, and what that loses is
/// S2's. Where there are others, a new disk excuses nothing.
fn lives(masters: &[MasterObservation]) -> impl Fn(&MasterObservation) -> u32 {
    let alone = masters.iter().all(|master| master.member == masters[0].member);
    move |master| if alone { master.storage } else { 0 }
}

fn replaced(was: LogId, by: &MasterObservation, entry: &LogDigest, master: &MasterObservation) -> Violation {
    Violation::CommittedLost {
        committed: was,
        seen_by: by.name.clone(),
        now: format!("{} holds an entry of term {} committed in its place", master.name, entry.id.term),
        at: master.at,
    }
}

/// Leader completeness: what was committed by a term is in the log of every leader of a later one. A follower may lawfully
/// lose the end of its own log with the power, even if it knew the commit: others made it durable.
fn incomplete_leaders(masters: &[MasterObservation], finding: &mut Finding) {
    let life = lives(masters);
    let mut commits: BTreeMap<(u32, u64), &MasterObservation> = BTreeMap::new();
    for master in masters.iter().filter(|m| m.role != Role::Down) {
        let best = commits.entry((life(master), master.term)).or_insert(master);
        if best.committed < master.committed {
            *best = master;
        }
    }
    for leader in masters.iter().filter(|m| m.role == Role::Leader) {
        let (first, end) = ((life(leader), 0), (life(leader), leader.term));
        let Some(was) = commits.range(first..end).map(|(_, m)| *m).max_by_key(|m| m.committed) else { continue };
        let last = leader.last_log.unwrap_or(0).max(leader.applied);
        finding.check((last < was.committed).then(|| Violation::CommittedLost {
            committed: LogId { term: was.term, index: was.committed },
            seen_by: was.name.clone(),
            now: format!("{} leads term {} and its log ends at index {last}", leader.name, leader.term),
            at: leader.at,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::testing::{entry, master};

    fn names(masters: Vec<MasterObservation>) -> Vec<&'static str> {
        check(&RunRecord { masters, ..RunRecord::default() }).violations.iter().map(Violation::name).collect()
    }
    fn with_log(t: u64, member: u64, committed: u64, log: Vec<LogDigest>) -> MasterObservation {
        let last_log = log.last().map(|e| e.id.index);
        MasterObservation { committed, log, last_log, ..master(t, member, 3) }
    }

    #[test]
    fn one_name_one_entry() {
        let one = vec![entry(1, 1, 7), entry(1, 2, 8)];
        assert_eq!(names(vec![with_log(1, 1, 0, one.clone()), with_log(1, 2, 0, one.clone())]), [""; 0]);
        assert_eq!(names(vec![with_log(1, 1, 0, one), with_log(1, 2, 0, vec![entry(1, 2, 9)])]), ["LogsDisagree"]);
        assert_eq!(names(vec![with_log(1, 1, 0, vec![entry(2, 1, 7), entry(1, 2, 8)])]), ["LogsDisagree"]);
    }

    #[test]
    fn uncommitted_entries_may_be_replaced_but_committed_ones_may_not() {
        let (old, new) = (vec![entry(1, 1, 7)], vec![entry(2, 1, 8)]);
        assert_eq!(names(vec![with_log(1, 1, 0, old.clone()), with_log(2, 1, 1, new.clone())]), [""; 0]);
        assert_eq!(names(vec![with_log(1, 1, 1, old), with_log(2, 2, 1, new)]), ["CommittedLost"]);
    }

    #[test]
    fn a_later_leader_holds_what_was_committed() {
        let long = vec![entry(1, 1, 7), entry(1, 2, 8)];
        let leader = |term, log| MasterObservation { term, role: Role::Leader, ..with_log(9, 2, 0, log) };
        let seen = with_log(1, 1, 2, long.clone());
        assert_eq!(names(vec![seen.clone(), leader(4, vec![entry(1, 1, 7)])]), ["CommittedLost"]);
        assert_eq!(names(vec![seen.clone(), leader(4, long)]), [""; 0]);
        assert_eq!(names(vec![seen.clone(), leader(2, vec![entry(1, 1, 7)])]), [""; 0], "an old leader that woke");
        let purged = MasterObservation { applied: 2, ..leader(4, vec![]) };
        assert_eq!(names(vec![seen.clone(), purged]), [""; 0]);
        let follower = MasterObservation { role: Role::Follower, ..leader(4, vec![]) };
        assert_eq!(names(vec![seen, follower]), [""; 0], "a follower may lag");
    }

    #[test]
    fn a_member_alone_begins_a_new_log_with_a_new_disk() {
        let seen = |t, storage, hash| MasterObservation {
            storage,
            applied: 1,
            state_hash: Some(hash),
            ..with_log(t, 1, 1, vec![entry(1, 1, hash)])
        };
        assert_eq!(names(vec![seen(1, 0, 7), seen(2, 1, 8)]), [""; 0]);
        let leads = |term, storage, committed| MasterObservation {
            role: Role::Leader,
            storage,
            last_log: Some(committed),
            ..with_log(term, 1, committed, vec![])
        };
        let term = |term, storage, last| MasterObservation { term, ..leads(term, storage, last) };
        assert_eq!(names(vec![term(3, 0, 9), term(4, 1, 1)]), [""; 0]);
        assert_eq!(names(vec![term(3, 0, 9), term(4, 0, 1)]), ["CommittedLost"]);
        let same_disk = names(vec![seen(1, 0, 7), seen(2, 0, 8)]);
        assert_eq!(same_disk, ["LogsDisagree", "CommittedLost", "StateDiverged"]);
        let others = names(vec![seen(1, 0, 7), master(1, 2, 3), seen(2, 1, 8)]);
        assert_eq!(others, same_disk, "others remember");
    }

    #[test]
    fn equal_index_equal_state() {
        let state =
            |member, applied, hash| MasterObservation { applied, state_hash: Some(hash), ..master(1, member, 3) };
        assert_eq!(names(vec![state(1, 5, 7), state(2, 5, 7), state(3, 4, 6)]), [""; 0]);
        assert_eq!(names(vec![state(1, 5, 7), state(2, 5, 8)]), ["StateDiverged"]);
    }
}
