//! The history of a StatefulSet's or DaemonSet's template, as ControllerRevision objects.
//!
//! Follows `controller_history.go` and `getStatefulSetRevisions`: the newest revision with the spec's template is the update
//! revision; an older one with the same template is given a new number instead of being made twice. Pure: gives what to do.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Resource;
use serde_json::Value;

use super::hash::hash;
use super::meta::{controller_ref, label, name, namespace};
use super::pod::set_label;
use crate::kube::kind::strict;

/// Label with the hash of the template.
const HASH: &str = "controller.kubernetes.io/hash";

/// What to do about the newest revision.
#[derive(Debug, Clone, PartialEq)]
pub enum History {
    /// It is the newest already.
    Is(Arc<ControllerRevision>),
    /// An old one comes back under a new number.
    Renumber(Box<ControllerRevision>),
    /// It has to be made.
    Create(Box<ControllerRevision>),
}

impl History {
    /// The revision that the spec stands for.
    pub fn update(&self) -> &ControllerRevision {
        match self {
            Self::Is(revision) => revision,
            Self::Renumber(revision) | Self::Create(revision) => revision,
        }
    }
}

/// Finds `template` in the revisions that `owner` controls.
pub fn history<K: Resource<DynamicType = ()>>(
    owner: &K,
    template: &PodTemplateSpec,
    revisions: &[Arc<ControllerRevision>],
) -> History {
    let data = serde_json::to_value(template).unwrap_or(Value::Null);
    let hash = hash(&data, 0);
    let newest = revisions.iter().max_by_key(|revision| revision.revision);
    let next = newest.and_then(|newest| newest.revision).unwrap_or_default().saturating_add(1);
    let same =
        |revision: &&Arc<ControllerRevision>| label(&revision.metadata, HASH) == Some(&hash) && revision.data.0 == data;
    match revisions.iter().filter(same).max_by_key(|revision| revision.revision) {
        Some(same) if newest.is_some_and(|newest| newest.revision == same.revision) => History::Is(same.clone()),
        Some(old) => {
            let mut renewed = ControllerRevision::clone(old);
            renewed.revision = Some(next);
            History::Renumber(Box::new(renewed))
        }
        None => {
            let meta = owner.meta();
            let mut metadata = ObjectMeta {
                name: Some(format!("{}-{hash}", name(meta))),
                namespace: Some(namespace(meta).into()),
                owner_references: Some(vec![controller_ref(owner)]),
                ..ObjectMeta::default()
            };
            set_label(&mut metadata, HASH, hash);
            metadata.labels.get_or_insert_default().extend(template_labels(template));
            History::Create(Box::new(ControllerRevision { metadata, data: RawExtension(data), revision: Some(next) }))
        }
    }
}

/// What [`history`] found last, for as long as it must find the same: it writes the whole template out to look.
pub struct Known {
    owner: (Option<String>, Option<i64>),
    revisions: Vec<Arc<ControllerRevision>>,
    hash: String,
}

impl Known {
    /// That the newest revision is the owner's.
    pub fn new<K: Resource<DynamicType = ()>>(owner: &K, revisions: Vec<Arc<ControllerRevision>>, hash: &str) -> Self {
        Self { owner: identity(owner), revisions, hash: hash.into() }
    }

    /// The newest revision's hash, if neither the owner's spec nor any revision has changed.
    pub fn hash<K: Resource<DynamicType = ()>>(
        &self,
        owner: &K,
        revisions: &[Arc<ControllerRevision>],
    ) -> Option<&str> {
        let same = self.owner == identity(owner)
            && self.revisions.len() == revisions.len()
            && self.revisions.iter().zip(revisions).all(|(known, now)| Arc::ptr_eq(known, now));
        same.then_some(&self.hash)
    }
}

/// Which object, and which of its specs.
fn identity<K: Resource<DynamicType = ()>>(owner: &K) -> (Option<String>, Option<i64>) {
    (owner.meta().uid.clone(), owner.meta().generation)
}

fn template_labels(template: &PodTemplateSpec) -> impl Iterator<Item = (String, String)> {
    template.metadata.iter().filter_map(|meta| meta.labels.clone()).flatten()
}

/// The hash part of a revision's name.
pub fn hash_of(revision: &ControllerRevision) -> &str {
    label(&revision.metadata, HASH).unwrap_or_default()
}

/// The template that a revision holds; none if somebody wrote something else into it.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    strict::decode(&revision.data.0).ok().map(|(template, _)| template)
}

/// The revisions that go: the oldest beyond `limit`, of those that no pod and no status names.
pub fn outdated(revisions: &[Arc<ControllerRevision>], live: &[&str], limit: usize) -> Vec<Arc<ControllerRevision>> {
    let mut dead: Vec<_> =
        revisions.iter().filter(|revision| !live.contains(&name(&revision.metadata))).cloned().collect();
    dead.sort_by_key(|revision| revision.revision);
    dead.truncate(dead.len().saturating_sub(limit));
    dead
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DaemonSet;

    use super::*;

    #[test]
    fn what_is_known_holds_for_one_spec_and_the_same_revisions() {
        let mut owner = DaemonSet::default();
        (owner.metadata.uid, owner.metadata.generation) = (Some("u".into()), Some(1));
        let revisions = vec![Arc::<ControllerRevision>::default(); 1];
        let known = Known::new(&owner, revisions.clone(), "hash");
        assert_eq!(known.hash(&owner, &revisions), Some("hash"));
        let written_again = [Arc::new(ControllerRevision::clone(&revisions[0]))];
        assert_eq!(known.hash(&owner, &written_again), None);
        assert_eq!(known.hash(&owner, &[]), None);
        owner.metadata.generation = Some(2);
        assert_eq!(known.hash(&owner, &revisions), None);
        (owner.metadata.uid, owner.metadata.generation) = (Some("another".into()), Some(1));
        assert_eq!(known.hash(&owner, &revisions), None);
    }
}
