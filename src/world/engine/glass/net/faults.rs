//! What can be done to the network from outside: processes that die, machines that lose power, links that misbehave.
//!
//! Rule: every link fault counts what it did (`link_counters`), so that a run can tell a storm from a calm.

use super::conn::{Holder, Phase};
use super::{Ctx, Net, Owner};
use crate::base::HostId;
use crate::world::engine::{LinkCounters, LinkRule, SynPolicy};

impl Net {
    /// A program ended, its kernel lives on: every socket is closed as by `close`, so peers see FIN or RST.
    pub fn process_killed(&mut self, cx: &mut Ctx<'_>, owner: Owner) {
        for key in self.listeners.keys_where(|l| l.owner == owner) {
            self.close_listener(cx, key);
        }
        for side in 0..2 {
            for key in self.conns.keys_where(|c| c.end[side].holder == Holder::Program(owner)) {
                self.close_end(cx, key, side);
            }
        }
        for key in self.lookups.keys_where(|l| l.owner == owner) {
            self.lookups.remove(key);
        }
    }

    /// A machine is gone without a word. What is on its way to others still arrives; nothing else leaves.
    pub fn power_loss(&mut self, cx: &mut Ctx<'_>, host: HostId) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.forget();
        }
        for key in self.listeners.keys_where(|l| l.owner.host == host) {
            self.listeners.remove(key);
        }
        for key in self.lookups.keys_where(|l| l.owner.host == host) {
            self.lookups.remove(key);
        }
        for side in 0..2 {
            for key in self.conns.keys_where(|c| c.end[side].host == host && c.end[side].phase != Phase::Idle) {
                let Some(conn) = self.conns.get_mut(key) else { continue };
                let unheard = conn.end[side].phase == Phase::SynReceived && conn.end[1 - side].phase == Phase::SynSent;
                conn.vanish(side);
                if unheard {
                    // The next kernel can take the same SYN again.
                    conn.end[side].phase = Phase::Idle;
                }
                self.doubt(cx, key, 1 - side);
                self.reap(key);
            }
        }
        self.dns_forget(host);
    }

    /// Cuts the direction from `src` to `dst`. Cuts count: as many [`Net::unblock`] mend it.
    pub fn block(&mut self, src: HostId, dst: HostId) {
        self.links.block(src, dst);
    }

    /// Takes one cut back.
    pub fn unblock(&mut self, src: HostId, dst: HostId) {
        self.links.unblock(src, dst);
    }

    /// Keeps everything from `src` to `dst` until released. Holds count as cuts do.
    pub fn hold(&mut self, src: HostId, dst: HostId) {
        self.links.hold(src, dst);
    }

    /// Takes one hold back; with the last one everything held arrives now, in order.
    pub fn release(&mut self, cx: &mut Ctx<'_>, src: HostId, dst: HostId) {
        for event in self.links.release(src, dst) {
            cx.at(cx.now, event);
        }
    }

    /// The rule that the direction from `src` to `dst` has of its own, if it has one.
    pub fn link(&mut self, src: HostId, dst: HostId) -> Option<LinkRule> {
        self.links.rule(src, dst)
    }

    /// The rule of every link that has none of its own.
    pub fn default_link(&self) -> LinkRule {
        self.links.default_rule()
    }

    /// Gives the direction from `src` to `dst` a rule of its own, or the default back.
    pub fn set_link(&mut self, src: HostId, dst: HostId, rule: Option<LinkRule>) {
        self.links.set_rule(src, dst, rule);
    }

    /// Replaces the rule of every link that has none of its own.
    pub fn set_default_link(&mut self, rule: LinkRule) {
        self.links.set_default(rule);
    }

    /// Sets what happens to SYNs from `src` to `dst`.
    pub fn set_syn(&mut self, src: HostId, dst: HostId, policy: SynPolicy) {
        self.links.set_syn(src, dst, policy);
    }

    /// Resets every established connection between two machines at both ends, as a middlebox that lost its state;
    /// gives their number.
    pub fn reset_connections(&mut self, a: HostId, b: HostId) -> u64 {
        let between = |hosts: [HostId; 2]| hosts == [a, b] || hosts == [b, a];
        let keys = self
            .conns
            .keys_where(|c| between([c.end[0].host, c.end[1].host]) && c.end.iter().any(|end| end.phase == Phase::Up));
        for &key in &keys {
            let Some(conn) = self.conns.get(key) else { continue };
            let links = conn.link;
            self.reset_end(key, 0);
            self.reset_end(key, 1);
            self.reap(key);
            links.into_iter().for_each(|link| self.links.count_reset(link));
        }
        keys.len() as u64
    }

    /// What the direction from `src` to `dst` carried, and what faults did to it.
    pub fn link_counters(&mut self, src: HostId, dst: HostId) -> LinkCounters {
        self.links.counters(src, dst)
    }
}
