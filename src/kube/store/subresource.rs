//! Subresources other than status: a pod's binding and eviction, and scale.
//!
//! Follows kubernetes `registry/core/pod/storage` and `registry/apps/statefulset/storage`. Differs: no disruption budgets,
//! so an eviction is a deletion.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::delete::{DeleteOptions, Deleted};
use super::failure::{Refusal, conflict, invalid, no_such_resource, required};
use super::meta;
use super::object::Object;
use super::patch::Patch;
use super::write::{Part, Validation, precondition};
use super::{Store, failure};
use crate::kube::kind::{Kind, KindId, ObjectKey, ScalePaths};

impl Store {
    /// Assigns a pod to a node: `pods/binding`.
    ///
    /// # Errors
    /// 404 without the pod, 409 if it has a node already or is being deleted.
    pub fn bind(
        &mut self,
        pods: KindId,
        key: &ObjectKey,
        binding: &Value,
        now: Timestamp,
    ) -> Result<Arc<Object>, Refusal> {
        let kinds = self.kinds.clone();
        let kind = kinds.get(pods);
        let old = self.get(pods, key)?;
        precondition(kind, &old, binding.pointer("/metadata/uid").and_then(Value::as_str), None)?;
        let Some(node) = binding.pointer("/target/name").and_then(Value::as_str).filter(|node| !node.is_empty()) else {
            return Err(invalid(kind, &key.name, &[required("target.name")]));
        };
        let name = &key.name;
        let refuse = |why: String| conflict_on(kind, "binding", name, &why);
        if old.is_deleting() {
            return Err(refuse(format!("pod {name} is being deleted, cannot be assigned to a host")));
        }
        let assigned = old.at("spec.nodeName").and_then(Value::as_str).unwrap_or_default();
        if !assigned.is_empty() {
            return Err(refuse(format!("pod {name} is already assigned to node \"{assigned}\"")));
        }
        let mut body = old.body.clone();
        body.change("spec", |spec| spec["nodeName"] = node.into());
        let mut status = body.get("status").cloned().unwrap_or_else(|| json!({}));
        scheduled(&mut status, now);
        body.insert("status", status);
        Ok(self.replace(pods, &old, old.meta.clone(), body))
    }

    /// Evicts a pod: `pods/eviction`.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub fn evict(
        &mut self,
        pods: KindId,
        key: &ObjectKey,
        eviction: &Value,
        now: Timestamp,
    ) -> Result<Deleted, Refusal> {
        let options = eviction.get("deleteOptions").map(DeleteOptions::of).unwrap_or_default();
        self.delete(pods, key, &options, now)
    }

    /// An object's scale, as `autoscaling/v1 Scale`.
    ///
    /// # Errors
    /// 404 without the object, or if its kind has no scale.
    pub fn scale(&self, id: KindId, key: &ObjectKey) -> Result<Value, Refusal> {
        let paths = self.kinds.get(id).scale.as_ref().ok_or_else(no_such_resource)?;
        let object = self.get(id, key)?;
        Ok(scale_of(&object, paths))
    }

    /// Sets an object's replicas by a patch of its scale.
    ///
    /// # Errors
    /// As [`Store::scale`] and [`Store::patch`].
    pub fn patch_scale(&mut self, id: KindId, key: &ObjectKey, patch: &Patch) -> Result<Value, Refusal> {
        let scale = self.scale(id, key)?;
        let patched = patch.apply(scale).map_err(|why| failure::unprocessable(&why))?;
        self.update_scale(id, key, &patched)
    }

    /// Sets an object's replicas.
    ///
    /// # Errors
    /// As [`Store::scale`]; 409 for another version; 422 for a number that cannot be.
    pub fn update_scale(&mut self, id: KindId, key: &ObjectKey, scale: &Value) -> Result<Value, Refusal> {
        let kinds = self.kinds.clone();
        let kind = kinds.get(id);
        let paths = kind.scale.as_ref().ok_or_else(no_such_resource)?;
        let object = self.get(id, key)?;
        let version = scale.pointer("/metadata/resourceVersion").and_then(Value::as_str).filter(|v| !v.is_empty());
        if version.is_some_and(|version| version.parse() != Ok(object.version)) {
            return Err(failure::modified(kind, &key.name));
        }
        let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
        if replicas < 0 {
            let why = "must be greater than or equal to 0";
            let error = failure::invalid_value("spec.replicas", &replicas.to_string(), why);
            return Err(invalid(kind, &key.name, &[error]));
        }
        let mut value = object.to_value();
        if let Some(at) = value.pointer_mut(&pointer(&paths.spec)) {
            *at = replicas.into();
        } else if let Some(spec) = value.pointer_mut("/spec").and_then(Value::as_object_mut) {
            spec.insert("replicas".into(), replicas.into());
        }
        let updated = self.update(id, key, &value, Part::Whole, Validation::Strict)?;
        Ok(scale_of(&updated, paths))
    }
}

fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

fn scale_of(object: &Object, paths: &ScalePaths) -> Value {
    let number = |path: &str| object.at(path.trim_start_matches('.')).and_then(Value::as_i64).unwrap_or(0);
    let selector = paths.selector.as_ref().and_then(|path| object.at(path.trim_start_matches('.')).cloned());
    let meta = &object.meta;
    let mut status = json!({"replicas": number(&paths.status)});
    if let Some(selector) = selector {
        status["selector"] = selector;
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
            "resourceVersion": meta.resource_version, "creationTimestamp": meta.creation_timestamp,
        },
        "spec": {"replicas": number(&paths.spec)},
        "status": status,
    })
}

/// The condition that a binding sets.
fn scheduled(status: &mut Value, now: Timestamp) {
    let Some(status) = status.as_object_mut() else { return };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("PodScheduled"));
    conditions.push(json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": meta::time(now)}));
}

fn conflict_on(kind: &Kind, subresource: &str, name: &str, why: &str) -> Refusal {
    let mut refusal = conflict(kind, name, why);
    refusal.message = format!("Operation cannot be fulfilled on {}/{subresource} \"{name}\": {why}", kind.resource());
    refusal
}
