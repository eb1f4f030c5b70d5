//! Workers: keep blocks on tiered storage and read through from the under-store.
//!
//! | file | what it is |
//! |---|---|
//! | `config.rs` | how one worker runs |
//! | `store/` | blocks on disk: space, eviction, checksums, recovery |
//! | `report.rs` | what the master has yet to be told; pure |
//! | `session.rs` | registration, heartbeats, commits |
//! | `fetch.rs` | reads through, one fetch a block |
//! | `writes.rs` | blocks that clients write |
//!
//! Rule: bytes are served only if their checksums match, or if the under-store says they are of the version asked for.

pub mod config;
mod fetch;
pub mod report;
mod session;
pub mod store;
mod writes;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::config::WorkerConfig;
use self::fetch::Fetcher;
use self::session::Session;
use self::store::{Found, Store};
use self::writes::Writes;
use super::ufs::{Mounted, Stores, UnderStore};
use super::wire::rpc::{self, Context, WorkerProtocol};
use super::wire::worker::{UfsBlock, WorkerAnswer, WorkerReply, WorkerRequest};
use super::wire::{BlockId, FsError, FsResult};
use crate::rt::net::TcpListener;
use crate::rt::task::Scope;
use crate::rt::time::timeout_at;

/// Most bytes that one read gives: a frame holds them with room to spare.
pub const READ_BYTES_MAX: u32 = 4 << 20;

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its directories cannot be used.
    #[error("storage: {0}")]
    Storage(io::Error),
    /// Its port cannot be bound.
    #[error("listen: {0}")]
    Listen(io::Error),
    /// No master answered for so long.
    #[error("no master answered for {0:?}")]
    NoMaster(Duration),
}

/// The worker program.
pub struct Worker {
    store: Arc<Store>,
    fetcher: Arc<Fetcher>,
    writes: Arc<Writes>,
}

impl Worker {
    /// Runs a worker on the under-stores of the mounts until its process dies.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn run(config: WorkerConfig) -> Result<(), WorkerError> {
        let ufs = Arc::new(Stores::new(config.web));
        Self::run_with(config, ufs).await
    }

    /// Runs a worker on any under-store.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn run_with(config: WorkerConfig, ufs: Arc<dyn UnderStore>) -> Result<(), WorkerError> {
        let store = Arc::new(Store::open(config.levels.clone()).await.map_err(WorkerError::Storage)?);
        let listener = TcpListener::bind(config.listen).await.map_err(WorkerError::Listen)?;
        let session = Session::new(&config, store.clone());
        let ufs = Arc::new(Mounted::new(ufs, session.clone()));
        let worker = Arc::new(Self {
            fetcher: Fetcher::new(store.clone(), session.clone(), ufs, config.tuning),
            writes: Writes::new(store.clone(), session.clone(), config.tuning),
            store: store.clone(),
        });
        let scope = Scope::new();
        scope.spawn("worker-sweep", async move { store.sweep().await });
        let writes = worker.writes.clone();
        scope.spawn("worker-expire", async move { writes.expire().await });
        let handler = move |request, context| worker.clone().answer(request, context);
        scope.spawn("worker-serve", rpc::serve::<WorkerProtocol>(listener, handler));
        session.run().await
    }

    async fn answer(self: Arc<Self>, request: WorkerRequest, context: Context) -> WorkerReply {
        let result = timeout_at(context.deadline, self.serve(request, context)).await;
        WorkerReply { result: result.unwrap_or_else(|_| Err(FsError::Unavailable("no answer in time".to_owned()))) }
    }

    async fn serve(&self, request: WorkerRequest, context: Context) -> FsResult<WorkerAnswer> {
        match request {
            WorkerRequest::Read { block, offset, length, ufs } => self.read(block, offset, length, ufs).await,
            WorkerRequest::Write { block, offset, data } => {
                self.writes.write(block, offset, &data).await.map(|()| WorkerAnswer::Done)
            }
            WorkerRequest::Commit { block, length } => {
                self.writes.commit(block, length, context.deadline).await.map(|()| WorkerAnswer::Done)
            }
            WorkerRequest::Discard { block } => {
                self.writes.discard(block);
                Ok(WorkerAnswer::Done)
            }
        }
    }

    async fn read(&self, block: BlockId, offset: u64, length: u32, ufs: Option<UfsBlock>) -> FsResult<WorkerAnswer> {
        if length > READ_BYTES_MAX {
            return Err(FsError::Invalid(format!("a read of {length} bytes; at most {READ_BYTES_MAX}")));
        }
        let version = ufs.as_ref().map(|ufs| ufs.source.fingerprint.as_str());
        let found = self.store.read(block, offset, length.into(), version).await;
        match (found, ufs) {
            (Found::Bytes(data), _) => Ok(WorkerAnswer::Data { data, cached: true }),
            (_, Some(ufs)) => {
                let data = self.fetcher.read(block, offset, length.into(), ufs).await?;
                Ok(WorkerAnswer::Data { data, cached: false })
            }
            (Found::Absent, None) => Err(FsError::Unknown(format!("block {}", block.0))),
            (Found::Unusable(why), None) => Err(FsError::Io(format!("block {}: {why}", block.0))),
        }
    }
}
