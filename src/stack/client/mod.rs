//! What every program that talks to masters shares, and the operators' commands.
//!
//! | file | what |
//! |---|---|
//! | `leader` | finds the primary among the configured masters |
//! | `core` | [`FileSystemClient`]: operation ids, retries, budgets |
//! | `command` | command lines such as `goosefs fs masterInfo` |

pub mod leader;

pub mod core;

pub mod command;

pub use command::{CommandError, OperatorCommand, Printed, run_line};
pub use core::{Audit, ClientOptions, FileSystemClient, NoAudit, Replied};
pub use leader::{Leader, LeaderFinder, LeaderTimes};
