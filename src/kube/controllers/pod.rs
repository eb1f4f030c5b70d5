//! What controllers ask of a pod: its phase, whether it is ready or available, which node it is on, and making one of a template.
//!
//! The predicates are upstream's (`podutil`, `statefulset_utils`); none of them looks at a container.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;

use super::meta::{after, moment, seconds, terminating};

/// The phase; `Pending` until somebody says otherwise, as the API server defaults it.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// The node it is bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Ended for good: no container of it will run again.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

/// One of its conditions.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Ready, whatever the phase.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Running and ready: what a StatefulSet waits for.
pub fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

/// When it became ready, if it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    Some(moment(ready.last_transition_time.as_ref()).unwrap_or(Timestamp::MIN))
}

/// Ready for at least `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| min_ready_seconds <= 0 || after(since, seconds(min_ready_seconds)) <= now)
}

/// Neither ended nor on its way out.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !terminating(&pod.metadata)
}

/// A pod of `template` for `owner`, not yet named.
pub fn from_template(template: &PodTemplateSpec, namespace: &str, owner: OwnerReference) -> Pod {
    let described = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.into()),
            labels: described.labels,
            annotations: described.annotations,
            finalizers: described.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone().unwrap_or_default()),
        status: None,
    }
}

/// The pod's spec, made if it has none.
pub fn spec_mut(pod: &mut Pod) -> &mut PodSpec {
    pod.spec.get_or_insert_default()
}

/// Sets a label.
pub fn set_label(meta: &mut ObjectMeta, key: &str, value: impl Into<String>) {
    meta.labels.get_or_insert_default().insert(key.into(), value.into());
}

/// Sets a condition, keeping the time of the last transition if the status stays. Tells whether anything changed.
pub fn set_condition(conditions: &mut Vec<PodCondition>, mut new: PodCondition, now: Timestamp) -> bool {
    let Some(old) = conditions.iter_mut().find(|old| old.type_ == new.type_) else {
        new.last_transition_time = Some(Time(now));
        conditions.push(new);
        return true;
    };
    new.last_transition_time = Some(Time(now));
    if old.status == new.status {
        new.last_transition_time.clone_from(&old.last_transition_time);
    }
    let changed = *old != new;
    *old = new;
    changed
}
