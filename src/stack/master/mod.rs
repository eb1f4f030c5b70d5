//! The masters: the namespace and what belongs to it, replicated through Raft.

pub mod raft;
pub mod registry;
pub mod screen;
pub mod state;
