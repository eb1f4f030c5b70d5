//! The ReplicaSets of a Deployment: which is the new one, what a new one looks like, and how many pods each may have.
//!
//! Follows `deployment/util/deployment_util.go`. The template of a set differs from the deployment's by the label
//! `pod-template-hash` alone; a set is the new one if it has the deployment's template.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kube::controllers::hash::hash;
use crate::kube::controllers::meta::{controller_ref, moment, name, namespace};
use crate::kube::controllers::replicaset::plan::{desired, template};

/// Label of a set and its pods: the hash of the template.
pub const HASH: &str = "pod-template-hash";
/// Annotation of a deployment and its sets: which rollout it was.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation of a set: the replicas of the deployment when the set was scaled last.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation of a set: the same and the surge.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Replicas that a deployment asks for.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// Whether old pods go before new ones come.
pub fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// A number, or a percentage of `of`, rounded up or down.
fn scaled(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or_default();
            let hundredths = percent.saturating_mul(i64::from(of));
            let whole = if up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// Pods above and below the wanted number during a rollout: `ResolveFenceposts`. Not both are zero.
pub fn fences(deployment: &Deployment) -> (i32, i32) {
    if recreates(deployment) {
        return (0, 0);
    }
    let strategy = deployment.spec.strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let wanted = replicas(deployment);
    let surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
    let unavailable = scaled(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), wanted, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// `MaxUnavailable`: never more than there are to be.
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    if recreates(deployment) { 0 } else { fences(deployment).1.min(replicas(deployment)) }
}

/// A template without the label that only sets have.
fn plain(mut template: PodTemplateSpec) -> PodTemplateSpec {
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH);
    }
    template
}

fn wanted(deployment: &Deployment) -> PodTemplateSpec {
    deployment.spec.template.clone()
}

/// By age, the oldest first, then by name.
pub fn by_age(sets: &mut [Arc<ReplicaSet>]) {
    sets.sort_by_key(|set| (moment(set.metadata.creation_timestamp.as_ref()), name(&set.metadata).to_string()));
}

/// The set with the deployment's template, the oldest of several, and the others by age.
pub fn split(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> (Option<Arc<ReplicaSet>>, Vec<Arc<ReplicaSet>>) {
    let mut sets = sets.to_vec();
    by_age(&mut sets);
    let goal = plain(wanted(deployment));
    let new = sets.iter().position(|set| plain(template(set)) == goal).map(|at| sets.remove(at));
    (new, sets)
}

/// The rollout that a set stands for.
pub fn revision(meta: &ObjectMeta) -> i64 {
    meta.annotations.as_ref().and_then(|all| all.get(REVISION)?.parse().ok()).unwrap_or(0)
}

/// Sum of what sets ask for.
pub fn asked<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i32 {
    sets.into_iter().map(|set| desired(set)).sum()
}

/// Sum of available pods.
pub fn available<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i32 {
    sets.into_iter().map(|set| status(set, |status| status.available_replicas)).sum()
}

/// A number of a set's status.
pub fn status(
    set: &ReplicaSet,
    number: impl FnOnce(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>,
) -> i32 {
    set.status.as_ref().and_then(number).unwrap_or(0)
}

/// A copy of the set with other replicas and the annotations that go with them; `None` if nothing changes.
pub fn resized(deployment: &Deployment, set: &ReplicaSet, to: i32) -> Option<Box<ReplicaSet>> {
    let mut next = set.clone();
    next.spec.replicas = Some(to);
    annotate(deployment, &mut next.metadata);
    (next != *set).then(|| Box::new(next))
}

fn annotate(deployment: &Deployment, meta: &mut ObjectMeta) {
    let wanted = replicas(deployment);
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(DESIRED.into(), wanted.to_string());
    annotations.insert(MAX.into(), wanted.saturating_add(fences(deployment).0).to_string());
}

/// Sets an annotation of the set. Tells whether that changed anything.
pub fn set_revision(meta: &mut ObjectMeta, revision: i64) -> bool {
    let text = revision.to_string();
    meta.annotations.get_or_insert_default().insert(REVISION.into(), text.clone()) != Some(text)
}

/// The new set of a deployment, `{deployment}-{hash}`.
pub fn made(deployment: &Deployment, replicas: i32, revision: i64) -> Box<ReplicaSet> {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let spec = deployment.spec.clone();
    let hash = hash(&spec.template, collisions);
    let mut template = spec.template;
    let meta = template.metadata.get_or_insert_default();
    meta.labels.get_or_insert_default().insert(HASH.into(), hash.clone());
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH.into(), hash.clone());
    let mut metadata = ObjectMeta {
        name: Some(format!("{}-{hash}", name(&deployment.metadata))),
        namespace: Some(namespace(&deployment.metadata).into()),
        labels: meta.labels.clone(),
        owner_references: Some(vec![controller_ref(deployment)]),
        ..ObjectMeta::default()
    };
    annotate(deployment, &mut metadata);
    set_revision(&mut metadata, revision);
    let spec = ReplicaSetSpec {
        replicas: Some(replicas),
        min_ready_seconds: spec.min_ready_seconds,
        selector,
        template: Some(template),
    };
    Box::new(ReplicaSet { metadata, spec, status: None })
}

/// What the new set may ask for: `NewRSNewReplicas`. All at once if old pods go first, else as far as the surge allows.
pub fn room_for_new(deployment: &Deployment, all: i32, new: i32) -> i32 {
    let wanted = replicas(deployment);
    if recreates(deployment) {
        return wanted;
    }
    let most = wanted.saturating_add(fences(deployment).0);
    if all >= most { new } else { new.saturating_add((most - all).min(wanted - new)) }
}

/// The share of a set when the deployment is scaled in the middle of a rollout: `GetProportion`.
pub fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    let (size, left) = (desired(set), to_add - added);
    if size == 0 || to_add == 0 || left == 0 {
        return 0;
    }
    let wanted = replicas(deployment);
    let fraction = if wanted == 0 {
        -size
    } else {
        let most = i64::from(wanted.saturating_add(fences(deployment).0));
        let noted = set.metadata.annotations.as_ref().and_then(|all| all.get(MAX)?.parse::<i64>().ok());
        let current = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
        let before = noted.unwrap_or_else(|| i64::from(current)).max(1);
        // Rounded half away from zero; all are positive.
        let next = (2 * i64::from(size) * most + before) / (2 * before);
        i32::try_from(next).unwrap_or(i32::MAX) - size
    };
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}
