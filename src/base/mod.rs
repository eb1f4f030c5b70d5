//! Words that every layer shares: names of hosts and tasks, simulated time, sizes, seeds.
//!
//! Rule: plain data and arithmetic only. Nothing here waits, draws ambient chance or does I/O.

pub mod content;
pub mod ids;
pub mod percent;
pub mod planted;
pub mod secret;
pub mod seed;
pub mod sigv4;
pub mod size;
pub mod time;

pub use content::Content;
pub use ids::{HostId, ProcessId, TaskId};
pub use secret::Secret;
pub use seed::{Seed, Stream};
pub use size::ByteSize;
pub use time::SimTime;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks for a short critical section. A poisoned lock is taken over: the panic that poisoned it is reported elsewhere.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
