//! Linearizable reads: one confirmation of leadership serves all reads that arrived before it began.
//!
//! Raft's ReadIndex: the leader takes its commit index, hears from a majority that it still leads, and waits until it has
//! applied that index. A read that arrives while a confirmation is under way waits for the next one.

use std::sync::Mutex;

use openraft::LinearizerOption;
use openraft::errors::{ForwardToLeader, LinearizableReadError, RaftError};

use super::raft::{Raft, TypeConfig};
use crate::base::lock;
use crate::rt::chan::{Notify, oneshot};
use crate::rt::time::Duration;
use crate::stack::wire::{FsError, FsResult};

/// How long one confirmation may take. Heartbeats are repeated meanwhile.
const ROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads that wait for a confirmation.
#[derive(Default)]
pub(super) struct Reads {
    waiting: Mutex<Vec<oneshot::Sender<FsResult<()>>>>,
    arrived: Notify,
}

impl Reads {
    /// Ready once a confirmation that began after this call has ended: what is applied now includes everything that was
    /// acknowledged before the call.
    pub(super) async fn confirm(&self) -> FsResult<()> {
        let (tx, rx) = oneshot::channel();
        lock(&self.waiting).push(tx);
        self.arrived.notify_one();
        rx.await.unwrap_or(Err(FsError::NotLeader { hint: None }))
    }

    /// Confirms, round after round, as long as reads arrive.
    pub(super) async fn rounds(&self, raft: &Raft) {
        loop {
            let batch = std::mem::take(&mut *lock(&self.waiting));
            if batch.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            let outcome = confirm_once(raft).await;
            for read in batch {
                let _gone = read.send(outcome.clone());
            }
        }
    }
}

/// One confirmation of leadership, and the wait until what was committed before it is applied.
pub(super) async fn confirm_once(raft: &Raft) -> FsResult<()> {
    let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(ROUND_TIMEOUT);
    let linearizer = raft.get_read_linearizer(option).await.map_err(refusal)?;
    match linearizer.try_await_ready(raft, Some(ROUND_TIMEOUT)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(state)) => Err(FsError::Unavailable(format!("still applying: {state}"))),
        Err(fatal) => Err(FsError::Unavailable(fatal.to_string())),
    }
}

fn refusal(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> FsError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(to)) => not_leader(to),
        other => FsError::Unavailable(other.to_string()),
    }
}

/// Somebody else leads, whom openraft names if it knows.
pub(super) fn not_leader(to: ForwardToLeader<TypeConfig>) -> FsError {
    FsError::NotLeader { hint: to.leader_node.map(|node| node.rpc.to_string()) }
}
