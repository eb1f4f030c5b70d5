//! Channels and locks with tokio's names; wake order is first in, first out.
//!
//! `oneshot`, `Notify`, `Mutex` and `Semaphore` are tokio's own, which need no runtime and wake in order; they are
//! wrapped only so that a deadlock report can name the wait. `watch` is ours: tokio's spreads its waiters over eight
//! lists picked by a random generator of its own, so its wake order differs from run to run. `mpsc` is ours for speed.

pub mod mpsc;
pub mod oneshot;
mod sync;
pub mod watch;

pub use sync::{Mutex, MutexGuard, Notify, Semaphore};
pub use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};

/// Runs `program` on tokio's threads, a minute at most.
#[cfg(test)]
fn on_threads<T>(program: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build();
    let limited = async { super::time::timeout(super::time::Duration::from_secs(60), program).await };
    runtime.expect("a runtime").block_on(limited).expect("nothing hangs")
}
