//! One direction between two hosts: how long, how wide, how lossy, and the faults on it.
//!
//! Rule: a link owns its stream of chance and draws only for what its rule makes uncertain, so a fault on one link
//! moves no draw of another. What a fault did to the traffic is counted here, so that a run can prove it acted.
//! Ordering belongs to the connections, not to the link.

use std::collections::BTreeMap;
use std::time::Duration;

use super::NetEvent;
use crate::base::{HostId, Seed, SimTime, Stream};
use crate::world::engine::{Latency, LinkCounters, LinkRule, Ratio, SynPolicy};

/// Bytes of headers that every segment carries (Ethernet, IPv4, TCP with timestamps).
const HEADER_BYTES: u64 = 66;

/// Index of a link; 0 is the loopback of every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkId(u32);

impl LinkId {
    /// Within a host. No fault reaches it.
    pub const LOOPBACK: Self = Self(0);
}

/// Why a segment did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Chance.
    Lost,
    /// A partition.
    Blocked,
    /// A hold: it will come later.
    Held,
}

#[derive(Debug)]
struct Link {
    rule: LinkRule,
    own_rule: bool,
    stream: Stream,
    free_at: SimTime,
    in_burst: bool,
    blocks: u32,
    holds: u32,
    held: Vec<NetEvent>,
    syn: SynPolicy,
    counters: LinkCounters,
}

impl Link {
    fn new(rule: LinkRule, stream: Stream) -> Self {
        Self {
            rule,
            own_rule: false,
            stream,
            free_at: SimTime::ZERO,
            in_burst: false,
            blocks: 0,
            holds: 0,
            held: Vec::new(),
            syn: SynPolicy::Pass,
            counters: LinkCounters::default(),
        }
    }

    fn eaten(&mut self) -> bool {
        if let Some(burst) = self.rule.burst {
            let turn = if self.in_burst { burst.exit } else { burst.enter };
            let was = self.in_burst;
            self.in_burst ^= draw(&mut self.stream, turn);
            if was || self.in_burst {
                return true;
            }
        }
        draw(&mut self.stream, self.rule.loss)
    }
}

/// Draws only if the outcome is open.
fn draw(stream: &mut Stream, ratio: Ratio) -> bool {
    ratio.num > 0 && stream.ratio(ratio.num.into(), ratio.den.into())
}

/// All links, made when first used.
#[derive(Debug)]
pub struct Links {
    seed: Seed,
    default: LinkRule,
    all: Vec<Link>,
    by_hosts: BTreeMap<(HostId, HostId), LinkId>,
}

impl Links {
    /// Links of `default`, with their chance forked from `seed`.
    pub fn new(seed: Seed, default: LinkRule, loopback: Duration) -> Self {
        let rule = LinkRule { latency: Latency::Const(loopback), ..LinkRule::default() };
        let all = vec![Link::new(rule, seed.stream("net/loopback", 0))];
        Self { seed, default, all, by_hosts: BTreeMap::new() }
    }

    /// The link from `src` to `dst`.
    pub fn id(&mut self, src: HostId, dst: HostId) -> LinkId {
        if src == dst {
            return LinkId::LOOPBACK;
        }
        *self.by_hosts.entry((src, dst)).or_insert_with(|| {
            let entity = u64::from(src.0) << 32 | u64::from(dst.0);
            self.all.push(Link::new(self.default, self.seed.stream("net/link", entity)));
            LinkId(self.all.len() as u32 - 1)
        })
    }

    fn get(&mut self, id: LinkId) -> &mut Link {
        &mut self.all[id.0 as usize]
    }

    /// Hands over a segment with `bytes` of payload: when it will arrive, or why it will not.
    pub fn send(&mut self, id: LinkId, now: SimTime, bytes: u64) -> Result<SimTime, Cause> {
        let link = self.get(id);
        link.counters.sent += 1;
        link.counters.bytes += bytes;
        link.counters.ruled += u64::from(link.own_rule);
        if link.blocks > 0 {
            link.counters.blocked += 1;
            return Err(Cause::Blocked);
        }
        if link.eaten() {
            link.counters.lost += 1;
            return Err(Cause::Lost);
        }
        let latency = link.rule.latency.draw(&mut link.stream);
        let Some(bandwidth) = link.rule.bandwidth else { return Ok(now + latency) };
        let nanos = u128::from(bytes + HEADER_BYTES) * 1_000_000_000 / u128::from(bandwidth.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        link.free_at = link.free_at.max(now) + takes;
        Ok(link.free_at + latency)
    }

    /// Whether segments queue for bandwidth here.
    pub fn is_narrow(&self, id: LinkId) -> bool {
        self.all[id.0 as usize].rule.bandwidth.is_some()
    }

    /// Whether `event` may come out at the far end now. A held one is kept and comes back with [`Links::release`].
    pub fn arrive(&mut self, id: LinkId, event: NetEvent) -> Result<(), Cause> {
        let link = self.get(id);
        if link.blocks == 0 && link.holds == 0 {
            return Ok(());
        }
        if link.blocks > 0 {
            link.counters.blocked += 1;
            return Err(Cause::Blocked);
        }
        link.counters.held += 1;
        link.held.push(event);
        Err(Cause::Held)
    }

    /// Whether an acknowledgement gets through now. Not counted as a segment unless a fault eats it.
    pub fn acks(&mut self, id: LinkId) -> bool {
        let link = self.get(id);
        link.counters.blocked += u64::from(link.blocks > 0);
        link.counters.held += u64::from(link.holds > 0 && link.blocks == 0);
        link.blocks == 0 && link.holds == 0
    }

    /// What becomes of a SYN; counted if a fault decides.
    pub fn syn(&mut self, id: LinkId) -> SynPolicy {
        let link = self.get(id);
        link.counters.syns += u64::from(link.syn != SynPolicy::Pass);
        link.syn
    }

    /// Replaces the rule of every link that has none of its own.
    pub fn set_default(&mut self, rule: LinkRule) {
        self.default = rule;
        self.all.iter_mut().skip(1).filter(|l| !l.own_rule).for_each(|l| l.rule = rule);
    }

    /// The rule of every link that has none of its own.
    pub fn default_rule(&self) -> LinkRule {
        self.default
    }

    /// The rule that one direction has of its own, if it has one.
    pub fn rule(&mut self, src: HostId, dst: HostId) -> Option<LinkRule> {
        let id = self.id(src, dst);
        let link = self.get(id);
        link.own_rule.then_some(link.rule)
    }

    /// Gives one direction a rule of its own, or the default back.
    pub fn set_rule(&mut self, src: HostId, dst: HostId, rule: Option<LinkRule>) {
        let (default, id) = (self.default, self.id(src, dst));
        if id != LinkId::LOOPBACK {
            let link = self.get(id);
            link.own_rule = rule.is_some();
            link.rule = rule.unwrap_or(default);
            link.in_burst = false;
        }
    }

    /// Sets what happens to SYNs of one direction.
    pub fn set_syn(&mut self, src: HostId, dst: HostId, policy: SynPolicy) {
        let id = self.id(src, dst);
        if id != LinkId::LOOPBACK {
            self.get(id).syn = policy;
        }
    }

    /// Cuts one direction. Cuts count: as many [`Links::unblock`] mend it.
    pub fn block(&mut self, src: HostId, dst: HostId) {
        let id = self.id(src, dst);
        if id != LinkId::LOOPBACK {
            self.get(id).blocks += 1;
        }
    }

    /// Takes one cut back.
    pub fn unblock(&mut self, src: HostId, dst: HostId) {
        let id = self.id(src, dst);
        let link = self.get(id);
        link.blocks = link.blocks.saturating_sub(1);
    }

    /// Keeps everything of one direction until released. Holds count as cuts do.
    pub fn hold(&mut self, src: HostId, dst: HostId) {
        let id = self.id(src, dst);
        if id != LinkId::LOOPBACK {
            self.get(id).holds += 1;
        }
    }

    /// Takes one hold back; with the last one, gives what was held, in order.
    pub fn release(&mut self, src: HostId, dst: HostId) -> Vec<NetEvent> {
        let id = self.id(src, dst);
        let link = self.get(id);
        link.holds = link.holds.saturating_sub(1);
        if link.holds == 0 { std::mem::take(&mut link.held) } else { Vec::new() }
    }

    /// Counts one connection reset by fault.
    pub fn count_reset(&mut self, id: LinkId) {
        self.get(id).counters.resets += 1;
    }

    /// What one direction carried and lost.
    pub fn counters(&mut self, src: HostId, dst: HostId) -> LinkCounters {
        let id = self.id(src, dst);
        self.get(id).counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::engine::Burst;

    const A: HostId = HostId(0);
    const B: HostId = HostId(1);

    fn links(rule: LinkRule) -> (Links, LinkId) {
        let mut links = Links::new(Seed(5), rule, Duration::from_micros(15));
        let id = links.id(A, B);
        (links, id)
    }

    #[test]
    fn a_narrow_link_queues() {
        let ms = Duration::from_millis(1);
        let rule = LinkRule { latency: Latency::Const(ms), bandwidth: Some(1_000_000), ..LinkRule::default() };
        let (mut links, id) = links(rule);
        let bytes = 10_000 - HEADER_BYTES;
        let arrivals: Vec<_> = (0..3).map(|_| links.send(id, SimTime::ZERO, bytes)).collect();
        assert_eq!(arrivals, [11, 21, 31].map(|n| Ok(SimTime::from_millis(n))));
    }

    #[test]
    fn loss_is_a_ratio_and_bursts_come_in_runs() {
        let (mut single, id) = links(LinkRule { loss: Ratio { num: 1, den: 10 }, ..LinkRule::default() });
        let lost = (0..10_000).filter(|_| single.send(id, SimTime::ZERO, 0).is_err()).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert_eq!(single.counters(A, B).lost, lost as u64);

        let burst = Burst { enter: Ratio { num: 1, den: 100 }, exit: Ratio { num: 1, den: 10 } };
        let (mut bursty, id) = links(LinkRule { burst: Some(burst), ..LinkRule::default() });
        let fates: Vec<bool> = (0..20_000).map(|_| bursty.send(id, SimTime::ZERO, 0).is_err()).collect();
        let runs = fates.windows(2).filter(|w| !w[0] && w[1]).count();
        let lost = fates.iter().filter(|&&l| l).count();
        assert!(runs > 50 && lost / runs >= 5, "{lost} lost in {runs} runs");
    }

    #[test]
    fn cuts_count_and_a_fault_moves_no_draw_of_another_link() {
        let rule = LinkRule {
            latency: Latency::Uniform { low: Duration::ZERO, high: Duration::from_secs(1) },
            ..LinkRule::default()
        };
        let (mut links, id) = links(rule);
        let back = links.id(B, A);
        links.block(A, B);
        links.block(A, B);
        links.unblock(A, B);
        assert_eq!(links.send(id, SimTime::ZERO, 1), Err(Cause::Blocked));
        let seen = links.send(back, SimTime::ZERO, 1);
        links.unblock(A, B);
        assert!(links.send(id, SimTime::ZERO, 1).is_ok());
        let (mut other, _) = self::links(rule);
        let back = other.id(B, A);
        assert_eq!(other.send(back, SimTime::ZERO, 1), seen);
    }
}
