//! Rules that faults lay over links.
//!
//! A fault changes only what it names: under it the link keeps what the scenario gave it. Faults on one link lie on top of
//! each other, and each can end before the others.

use std::collections::BTreeMap;

use crate::base::HostId;
use crate::world::engine::{Burst, Latency, LinkRule, Ratio};
use crate::world::lab::Lab;

/// What a fault makes of a link; the rest stays.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// One way.
    pub latency: Option<Latency>,
    /// Chance of each segment to be lost.
    pub loss: Option<Ratio>,
    /// Losses in bursts.
    pub burst: Option<Burst>,
}

impl Patch {
    fn over(self, rule: LinkRule) -> LinkRule {
        LinkRule {
            latency: self.latency.unwrap_or(rule.latency),
            loss: self.loss.unwrap_or(rule.loss),
            burst: self.burst.or(rule.burst),
            ..rule
        }
    }
}

/// The directions that faults changed.
#[derive(Debug, Default)]
pub struct Layers(BTreeMap<(HostId, HostId), Layered>);

#[derive(Debug)]
struct Layered {
    own: Option<LinkRule>,
    /// (fault, what it changes), in order of injection.
    over: Vec<(usize, Patch)>,
}

impl Layers {
    /// Lays `patch` over a direction, in the name of a fault.
    pub fn add(&mut self, lab: &Lab, link: (HostId, HostId), fault: usize, patch: Patch) {
        let fresh = || Layered { own: lab.world.link(link.0, link.1), over: Vec::new() };
        self.0.entry(link).or_insert_with(fresh).over.push((fault, patch));
        self.set(lab, link);
    }

    /// Takes what a fault laid over a direction off again, once.
    pub fn remove(&mut self, lab: &Lab, link: (HostId, HostId), fault: usize) {
        let Some(layered) = self.0.get_mut(&link) else { return };
        if let Some(at) = layered.over.iter().position(|(of, _)| *of == fault) {
            layered.over.remove(at);
        }
        self.set(lab, link);
        if self.0.get(&link).is_some_and(|layered| layered.over.is_empty()) {
            self.0.remove(&link);
        }
    }

    fn set(&self, lab: &Lab, link: (HostId, HostId)) {
        let Some(Layered { own, over }) = self.0.get(&link) else { return };
        let below = own.unwrap_or_else(|| lab.world.default_link());
        let rule = over.iter().fold(below, |rule, (_, patch)| patch.over(rule));
        lab.world.set_link(link.0, link.1, if over.is_empty() { *own } else { Some(rule) });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Seed;
    use crate::world::engine::glass::Glass;

    #[test]
    fn faults_on_a_link_end_in_any_order_and_leave_what_was_below() {
        let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
        let [a, b] = ["a", "b"].map(|name| lab.world.add_host(name, [10, 0, 0, name.as_bytes()[0]].into()));
        let slow = Latency::Const(Duration::from_secs(1));
        let lossy = Ratio { num: 1, den: 2 };
        for own in [None, Some(LinkRule { bandwidth: Some(1000), ..LinkRule::default() })] {
            lab.world.set_link(a, b, own);
            let below = own.unwrap_or_else(|| lab.world.default_link());
            let mut layers = Layers::default();
            layers.add(&lab, (a, b), 0, Patch { latency: Some(slow), ..Patch::default() });
            layers.add(&lab, (a, b), 1, Patch { loss: Some(lossy), ..Patch::default() });
            assert_eq!(lab.world.link(a, b), Some(LinkRule { latency: slow, loss: lossy, ..below }));
            layers.remove(&lab, (a, b), 0);
            assert_eq!(lab.world.link(a, b), Some(LinkRule { loss: lossy, ..below }));
            layers.remove(&lab, (a, b), 1);
            assert_eq!(lab.world.link(a, b), own);
            assert_eq!(lab.world.link(b, a), None);
        }
    }
}
