//! Directions between two hosts: cuts, held messages, and what they did to the traffic.
//!
//! madsim cuts a direction or does not; that cuts and holds count, and what they stopped, is kept here. A hold is a cut:
//! either way messages wait, and madsim tries again after 1 ms to 10 s. It has one latency and one loss for the whole
//! network: a link with a rule of its own adds what is missing, and what it loses comes later.

use std::collections::BTreeMap;
use std::time::Duration;

use ::madsim::task::NodeId;

use super::State;
use crate::base::time::nanos;
use crate::base::{HostId, Seed, SimTime, Stream};
use crate::world::engine::{Latency, LinkCounters, LinkRule};

#[derive(Default)]
pub struct Link {
    pub blocks: u32,
    pub holds: u32,
    pub rule: Option<LinkRule>,
    chance: Option<Stream>,
    /// When a narrow link has room for the next message.
    free_at: SimTime,
    pub counters: LinkCounters,
}

/// All directions that were ever asked for.
#[derive(Default)]
pub struct Links {
    pub default: LinkRule,
    pub seed: Seed,
    all: BTreeMap<(HostId, HostId), Link>,
}

impl Links {
    pub fn get(&mut self, from: HostId, to: HostId) -> &mut Link {
        self.all.entry((from, to)).or_default()
    }

    fn cut(&self, from: HostId, to: HostId) -> bool {
        self.all.get(&(from, to)).is_some_and(|link| link.blocks + link.holds > 0)
    }

    /// Whether both directions carry.
    pub fn is_open(&self, a: HostId, b: HostId) -> bool {
        !self.cut(a, b) && !self.cut(b, a)
    }

    /// Counts a message handed to a direction, and what becomes of it; gives the time before which it does not arrive.
    pub fn count(&mut self, from: HostId, to: HostId, bytes: u64, now: SimTime) -> SimTime {
        let seed = self.seed;
        let link = self.get(from, to);
        link.counters.sent += 1;
        link.counters.bytes += bytes;
        link.counters.blocked += u64::from(link.blocks > 0);
        link.counters.held += u64::from(link.blocks == 0 && link.holds > 0);
        let Some(rule) = link.rule else { return SimTime::ZERO };
        link.counters.ruled += 1;
        let entity = u64::from(from.0) << 32 | u64::from(to.0);
        let chance = link.chance.get_or_insert_with(|| seed.stream("madsim/link", entity));
        let mut due = now;
        if let Some(bandwidth) = rule.bandwidth {
            let takes = u128::from(bytes) * 1_000_000_000 / u128::from(bandwidth.max(1));
            link.free_at = link.free_at.max(now) + Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
            due = link.free_at;
        }
        let mut wait = RESEND_AFTER;
        while wait < RESEND_MOST && rule.loss.num > 0 && chance.ratio(rule.loss.num.into(), rule.loss.den.into()) {
            link.counters.lost += 1;
            (due, wait) = (due + wait, wait * 2);
        }
        due + rule.latency.draw(chance)
    }
}

/// Linux sends again what is lost after 200 ms, and doubles.
const RESEND_AFTER: Duration = Duration::from_millis(200);
const RESEND_MOST: Duration = Duration::from_secs(120);

impl State {
    pub(in super::super) fn node(&self, host: HostId) -> NodeId {
        self.nodes.borrow()[host.0 as usize].id()
    }

    /// Changes the cuts of a direction, and tells madsim.
    pub(in super::super) fn cut(&self, from: HostId, to: HostId, change: impl FnOnce(&mut Link)) {
        if from == to {
            return;
        }
        let (cut, src, dst) = {
            let mut net = self.net.borrow_mut();
            change(net.links.get(from, to));
            (net.links.cut(from, to), self.node(from), self.node(to))
        };
        if cut { self.links.clog_link(src, dst) } else { self.links.unclog_link(src, dst) }
    }

    /// madsim knows one range of latency and one rate of loss for the whole network.
    pub(in super::super) fn apply_default_link(&self) {
        let rule = self.net.borrow().links.default;
        let (low, high) = range(rule.latency);
        let loss = f64::from(rule.loss.num) / f64::from(rule.loss.den.max(1));
        self.links.update_config(|config| {
            config.send_latency = low..high.max(low + Duration::from_nanos(1));
            config.packet_loss_rate = if rule.loss.den == 0 { 0.0 } else { loss.min(1.0) };
        });
    }
}

/// The range that comes nearest to a distribution: madsim draws evenly from it.
fn range(latency: Latency) -> (Duration, Duration) {
    match latency {
        Latency::Const(d) => (d, d),
        Latency::Uniform { low, high } => (low, high),
        Latency::Exponential { min, mean, max } => (min, (min + mean * 2).min(max)),
        Latency::LogNormal { median, max, .. } => (median / 2, (median * 2).min(max)),
        Latency::Pareto { min, max, .. } => (min, Duration::from_nanos(nanos(min).saturating_mul(2)).min(max)),
    }
}
