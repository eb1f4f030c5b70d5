//! What masters, workers and clients say to each other.

pub mod error;
pub mod master;
pub mod raw;
pub mod rpc;
pub mod types;
pub mod worker;

pub use error::{FsError, FsResult};
pub use types::*;
