//! Preemption: which pods of lower priority would have to go so that a pod fits, on which node. Upstream's
//! `DefaultPreemption`, without disruption budgets.
//!
//! Pure: it asks "what if" of copies of the snapshot. It deletes nothing itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::filter::Filters;
use super::message::{FitError, available};
use super::place::{Nominated, View, fits};
use super::pod::PodInfo;
use super::snapshot::Snapshot;
use crate::base::Stream;

const NO_HELP: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What preemption comes to.
#[derive(Debug, Clone)]
pub enum Preemption {
    /// Nothing; the text goes into the pod's message.
    Nothing(String),
    /// These pods shall go from this node, which is promised to the pod.
    Evict {
        /// The node.
        node: String,
        /// The most important first.
        victims: Vec<Arc<PodInfo>>,
    },
}

/// Decides, after `error` said that `pod` fits nowhere.
pub fn preempt(view: View<'_>, pod: &PodInfo, error: &FitError, chance: &mut Stream) -> Preemption {
    if let Some(reason) = not_eligible(view, pod, error) {
        return Preemption::Nothing(format!("preemption: {reason}"));
    }
    let might = |name: &&String| error.verdicts.get(*name).is_some_and(|verdict| verdict.resolvable);
    let mut names: Vec<&String> = view.snapshot.nodes.keys().filter(might).collect();
    let first = chance.below(names.len() as u64) as usize;
    names.rotate_left(first);
    let mut refusals = BTreeMap::new();
    let mut candidates = Vec::new();
    for name in names {
        match victims(view, pod, name) {
            Ok(victims) => candidates.push((name.clone(), victims)),
            Err(reasons) => drop(refusals.insert(name.clone(), reasons)),
        }
    }
    match best(candidates) {
        Some((node, victims)) => Preemption::Evict { node, victims },
        None => Preemption::Nothing(nothing(error.nodes, &refusals)),
    }
}

fn nothing(nodes: usize, refusals: &BTreeMap<String, Vec<String>>) -> String {
    let mut reasons = BTreeMap::new();
    for reason in refusals.values().flatten() {
        *reasons.entry(reason.as_str()).or_default() += 1;
    }
    if nodes > refusals.len() {
        *reasons.entry(NO_HELP).or_default() += nodes - refusals.len();
    }
    format!("preemption: {}", available(nodes, &reasons))
}

/// Upstream's `PodEligibleToPreemptOthers`.
fn not_eligible(view: View<'_>, pod: &PodInfo, error: &FitError) -> Option<&'static str> {
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let promised = &view.nominated.get(&pod.key)?.0;
    let hopeless = error.verdicts.get(promised).is_some_and(|verdict| !verdict.resolvable);
    let node = view.snapshot.nodes.get(promised).filter(|_| !hopeless)?;
    let leaving = node.pods.values().any(|other| other.terminating() && other.priority() < pod.priority());
    leaving.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// The fewest pods of lower priority whose going makes room: all go, then come back one by one, the most important first,
/// as long as the pod still fits.
fn victims(view: View<'_>, pod: &PodInfo, name: &str) -> Result<Vec<Arc<PodInfo>>, Vec<String>> {
    let mut without = view.snapshot.clone();
    let Some(node) = without.node_mut(name) else { return Err(vec![NO_VICTIMS.into()]) };
    let lower = node.pods.values().filter(|other| other.priority() < pod.priority());
    let mut lower: Vec<Arc<PodInfo>> = lower.cloned().collect();
    if lower.is_empty() {
        return Err(vec![NO_VICTIMS.into()]);
    }
    lower.sort_by_key(|pod| importance(pod));
    lower.iter().for_each(|victim| drop(node.remove(&victim.key)));
    fits_in(&without, view, pod, name)?;
    let mut victims = Vec::new();
    for candidate in lower {
        let mut back = without.clone();
        back.node_mut(name).into_iter().for_each(|node| node.add(candidate.clone()));
        match fits_in(&back, view, pod, name) {
            Ok(()) => without = back,
            Err(_) => victims.push(candidate),
        }
    }
    Ok(victims)
}

fn fits_in(snapshot: &Snapshot, view: View<'_>, pod: &PodInfo, name: &str) -> Result<(), Vec<String>> {
    let filters = Filters::new(snapshot, pod).map_err(|rejection| rejection.reasons)?;
    let Some(node) = snapshot.nodes.get(name) else { return Err(Vec::new()) };
    fits(View { snapshot, ..view }, pod, node, &filters).map(drop).map_err(|rejection| rejection.reasons)
}

/// Sorts the more important pod first: higher priority, then longer running.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority()), started(pod))
}

/// A pod that has not started counts as the youngest.
fn started(pod: &PodInfo) -> Timestamp {
    let time = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    time.map_or(Timestamp::MAX, |time| time.0)
}

/// Upstream's `pickOneNodeForPreemption`: the lowest top priority among its victims, then the lowest sum, then the fewest,
/// then the youngest of the top victims, then the first.
fn best(candidates: Vec<(String, Vec<Arc<PodInfo>>)>) -> Option<(String, Vec<Arc<PodInfo>>)> {
    let rank = |victims: &[Arc<PodInfo>]| {
        let top = victims.iter().map(|pod| pod.priority()).max().unwrap_or(i32::MIN);
        let sum: i64 = victims.iter().map(|pod| i64::from(pod.priority()) + i64::from(i32::MAX) + 1).sum();
        let oldest = victims.iter().filter(|pod| pod.priority() == top).map(|pod| started(pod)).min();
        (top, sum, victims.len(), Reverse(oldest.unwrap_or(Timestamp::MAX)))
    };
    candidates.into_iter().min_by_key(|(_, victims)| rank(victims))
}

/// Pods of lower priority that were promised the same node: their promise is taken back.
pub fn overruled(nominated: &Nominated, pod: &PodInfo, node: &str) -> Vec<Arc<PodInfo>> {
    let lower = |(name, other): &&(String, Arc<PodInfo>)| name == node && other.priority() < pod.priority();
    nominated.values().filter(lower).map(|(_, other)| other.clone()).collect()
}
