//! Deletion: at once, after a grace, or when the last finalizer goes.
//!
//! Follows apiserver's `rest.BeforeDelete` and `registry.Store.Delete`. Only pods have a grace: their kubelet removes the
//! object when their processes have ended. With its kubelet dead a pod stays, terminating, until somebody deletes it with
//! a grace of 0.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::failure::{Refusal, forbidden};
use super::meta::{self, Meta};
use super::object::Object;
use super::write::precondition;
use super::{Selection, Store};
use crate::kube::kind::defaults::GRACE_SECONDS;
use crate::kube::kind::{Kind, KindId, ObjectKey};

/// The finalizer of an object whose dependents go first; the garbage collector takes it away.
pub const FOREGROUND_FINALIZER: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents stay; the garbage collector takes it away.
pub const ORPHAN_FINALIZER: &str = "orphan";

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// The garbage collector deletes them afterwards.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete. The default: with the object's own grace, dependents afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// In seconds; 0 removes the object at once, whatever its processes do.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of its dependents.
    pub propagation: Propagation,
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only this version.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// From a `DeleteOptions` object; fields that mean nothing here are left out.
    pub fn of(value: &Value) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let before = value.get("preconditions");
        let propagation = match value.get("propagationPolicy").and_then(Value::as_str) {
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            _ => Propagation::Background,
        };
        Self {
            grace_period_seconds: value.get("gracePeriodSeconds").and_then(Value::as_i64),
            propagation,
            uid: text(before.and_then(|before| before.get("uid"))),
            resource_version: text(before.and_then(|before| before.get("resourceVersion"))),
        }
    }
}

/// What a deletion did.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Object>),
    /// It will go: grace or finalizers.
    Marked(Arc<Object>),
}

impl Store {
    /// Deletes an object, or begins to.
    ///
    /// # Errors
    /// 404 if it is not there, 409 if the options expect another one, 403 for the namespace `default`.
    pub fn delete(
        &mut self,
        id: KindId,
        key: &ObjectKey,
        options: &DeleteOptions,
        now: Timestamp,
    ) -> Result<Deleted, Refusal> {
        let kinds = self.kinds.clone();
        let kind = kinds.get(id);
        let old = self.get(id, key)?;
        precondition(kind, &old, options.uid.as_deref(), options.resource_version.as_deref())?;
        if kind.kind == "Namespace" {
            return self.delete_namespace(kind, id, &old, options, now);
        }
        let mut meta = old.meta.clone();
        finalizers(&mut meta, options.propagation);
        let held = meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        let decision = if kind.kind == "Pod" {
            graceful(&old, &mut meta, options.grace_period_seconds, now)
        } else {
            Decision::Now
        };
        let deleted = match decision {
            Decision::Pending => Deleted::Marked(old),
            Decision::Now if !held => Deleted::Gone(self.remove(id, key).unwrap_or(old)),
            Decision::Now => {
                if meta.deletion_timestamp.is_none() {
                    meta.deletion_timestamp = Some(meta::time(now));
                }
                meta.deletion_grace_period_seconds = Some(0);
                Deleted::Marked(self.replace(id, &old, bump(kind, &old, meta), old.body.clone()))
            }
            Decision::Later => Deleted::Marked(self.replace(id, &old, bump(kind, &old, meta), old.body.clone())),
        };
        if let Deleted::Gone(object) = &deleted {
            self.finish_namespace(&object.key.namespace);
        }
        self.check();
        Ok(deleted)
    }

    /// Deletes every object of a selection. Gives how many there were.
    ///
    /// # Errors
    /// The first refusal.
    pub fn delete_all(
        &mut self,
        id: KindId,
        selection: &Selection,
        options: &DeleteOptions,
        now: Timestamp,
    ) -> Result<usize, Refusal> {
        let keys: Vec<ObjectKey> = self.list(id, selection).map(|object| object.key.clone()).collect();
        for key in &keys {
            self.delete(id, key, options, now)?;
        }
        Ok(keys.len())
    }

    /// A namespace takes everything in it along, and goes when it is empty. Upstream a controller of its own does this.
    fn delete_namespace(
        &mut self,
        kind: &Kind,
        id: KindId,
        old: &Arc<Object>,
        options: &DeleteOptions,
        now: Timestamp,
    ) -> Result<Deleted, Refusal> {
        let name = old.key.name.clone();
        if matches!(name.as_str(), "default" | "kube-system" | "kube-public") {
            return Err(forbidden(kind, &name, "this namespace may not be deleted"));
        }
        let mut marked = old.clone();
        if !old.is_deleting() {
            let mut meta = old.meta.clone();
            meta.deletion_timestamp = Some(meta::time(now));
            // Not 0: it is this store that removes it, not whoever takes away the last finalizer.
            meta.deletion_grace_period_seconds = None;
            let mut body = old.body.clone();
            body.insert("status", serde_json::json!({"phase": "Terminating"}));
            marked = self.put(id, meta, body);
        }
        let content = DeleteOptions { propagation: options.propagation, ..DeleteOptions::default() };
        let namespaced: Vec<KindId> = self.kinds.iter().filter(|(_, kind)| kind.namespaced).map(|(id, _)| id).collect();
        for inside in namespaced {
            self.delete_all(inside, &Selection::namespace(&name), &content, now)?;
        }
        self.finish_namespace(&name);
        Ok(if self.find(id, &marked.key).is_some() { Deleted::Marked(marked) } else { Deleted::Gone(marked) })
    }

    /// Removes a namespace that is to go and has nothing in it.
    pub(super) fn finish_namespace(&mut self, name: &str) {
        let Some(id) = self.kinds.by_kind("v1", "Namespace").filter(|_| !name.is_empty()) else { return };
        let key = ObjectKey::new("", name);
        if !self.find(id, &key).is_some_and(|namespace| namespace.is_deleting()) {
            return;
        }
        let selection = Selection::namespace(name);
        let inside = self.kinds.iter().filter(|(_, kind)| kind.namespaced).map(|(id, _)| id);
        if inside.into_iter().all(|kind| self.list(kind, &selection).next().is_none()) {
            self.remove(id, &key);
        }
    }
}

enum Decision {
    /// Remove it now, unless finalizers hold it.
    Now,
    /// `meta` says when.
    Later,
    /// It is on its way already, and not asked to go sooner.
    Pending,
}

fn finalizers(meta: &mut Meta, propagation: Propagation) {
    let finalizers = meta.finalizers.get_or_insert_default();
    finalizers.retain(|finalizer| finalizer != FOREGROUND_FINALIZER && finalizer != ORPHAN_FINALIZER);
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND_FINALIZER.into()),
        Propagation::Orphan => finalizers.push(ORPHAN_FINALIZER.into()),
    }
    meta::tidy(meta);
}

/// A pod's grace.
fn graceful(old: &Object, meta: &mut Meta, asked: Option<i64>, now: Timestamp) -> Decision {
    if let Some(deletion) = &old.meta.deletion_timestamp {
        let Some(grace) = old.meta.deletion_grace_period_seconds else { return Decision::Now };
        let Some(asked) = asked.filter(|asked| *asked < grace) else { return Decision::Pending };
        let asked = asked.max(0);
        meta.deletion_timestamp = Some(Time(after(deletion.0, asked - grace)));
        meta.deletion_grace_period_seconds = Some(asked);
        return if asked == 0 { Decision::Now } else { Decision::Later };
    }
    let own = old.at("spec.terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(GRACE_SECONDS);
    // Upstream's way to say "at once" to a pod that says -1: one second.
    let mut grace = match asked.unwrap_or(own) {
        negative if negative < 0 => 1,
        seconds => seconds,
    };
    let unscheduled = old.at("spec.nodeName").and_then(Value::as_str).unwrap_or_default().is_empty();
    let over = matches!(old.at("status.phase").and_then(Value::as_str), Some("Failed" | "Succeeded"));
    if unscheduled || over {
        grace = 0;
    }
    if grace == 0 {
        return Decision::Now;
    }
    meta.deletion_timestamp = Some(Time(after(meta::time(now).0, grace)));
    meta.deletion_grace_period_seconds = Some(grace);
    Decision::Later
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Being deleted counts as a change of the spec.
fn bump(kind: &Kind, old: &Object, mut meta: Meta) -> Meta {
    if kind.has_generation && !old.is_deleting() {
        meta.generation = Some(meta.generation.unwrap_or(0).saturating_add(1));
    }
    meta
}
