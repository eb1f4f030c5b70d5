//! The masters: the namespace and what belongs to it, replicated through Raft.
//!
//! | file | what |
//! |---|---|
//! | `state/` | what all masters hold, changed only by applying journal entries; pure |
//! | `registry/` | what the leader knows of workers; pure |
//! | `raft/` | Raft among the masters |
//! | `config` | what a master is told at its start |
//! | `server` | the process: roles, ports, start and stop |
//! | `service` | answers requests |
//! | `reads` | linearizable reads |
//! | `loading` | directories from under-stores |
//! | `persist` | files and changes to under-stores |
//! | `term` | what a leader has for its term of office |
//! | `workers` | the registry with clock, chance and state |
//! | `report`, `screen` | operators' facts, and their screens |

pub mod backup;
pub mod config;
mod loading;
mod persist;
pub mod raft;
mod reads;
pub mod registry;
mod report;
pub mod screen;
pub mod server;
mod service;
pub mod state;
mod term;
mod workers;
mod writes;

pub use config::{MasterConfig, RaftTimes};
pub use server::{Master, MasterError};
