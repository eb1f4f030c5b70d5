//! S6: what a restored snapshot or volume shows equals a prefix of the log; an epoch never moves back unnoticed; the masters
//! of one release are one cluster.
//!
//! A home of metadata that was put back to an older state holds less than it was known to hold: its epoch is lower, or entries
//! are missing that were durable there and committed. Whoever works with it, votes or answers, breaks the promise; who
//! notices and refuses, or says what it does, keeps it (etcd issue 10166). Entries that were never committed may go: a later
//! leader replaces them. A master whose home is new begins with nothing and is judged by its group: another cluster id
//! under the same name is a second cluster (Fluid issue 3283). A group that keeps nothing that lasts may begin anew, but the
//! cluster before must then be over.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::JournalSeen;
use super::judge::Finding;
use super::observation::{LogDigest, Role};
use super::record::RunRecord;
use super::violation::Violation;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let Some(cluster) = &record.cluster else { return finding };
    epochs(&cluster.journals, &mut finding);
    groups(&cluster.journals, &mut finding);
    prefixes(record, &cluster.journals, &mut finding);
    finding
}

/// The most that a home was known to hold.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    term: u64,
    kept: u64,
}

fn epochs(journals: &[JournalSeen], finding: &mut Finding) {
    let mut homes: BTreeMap<&str, Held> = BTreeMap::new();
    for now in journals {
        let held = homes.entry(&now.home).or_default();
        let back = now.term < held.term || now.last < held.kept;
        match &now.noticed {
            Some(said) if back => {
                finding.notes.push(format!("{} on {} went back, and it was said: {said}", now.member, now.home));
                *held = Held { term: now.term, kept: now.kept };
                continue;
            }
            // Nothing is promised of a home that nobody works with; what it held before still counts.
            None if back && !now.serving => continue,
            _ => {}
        }
        finding.check(back.then(|| Violation::EpochWentBack {
            home: now.home.to_string(),
            member: now.member.to_string(),
            was: (held.term, held.kept),
            now: (now.term, now.last),
            at: now.at,
        }));
        *held = Held { term: held.term.max(now.term), kept: held.kept.max(now.kept) };
        if back {
            // Told once: from here on it counts as what it is now.
            *held = Held { term: now.term, kept: now.kept };
        }
    }
}

fn groups(journals: &[JournalSeen], finding: &mut Finding) {
    // The clusters of each group, the one that was presented last behind. Of a group that is split one pair is told.
    let mut formed: BTreeMap<&str, Vec<&JournalSeen>> = BTreeMap::new();
    let mut split: BTreeSet<&str> = BTreeSet::new();
    for now in journals.iter().filter(|journal| journal.serving && !journal.cluster.is_empty()) {
        let all = formed.entry(&now.group).or_default();
        let last = all.last().copied().filter(|last| last.cluster != now.cluster);
        // What begins anew ends what was before: a cluster that comes back was there all the time.
        let back = last.is_some() && all.iter().any(|before| before.cluster == now.cluster);
        let anew = (now.volatile || now.noticed.is_some()) && !back;
        let second = last.filter(|_| !anew && split.insert(&now.group));
        finding.check(second.map(|first| Violation::SplitCluster {
            group: now.group.to_string(),
            first: format!("{} ({})", first.member, first.cluster),
            second: format!("{} ({})", now.member, now.cluster),
            at: now.at,
        }));
        if last.is_some() || all.is_empty() {
            all.retain(|before| before.cluster != now.cluster);
            all.push(now);
        }
    }
}

/// What is known of the log of one cluster.
#[derive(Default)]
struct Known<'a> {
    entries: BTreeMap<u64, (LogDigest, &'a str)>,
    states: BTreeMap<u64, (u128, &'a str)>,
}

fn prefixes(record: &RunRecord, journals: &[JournalSeen], finding: &mut Finding) {
    let mut known: BTreeMap<(&str, &str, &str), Known> = BTreeMap::new();
    for now in journals {
        let of = known.entry(cluster_of(now)).or_default();
        for entry in now.log.iter().filter(|entry| entry.id.index <= now.kept) {
            of.entries.entry(entry.id.index).or_insert((*entry, &now.member));
        }
    }
    // Masters that were watched from within belong to the one cluster there is, if there is one.
    let one = journals.iter().all(|journal| cluster_of(journal) == cluster_of(&journals[0]));
    if let Some(mut only) = known.first_entry().filter(|_| one) {
        for master in record.masters.iter().filter(|master| master.role != Role::Down) {
            for entry in master.log.iter().filter(|entry| entry.id.index <= master.committed) {
                only.get_mut().entries.entry(entry.id.index).or_insert((*entry, &master.name));
            }
            if let Some(hash) = master.state_hash.filter(|_| master.applied > 0) {
                only.get_mut().states.entry(master.applied).or_insert((hash, &master.name));
            }
        }
    }
    for now in journals.iter().filter(|journal| journal.serving) {
        let Some(of) = known.get_mut(&cluster_of(now)) else { continue };
        finding.check(not_a_prefix(now, of).map(|(index, detail)| Violation::RestoredOutsideLog {
            home: now.home.to_string(),
            member: now.member.to_string(),
            index,
            detail,
            at: now.at,
        }));
    }
}

/// Whose log it is: group and cluster. Where nothing lasts and no id tells clusters apart, each home may be another one.
fn cluster_of(journal: &JournalSeen) -> (&str, &str, &str) {
    let home = if journal.volatile && journal.cluster.is_empty() { &*journal.home } else { "" };
    (&journal.group, &journal.cluster, home)
}

/// Where a home's log or state is not what was decided.
fn not_a_prefix<'a>(now: &'a JournalSeen, known: &mut Known<'a>) -> Option<(u64, String)> {
    if let Some(pair) = now.log.windows(2).find(|pair| pair[1].id.index != pair[0].id.index + 1) {
        return Some((pair[0].id.index + 1, format!("entry {} follows entry {}", pair[1].id.index, pair[0].id.index)));
    }
    for entry in now.log.iter().filter(|entry| entry.id.index <= now.kept) {
        let (decided, by) = known.entries.get(&entry.id.index)?;
        if !decided.is(entry) {
            let detail = format!("it holds an entry of term {}, {by} one of term {}", entry.id.term, decided.id.term);
            return Some((entry.id.index, detail));
        }
    }
    let (applied, hash) = now.state.filter(|(applied, _)| *applied > 0)?;
    let (other, by) = *known.states.entry(applied).or_insert((hash, &now.member));
    (other != hash).then(|| (applied, format!("its state there is {hash:032x}, that of {by} {other:032x}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::cluster::ClusterRecord;
    use crate::oracle::observation::MasterObservation;
    use crate::oracle::testing::{at, entry, master};

    fn journal(t: u64, home: &str, term: u64, last: u64) -> JournalSeen {
        JournalSeen {
            at: at(t),
            home: home.into(),
            member: "demo-jindofs-master-0".into(),
            group: "demo".into(),
            cluster: "c1".into(),
            term,
            last,
            kept: last,
            serving: true,
            noticed: None,
            volatile: false,
            state: None,
            log: vec![],
        }
    }

    fn record(journals: Vec<JournalSeen>) -> RunRecord {
        let cluster = Some(ClusterRecord { journals, ..ClusterRecord::default() });
        RunRecord { cluster, ..RunRecord::default() }
    }

    fn names(journals: Vec<JournalSeen>) -> Vec<&'static str> {
        check(&record(journals)).violations.iter().map(Violation::name).collect()
    }

    #[test]
    fn a_volume_that_was_put_back_is_noticed() {
        let before = || journal(1, "d1", 3, 40);
        let tail = JournalSeen { kept: 30, ..before() };
        let said =
            JournalSeen { noticed: Some("the volume is older than its cluster".into()), ..journal(2, "d1", 2, 20) };
        let stopped = JournalSeen { serving: false, ..journal(2, "d1", 2, 20) };
        for (why, all, want) in [
            ("it goes on", vec![before(), journal(2, "d1", 4, 41)], 0),
            ("a lower epoch", vec![before(), journal(2, "d1", 2, 60)], 1),
            ("entries are missing", vec![before(), journal(2, "d1", 3, 39)], 1),
            ("none that was committed is", vec![tail, journal(2, "d1", 4, 30)], 0),
            ("another volume", vec![before(), journal(2, "d2", 0, 0)], 0),
            ("it says so", vec![before(), said.clone()], 0),
            ("it said so and goes on from there", vec![before(), said, journal(3, "d1", 2, 21)], 0),
            ("it does not serve", vec![before(), stopped.clone()], 0),
            ("it did not serve, and now does", vec![before(), stopped, journal(3, "d1", 2, 21)], 1),
            ("it is told once", vec![before(), journal(2, "d1", 2, 20), journal(3, "d1", 2, 21)], 1),
        ] {
            assert_eq!(names(all), vec!["EpochWentBack"; want], "{why}");
        }
    }

    #[test]
    fn masters_of_one_release_are_one_cluster() {
        let other = |t| JournalSeen { cluster: "c2".into(), ..journal(t, "d2", 1, 1) };
        let first = || journal(1, "d1", 1, 1);
        for (why, second, want) in [
            ("the same cluster", journal(2, "d2", 1, 1), 0),
            ("another cluster", other(2), 1),
            ("another release", JournalSeen { group: "other".into(), ..other(2) }, 0),
            ("it has none yet", JournalSeen { cluster: "".into(), ..other(2) }, 0),
            ("nothing lasts", JournalSeen { volatile: true, ..other(2) }, 0),
            ("an operator formatted it", JournalSeen { noticed: Some("formatted".into()), ..other(2) }, 0),
        ] {
            assert_eq!(names(vec![first(), second]), vec!["SplitCluster"; want], "{why}");
        }
        let lost =
            |t, cluster: &str| JournalSeen { cluster: cluster.into(), volatile: true, ..journal(t, "pod", 1, 1) };
        assert_eq!(names(vec![lost(1, "c1"), lost(2, "c2"), lost(3, "c3")]), [""; 0], "one after the other");
        assert_eq!(names(vec![lost(1, "c1"), lost(2, "c2"), lost(3, "c1")]), ["SplitCluster"], "both at once");
    }

    #[test]
    fn a_restored_log_is_a_prefix_of_what_was_decided() {
        let long = || vec![entry(1, 1, 7), entry(1, 2, 8), entry(2, 3, 9)];
        let with = |t, home: &str, log: Vec<LogDigest>| JournalSeen { log, ..journal(t, home, 2, 3) };
        let whole = || with(1, "d1", long());
        for (why, log, kept, want) in [
            ("all of it", long(), 3, 0),
            ("a prefix", long()[..2].to_vec(), 2, 0),
            ("nothing", vec![], 0, 0),
            ("another entry", vec![entry(1, 1, 7), entry(1, 2, 99)], 2, 1),
            ("an entry that was never decided", vec![entry(1, 1, 7), entry(1, 2, 99)], 1, 0),
            ("a hole", vec![entry(1, 1, 7), entry(2, 3, 9)], 3, 1),
        ] {
            let restored = JournalSeen { kept, ..with(2, "d2", log) };
            assert_eq!(names(vec![whole(), restored]), vec!["RestoredOutsideLog"; want], "{why}");
        }
    }

    #[test]
    fn a_restored_state_is_that_of_its_index() {
        let state =
            |t, home: &str, applied, hash| JournalSeen { state: Some((applied, hash)), ..journal(t, home, 2, 9) };
        assert_eq!(names(vec![state(1, "d1", 5, 7), state(2, "d2", 5, 7), state(3, "d3", 4, 6)]), [""; 0]);
        assert_eq!(names(vec![state(1, "d1", 5, 7), state(2, "d2", 5, 8)]), ["RestoredOutsideLog"]);
        let fresh = |t, home, hash| JournalSeen { volatile: true, cluster: "".into(), ..state(t, home, 5, hash) };
        assert_eq!(names(vec![fresh(1, "pod u1", 7), fresh(2, "pod u2", 8)]), [""; 0], "nothing lasts");
        assert_eq!(names(vec![fresh(1, "pod u1", 7), fresh(2, "pod u1", 8)]), ["RestoredOutsideLog"]);
        let seen = MasterObservation { applied: 5, state_hash: Some(8), ..master(1, 1, 2) };
        let watched = RunRecord { masters: vec![seen], ..record(vec![state(2, "d2", 5, 7)]) };
        assert_eq!(check(&watched).violations.len(), 1, "held against the masters too");
    }
}
