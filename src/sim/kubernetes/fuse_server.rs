//! A fuse process and the door through which the kernel of its node hands calls to it.
//!
//! Calls run as tasks of the fuse's own process: they end with it, and whoever waits for one gets `ENOTCONN`, as from a
//! kernel whose server is gone. What goes through the door is written into the history, so that applications are judged
//! by the same oracles as the workload's clients.

use std::future::Future;
use std::sync::Arc;

use super::images::{Images, Launch};
use super::machine::Machine;
use crate::rt::backend::BoxFuture;
use crate::rt::chan::{mpsc, oneshot};
use crate::rt::task;
use crate::rt::{Either, select2, signal};
use crate::sim::workload::Recorder;
use crate::stack::client::{ClientOptions, FileSystemClient};
use crate::stack::fuse::{Errno, Fuse, FuseOptions};
use crate::stack::ufs::Stores;

/// What a call finds behind the door.
pub struct Mounted {
    /// The file system.
    pub fuse: Fuse,
    /// Where the history is kept.
    pub recorder: Arc<Recorder>,
    /// Number of the mount among the clients of the history.
    pub client: u32,
}

type Job = Box<dyn FnOnce(Arc<Mounted>) -> BoxFuture + Send>;

/// The way to one fuse process.
#[derive(Clone)]
pub struct FuseDoor {
    jobs: mpsc::UnboundedSender<Job>,
    session: u64,
}

impl FuseDoor {
    /// The same door, known under the kernel's number.
    #[must_use]
    pub fn of_session(&self, session: u64) -> Self {
        Self { jobs: self.jobs.clone(), session }
    }

    /// Whether it is the same session's.
    pub fn is_same(&self, other: &Self) -> bool {
        self.session == other.session
    }

    /// Hands a call to the server and waits for its answer.
    ///
    /// # Errors
    /// The call's own; `ENOTCONN` if the server dies first.
    pub async fn call<T, F>(
        &self,
        machine: &Machine,
        call: impl FnOnce(Arc<Mounted>) -> F + Send + 'static,
    ) -> Result<T, Errno>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Errno>> + Send + 'static,
    {
        let gone = Errno(libc::ENOTCONN);
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |mounted| {
            Box::pin(async move {
                let _ = tell.send(call(mounted).await);
            })
        });
        self.jobs.send(job).map_err(|_| gone)?;
        let mut changes = machine.changes();
        let dead = async {
            while machine.fuse_lives(self.session) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        match select2(told, dead).await {
            Either::Left(Ok(answer)) => answer,
            _ => Err(gone),
        }
    }
}

/// Mounts and serves until the process is asked to end.
///
/// # Errors
/// There is no history to write into, because the run has no clients yet.
pub async fn serve(
    images: &Images,
    launch: &Launch,
    target: &str,
    client: ClientOptions,
    options: FuseOptions,
) -> Result<(), String> {
    // As the image's entry point does: the mount of a fuse that was killed is no use to anybody.
    launch.machine.clear_dead_fuses(target);
    let (number, recorder) = images.history().ok_or("the run keeps no history yet")?;
    let client = Arc::new(FileSystemClient::audited(client, recorder.audit(number)));
    let store = Arc::new(Stores::new(crate::sim::cluster::web_options()));
    let mounted = Arc::new(Mounted { fuse: Fuse::new(client, store, options), recorder, client: number });
    // libfuse mounts once the file system answers: not before a master does.
    let deadline = mounted.fuse.client().deadline();
    mounted.fuse.client().stat("/", deadline).await.map_err(|error| error.to_string())?;
    let (jobs, mut calls) = mpsc::unbounded_channel::<Job>();
    launch.machine.mount_fuse(target, &launch.id.0, FuseDoor { jobs, session: 0 });
    let serve = async {
        while let Some(job) = calls.recv().await {
            task::spawn("fuse-call", job(mounted.clone()));
        }
    };
    select2(serve, signal::terminated()).await;
    // libfuse unmounts on its way out; a fuse that is killed leaves its mount behind.
    launch.machine.unmount_fuse(target);
    Ok(())
}
