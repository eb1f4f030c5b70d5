//! What was found: each variant is named as the broken promise and carries what its sentence needs to explain itself.
//!
//! A violation is neither an error nor a panic: the system under test did wrong, or the run proves nothing.
#![expect(missing_docs, reason = "the doc of a variant names its fields")]

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
    /// L1: nobody leads although a majority is well.
    NoLeader { since: SimTime, waited: Duration, bound: Duration },
    /// L2: an operation has no outcome although the system is well.
    OperationStuck { operation: Box<Operation>, waited: Duration, bound: Duration },
    /// L2: an operation failed in a way that nobody documents.
    UndocumentedFailure { operation: Box<Operation>, error: String },
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
    pub const NAMES: [&str; 31] = [
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
        "NoLeader",
        "OperationStuck",
        "UndocumentedFailure",
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
            Self::NoLeader { .. } => "NoLeader",
            Self::OperationStuck { .. } => "OperationStuck",
            Self::UndocumentedFailure { .. } => "UndocumentedFailure",
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

impl Violation {
    fn explain_safety(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LostAckedWrite { write, path, evidence } => {
                write!(f, "{write} was acknowledged, but its effect on {path} is gone: {evidence}")
            }
            Self::LostAckedBytes { write, path, error } => {
                write!(f, "{write} was acknowledged, but the bytes of {path} cannot be read any more: {error}")
            }
            Self::NotLinearizable { operation, expected, around } => {
                write!(f, "{operation} cannot be right: {expected}")?;
                around.iter().try_for_each(|line| write!(f, "\n    {line}"))
            }
            Self::OrderReversed { earlier, later } => {
                write!(
                    f,
                    "{earlier} had returned before {later} was invoked, but the journal has them the other way round"
                )
            }
            Self::StaleRead { read, missed, late } => {
                write!(f, "{read} does not see {missed}, which had returned {late:?} before")
            }
            Self::ResurrectedEntry { path, seen, removed_by, evidence } => {
                write!(f, "{path} ({seen}) is back after {removed_by}: {evidence}")
            }
            Self::AppliedTwice { operation, evidence } => write!(f, "{operation} took effect twice: {evidence}"),
            Self::TwoChangesOneIndex { index, first, second } => {
                write!(f, "journal index {index} was acknowledged for two changes: {first}; and {second}")
            }
            Self::TwoLeadersOneTerm { term, first, second, at } => {
                write!(f, "term {term} has two leaders at {at:.3} s: {first} and {second}")
            }
            Self::TermWentBack { member, was, now, at } => {
                write!(f, "{member} was in term {was} and is in term {now} at {at:.3} s: its vote was not durable")
            }
            Self::VotedTwice { member, term, first, second, at } => {
                write!(
                    f,
                    "{member} voted for member {first} and, seen at {at:.3} s, for member {second} in term {term}"
                )
            }
            Self::DeposedLeaderAcked { operation, newer } => {
                write!(f, "{operation} was acknowledged by an old leader: a newer term had acknowledged {newer}")
            }
            Self::AckedWithoutQuorum { operation, why } => {
                write!(f, "{operation} was acknowledged while no majority could exist ({why})")
            }
            Self::LogsDisagree { first, second, index, detail } => {
                write!(f, "the logs of {first} and {second} disagree at index {index}: {detail}")
            }
            Self::StateDiverged { applied, first, second, first_hash, second_hash } => {
                write!(f, "at applied index {applied} {first} holds state {first_hash}, {second} holds {second_hash}")
            }
            Self::CommittedLost { committed, seen_by, now, at } => write!(
                f,
                "entry {} of term {} was committed ({seen_by}), but at {at:.3} s {now}",
                committed.index, committed.term
            ),
            Self::WrongBytes { read, offset, expected, got, zeros, worker } => {
                let from = worker.as_deref().unwrap_or("the under-store");
                write!(f, "{read}: from offset {offset} bytes {got:02x?} came from {from} instead of {expected:02x?}")?;
                f.write_str(if *zeros { "; all zero from there on" } else { "" })
            }
            Self::WrongVersion { read, got, legal } => {
                write!(f, "{read} gave version {} of {}; legal were:", got.version, got.key)?;
                legal.iter().try_for_each(|c| write!(f, " version {} of {}", c.version, c.key))?;
                f.write_str(if legal.is_empty() { " none" } else { "" })
            }
            Self::EvictedUnpersisted { worker, block, path, at } => write!(
                f,
                "{worker} dropped block {} of {path}, which no other worker and no under-store has (seen at {at:.3} s)",
                block.sequence()
            ),
            Self::CorruptionServed { worker, block, times, at } => write!(
                f,
                "{worker} answered {times} reads from block {} of inode {} while its bytes were bad (seen at {at:.3} s)",
                block.sequence(),
                block.file().0
            ),
            _ => Ok(()),
        }
    }

    fn explain_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader { since, waited, bound } => {
                write!(f, "all was well from {since:.3} s on, yet nobody led for {waited:?} (bound {bound:?})")
            }
            Self::OperationStuck { operation, waited, bound } => {
                write!(f, "{operation}, waited {waited:?} with the system well (bound {bound:?})")
            }
            Self::UndocumentedFailure { operation, error } => {
                write!(f, "{operation}: `{error}` is no documented error")
            }
            Self::Deadlock { pending, tasks } => {
                write!(f, "{pending} operations are pending and nothing is scheduled")?;
                tasks.iter().try_for_each(|line| write!(f, "\n    {line}"))
            }
            Self::TraceDiffers { seed, hashes, difference } => {
                write!(f, "runs of seed {seed} ended with trace hashes {}", hashes.join(" and "))?;
                difference.iter().try_for_each(|text| write!(f, "; {text}"))
            }
            Self::FaultWithoutEffect { fault, counted, at } => {
                write!(f, "`{fault}`, injected at {at:.3} s, did nothing ({counted}: 0)")
            }
            Self::GoalNotReached { goal } => write!(f, "the run never reached `{goal}`"),
            Self::NothingChecked { what } => f.write_str(what),
            Self::Crashed { message } => f.write_str(message),
            Self::Undecided { steps, unknown, operation } => write!(
                f,
                "after {steps} steps no placing of {unknown} unknown outcomes was found that explains {operation}, nor was \
                 it shown that there is none; raise the bound or shorten the run"
            ),
            Self::BudgetExhausted { what } => f.write_str(what),
            _ => Ok(()),
        }
    }
}
