//! Each violation in one sentence, for people.

use std::fmt;

use super::Violation;

impl Violation {
    pub(super) fn explain_safety(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            _ => self.explain_cluster(f),
        }
    }

    /// What concerns Kubernetes and the homes of metadata.
    fn explain_cluster(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EpochWentBack { home, member, was, now, at } => write!(
                f,
                "{home} held term {} and entries to {}, at {at:.3} s it holds term {} and entries to {}, and {member} works \
                 with it as if nothing had happened",
                was.0, was.1, now.0, now.1
            ),
            Self::RestoredOutsideLog { home, member, index, detail, at } => {
                write!(
                    f,
                    "what {member} has on {home} at {at:.3} s is no prefix of the log, at index {index}: {detail}"
                )
            }
            Self::SplitCluster { group, first, second, at } => {
                write!(f, "the masters of {group} are two clusters at {at:.3} s: {first} and {second}")
            }
            Self::TwoProcessesOnePod { pod, container, first, second, at } => {
                write!(f, "container {container} of {pod} runs twice at {at:.3} s: {first}; and {second}")
            }
            Self::TwoWritersOneDisk { disk, first, second, at } => {
                write!(f, "disk {disk} is for one node, and {first} and {second} both write to it at {at:.3} s")
            }
            Self::DiskTakenFromWriter { disk, node, at } => {
                write!(f, "disk {disk} was detached from {node} at {at:.3} s while it was mounted there")
            }
            Self::PlacedAgainstRules { pod, node, rule, at } => {
                write!(f, "{pod} was put on {node} at {at:.3} s, but {rule}")
            }
            Self::RowUntrue { object, column, shown, truth, since, at } => write!(
                f,
                "{object} shows {column} `{shown}` at {at:.3} s and has since {since:.3} s, but it is `{truth}`"
            ),
            Self::RowImpossible { object, column, shown, why, at } => {
                write!(f, "{object} shows {column} `{shown}` at {at:.3} s, which cannot be: {why}")
            }
            Self::SecretExposed { secret, place, form, around } => {
                write!(f, "the value of {secret} stands in {place} ({form}): `{around}`")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn explain_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Self::NotConverged { what, wanted, seen, waited, bound } => {
                write!(
                    f,
                    "{what} is `{seen}` and should be `{wanted}`, {waited:?} after all was well (bound {bound:?})"
                )
            }
            Self::ResourceLeaked { what, baseline, end } => {
                write!(f, "{what}: {baseline} before, {end} after everything was taken down")
            }
            Self::ResourceUnbounded { what, peak, most } => {
                write!(f, "{what}: {peak} at once, {most} are ever needed")
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
