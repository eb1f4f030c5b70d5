//! Conditions of datasets and runtimes.

use super::api::Condition;
use crate::kube::clock;

/// A condition that holds from now on. With the same status before, it keeps the times of before.
pub fn set(conditions: &mut Vec<Condition>, type_: &str, status: bool, reason: &str, message: &str) {
    let status = if status { "True" } else { "False" };
    let now = Some(clock::time_now());
    let next = Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_update_time: now.clone(),
        last_probe_time: now.clone(),
        last_transition_time: now,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(before) if before.status == status => {}
        Some(before) => *before = next,
        None => conditions.push(next),
    }
}

/// Whether a condition holds.
pub fn holds(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_it_changes() {
        let mut all = Vec::new();
        set(&mut all, "Ready", true, "first", "");
        set(&mut all, "Ready", true, "second", "");
        assert_eq!((all.len(), all[0].reason.as_str(), holds(&all, "Ready")), (1, "first", true));
        set(&mut all, "Ready", false, "third", "");
        assert_eq!((all.len(), all[0].reason.as_str(), holds(&all, "Ready")), (1, "third", false));
        assert!(!holds(&all, "Initialized"));
    }
}
