//! Words that every layer shares: names of hosts and tasks, simulated time, sizes, seeds.
//!
//! Rule: plain data and arithmetic only. Nothing here waits, draws ambient chance or does I/O.

pub mod ids;
pub mod seed;
pub mod size;
pub mod time;

pub use ids::{HostId, ProcessId, TaskId};
pub use seed::{Seed, Stream};
pub use size::ByteSize;
pub use time::SimTime;
