//! What was first known of each entry of a log.

use std::collections::BTreeMap;

/// Entries of one page.
const PAGE: u64 = 32;

/// Facts by log and index. Observations tell runs of entries, so neighbours share a page and a run costs one search.
pub(super) struct Ledger<K, V> {
    numbers: BTreeMap<(K, u64), usize>,
    pages: Vec<Box<[Option<V>; PAGE as usize]>>,
    latest: Option<((K, u64), usize)>,
}

impl<K, V> Default for Ledger<K, V> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), pages: Vec::new(), latest: None }
    }
}

impl<K: Copy + Ord, V> Ledger<K, V> {
    /// What was first known of an entry; `fact` if nothing was.
    pub(super) fn first(&mut self, log: K, index: u64, fact: impl FnOnce() -> V) -> &V {
        let page = self.page((log, index / PAGE));
        self.pages[page][(index % PAGE) as usize].get_or_insert_with(fact)
    }

    fn page(&mut self, key: (K, u64)) -> usize {
        if let Some((latest, page)) = self.latest
            && latest == key
        {
            return page;
        }
        let page = *self.numbers.entry(key).or_insert_with(|| {
            self.pages.push(Box::new([const { None }; PAGE as usize]));
            self.pages.len() - 1
        });
        self.latest = Some((key, page));
        page
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Ledger;

    proptest! {
        #[test]
        fn the_first_fact_stays(told in prop::collection::vec((0..3u32, 0..100u64, any::<u16>()), 0..200)) {
            let (mut ledger, mut model) = (Ledger::default(), BTreeMap::new());
            for (log, index, fact) in told {
                let first = *model.entry((log, index)).or_insert(fact);
                prop_assert_eq!(*ledger.first(log, index, || fact), first);
            }
        }
    }

    #[test]
    fn an_index_may_be_any() {
        let mut ledger = Ledger::default();
        for (index, fact) in [(u64::MAX, 1), (0, 2), (u64::MAX, 3)] {
            ledger.first((), index, || fact);
        }
        assert_eq!((*ledger.first((), u64::MAX, || 0), *ledger.first((), 0, || 0)), (1, 2));
    }
}
