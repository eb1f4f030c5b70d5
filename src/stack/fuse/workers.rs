//! Workers as a client sees them: who is alive, who failed lately, and whom to ask about a block.
//!
//! The choice is a function of block and list: the worker on this host first, else a place by the block's number, so that
//! all clients spread alike and find each other's blocks. A worker that failed is asked last for a while.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::base::lock;
use crate::base::seed::mix;
use crate::rt::chan;
use crate::rt::time::{Duration, Instant};
use crate::stack::client::FileSystemClient;
use crate::stack::wire::rpc::{Channel, WorkerProtocol};
use crate::stack::wire::worker::{WorkerAnswer, WorkerRequest};
use crate::stack::wire::{BlockId, FsError, FsResult, WorkerAddress};

/// A worker that failed is asked last for so long.
const SUSPECT_FOR: Duration = Duration::from_secs(30);

/// When the masters did not give the list, the old one is used for so long.
const LIST_RETRY: Duration = Duration::from_secs(5);

/// The workers.
pub struct Workers {
    local_host: Option<String>,
    /// How long a list is used: `alluxio.user.worker.list.refresh.interval`.
    refresh: Duration,
    known: Mutex<Known>,
    /// One caller asks for the list at a time.
    asking: chan::Mutex<()>,
}

#[derive(Default)]
struct Known {
    channels: BTreeMap<WorkerAddress, Channel<WorkerProtocol>>,
    suspects: BTreeMap<WorkerAddress, Instant>,
    live: Vec<WorkerAddress>,
    fresh_until: Option<Instant>,
}

impl Workers {
    /// Nobody known yet. `local_host`: the host name of this client, as workers' addresses have it.
    pub fn new(local_host: Option<String>, refresh: Duration) -> Self {
        Self { local_host, refresh, known: Mutex::default(), asking: chan::Mutex::new(()) }
    }

    /// Live workers in the order in which to try them for `block`. Asks the masters if the list is older than its bound,
    /// or if all on it failed; an old list does if they do not answer until `deadline`.
    pub async fn for_block(
        &self,
        client: &FileSystemClient,
        block: BlockId,
        deadline: Instant,
    ) -> FsResult<Vec<WorkerAddress>> {
        if let Some(live) = self.fresh() {
            return Ok(self.order(live, block));
        }
        let _turn = self.asking.lock().await;
        if let Some(live) = self.fresh() {
            return Ok(self.order(live, block));
        }
        match client.workers(deadline).await {
            Ok(workers) => {
                let mut live: Vec<WorkerAddress> = workers.into_iter().map(|worker| worker.address).collect();
                live.sort_unstable();
                live.dedup();
                let mut known = lock(&self.known);
                known.channels.retain(|address, _| live.contains(address));
                known.suspects.retain(|address, _| live.contains(address));
                (known.live, known.fresh_until) = (live.clone(), Some(Instant::now() + self.refresh));
                drop(known);
                Ok(self.order(live, block))
            }
            Err(error) => {
                let mut known = lock(&self.known);
                let live = known.live.clone();
                if live.is_empty() {
                    return Err(error);
                }
                // Others need not find out the same, one after the other.
                known.fresh_until = Some(Instant::now() + LIST_RETRY);
                drop(known);
                Ok(self.order(live, block))
            }
        }
    }

    /// The locations of a block in the order in which to read them.
    pub fn by_preference(&self, locations: &[WorkerAddress], block: BlockId) -> Vec<WorkerAddress> {
        self.order(locations.to_vec(), block)
    }

    /// One request to one worker. A worker that does not answer is suspected.
    ///
    /// # Errors
    /// The worker's own, or `Unavailable` if there was no answer.
    pub async fn call(&self, to: &WorkerAddress, request: WorkerRequest, within: Duration) -> FsResult<WorkerAnswer> {
        let channel = self.channel(to);
        match channel.call(request, within).await {
            Ok(reply) => {
                lock(&self.known).suspects.remove(to);
                reply.result
            }
            Err(error) => {
                self.suspect(to);
                tracing::debug!(worker = %to, %error, "worker failed");
                Err(FsError::Unavailable(format!("worker {to}: {error}")))
            }
        }
    }

    /// Asks it last for a while.
    pub fn suspect(&self, worker: &WorkerAddress) {
        lock(&self.known).suspects.insert(worker.clone(), Instant::now() + SUSPECT_FOR);
    }

    /// Asks the masters for the list at the next need.
    pub fn outdated(&self) {
        lock(&self.known).fresh_until = None;
    }

    fn channel(&self, to: &WorkerAddress) -> Channel<WorkerProtocol> {
        let mut known = lock(&self.known);
        known.channels.entry(to.clone()).or_insert_with(|| Channel::new(to.0.clone())).clone()
    }

    fn fresh(&self) -> Option<Vec<WorkerAddress>> {
        let known = lock(&self.known);
        let now = Instant::now();
        let suspected = |worker| known.suspects.get(worker).is_some_and(|until| *until > now);
        let fresh = known.fresh_until.is_some_and(|until| now < until);
        (fresh && !known.live.iter().all(suspected)).then(|| known.live.clone())
    }

    fn order(&self, live: Vec<WorkerAddress>, block: BlockId) -> Vec<WorkerAddress> {
        let now = Instant::now();
        let known = lock(&self.known);
        let suspected = |worker: &WorkerAddress| known.suspects.get(worker).is_some_and(|until| *until > now);
        order(live, block, self.local_host.as_deref(), suspected)
    }
}

/// Local first, then round from the block's own place; suspects behind.
fn order(
    mut live: Vec<WorkerAddress>,
    block: BlockId,
    local_host: Option<&str>,
    suspected: impl Fn(&WorkerAddress) -> bool,
) -> Vec<WorkerAddress> {
    if let Some(start) = mix(block.0).checked_rem(live.len() as u64) {
        live.rotate_left(start as usize);
    }
    let local = |worker: &WorkerAddress| {
        local_host.is_some_and(|host| worker.0.rsplit_once(':').is_some_and(|(name, _)| name == host))
    };
    live.sort_by_key(|worker| (suspected(worker), !local(worker)));
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::wire::InodeId;

    fn addresses() -> Vec<WorkerAddress> {
        (0..3).map(|n| WorkerAddress(format!("w{n}:29999"))).collect()
    }

    #[test]
    fn local_first_suspects_last_and_blocks_spread() {
        let block = |n| BlockId::new(InodeId(7), n);
        let mut firsts = [0u32; 3];
        for n in 0..300 {
            let got = order(addresses(), block(n), None, |_| false);
            let first = addresses().iter().position(|w| *w == got[0]).expect("one of them");
            firsts[first] += 1;
            // The order is the ring's, wherever it begins.
            assert_eq!(got[1], addresses()[(first + 1) % 3]);
            let got = order(addresses(), block(n), Some("w1"), |_| false);
            assert_eq!(got[0].0, "w1:29999");
            let got = order(addresses(), block(n), Some("w1"), |w| w.0 == "w1:29999");
            assert_eq!(got[2].0, "w1:29999");
        }
        assert!(firsts.iter().all(|n| *n > 60), "{firsts:?}");
        assert!(order(vec![], block(0), Some("w1"), |_| false).is_empty());
    }
}
