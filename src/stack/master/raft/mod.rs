//! Raft among the masters: openraft over the journal, the seam and the rpc layer.
//!
//! | file | what |
//! |---|---|
//! | `types` | what openraft is instantiated with |
//! | `log_store` | the log on the journal |
//! | `machine` | applies entries to the state, makes and installs snapshots |
//! | `wire` | what masters say to each other |
//! | `network` | openraft's way to the others |
//! | `appends` | which requests to append go there, and when |
//! | `peers` | answers them |
//! | `joining` | when a master with an empty journal may vote |

pub mod appends;
pub mod log_store;
pub mod joining;
pub mod machine;
pub mod network;
pub mod peers;
pub mod types;
pub mod wire;

pub use log_store::{LogReader, LogStore};
pub use machine::{Machine, Replica};
pub use network::Network;
pub use peers::Peers;
pub use types::{NodeId, Peer, Raft, TypeConfig};
