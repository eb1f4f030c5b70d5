//! Caches that are deleted and made anew.

use crate::base::SimTime;
use crate::sim::kubernetes::Kubernetes;
use crate::sim::scenario::Scenario;

/// When the scenario's runtime was another object than before.
#[derive(Default)]
pub(super) struct Caches {
    uid: Option<String>,
    again: Vec<SimTime>,
}

impl Caches {
    /// Looks which object the runtime is.
    pub fn look(&mut self, kubernetes: &Kubernetes, scenario: &Scenario, now: SimTime) {
        let meta = scenario.runtime.metadata();
        let word = format!("{}runtimes", scenario.runtime.flavor().word());
        let Some(runtime) = kubernetes.object(&word, &meta.namespace, &meta.name) else { return };
        if self.uid.as_deref() == Some(runtime.uid()) {
            return;
        }
        if self.uid.is_some() {
            self.again.push(now);
        }
        self.uid = Some(runtime.uid().to_owned());
    }

    /// When one was made anew.
    pub fn again(&self) -> &[SimTime] {
        &self.again
    }
}
