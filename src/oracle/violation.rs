//! What was found: each variant is named as the broken promise and carries what its sentence needs to explain itself.
//!
//! A violation is neither an error nor a panic: the system under test did wrong, or the run proves nothing.
#![expect(missing_docs, reason = "the doc of a variant names its fields")]

mod explain;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::{Content, Operation};
use super::observation::LogId;
use super::verdict::Verdict;
use crate::base::SimTime;
use crate::stack::wire::BlockId;

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "violation")]
pub enum Violation {
    /// S2: a change was acknowledged and its effect is gone.
    LostAckedWrite { write: Box<Operation>, path: String, evidence: String },
    /// S2: a file was acknowledged whole, and its bytes can never be read again.
    LostAckedBytes { write: Box<Operation>, path: String, error: String },
    /// S1: no order of the operations explains an answer.
    NotLinearizable { operation: Box<Operation>, expected: String, around: Vec<String> },
    /// S1: the journal's order contradicts real time.
    OrderReversed { earlier: Box<Operation>, later: Box<Operation> },
    /// S1, S7: a read missed what was finished before it began.
    StaleRead { read: Box<Operation>, missed: Box<Operation>, late: Duration },
    /// S3: something that was removed is back.
    ResurrectedEntry { path: String, seen: String, removed_by: Box<Operation>, evidence: String },
    /// S3: one operation took effect more than once.
    AppliedTwice { operation: Box<Operation>, evidence: String },
    /// S3, S4: two changes were acknowledged at one journal index.
    TwoChangesOneIndex { index: u64, first: Box<Operation>, second: Box<Operation> },
    /// S4: two members led one term.
    TwoLeadersOneTerm { term: u64, first: String, second: String, at: SimTime },
    /// S4: a member's term is lower than it was.
    TermWentBack { member: String, was: u64, now: u64, at: SimTime },
    /// S4: a member voted for two candidates in one term.
    VotedTwice { member: String, term: u64, first: u64, second: u64, at: SimTime },
    /// S4: a leader of an old term acknowledged something out of its time.
    DeposedLeaderAcked { operation: Box<Operation>, newer: Box<Operation> },
    /// S4: a change was acknowledged although no majority could exist.
    AckedWithoutQuorum { operation: Box<Operation>, why: String },
    /// S5: two logs hold different entries under one name, or one log is out of order.
    LogsDisagree { first: String, second: String, index: u64, detail: String },
    /// S5: two members applied the same index and hold different states.
    StateDiverged { applied: u64, first: String, second: String, first_hash: String, second_hash: String },
    /// S5: a committed entry was replaced, or a member's commit went back for good.
    CommittedLost { committed: LogId, seen_by: String, now: String, at: SimTime },
    /// S7: a read gave bytes of no legal content.
    WrongBytes {
        read: Box<Operation>,
        offset: u64,
        expected: Vec<u8>,
        got: Vec<u8>,
        zeros: bool,
        worker: Option<String>,
    },
    /// S7: a read gave whole bytes of a content that the file never had, or not then.
    WrongVersion { read: Box<Operation>, got: Content, legal: Vec<Content> },
    /// S9: a worker dropped the only copy of what was acknowledged.
    EvictedUnpersisted { worker: String, block: BlockId, path: String, at: SimTime },
    /// S10: bytes that the checksum condemns were handed out.
    CorruptionServed { worker: String, block: BlockId, times: u64, at: SimTime },
    /// S6: a master works with a home of metadata that holds less than it did, and says nothing.
    EpochWentBack { home: String, member: String, was: (u64, u64), now: (u64, u64), at: SimTime },
    /// S6: what was restored is no prefix of what was decided.
    RestoredOutsideLog { home: String, member: String, index: u64, detail: String, at: SimTime },
    /// S6: masters that should be one cluster are several.
    SplitCluster { group: String, first: String, second: String, at: SimTime },
    /// S11: one pod's container runs twice.
    TwoProcessesOnePod { pod: String, container: String, first: String, second: String, at: SimTime },
    /// S11: a disk for one node was written from two.
    TwoWritersOneDisk { disk: String, first: String, second: String, at: SimTime },
    /// S11: a disk was detached while it was mounted, and no rule of force applied.
    DiskTakenFromWriter { disk: String, node: String, at: SimTime },
    /// S11: a pod was put where it may not be.
    PlacedAgainstRules { pod: String, node: String, rule: String, at: SimTime },
    /// S12: a row shows what is not so, longer than it may lag.
    RowUntrue { object: String, column: String, shown: String, truth: String, since: SimTime, at: SimTime },
    /// S12: a row shows what can never be so.
    RowImpossible { object: String, column: String, shown: String, why: String, at: SimTime },
    /// S13: a secret's value stands where it should not.
    SecretExposed { secret: String, place: String, form: String, around: String },
    /// L1: nobody leads although a majority is well.
    NoLeader { since: SimTime, waited: Duration, bound: Duration },
    /// L2: an operation has no outcome although the system is well.
    OperationStuck { operation: Box<Operation>, waited: Duration, bound: Duration },
    /// L2: an operation failed in a way that nobody documents.
    UndocumentedFailure { operation: Box<Operation>, error: String },
    /// L3: something is not, long after the heal, as it should be.
    NotConverged { what: String, wanted: String, seen: String, waited: Duration, bound: Duration },
    /// L6: more is left than there was before.
    ResourceLeaked { what: String, baseline: u64, end: u64 },
    /// L6: more was heaped up than is ever needed.
    ResourceUnbounded { what: String, peak: u64, most: u64 },
    /// L5: operations are pending and nothing is scheduled.
    Deadlock { pending: usize, tasks: Vec<String> },
    /// M1: two runs of one seed differ.
    TraceDiffers { seed: u64, hashes: Vec<String>, difference: Option<String> },
    /// M2: a fault was injected and did nothing.
    FaultWithoutEffect { fault: String, counted: String, at: SimTime },
    /// The scenario never reached what it is about.
    GoalNotReached { goal: String },
    /// The run gave an oracle that must not be idle nothing to judge.
    NothingChecked { what: String },
    /// Somebody panicked.
    Crashed { message: String },
    /// An oracle's search was cut short: it does not know.
    Undecided { steps: u64, unknown: usize, operation: Box<Operation> },
    /// The run was cut short.
    BudgetExhausted { what: String },
}

impl Violation {
    /// The names of all variants, as scenarios declare them.
    pub const NAMES: [&str; 44] = [
        "LostAckedWrite",
        "LostAckedBytes",
        "NotLinearizable",
        "OrderReversed",
        "StaleRead",
        "ResurrectedEntry",
        "AppliedTwice",
        "TwoChangesOneIndex",
        "TwoLeadersOneTerm",
        "TermWentBack",
        "VotedTwice",
        "DeposedLeaderAcked",
        "AckedWithoutQuorum",
        "LogsDisagree",
        "StateDiverged",
        "CommittedLost",
        "WrongBytes",
        "WrongVersion",
        "EvictedUnpersisted",
        "CorruptionServed",
        "EpochWentBack",
        "RestoredOutsideLog",
        "SplitCluster",
        "TwoProcessesOnePod",
        "TwoWritersOneDisk",
        "DiskTakenFromWriter",
        "PlacedAgainstRules",
        "RowUntrue",
        "RowImpossible",
        "SecretExposed",
        "NoLeader",
        "OperationStuck",
        "UndocumentedFailure",
        "NotConverged",
        "ResourceLeaked",
        "ResourceUnbounded",
        "Deadlock",
        "TraceDiffers",
        "FaultWithoutEffect",
        "GoalNotReached",
        "NothingChecked",
        "Crashed",
        "Undecided",
        "BudgetExhausted",
    ];

    /// The variant's name, as scenarios declare it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LostAckedWrite { .. } => "LostAckedWrite",
            Self::LostAckedBytes { .. } => "LostAckedBytes",
            Self::NotLinearizable { .. } => "NotLinearizable",
            Self::OrderReversed { .. } => "OrderReversed",
            Self::StaleRead { .. } => "StaleRead",
            Self::ResurrectedEntry { .. } => "ResurrectedEntry",
            Self::AppliedTwice { .. } => "AppliedTwice",
            Self::TwoChangesOneIndex { .. } => "TwoChangesOneIndex",
            Self::TwoLeadersOneTerm { .. } => "TwoLeadersOneTerm",
            Self::TermWentBack { .. } => "TermWentBack",
            Self::VotedTwice { .. } => "VotedTwice",
            Self::DeposedLeaderAcked { .. } => "DeposedLeaderAcked",
            Self::AckedWithoutQuorum { .. } => "AckedWithoutQuorum",
            Self::LogsDisagree { .. } => "LogsDisagree",
            Self::StateDiverged { .. } => "StateDiverged",
            Self::CommittedLost { .. } => "CommittedLost",
            Self::WrongBytes { .. } => "WrongBytes",
            Self::WrongVersion { .. } => "WrongVersion",
            Self::EvictedUnpersisted { .. } => "EvictedUnpersisted",
            Self::CorruptionServed { .. } => "CorruptionServed",
            Self::EpochWentBack { .. } => "EpochWentBack",
            Self::RestoredOutsideLog { .. } => "RestoredOutsideLog",
            Self::SplitCluster { .. } => "SplitCluster",
            Self::TwoProcessesOnePod { .. } => "TwoProcessesOnePod",
            Self::TwoWritersOneDisk { .. } => "TwoWritersOneDisk",
            Self::DiskTakenFromWriter { .. } => "DiskTakenFromWriter",
            Self::PlacedAgainstRules { .. } => "PlacedAgainstRules",
            Self::RowUntrue { .. } => "RowUntrue",
            Self::RowImpossible { .. } => "RowImpossible",
            Self::SecretExposed { .. } => "SecretExposed",
            Self::NoLeader { .. } => "NoLeader",
            Self::OperationStuck { .. } => "OperationStuck",
            Self::UndocumentedFailure { .. } => "UndocumentedFailure",
            Self::NotConverged { .. } => "NotConverged",
            Self::ResourceLeaked { .. } => "ResourceLeaked",
            Self::ResourceUnbounded { .. } => "ResourceUnbounded",
            Self::Deadlock { .. } => "Deadlock",
            Self::TraceDiffers { .. } => "TraceDiffers",
            Self::FaultWithoutEffect { .. } => "FaultWithoutEffect",
            Self::GoalNotReached { .. } => "GoalNotReached",
            Self::NothingChecked { .. } => "NothingChecked",
            Self::Crashed { .. } => "Crashed",
            Self::Undecided { .. } => "Undecided",
            Self::BudgetExhausted { .. } => "BudgetExhausted",
        }
    }

    /// The verdict that this violation alone gives a run.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NoLeader { .. }
            | Self::OperationStuck { .. }
            | Self::UndocumentedFailure { .. }
            | Self::NotConverged { .. }
            | Self::ResourceLeaked { .. }
            | Self::ResourceUnbounded { .. }
            | Self::Deadlock { .. } => Verdict::Liveness,
            Self::TraceDiffers { .. } => Verdict::Nondeterministic,
            Self::FaultWithoutEffect { .. } | Self::GoalNotReached { .. } | Self::NothingChecked { .. } => {
                Verdict::Vacuous
            }
            Self::Crashed { .. } => Verdict::Crash,
            Self::Undecided { .. } | Self::BudgetExhausted { .. } => Verdict::OverBudget,
            _ => Verdict::Safety,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self.verdict() {
            Verdict::Safety => self.explain_safety(f),
            _ => self.explain_rest(f),
        }
    }
}
