//! What must be true: pure functions over client history and observations. No waiting, no chance, no I/O, no knowledge of
//! the faults that were injected.

pub mod history;
pub mod judge;
pub mod linearizable;
pub mod model;
pub mod observation;
pub mod record;
pub mod verdict;
pub mod violation;

#[cfg(test)]
mod testing;

pub use history::{Answer, BytesSeen, Call, Content, Operation, Outcome, Refusal, Seen};
pub use judge::{Judgement, OracleReport, judge};
pub use observation::{
    BlockObservation, FaultEffect, FinalTree, Goal, Health, LogDigest, LogId, MasterObservation, Role, UfsVersion,
    WorkerObservation,
};
pub use record::{Bounds, Core, RunRecord, Setup};
pub use verdict::Verdict;
pub use violation::Violation;
