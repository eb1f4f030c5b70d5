//! Which operations hold a dataset: `status.operationRef`, names by type, and how long they took.
//!
//! Older versions of Fluid let one operation of a type run on a dataset; newer ones keep a list joined by commas.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use crate::kube::fluid::profile::SecondOperation;

/// Takes the lock for `name`, or gives who holds it. Taking it again is fine.
///
/// # Errors
/// The names of the others that hold it, if only one may.
pub fn take(
    locks: &mut BTreeMap<String, String>,
    type_: &str,
    name: &str,
    rule: SecondOperation,
) -> Result<(), String> {
    let held = locks.get(type_).cloned().unwrap_or_default();
    let mut names: Vec<&str> = held.split(',').filter(|other| !other.is_empty()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    if !names.is_empty() && rule == SecondOperation::WaitOrFail {
        return Err(held);
    }
    names.push(name);
    locks.insert(type_.into(), names.join(","));
    Ok(())
}

/// Gives the lock of `name` back.
pub fn give_back(locks: &mut BTreeMap<String, String>, type_: &str, name: &str) {
    let held = locks.remove(type_).unwrap_or_default();
    let rest: Vec<&str> = held.split(',').filter(|other| !other.is_empty() && *other != name).collect();
    if !rest.is_empty() {
        locks.insert(type_.into(), rest.join(","));
    }
}

/// A time span as Go prints it, in whole seconds: `20s`, `1m30s`, `1h0m5s`.
pub fn duration(from: Timestamp, to: Timestamp) -> String {
    let seconds = (to.as_second() - from.as_second()).max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_or_a_list() {
        let mut locks = BTreeMap::new();
        assert_eq!(take(&mut locks, "DataLoad", "a", SecondOperation::WaitOrFail), Ok(()));
        assert_eq!(take(&mut locks, "DataLoad", "a", SecondOperation::WaitOrFail), Ok(()));
        assert_eq!(take(&mut locks, "DataLoad", "b", SecondOperation::WaitOrFail), Err("a".into()));
        assert_eq!(take(&mut locks, "DataBackup", "b", SecondOperation::WaitOrFail), Ok(()));
        assert_eq!(take(&mut locks, "DataLoad", "b", SecondOperation::Run), Ok(()));
        assert_eq!(locks["DataLoad"], "a,b");
        give_back(&mut locks, "DataLoad", "a");
        assert_eq!(locks["DataLoad"], "b");
        give_back(&mut locks, "DataLoad", "b");
        give_back(&mut locks, "DataLoad", "b");
        assert_eq!(locks.keys().collect::<Vec<_>>(), ["DataBackup"]);
    }

    #[test]
    fn durations_are_gos() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, want) in [(0, "0s"), (59, "59s"), (60, "1m0s"), (3605, "1h0m5s"), (-3, "0s")] {
            assert_eq!(duration(at(0), at(seconds)), want);
        }
    }
}
