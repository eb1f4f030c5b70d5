//! The replicated state behind openraft: applies committed entries, makes and installs snapshots.
//!
//! The state lives in memory behind a short lock; a [`Replica`] lets the master's handlers read it. It is rebuilt from
//! the newest snapshot and the journal at every start. Lock order: this lock is a leaf but for the observer's.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};

use super::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::base::lock;
use crate::stack::journal::{self, SnapshotStore};
use crate::stack::master::state::{Reply, State};
use crate::stack::observe::{Applied, CarriedOut, EntryId, Observer};
use crate::stack::wire::{BlockId, FsError};

/// openraft's side of the state.
pub struct Machine {
    shared: Arc<Shared>,
}

/// A handle for reading the state.
#[derive(Clone)]
pub struct Replica {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    store: SnapshotStore,
    observer: Arc<Observer>,
}

struct Inner {
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// Blocks whose files went since the leader asked last; kept only while this master leads.
    freed: Option<Vec<BlockId>>,
}

impl Machine {
    /// The state of the newest snapshot, or an empty one. `retries` bounds the retry cache, in operations.
    ///
    /// # Errors
    /// The store's; `InvalidData` for a snapshot that cannot be used.
    pub async fn recover(store: SnapshotStore, observer: Arc<Observer>, retries: usize) -> io::Result<(Self, Replica)> {
        let mut inner =
            Inner { state: State::new(retries), applied: None, membership: StoredMembership::default(), freed: None };
        if let Some(snapshot) = newest(&store).await? {
            inner.restore(snapshot, &observer)?;
        }
        let shared = Arc::new(Shared { inner: Mutex::new(inner), store, observer });
        Ok((Self { shared: Arc::clone(&shared) }, Replica { shared }))
    }
}

impl Replica {
    /// Looks at the state, and at the index up to which it is applied.
    pub fn read<R>(&self, look: impl FnOnce(&State, u64) -> R) -> R {
        let inner = lock(&self.shared.inner);
        look(&inner.state, inner.applied.as_ref().map_or(0, |id| id.index))
    }

    /// Begins, or stops, to keep the blocks that deletions free.
    pub fn keep_freed(&self, keep: bool) {
        lock(&self.shared.inner).freed = keep.then(Vec::new);
    }

    /// The blocks freed since the last call.
    pub fn take_freed(&self) -> Vec<BlockId> {
        lock(&self.shared.inner).freed.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl Inner {
    fn restore(&mut self, snapshot: Snapshot, observer: &Observer) -> io::Result<()> {
        let state = State::decode(&snapshot.snapshot).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let SnapshotMeta { last_log_id, last_membership } = snapshot.meta;
        (self.state, self.applied, self.membership) = (state, last_log_id, last_membership);
        if let Some(freed) = &mut self.freed {
            freed.clear();
        }
        let id = self.applied.as_ref().map(entry_id);
        if let Some(id) = id {
            observer.applied(Applied { id, state_hash: self.state.state_hash(), carried_out: None });
        }
        observer.update(|facts| facts.snapshot = id);
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Snapshot { meta, snapshot: Bytes::from(self.state.encode()) }
    }
}

/// openraft's log id as an observer's.
pub(in crate::stack::master) fn entry_id(id: &LogId) -> EntryId {
    EntryId { term: id.committed_leader_id().term, index: id.index }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let inner = lock(&self.shared.inner);
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let reply = self.shared.apply(entry);
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let snapshot = lock(&self.shared.inner).snapshot();
        Builder { shared: Arc::clone(&self.shared), snapshot }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        let snapshot = Snapshot { meta: meta.clone(), snapshot: data };
        // Durable before it counts as installed: openraft purges the journal up to it next.
        self.shared.save(&snapshot).await?;
        lock(&self.shared.inner).restore(snapshot, &self.shared.observer)?;
        self.shared.observer.update(|facts| facts.installed += 1);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        newest(&self.shared.store).await
    }
}

impl Shared {
    fn apply(&self, entry: openraft::alias::EntryOf<TypeConfig>) -> Reply {
        let mut inner = lock(&self.inner);
        let id = entry.log_id();
        let mut carried_out = None;
        let reply = match entry.payload {
            EntryPayload::Normal(command) => {
                let reply = inner.state.apply(id.index, &command);
                let took_effect = reply.result.is_ok();
                let anew = command.op().filter(|_| reply.index == id.index);
                carried_out = anew.map(|op| CarriedOut { op, took_effect });
                reply
            }
            EntryPayload::Blank => {
                inner.state.term_began(id.index);
                nothing(id.index)
            }
            EntryPayload::Membership(membership) => {
                inner.membership = StoredMembership::new(Some(id), membership);
                nothing(id.index)
            }
        };
        inner.applied = Some(id);
        if let Some(freed) = &mut inner.freed {
            freed.extend_from_slice(&reply.freed);
        }
        self.observer.applied(Applied { id: entry_id(&id), state_hash: inner.state.state_hash(), carried_out });
        reply
    }

    async fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let id = snapshot.meta.last_log_id.as_ref().map(entry_id).unwrap_or_default();
        let tag = postcard::to_stdvec(&snapshot.meta).map_err(io::Error::other)?;
        let meta = journal::SnapshotMeta { index: id.index, epoch: id.term };
        self.store.save(meta, &tag, &snapshot.snapshot).await?;
        self.observer.update(|facts| facts.snapshot = snapshot.meta.last_log_id.as_ref().map(entry_id));
        Ok(())
    }
}

/// The newest snapshot of the store.
async fn newest(store: &SnapshotStore) -> io::Result<Option<Snapshot>> {
    let Some((_, tag, data)) = store.newest().await? else { return Ok(None) };
    let meta: SnapshotMeta = postcard::from_bytes(&tag).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(Some(Snapshot { meta, snapshot: Bytes::from(data) }))
}

/// The reply to an entry that is no command; nobody waits for it.
fn nothing(index: u64) -> Reply {
    Reply { index, result: Err(FsError::Invalid("not a command".into())), freed: Vec::new() }
}

/// A snapshot taken at one index; written by a task of its own while more entries are applied.
pub struct Builder {
    shared: Arc<Shared>,
    snapshot: Snapshot,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.shared.save(&self.snapshot).await?;
        Ok(self.snapshot.clone())
    }
}
