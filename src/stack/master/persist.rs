//! Writes files to the under-stores of writable mounts, and takes changes through to them.
//!
//! The leader looks every second for files that are wanted ([`super::state::Wanted`]), reads them from the workers, writes
//! each under a temporary name, renames it into place and journals that it is there. What fails is tried again, after 1 s at
//! first and 1 h at last. Changes below such a mount and the renaming into place take turns, so that a file that is removed
//! or renamed meanwhile does not come back under its old name.
//! Differs: there is no job service; the bytes go through the leader. A leader that was deposed unawares may rename once
//! more what it was about to.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;

use super::service::Service;
use super::state::{Command, Effect, Wanted};
use super::term::Term;
use crate::rt::time::{Duration, Instant, timeout};
use crate::stack::wire::master::Change;
use crate::stack::wire::rpc::{Channel, WorkerProtocol};
use crate::stack::wire::worker::{WorkerAnswer, WorkerRequest};
use crate::stack::wire::{BlockId, FsError, FsResult, InodeId, WorkerAddress};

/// How often wanted files are looked for: `alluxio.master.persistence.scheduler.interval`.
const INTERVAL: Duration = Duration::from_secs(1);
/// First and last wait after a failure: `alluxio.master.persistence.initial.interval` and `.max.interval`.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// Files written at once.
const FILES_MAX: usize = 4;
/// Bytes asked of a worker at once.
const CHUNK: u64 = 1 << 20;
/// For one such question.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// For one piece of a file on its way up, and for each later step.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// When a file that failed is tried again.
struct Later {
    at: Instant,
    wait: Duration,
}

/// Writes wanted files for as long as the term lasts.
pub(super) async fn run(service: &Service, term: &Term) {
    let mut later: BTreeMap<InodeId, Later> = BTreeMap::new();
    loop {
        let now = Instant::now();
        let due: Vec<InodeId> = service.replica.read(|state, _| {
            later.retain(|file, _| state.wanted().any(|wanted| wanted == *file));
            let ready = |file: &InodeId| later.get(file).is_none_or(|later| later.at <= now);
            state.wanted().filter(ready).take(FILES_MAX).collect()
        });
        let done = join_all(due.iter().map(|file| service.persist(term, *file))).await;
        for (file, done) in due.into_iter().zip(done) {
            match done {
                Ok(()) => drop(later.remove(&file)),
                Err(error) => {
                    let wait = later.get(&file).map_or(WAITS.0, |later| WAITS.1.min(later.wait * 2));
                    tracing::info!(file = file.0, %error, ?wait, "not in the under-store yet");
                    later.insert(file, Later { at: Instant::now() + wait, wait });
                }
            }
        }
        if service.replica.read(|state, _| state.wanted().next().is_none()) {
            // Only the completion of a file makes it wanted, and that is told.
            term.wanted.notified().await;
        } else {
            let _ = timeout(INTERVAL, term.wanted.notified()).await;
        }
    }
}

impl Service {
    /// Does in the under-store what a change needs there, and gives the command to journal. The caller has the turn.
    pub(super) async fn through(&self, change: &Change) -> FsResult<bool> {
        let effect = self.replica.read(|state, _| state.effect(change));
        // A change that will be refused is refused by the journal, which remembers it.
        let Ok(Some(effect)) = effect else { return Ok(false) };
        let done = match &effect {
            Effect::Delete { url, dir } => timeout(self.config.ufs_timeout, self.ufs.delete(url, *dir)).await,
            Effect::Rename { from, to, dir } => timeout(self.config.ufs_timeout, self.ufs.rename(from, to, *dir)).await,
        };
        match done {
            Ok(done) => done?,
            Err(_) => return Err(FsError::Unavailable(format!("the under-store does not answer: {effect:?}"))),
        }
        Ok(true)
    }

    /// Writes one wanted file to its under-store.
    async fn persist(&self, term: &Term, file: InodeId) -> FsResult<()> {
        let Some(wanted) = self.replica.read(|state, _| state.wanted_file(file)) else { return Ok(()) };
        self.upload(term, &wanted).await?;
        let _turn = term.through.lock().await;
        self.confirm(term).await?;
        let Some(now) = self.replica.read(|state, _| state.wanted_file(file)) else {
            // It was removed meanwhile.
            return Ok(self.ufs.delete(&wanted.temporary, false).await?);
        };
        step(self.ufs.rename(&wanted.temporary, &now.target, false)).await?;
        let there = step(self.ufs.stat(&now.target)).await?;
        if there.length != now.length {
            return Err(FsError::Io(format!("{} has {} bytes, not {}", now.target, there.length, now.length)));
        }
        let command = Command::Persisted { file, url: now.target.clone(), fingerprint: there.fingerprint };
        self.journal(term, command).await?.result?;
        tracing::debug!(file = file.0, url = %now.target, "is in the under-store");
        Ok(())
    }

    async fn upload(&self, term: &Term, wanted: &Wanted) -> FsResult<()> {
        let places = term.workers.locations(wanted.blocks.iter().map(|(block, _)| *block));
        let mut channels = BTreeMap::new();
        let mut writer = step(self.ufs.create(&wanted.temporary)).await?;
        for ((block, length), places) in wanted.blocks.iter().zip(places) {
            let mut at = 0;
            while at < *length {
                let part = (*block, at, CHUNK.min(length - at));
                let bytes = read(&mut channels, &places, part).await?;
                at += bytes.len() as u64;
                step(writer.write(bytes)).await?;
            }
        }
        let entry = step(writer.close()).await?;
        if entry.length != wanted.length {
            let why = format!("{} has {} bytes, not {}", wanted.temporary, entry.length, wanted.length);
            return Err(FsError::Io(why));
        }
        Ok(())
    }
}

async fn step<T>(call: impl Future<Output = Result<T, crate::stack::ufs::UfsError>>) -> FsResult<T> {
    match timeout(STEP_TIMEOUT, call).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(FsError::Unavailable("the under-store does not answer".into())),
    }
}

/// Part of a block, from the first worker that has it.
async fn read(
    channels: &mut BTreeMap<WorkerAddress, Channel<WorkerProtocol>>,
    places: &[WorkerAddress],
    (block, offset, length): (BlockId, u64, u64),
) -> FsResult<Bytes> {
    let mut last = FsError::Unavailable(format!("block {} has no location", block.0));
    for place in places {
        let channel = channels.entry(place.clone()).or_insert_with(|| Channel::new(place.0.clone()));
        let request = WorkerRequest::Read { block, offset, length: length as u32, ufs: None };
        match channel.call(request, READ_TIMEOUT).await.map(|reply| reply.result) {
            Ok(Ok(WorkerAnswer::Data { data, .. })) if data.len() as u64 == length => return Ok(data.into()),
            Ok(Ok(_)) => last = FsError::Io(format!("worker {place} gave another part of block {}", block.0)),
            Ok(Err(error)) => last = error,
            Err(error) => last = FsError::Unavailable(format!("worker {place}: {error}")),
        }
    }
    Err(last)
}
