//! How well a runtime is, from what its sets tell, and what that makes of its dataset.
//!
//! Versions of Fluid differ here most of all; [`HealthRule`] names them. Under the older rule a dataset fails with one of
//! three masters, though the quorum serves; under the newer one it stays `Bound` with no master at all, and only the
//! runtime says so.

use crate::kube::fluid::api::{DatasetPhase, RuntimePhase};
use crate::kube::fluid::profile::HealthRule;

/// Pods of one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pods {
    /// Asked for.
    pub desired: i32,
    /// That there are.
    pub current: i32,
    /// That are ready.
    pub ready: i32,
}

impl Pods {
    /// Where the set stands.
    pub const fn phase(self) -> RuntimePhase {
        RuntimePhase::of(self.desired, self.ready)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The phase that the dataset gets.
    pub dataset: DatasetPhase,
    /// Why the rest of the round is left out, if it is: numbers stay as they are then.
    pub error: Option<String>,
}

/// Judges masters and workers; `None` is a set that is gone.
pub fn judge(rule: HealthRule, masters: Option<Pods>, workers: Option<Pods>) -> Health {
    let sets = [("master", masters), ("worker", workers)];
    for (part, pods) in sets {
        let Some(pods) = pods else {
            return Health { dataset: DatasetPhase::Failed, error: Some(format!("the {part}s' set is gone")) };
        };
        match rule {
            HealthRule::AnyNotReady if pods.current != pods.ready => {
                let error = format!("the {part} is not ready: {} of {}", pods.ready, pods.current);
                return Health { dataset: DatasetPhase::Failed, error: Some(error) };
            }
            HealthRule::SetGone if pods.desired > 0 && pods.ready == 0 => {
                let error = format!("no {part} is ready");
                return Health { dataset: DatasetPhase::Bound, error: Some(error) };
            }
            _ => {}
        }
    }
    Health { dataset: DatasetPhase::Bound, error: None }
}

#[cfg(test)]
mod tests {
    use super::DatasetPhase::{Bound, Failed};
    use super::HealthRule::{AnyNotReady, SetGone};
    use super::*;

    #[test]
    fn versions_judge_the_same_masters_differently() {
        let pods = |ready| Some(Pods { desired: 3, current: 3, ready });
        for (rule, masters, workers, phase, fails) in [
            (AnyNotReady, pods(3), pods(3), Bound, false),
            (AnyNotReady, pods(2), pods(3), Failed, true),
            (AnyNotReady, pods(3), pods(1), Failed, true),
            (SetGone, pods(2), pods(1), Bound, false),
            (SetGone, pods(0), pods(3), Bound, true),
            (SetGone, None, pods(3), Failed, true),
            (AnyNotReady, pods(3), None, Failed, true),
        ] {
            let health = judge(rule, masters, workers);
            assert_eq!((health.dataset, health.error.is_some()), (phase, fails), "{rule:?} {masters:?} {workers:?}");
        }
    }
}
