//! The seam: the only door to time, chance, tasks, channels, network and disk.
//!
//! Names and semantics mirror tokio's and std's, so that code above reads like tokio code. Each call goes to the world
//! installed on this thread ([`backend::enter`]), or to tokio where there is none. Everything here is `Send`, so the same
//! code runs on tokio's threads for real.

pub mod alloc;
pub mod backend;
pub mod chan;
pub mod chance;
pub mod fs;
pub mod interpose;
pub mod log;
pub mod hyper_io;
pub mod net;
pub mod raft;
mod select;
pub mod signal;
pub mod task;
pub mod time;
mod wait;

pub use select::{Either, select2};
