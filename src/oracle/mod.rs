//! What must be true: pure functions over client history and observations. No waiting, no chance, no I/O, no knowledge of
//! the faults that were injected.
//!
//! | property | source | module |
//! |---|---|---|
//! | S1 metadata operations are linearizable, unknown outcomes included | Herlihy and Wing 1990; Wing and Gong 1993; Lowe 2017; Alluxio's operation ids | [`linearizable`] |
//! | S2 what was acknowledged is there after any tolerated failure | Raft's state machine safety; Alluxio acknowledges after the journal's flush | [`durability`] |
//! | S3 nothing is resurrected or applied twice | Alluxio's `operationId` and retry cache | [`once`] |
//! | S4 one leader acknowledges in a term, terms grow, deposed leaders are fenced | Raft figure 3.2; RATIS-2154 | [`leadership`] |
//! | S5 logs agree, equal state at equal index, committed stays | Raft figure 3.2; Alluxio PR 8310, RATIS-2245 | [`agreement`] |
//! | S6 what is restored equals a prefix of the log, no epoch moves back unnoticed | etcd issue 10166; Fluid issue 3283 | [`restore`] |
//! | S7 a read gives the bytes of one legal version, in time | Alluxio issue 9151; JuiceFS PR 6192 | [`bytes`] |
//! | S9 what has no other copy is not evicted | Alluxio PR 9174 | [`evicted`] |
//! | S10 corruption is detected or repaired, never served | JuiceFS issue 5981 | [`corruption`] |
//! | S11 one pod identity one process, one writer a disk, placement by the rules | Kubernetes issues 59848, 91299, 120328; its documentation of scheduling | [`identity`], [`placed`] |
//! | S12 rows tell the truth within the reconcile interval | Fluid issues 2389, 1322; Kubernetes issue 141473 | [`rows`] |
//! | S13 secrets stay where they belong | Fluid's `encryptOptions` | [`secrets`] |
//! | L1 a leader within the bound, L2 operations end, L5 no deadlock | Alluxio issue 16725, PR 16042 | [`liveness`] |
//! | L3 everything converges, L6 resources return to their baseline | Fluid issues 3283, 3399; Kubernetes issues 45191, 81097 | [`converge`] |
//! | M1 the same seed, the same trace; M2 every fault acts | FoundationDB's and TigerBeetle's simulators | [`meta`] |

pub mod agreement;
pub mod bytes;
pub mod cluster;
pub mod converge;
pub mod corruption;
pub mod durability;
pub mod evicted;
pub mod facts;
pub mod history;
pub mod identity;
pub mod judge;
pub mod leadership;
mod ledger;
pub mod linearizable;
pub mod liveness;
pub mod meta;
pub mod model;
pub mod observation;
pub mod once;
pub mod placed;
pub mod record;
pub mod restore;
pub mod rows;
pub mod secrets;
pub mod verdict;
pub mod violation;

#[cfg(test)]
mod testing;

pub use cluster::ClusterRecord;
pub use history::{Answer, BytesSeen, Call, Content, Operation, Outcome, Refusal, Seen};
pub use judge::{Judgement, OracleReport, judge};
pub use observation::{
    BlockObservation, Damage, FaultEffect, FinalTree, Goal, Gone, Health, LogDigest, LogId, MasterObservation, Role,
    UfsVersion, Unreadable, WorkerObservation,
};
pub use record::{Bounds, Core, Outage, RunRecord, Setup};
pub use verdict::Verdict;
pub use violation::Violation;
