//! What the clients do while the story goes on, and what they saw.
//!
//! | file | what |
//! |---|---|
//! | `record` | [`Recorder`]: the history, told by the clients' audit hooks |
//! | `plan` | which operation next; pure |
//! | `client` | [`run`]: one client program |
//! | `check` | reads, compared with what the bytes must be |
//! | `scan` | [`scan`](scan::scan): the whole tree, after everything settled |
//!
//! Rule: nothing here decides whether an answer is right; it only writes down what was asked, what was answered, and which
//! content the bytes of a read are.

pub mod check;
pub mod client;
pub mod plan;
pub mod record;
pub mod scan;

pub use check::{CheckedFile, OpenFile};
pub use client::{Load, run};
pub use plan::LoadSpec;
pub use record::{Clock, Recorder};
pub use scan::ScanError;
