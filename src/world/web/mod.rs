//! A mirror inside the world: an Apache-style web server with index pages.
//!
//! | file | what it is |
//! |---|---|
//! | `tree.rs` | the files: length, version, time; the directory of the documents' walkthroughs |
//! | `page.rs` | index pages as mod_autoindex makes them |
//! | `answer.rs` | one request and the tree in, one answer out |
//! | `body.rs` | file bodies, made while they are sent |
//! | `server.rs` | the program, its faults and what they did |
//!
//! It is a program on a host of the world, so the network and the machine below it fail as they do for any other.
//! `https` is spoken as plain HTTP on port 443: TLS is outside the model.

pub mod answer;
pub mod body;
pub mod page;
pub mod server;
pub mod tree;

pub use server::{Ratio, WebCounters, WebFaults, WebServer};
pub use tree::{WebFile, WebTree};
