//! What every program that talks to masters shares.

pub mod leader;

pub use leader::{Leader, LeaderFinder, LeaderTimes};
