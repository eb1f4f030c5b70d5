//! The garbage collector: what is owned goes with its owner.
//!
//! The loop around [`graph`]: events of all kinds fill the graph, and one object after the other is looked at. Before it deletes
//! anything it asks the API server for the owner and for the object itself, because its caches may be old.

pub mod graph;

pub mod kinds;

use std::collections::BTreeSet;
use std::convert::Infallible;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use self::graph::{Action, FOREGROUND, Graph, Identity, ORPHAN};
use self::kinds::{Event, Objects};
use super::meta::{has_finalizer, without_finalizer};
use crate::kube::client::{ApiError, QueueConfig, WorkQueue};
use crate::rt::{Either, select2};

/// Runs the controller over the kinds of `objects`.
pub async fn run(mut objects: Objects, delays: QueueConfig) -> Infallible {
    let (mut graph, queue) = (Graph::default(), WorkQueue::new(delays));
    loop {
        // Events first: the more is known, the fewer objects are looked at in vain.
        match select2(objects.event(), queue.get()).await {
            Either::Left(event) => {
                let look = match &event {
                    Event::Seen(kind, meta) => graph.seen(kind, meta),
                    Event::Gone(meta) => graph.gone(meta),
                };
                look.into_iter().for_each(|uid| queue.add(uid));
            }
            Either::Right(uid) => {
                match look(&objects, &graph, &uid).await {
                    Ok(()) => queue.forget(&uid),
                    Err(error) => {
                        tracing::debug!(%error, "collect again");
                        queue.add_rate_limited(uid.clone());
                    }
                }
                queue.done(&uid);
            }
        }
    }
}

/// Looks at one object.
async fn look(objects: &Objects, graph: &Graph, uid: &str) -> Result<(), ApiError> {
    let Some(node) = graph.node(uid) else { return Ok(()) };
    let identity = node.identity.clone();
    let mut absent = BTreeSet::new();
    for owner in &node.owners {
        if !graph.holds(owner, &identity.namespace) && is_absent(objects, owner, &identity.namespace).await? {
            absent.insert(owner.uid.clone());
        }
    }
    let action = graph.action(uid, |owner: &OwnerReference| absent.contains(&owner.uid));
    if action == Action::Keep {
        return Ok(());
    }
    let Some(meta) = objects.get(&identity.kind, &identity.namespace, &identity.name).await? else { return Ok(()) };
    if meta.uid.as_ref() != Some(&identity.uid) {
        return Ok(());
    }
    tracing::info!(kind = identity.kind, name = identity.name, ?action, "collect");
    match action {
        Action::Keep => Ok(()),
        Action::Unreference(owners) => unreference(objects, &identity, &meta, &owners).await,
        Action::Delete => {
            // An object that asked for it when it was deleted before keeps its own way.
            let policy = if has_finalizer(&meta, ORPHAN) {
                "Orphan"
            } else if has_finalizer(&meta, FOREGROUND) {
                "Foreground"
            } else {
                "Background"
            };
            objects.delete(&identity, &meta, policy).await
        }
        Action::DeleteForeground => objects.delete(&identity, &meta, "Foreground").await,
        Action::FinishForeground => finish(objects, &identity, &meta, FOREGROUND).await,
        Action::Orphan(dependents) => {
            for dependent in dependents {
                if let Some(meta) = objects.get(&dependent.kind, &dependent.namespace, &dependent.name).await? {
                    unreference(objects, &dependent, &meta, std::slice::from_ref(&identity.uid)).await?;
                }
            }
            finish(objects, &identity, &meta, ORPHAN).await
        }
    }
}

/// Whether the API server has no such owner.
async fn is_absent(objects: &Objects, owner: &OwnerReference, namespace: &str) -> Result<bool, ApiError> {
    // An owner of a kind that is not watched cannot be judged: it counts as there.
    if !objects.knows(&owner.kind) {
        return Ok(false);
    }
    let found = objects.get(&owner.kind, namespace, &owner.name).await?;
    Ok(found.is_none_or(|meta| meta.uid.as_ref() != Some(&owner.uid)))
}

async fn unreference(objects: &Objects, of: &Identity, meta: &ObjectMeta, owners: &[String]) -> Result<(), ApiError> {
    let mut left = meta.owner_references.clone().unwrap_or_default();
    left.retain(|owner| !owners.contains(&owner.uid));
    objects.patch(of, &guarded(meta, "ownerReferences", json!(left))).await
}

async fn finish(objects: &Objects, of: &Identity, meta: &ObjectMeta, finalizer: &str) -> Result<(), ApiError> {
    objects.patch(of, &guarded(meta, "finalizers", json!(without_finalizer(meta, finalizer)))).await
}

/// A merge patch of one field of the metadata of exactly that version.
fn guarded(meta: &ObjectMeta, field: &str, value: Value) -> Value {
    json!({ "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version, field: value } })
}
