//! Connects and lookups that faults spoil: what holds for a direction or a host while several faults are on it.
//!
//! Of faults on one thing the last one injected holds, and the one before it again when that ends.

use std::collections::BTreeMap;

use crate::base::HostId;
use crate::world::engine::{DnsFault, Latency, SynPolicy};
use crate::world::lab::Lab;

/// What faults made of connects and lookups.
#[derive(Debug, Default)]
pub struct Doors {
    syn: BTreeMap<(HostId, HostId), Over<SynPolicy>>,
    answers: BTreeMap<HostId, Over<DnsFault>>,
    latency: BTreeMap<HostId, Over<Latency>>,
}

/// (fault, what it wants), in order of injection.
type Over<T> = Vec<(usize, T)>;

impl Doors {
    /// Connects of a direction fail, in the name of a fault.
    pub fn shut(&mut self, lab: &Lab, link: (HostId, HostId), fault: usize, policy: SynPolicy) {
        self.syn.entry(link).or_default().push((fault, policy));
        lab.world.set_syn_policy(link.0, link.1, policy);
    }

    /// Ends what a fault did to the connects of a direction, once.
    pub fn open(&mut self, lab: &Lab, link: (HostId, HostId), fault: usize) {
        if let Some(now) = end(&mut self.syn, link, fault) {
            lab.world.set_syn_policy(link.0, link.1, now.unwrap_or_default());
        }
    }

    /// A host's resolver answers wrongly, or late, in the name of a fault.
    pub fn mislead(
        &mut self,
        lab: &Lab,
        host: HostId,
        fault: usize,
        answers: Option<DnsFault>,
        latency: Option<Latency>,
    ) {
        if let Some(answers) = answers {
            self.answers.entry(host).or_default().push((fault, answers));
            lab.world.set_dns_fault(host, Some(answers));
        }
        if let Some(latency) = latency {
            self.latency.entry(host).or_default().push((fault, latency));
            lab.world.set_dns_latency(host, Some(latency));
        }
    }

    /// Ends what a fault did to a host's resolver.
    pub fn set_right(&mut self, lab: &Lab, host: HostId, fault: usize) {
        if let Some(now) = end(&mut self.answers, host, fault) {
            lab.world.set_dns_fault(host, now);
        }
        if let Some(now) = end(&mut self.latency, host, fault) {
            lab.world.set_dns_latency(host, now);
        }
    }
}

/// Takes a fault off; gives what holds now, if the fault was the one that held.
fn end<K: Ord, T: Copy>(all: &mut BTreeMap<K, Over<T>>, of: K, fault: usize) -> Option<Option<T>> {
    let over = all.get_mut(&of)?;
    let at = over.iter().rposition(|(by, _)| *by == fault)?;
    let held = at + 1 == over.len();
    over.remove(at);
    let now = over.last().map(|(_, wants)| *wants);
    if over.is_empty() {
        all.remove(&of);
    }
    held.then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fault_holds_and_each_ends_by_itself() {
        let mut all = BTreeMap::from([(1, vec![(4, 'a'), (7, 'b'), (9, 'c')])]);
        assert_eq!(end(&mut all, 1, 7), None, "it did not hold");
        assert_eq!(end(&mut all, 1, 9), Some(Some('a')));
        assert_eq!(end(&mut all, 1, 9), None, "once");
        assert_eq!(end(&mut all, 1, 4), Some(None));
        assert_eq!(end(&mut all, 2, 4), None);
        assert!(all.is_empty());
    }
}
