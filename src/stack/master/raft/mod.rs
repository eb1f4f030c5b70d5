//! Raft among the masters: openraft over the journal, the seam and the rpc layer.
//!
//! | file | what |
//! |---|---|
//! | `types` | what openraft is instantiated with |
//! | `log_store` | the log on the journal |
//! | `machine` | applies entries to the state, snapshots |
//! | `snapshots` | where snapshots are kept |

pub mod log_store;
pub mod machine;
pub mod snapshots;
pub mod types;

pub use log_store::{LogReader, LogStore};
pub use machine::{Machine, Replica};
pub use snapshots::{SnapshotDir, SnapshotStore};
pub use types::{NodeId, Peer, Raft, TypeConfig};
