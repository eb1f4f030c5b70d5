//! Who has led so far: a random name for every term of office, and where in the journal it began.
//!
//! The names tell histories apart. A master whose journal was put back to an older state may come to the same terms and
//! indexes again, but never to the same names: what somebody was told under a name that is not here, or at an index that
//! the name did not reach, was lost. The first name of all is that of the cluster.
//! The oldest names are forgotten; what was told under them is believed.

use serde::{Deserialize, Serialize};

use super::hash::SetHash;
use crate::stack::wire::Mark;

/// Names that are kept.
const OFFICES_MAX: usize = 256;

/// What a mark says of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was set by this very history.
    Ours,
    /// It is of this cluster, but what it stands for is not in this journal.
    Lost,
    /// It is of another cluster.
    Foreign,
}

/// One term of office.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Office {
    /// Journal index of its first entry.
    pub first: u64,
    /// Journal index of the last entry that can be its own; none while no later term is known.
    pub last: Option<u64>,
    /// Its name.
    pub name: u64,
}

/// The latest terms of office, oldest first.
#[derive(Debug, Default, Clone)]
pub(super) struct Offices {
    cluster: Option<u64>,
    list: Vec<Office>,
    /// Whether some were forgotten.
    forgot: bool,
    hash: SetHash,
}

impl Offices {
    /// Those that a snapshot holds.
    pub fn of(cluster: Option<u64>, list: Vec<Office>, forgot: bool) -> Self {
        let mut hash = SetHash::default();
        list.iter().for_each(|office| hash.add(office));
        Self { cluster, list, forgot, hash }
    }

    /// A leader takes office with the entry at `first`. Saying it twice is harmless.
    pub fn take(&mut self, first: u64, name: u64) {
        if self.list.last().is_some_and(|last| last.name == name) {
            return;
        }
        self.term_began(first);
        self.cluster.get_or_insert(name);
        let office = Office { first, last: None, name };
        self.hash.add(&office);
        self.list.push(office);
        if self.list.len() > OFFICES_MAX {
            let oldest = self.list.remove(0);
            self.hash.remove(&oldest);
            self.forgot = true;
        }
    }

    /// The entry at `index` is the first of another term: the last office ended before it.
    pub fn term_began(&mut self, index: u64) {
        if let Some(office) = self.list.last_mut().filter(|office| office.last.is_none()) {
            self.hash.remove(office);
            office.last = Some(index.saturating_sub(1));
            self.hash.add(office);
        }
    }

    /// What to tell others of a history that reaches `applied`; none before the first office.
    pub fn mark(&self, applied: u64) -> Option<Mark> {
        let office = self.list.last()?.name;
        Some(Mark { cluster: self.cluster?, office, index: applied })
    }

    /// Whether what `mark` stands for is in this history, which reaches `applied`.
    pub fn judge(&self, mark: Mark, applied: u64) -> Standing {
        if self.cluster != Some(mark.cluster) {
            return Standing::Foreign;
        }
        let Some(office) = self.list.iter().find(|office| office.name == mark.office) else {
            return if self.forgot && self.list.first().is_some_and(|oldest| mark.index < oldest.first) {
                Standing::Ours
            } else {
                Standing::Lost
            };
        };
        if mark.index <= office.last.unwrap_or(applied) { Standing::Ours } else { Standing::Lost }
    }

    pub fn cluster(&self) -> Option<u64> {
        self.cluster
    }

    pub fn list(&self) -> &[Office] {
        &self.list
    }

    pub fn forgot(&self) -> bool {
        self.forgot
    }

    pub fn hash(&self) -> u128 {
        super::hash::of(&(self.cluster, self.forgot, self.hash.get()))
    }

    /// Names begin where the journal had come to; the hash is right.
    pub fn check(&self, applied: u64) -> Result<(), String> {
        let again = Self::of(self.cluster, self.list.clone(), self.forgot);
        let ordered = self.list.is_sorted_by(|a, b| a.first < b.first);
        let within = self.list.last().is_none_or(|last| last.first <= applied);
        let ended = self.list.iter().rev().skip(1).all(|office| office.last.is_some_and(|last| last >= office.first));
        let named = self.cluster.is_some() != self.list.is_empty();
        if again.hash() != self.hash() || !ordered || !ended || !within || !named {
            return Err("terms of office: out of order, beyond the journal, or with another hash".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(offices: &[(u64, u64)]) -> Offices {
        let mut all = Offices::default();
        offices.iter().for_each(|(first, name)| all.take(*first, *name));
        all
    }

    #[test]
    fn a_history_knows_its_own_marks() {
        let mut all = history(&[(2, 70)]);
        assert_eq!(history(&[]).mark(9), None);
        let early = all.mark(10).unwrap();
        assert_eq!(early, Mark { cluster: 70, office: 70, index: 10 });
        all.take(11, 80);
        all.take(11, 80);
        let late = all.mark(30).unwrap();
        for mark in [early, late] {
            assert_eq!(all.judge(mark, 30), Standing::Ours);
        }
        assert_eq!(all.list().len(), 2, "saying it twice is harmless");
        assert_eq!(all.check(30), Ok(()));
        assert_eq!(all.judge(Mark { cluster: 71, ..late }, 30), Standing::Foreign);
        assert_eq!(history(&[]).judge(late, 0), Standing::Foreign);
    }

    /// The disk was put back to when the journal had come to 20, in the office that began at 11.
    #[test]
    fn a_history_that_was_put_back_does_not_know_what_came_after() {
        let told = |index| Mark { cluster: 70, office: 80, index };
        let mut back = history(&[(2, 70), (11, 80)]);
        assert_eq!(back.judge(told(20), 20), Standing::Ours);
        assert_eq!(back.judge(told(21), 20), Standing::Lost);
        // The next leader's first entry is not of the office before, whoever takes office when.
        back.term_began(21);
        back.term_began(22);
        assert_eq!(back.judge(told(21), 22), Standing::Lost);
        back.take(23, 90);
        assert_eq!(
            (back.judge(told(21), 30), back.judge(told(20), 30), back.check(30)),
            (Standing::Lost, Standing::Ours, Ok(()))
        );
        // It goes on under another name, past where it had been.
        let on = history(&[(2, 70), (11, 80), (22, 90)]);
        assert_eq!(on.judge(told(20), 500), Standing::Ours);
        assert_eq!(on.judge(told(30), 500), Standing::Lost);
        assert_eq!(
            on.judge(Mark { cluster: 70, office: 85, index: 21 }, 500),
            Standing::Lost,
            "an office that was lost"
        );
    }

    #[test]
    fn the_oldest_names_are_forgotten_and_believed() {
        let mut all = Offices::default();
        (0..300).for_each(|n| all.take(n * 10 + 1, n + 1000));
        assert_eq!((all.list().len(), all.forgot(), all.cluster()), (OFFICES_MAX, true, Some(1000)));
        let mark = |office, index| Mark { cluster: 1000, office, index };
        assert_eq!(all.judge(mark(1001, 15), 3000), Standing::Ours);
        assert_eq!(all.judge(mark(7, 2995), 3000), Standing::Lost);
        assert_eq!(all.check(3000), Ok(()));
    }
}
