//! Cuts, holds and rules of links, as turmoil can have them, and counts of what our sockets put into them.
//!
//! turmoil counts nothing: a segment counts when it is written, under whatever lies on the link at that moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ::turmoil::Sim;

use crate::base::HostId;
use crate::world::engine::{Latency, LinkCounters, LinkRule};

type Direction = (HostId, HostId);

#[derive(Default)]
pub(super) struct Links {
    pub default: LinkRule,
    own: BTreeMap<Direction, LinkRule>,
    cuts: BTreeMap<Direction, u32>,
    holds: BTreeMap<Direction, u32>,
    counters: BTreeMap<Direction, LinkCounters>,
}

impl Links {
    pub fn own(&self, link: Direction) -> Option<LinkRule> {
        self.own.get(&link).copied()
    }

    pub fn set_own(&mut self, link: Direction, rule: Option<LinkRule>) {
        match rule {
            Some(rule) => self.own.insert(link, rule),
            None => self.own.remove(&link),
        };
    }

    pub fn cut(&mut self, link: Direction, more: bool) {
        count(&mut self.cuts, link, more);
    }

    pub fn hold(&mut self, link: Direction, more: bool) {
        count(&mut self.holds, link, more);
    }

    pub fn counters(&self, link: Direction) -> LinkCounters {
        self.counters.get(&link).copied().unwrap_or_default()
    }

    /// Notes a segment that is about to be sent.
    pub fn note(&mut self, link: Direction, bytes: u64) {
        if link.0 == link.1 {
            return;
        }
        let (cut, held, ruled) = (self.is_cut(link), self.is_held(link), self.own.contains_key(&link));
        let counters = self.counters.entry(link).or_default();
        counters.sent += 1;
        counters.bytes += bytes;
        counters.ruled += u64::from(ruled);
        counters.blocked += u64::from(cut);
        counters.held += u64::from(held && !cut);
    }

    fn is_cut(&self, link: Direction) -> bool {
        self.cuts.contains_key(&link)
    }

    /// turmoil holds a link as a whole.
    fn is_held(&self, (a, b): Direction) -> bool {
        self.holds.contains_key(&(a, b)) || self.holds.contains_key(&(b, a))
    }

    /// Makes turmoil's link between two hosts what it is to be, whatever it was.
    pub fn apply(&self, sim: &Sim<'static>, a: (HostId, Ipv4Addr), b: (HostId, Ipv4Addr)) {
        let (ip_a, ip_b) = (IpAddr::V4(a.1), IpAddr::V4(b.1));
        sim.release(ip_a, ip_b);
        if self.is_held((a.0, b.0)) {
            sim.hold(ip_a, ip_b);
        }
        for (link, from, to) in [((a.0, b.0), ip_a, ip_b), ((b.0, a.0), ip_b, ip_a)] {
            if self.is_cut(link) {
                sim.partition_oneway(from, to);
            }
        }
        let rules = [(a.0, b.0), (b.0, a.0)].map(|link| self.own(link).unwrap_or(self.default));
        let bounds = rules.map(|rule| bounds(rule.latency));
        // Both directions share one latency: the slower one's.
        let (low, high) = if bounds[0].1 >= bounds[1].1 { bounds[0] } else { bounds[1] };
        sim.set_link_latency(ip_a, ip_b, low);
        sim.set_link_max_message_latency(ip_a, ip_b, high);
    }
}

fn count(counts: &mut BTreeMap<Direction, u32>, link: Direction, more: bool) {
    if more {
        *counts.entry(link).or_default() += 1;
    } else if let Some(count) = counts.get_mut(&link) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&link);
        }
    }
}

/// Lowest and highest latency for turmoil's distribution, which adds to the lowest an exponential whose mean is a fifth of
/// the range and cuts it at the highest. Means are kept where the rule has one.
fn bounds(latency: Latency) -> (Duration, Duration) {
    let (low, high) = match latency {
        Latency::Const(d) => (d, d),
        Latency::Uniform { low, high } => (low, high),
        Latency::Exponential { min, mean, max } => (min, min.saturating_add(mean.saturating_mul(5)).min(max)),
        Latency::LogNormal { median, max, .. } => (median / 2, median.saturating_mul(3).min(max)),
        Latency::Pareto { min, max, .. } => (min, min.saturating_mul(6).min(max)),
    };
    (low, high.max(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AB: Direction = (HostId(0), HostId(1));
    const BA: Direction = (HostId(1), HostId(0));

    #[test]
    fn segments_count_under_what_lies_on_their_direction() {
        let mut links = Links::default();
        links.note(AB, 10);
        links.cut(AB, true);
        links.cut(AB, true);
        links.cut(AB, false);
        links.note(AB, 5);
        links.note(BA, 1);
        links.cut(AB, false);
        links.hold(BA, true);
        links.note(AB, 0);
        let counted = LinkCounters { sent: 3, bytes: 15, blocked: 1, held: 1, ..LinkCounters::default() };
        assert_eq!(links.counters(AB), counted, "a hold is of both directions");
        assert_eq!(links.counters(BA), LinkCounters { sent: 1, bytes: 1, ..LinkCounters::default() });
        links.cut(AB, false);
        assert!(!links.is_cut(AB), "mending what is whole changes nothing");
    }

    #[test]
    fn bounds_are_in_order_and_never_above_the_longest() {
        let ms = Duration::from_millis;
        for latency in [
            Latency::Const(ms(3)),
            Latency::Uniform { low: ms(1), high: ms(2) },
            Latency::Exponential { min: ms(1), mean: ms(90), max: ms(100) },
            Latency::LogNormal { median: ms(50), sigma_milli: 900, max: ms(100) },
            Latency::Pareto { min: ms(40), shape_milli: 1000, max: ms(100) },
        ] {
            let (low, high) = bounds(latency);
            assert!(low <= high && high <= ms(100), "{latency:?}: {low:?} {high:?}");
        }
    }
}
