//! What happened, as data: typed events, a rolling hash over all of them, and the first difference of two traces.
//!
//! Two runs are the same run if their hashes are equal. The hash sees every event; the ring and the file are for people.

pub mod diff;
pub mod event;
pub mod hash;
pub mod recorder;

pub use event::{Event, Kind};
pub use hash::{Digest, Rolling};
pub use recorder::{Listener, Recorder};
