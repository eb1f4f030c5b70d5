//! When a master with an empty journal may take part.
//!
//! A member whose disk was wiped forgot its votes and the entries it had acknowledged. If it simply went on under its old
//! id, it could vote twice in a term, or help an outdated member to lead, and committed entries would be lost in
//! silence. So a master without the mark `joined` in its journal directory asks the others first:
//!
//! - Nobody has an entry: this is the group's first start. Everybody has to be there.
//! - Somebody has: it was wiped (or comes late). Any entry it may have helped to commit, and any leader it may have
//!   helped to elect, is known to a member of each majority it was in. With answers from `n - majority + 1` members that
//!   did join it has heard from one of each. Until its log is as far as the furthest of those it votes for nobody and
//!   takes entries only from a leader at least as new as the newest vote among them.
//! - Too few answer that ever joined: more were lost than the group can bear. It keeps waiting, and the log says so.
//!
//! Not covered: a journal directory that was put back to an older state looks joined.

use std::io;

use super::types::{LogId, Vote};
use super::wire::MemberStatus;
use crate::rt::fs;

const MARK: &str = "joined";

/// What an empty master is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Ask again.
    Wait,
    /// Nothing exists yet: take part in the group's first start.
    Form,
    /// Take entries from a leader no older than `vote`; vote once the log has reached `log`.
    CatchUp {
        /// The newest vote heard of.
        vote: Vote,
        /// The furthest log heard of.
        log: Option<LogId>,
    },
}

/// Decides from the answers of the other members. `members` counts this one; `own` is its last entry.
pub fn plan(members: usize, own: Option<LogId>, answers: &[MemberStatus]) -> Plan {
    let others = members.saturating_sub(1);
    let first_start = own.is_none() && answers.len() >= others && answers.iter().all(|other| other.last.is_none());
    if first_start || others == 0 {
        return Plan::Form;
    }
    let majority = members / 2 + 1;
    let joined: Vec<&MemberStatus> = answers.iter().filter(|other| other.joined).collect();
    if joined.len() < members - majority + 1 {
        return Plan::Wait;
    }
    let newest = |a: Vote, b: Vote| if b > a { b } else { a };
    match joined.iter().map(|other| other.vote).reduce(newest) {
        Some(vote) => Plan::CatchUp { vote, log: joined.iter().filter_map(|other| other.last).max() },
        None => Plan::Wait,
    }
}

/// Whether this journal directory belongs to a member that has joined.
///
/// # Errors
/// The file system's.
pub async fn is_joined(dir: &str) -> io::Result<bool> {
    match fs::metadata(&format!("{dir}/{MARK}")).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks it so, durably.
///
/// # Errors
/// The file system's.
pub async fn mark_joined(dir: &str) -> io::Result<()> {
    let file = fs::File::create(&format!("{dir}/{MARK}")).await?;
    file.sync_all().await?;
    fs::sync_dir(dir).await
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(Vote::new_committed(term, 1).leader_id.to_committed(), index)
    }

    fn status(joined: bool, term: u64, last: Option<LogId>) -> MemberStatus {
        MemberStatus { joined, vote: Vote::new_committed(term, 1), last }
    }

    #[test]
    fn a_first_start_needs_everybody_and_nobody_with_an_entry() {
        let empty = status(false, 0, None);
        assert_eq!(plan(3, None, &[empty.clone(), empty.clone()]), Plan::Form);
        assert_eq!(plan(3, None, &[empty.clone(), status(true, 0, None)]), Plan::Form);
        assert_eq!(plan(3, None, std::slice::from_ref(&empty)), Plan::Wait);
        assert_eq!(plan(3, None, &[]), Plan::Wait);
        assert_eq!(plan(1, None, &[]), Plan::Form);
        assert_eq!(plan(1, Some(id(1, 1)), &[]), Plan::Form);
        assert_eq!(plan(3, Some(id(1, 1)), &[empty.clone(), empty]), Plan::Wait);
    }

    #[test]
    fn one_wiped_of_three_needs_both_others() {
        let (near, far) = (status(true, 4, Some(id(4, 90))), status(true, 5, Some(id(3, 100))));
        let vote = Vote::new_committed(5, 1);
        assert_eq!(plan(3, None, std::slice::from_ref(&far)), Plan::Wait);
        assert_eq!(plan(3, None, &[near.clone(), far.clone()]), Plan::CatchUp { vote, log: Some(id(4, 90)) });
        // Restarted half-way, it still has to ask.
        assert_eq!(plan(3, Some(id(3, 7)), &[far, near]), Plan::CatchUp { vote, log: Some(id(4, 90)) });
    }

    #[test]
    fn two_wiped_of_three_wait_for_ever() {
        let intact = status(true, 4, Some(id(4, 90)));
        assert_eq!(plan(3, None, &[status(false, 0, None), intact]), Plan::Wait);
    }

    #[test]
    fn five_members_bear_one_silent_beside_the_wiped_one() {
        let far = |index| status(true, 4, Some(id(4, index)));
        let vote = Vote::new_committed(4, 1);
        assert_eq!(plan(5, None, &[far(1), far(2)]), Plan::Wait);
        assert_eq!(plan(5, None, &[far(1), far(2), far(3)]), Plan::CatchUp { vote, log: Some(id(4, 3)) });
    }
}
