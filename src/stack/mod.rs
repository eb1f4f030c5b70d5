//! The real distributed cache: masters that agree through Raft, workers that keep blocks, clients that read and write
//! through them, and the under-stores behind.
//!
//! Everything waits, connects and stores through [`crate::rt`]; nothing here knows whether the world is simulated.

pub mod journal;
pub mod client;
pub mod fuse;
pub mod master;
pub mod observe;
pub mod ufs;
pub mod wire;
pub mod worker;
