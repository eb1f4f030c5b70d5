//! Changes on their way into the journal, a group at a time.
//!
//! A change that finds nothing under way goes at once. What arrives while it is being committed waits, and goes together
//! as soon as that has ended: the busier the master, the larger the groups and the fewer the waits for disks and peers.
//! Alluxio's journal has one flush thread, which writes whatever its queue holds (`AsyncJournalWriter`).

use std::sync::Mutex;

use futures_util::StreamExt;
use openraft::errors::{ClientWriteError, RaftError};

use super::raft::{Raft, TypeConfig};
use super::reads::not_leader;
use super::state::{Command, Reply};
use super::term::leads;
use crate::base::lock;
use crate::rt::chan::{Notify, oneshot};
use crate::stack::wire::{FsError, FsResult};

/// A command, and who waits for its reply.
type Waiting = (Command, oneshot::Sender<FsResult<Reply>>);

/// The changes of one term of office.
#[derive(Default)]
pub(super) struct Writes {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    under_way: bool,
    waiting: Vec<Waiting>,
}

impl Writes {
    /// Journals a command: ready when it is committed and applied here.
    ///
    /// # Errors
    /// Whether it was journaled is not known then.
    pub(super) async fn propose(&self, raft: &Raft, command: Command) -> FsResult<Reply> {
        match self.enter(command) {
            Ok(command) => {
                let _turn = Turn(self);
                propose(raft, command).await
            }
            Err(reply) => {
                reply.await.unwrap_or_else(|_| Err(FsError::Unavailable("the term of office is over".into())))
            }
        }
    }

    /// Gives the command back if it can go at once, and a receiver for its reply if it waits.
    fn enter(&self, command: Command) -> Result<Command, oneshot::Receiver<FsResult<Reply>>> {
        let mut queue = lock(&self.queue);
        if !std::mem::replace(&mut queue.under_way, true) {
            return Ok(command);
        }
        let (tx, rx) = oneshot::channel();
        queue.waiting.push((command, tx));
        Err(rx)
    }

    /// All that waits; if nothing does, nothing is under way any more.
    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.queue);
        queue.under_way = !queue.waiting.is_empty();
        queue.under_way.then(|| std::mem::take(&mut queue.waiting))
    }

    /// Journals group after group of the term, as long as changes wait.
    pub(super) async fn groups(&self, raft: &Raft, term: u64) {
        loop {
            self.more.notified().await;
            while let Some(group) = self.next_group() {
                write(raft, term, group).await;
            }
        }
    }
}

/// The change that went at once.
struct Turn<'a>(&'a Writes);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.under_way = !queue.waiting.is_empty();
        if queue.under_way {
            self.0.more.notify_one();
        }
    }
}

/// Journals one command, beside whatever is under way.
pub(super) async fn propose(raft: &Raft, command: Command) -> FsResult<Reply> {
    match raft.client_write(command.into()).await {
        Ok(written) => Ok(written.data),
        Err(RaftError::APIError(error)) => Err(refusal(error)),
        Err(RaftError::Fatal(fatal)) => Err(FsError::Unavailable(fatal.to_string())),
    }
}

/// Journals a group in its term, and answers each who still waits.
async fn write(raft: &Raft, term: u64, mut group: Vec<Waiting>) {
    group.retain(|(_, waiting)| !waiting.is_closed());
    if group.is_empty() {
        return;
    }
    let (commands, waiting): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    // Those who wait keep an office that is over. What it let in is not for the next one to write.
    let begun = if leads(raft, term) {
        let replies = raft.client_write_many(commands.into_iter().map(Into::into)).await;
        replies.map_err(|fatal| FsError::Unavailable(fatal.to_string()))
    } else {
        Err(FsError::NotLeader { hint: None })
    };
    let mut replies = match begun {
        Ok(replies) => replies,
        Err(error) => {
            for waiting in waiting {
                let _gone = waiting.send(Err(error.clone()));
            }
            return;
        }
    };
    for waiting in waiting {
        let reply = match replies.next().await {
            Some(Ok(Ok(written))) => Ok(written.response),
            Some(Ok(Err(error))) => Err(refusal(error)),
            Some(Err(fatal)) => Err(FsError::Unavailable(fatal.to_string())),
            None => Err(FsError::Unavailable("raft stopped".into())),
        };
        let _gone = waiting.send(reply);
    }
}

fn refusal(error: ClientWriteError<TypeConfig>) -> FsError {
    match error {
        ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to) => not_leader(to),
        other => FsError::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn office(name: u64) -> Command {
        Command::Office { name }
    }

    fn names(group: &[Waiting]) -> Vec<Command> {
        group.iter().map(|(command, _)| command.clone()).collect()
    }

    #[test]
    fn what_arrives_meanwhile_is_the_next_group() {
        let writes = Writes::default();
        assert_eq!(writes.enter(office(1)).unwrap(), office(1), "nothing is under way");
        let turn = Turn(&writes);
        let waiting: Vec<_> = (2..5).map(|name| writes.enter(office(name)).unwrap_err()).collect();
        drop(turn);
        let _fifth = writes.enter(office(5)).expect_err("the group is under way, though nobody has taken it yet");
        let group = writes.next_group().unwrap();
        assert_eq!(names(&group), [2, 3, 4, 5].map(office), "in the order of their arrival");
        let _sixth = writes.enter(office(6)).unwrap_err();
        assert_eq!(names(&writes.next_group().unwrap()), [office(6)]);
        assert!(writes.next_group().is_none());
        assert_eq!(writes.enter(office(7)).unwrap(), office(7), "nothing is under way any more");
        drop(waiting);
    }

    #[test]
    fn a_change_that_is_given_up_frees_the_way() {
        let writes = Writes::default();
        let _first = writes.enter(office(1)).unwrap();
        drop(Turn(&writes));
        assert_eq!(writes.enter(office(2)).unwrap(), office(2));
    }
}
