//! Finds the primary among the configured masters, as Alluxio's clients do: asks each in turn who leads.
//!
//! Rule: never a step back. A master that claims to lead in an older term than one already seen is not believed; a
//! restarted node may call itself leader of its old term for a moment.
//! Differs: a hint from a standby is asked next; the leader that was just given up is asked last, so that a black-holed one
//! costs its time-out only when nobody else leads.

use std::sync::Mutex;

use crate::base::{Stream, lock};
use crate::rt::chan;
use crate::rt::chance;
use crate::rt::time::{Duration, Instant, sleep, timeout_at};
use crate::stack::wire::master::{MasterAnswer, MasterRequest};
use crate::stack::wire::rpc::{Channel, MasterProtocol};
use crate::stack::wire::{FsError, FsResult, Mark};

/// How long to ask and to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderTimes {
    /// For one master's answer, connecting included. Alluxio: 30 s.
    pub per_master: Duration,
    /// Wait after the first fruitless round: `alluxio.user.rpc.retry.base.sleep`, 50 ms. Doubles.
    pub wait_base: Duration,
    /// Longest wait between rounds: `alluxio.user.rpc.retry.max.sleep`, 3 s.
    pub wait_cap: Duration,
}

impl Default for LeaderTimes {
    fn default() -> Self {
        Self {
            per_master: Duration::from_secs(5),
            wait_base: Duration::from_millis(50),
            wait_cap: Duration::from_secs(3),
        }
    }
}

/// A primary, as it was when it was asked.
#[derive(Clone)]
pub struct Leader {
    /// Its rpc address, `host:port`, as configured.
    pub address: String,
    /// The term in which it said so.
    pub term: u64,
    /// Calls to it.
    pub channel: Channel<MasterProtocol>,
}

/// Knows the masters, and the leader if it has been found.
pub struct LeaderFinder {
    masters: Vec<Channel<MasterProtocol>>,
    times: LeaderTimes,
    state: Mutex<State>,
    /// One caller asks at a time; the others wait for what it finds.
    asking: chan::Mutex<()>,
}

struct State {
    leader: Option<Leader>,
    /// The highest term that any leader of the cluster answered with.
    term: u64,
    /// The latest that a leader told of the journal.
    seen: Option<Mark>,
    /// Why the master that was asked last does not serve.
    why: Option<String>,
    /// The address to ask last.
    last: Option<String>,
    /// The address to ask first in the next round.
    first: Option<String>,
    chance: Stream,
}

impl LeaderFinder {
    /// `masters`: rpc addresses, in the order in which they are asked.
    pub fn new(masters: impl IntoIterator<Item = String>, times: LeaderTimes) -> Self {
        let state = State {
            leader: None,
            term: 0,
            seen: None,
            why: None,
            last: None,
            first: None,
            chance: chance::stream("leader-finder"),
        };
        Self {
            masters: masters.into_iter().map(Channel::new).collect(),
            times,
            state: Mutex::new(state),
            asking: chan::Mutex::new(()),
        }
    }

    /// The leader that was found last and not given up since.
    pub fn current(&self) -> Option<Leader> {
        lock(&self.state).leader.clone()
    }

    /// The leader; asks round after round until there is one.
    ///
    /// # Errors
    /// [`FsError::Unavailable`] at `deadline`.
    pub async fn find(&self, deadline: Instant) -> FsResult<Leader> {
        if let Some(leader) = self.current() {
            return Ok(leader);
        }
        timeout_at(deadline, self.search()).await.unwrap_or_else(|_| {
            let why = lock(&self.state).why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            Err(FsError::Unavailable(format!("no master leads{why}")))
        })
    }

    /// Gives a leader up, after a call to it failed or was refused. Nothing if another has been found meanwhile.
    pub fn forget(&self, leader: &Leader) {
        let mut state = lock(&self.state);
        if state.leader.as_ref().is_some_and(|l| l.address == leader.address && l.term <= leader.term) {
            state.leader = None;
            state.last = Some(leader.address.clone());
        }
    }

    /// Asks `address` first in the next round, if it is one of the masters: another one named it as the leader.
    pub fn suggest(&self, address: String) {
        lock(&self.state).first = Some(address);
    }

    /// Notes the term of a reply given as leader; one of an older term than already seen says false: do not believe it.
    /// Terms of followers do not count: one that is cut off raises its own for ever.
    pub fn believe(&self, term: u64) -> bool {
        let mut state = lock(&self.state);
        state.term = state.term.max(term);
        term == state.term
    }

    /// The latest that a leader told of the journal.
    pub fn seen(&self) -> Option<Mark> {
        lock(&self.state).seen
    }

    /// A leader that is believed told this of the journal.
    pub fn note(&self, mark: Option<Mark>) {
        if let Some(mark) = mark {
            let mut state = lock(&self.state);
            let older = state.seen.is_some_and(|seen| seen.office == mark.office && seen.index > mark.index);
            if !older {
                state.seen = Some(mark);
            }
        }
    }

    /// As [`Self::believe`], for the answer to who leads. Another cluster is believed at once: its terms are its own.
    fn believe_leader(&self, term: u64, mark: Option<Mark>) -> bool {
        {
            let mut state = lock(&self.state);
            let other = |mark: Mark| state.seen.is_some_and(|seen| seen.cluster != mark.cluster);
            if mark.is_some_and(other) {
                (state.term, state.seen) = (0, None);
            }
        }
        let believed = self.believe(term);
        if believed {
            self.note(mark);
        }
        believed
    }

    async fn search(&self) -> FsResult<Leader> {
        let _turn = self.asking.lock().await;
        let mut wait = self.times.wait_base;
        loop {
            if let Some(leader) = self.current() {
                return Ok(leader);
            }
            if let Some(leader) = self.round().await {
                let mut state = lock(&self.state);
                (state.leader, state.last) = (Some(leader.clone()), None);
                return Ok(leader);
            }
            let pause = lock(&self.state).chance.duration(wait / 2, wait);
            sleep(pause).await;
            wait = self.times.wait_cap.min(wait * 2);
        }
    }

    /// Asks each master once.
    async fn round(&self) -> Option<Leader> {
        let mut to_ask = order(self.masters.len(), |i| self.is_last(i));
        if let Some(first) = lock(&self.state).first.take() {
            self.ask_next(&mut to_ask, &first);
        }
        while let Some(i) = to_ask.first().copied() {
            to_ask.remove(0);
            match self.ask(&self.masters[i]).await {
                Asked::Leads(leader) => return Some(leader),
                Asked::Hint(hint) => self.ask_next(&mut to_ask, &hint),
                Asked::Nothing => {}
            }
        }
        None
    }

    /// Moves a master to the front, unless it has been asked already.
    fn ask_next(&self, to_ask: &mut Vec<usize>, address: &str) {
        if let Some(at) = to_ask.iter().position(|i| self.masters[*i].address() == address) {
            let hinted = to_ask.remove(at);
            to_ask.insert(0, hinted);
        }
    }

    fn is_last(&self, i: usize) -> bool {
        lock(&self.state).last.as_deref() == Some(self.masters[i].address())
    }

    async fn ask(&self, master: &Channel<MasterProtocol>) -> Asked {
        let reply = match master.call(MasterRequest::WhoLeads { seen: self.seen() }, self.times.per_master).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(master = master.address(), %error, "does not say who leads");
                return Asked::Nothing;
            }
        };
        match reply.result {
            Ok(MasterAnswer::Leader { mark, .. }) if self.believe_leader(reply.term, mark) => {
                lock(&self.state).why = None;
                Asked::Leads(Leader { address: master.address().to_owned(), term: reply.term, channel: master.clone() })
            }
            Err(FsError::NotLeader { hint: Some(hint) }) => Asked::Hint(hint),
            Err(FsError::Unavailable(why)) => {
                lock(&self.state).why = Some(why);
                Asked::Nothing
            }
            _ => Asked::Nothing,
        }
    }
}

enum Asked {
    Leads(Leader),
    Hint(String),
    Nothing,
}

/// `0..n`, with those that come last moved to the end.
fn order(n: usize, last: impl Fn(usize) -> bool) -> Vec<usize> {
    let (end, mut start): (Vec<_>, Vec<_>) = (0..n).partition(|i| last(*i));
    start.extend(end);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_given_up_is_asked_last() {
        assert_eq!(order(3, |_| false), [0, 1, 2]);
        assert_eq!(order(3, |i| i == 0), [1, 2, 0]);
        assert_eq!(order(0, |_| true), [0; 0]);
    }
}
