//! What `kubectl describe` shows of a pod that no node can run: upstream's `FitError`.

use std::collections::BTreeMap;
use std::fmt;

use super::filter::{Plugin, Rejection};

/// Why no node can run a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitError {
    /// How many nodes there are.
    pub nodes: usize,
    /// What refuses the pod whatever the node.
    pub everywhere: Option<Rejection>,
    /// What each node's first refusal is.
    pub verdicts: BTreeMap<String, Rejection>,
    /// What came of preemption; empty if it was not tried.
    pub preemption: String,
}

impl FitError {
    /// The plugins that refused; an event that concerns one of them wakes the pod.
    pub fn plugins(&self) -> std::collections::BTreeSet<Plugin> {
        self.everywhere.iter().chain(self.verdicts.values()).map(|rejection| rejection.plugin).collect()
    }
}

/// `0/3 nodes are available: 1 …, 2 ….`, the reasons counted and sorted as text.
pub fn available(nodes: usize, reasons: &BTreeMap<&str, usize>) -> String {
    let mut counted: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counted.sort();
    let listed = if counted.is_empty() { String::new() } else { format!(" {}.", counted.join(", ")) };
    format!("0/{nodes} nodes are available:{listed}")
}

/// How often each reason was given.
pub fn histogram<'a>(verdicts: impl IntoIterator<Item = &'a Rejection>) -> BTreeMap<&'a str, usize> {
    let mut reasons = BTreeMap::new();
    for reason in verdicts.into_iter().flat_map(|rejection| &rejection.reasons) {
        *reasons.entry(reason.as_str()).or_default() += 1;
    }
    reasons
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        match &self.everywhere {
            Some(Rejection { reasons, .. }) => {
                write!(f, "0/{} nodes are available: {}.", self.nodes, reasons.join(", "))?;
            }
            None => f.write_str(&available(self.nodes, &histogram(self.verdicts.values())))?,
        }
        if self.preemption.is_empty() { Ok(()) } else { write!(f, " {}", self.preemption) }
    }
}
