//! The rules of kinds that a manifest easily breaks.
//!
//! Follows kubernetes `pkg/apis/*/validation`. Differs: only names, required fields that the simulation depends on, and
//! fields that may not change; a full validation is for a real cluster.

use serde_json::Value;

use super::failure::{FieldError, Refusal, forbidden_field, invalid, invalid_value, required};
use super::object::Object;
use super::schema;
use crate::kube::kind::{Body, Kind};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn is_label(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| legal(b) || b == b'-')
        && text.bytes().next().is_some_and(legal)
        && text.bytes().last().is_some_and(legal)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|part| is_label(part) || (part.len() > 63 && is_label(&part[..63])))
}

/// The name of a new object.
pub(super) fn name(kind: &Kind, name: &str) -> Result<(), Refusal> {
    let (fits, why) = match kind.kind.as_str() {
        "Namespace" | "Service" => (is_label(name), LABEL),
        _ => (is_subdomain(name), SUBDOMAIN),
    };
    if fits { Ok(()) } else { Err(invalid(kind, name, &[invalid_value("metadata.name", name, why)])) }
}

/// A new object's content.
pub(super) fn object(kind: &Kind, name: &str, body: &Body) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let spec = || body.get("spec");
    match kind.kind.as_str() {
        "Pod" => pod_spec(spec(), "spec", &mut errors),
        "Deployment" => {
            template(spec(), &mut errors);
            strategy(spec(), &mut errors);
        }
        "ReplicaSet" | "StatefulSet" | "DaemonSet" => template(spec(), &mut errors),
        "Job" => pod_spec(spec().and_then(|s| s.pointer("/template/spec")), "spec.template.spec", &mut errors),
        _ if kind.custom => schema::check(kind, body, &mut errors),
        _ => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid(kind, name, &errors)) }
}

fn pod_spec(spec: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let containers = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    let Some(containers) = containers.filter(|containers| !containers.is_empty()) else {
        errors.push(required(&format!("{path}.containers")));
        return;
    };
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut names: Vec<String> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let at = format!("{path}.containers[{index}]");
        let name = text(container, "name");
        if name.is_empty() {
            errors.push(required(&format!("{at}.name")));
        } else if names.contains(&name) {
            let message = format!("Duplicate value: {name:?}");
            errors.push(FieldError { field: format!("{at}.name"), reason: "FieldValueDuplicate", message });
        }
        if text(container, "image").is_empty() {
            errors.push(required(&format!("{at}.image")));
        }
        volumes_are_there(spec, container, &at, errors);
        names.push(name);
    }
}

/// Every mount names a volume of its pod.
fn volumes_are_there(spec: Option<&Value>, container: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let volumes = items(spec.and_then(|spec| spec.get("volumes")));
    for (index, mount) in items(container.get("volumeMounts")).iter().enumerate() {
        if !volumes.iter().any(|volume| volume.get("name") == mount.get("name")) {
            let name = mount.get("name").and_then(Value::as_str).unwrap_or_default();
            errors.push(FieldError {
                field: format!("{at}.volumeMounts[{index}].name"),
                reason: "FieldValueNotFound",
                message: format!("Not found: {name:?}"),
            });
        }
    }
}

/// The template's labels must satisfy the selector. A claim template may be mounted as if it were a volume.
fn template(spec: Option<&Value>, errors: &mut Vec<FieldError>) {
    let at = |path: &str| spec.and_then(|spec| spec.pointer(path));
    let labels = at("/template/metadata/labels");
    let wanted = at("/selector/matchLabels").and_then(Value::as_object);
    let matches = |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
    let expressions = at("/selector/matchExpressions").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if wanted.is_none_or(serde_json::Map::is_empty) && !expressions {
        errors.push(required("spec.selector"));
    } else if !wanted.into_iter().flatten().all(matches) {
        errors.push(FieldError {
            field: "spec.template.metadata.labels".into(),
            reason: "FieldValueInvalid",
            message: "Invalid value: `selector` does not match template `labels`".into(),
        });
    }
    let mut pod = at("/template/spec").cloned().unwrap_or(Value::Null);
    let claims = at("/volumeClaimTemplates").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(pod) = pod.as_object_mut().filter(|_| !claims.is_empty()) {
        let named = claims.iter().map(|claim| serde_json::json!({"name": claim.pointer("/metadata/name")}));
        let volumes = pod.entry("volumes").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.extend(named);
        }
    }
    pod_spec(Some(&pod), "spec.template.spec", errors);
    // What a controller replaces must be meant to run for ever.
    if let Some(policy) = pod.get("restartPolicy").and_then(Value::as_str).filter(|policy| *policy != "Always") {
        errors.push(FieldError {
            field: "spec.template.spec.restartPolicy".into(),
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {policy:?}: supported values: \"Always\""),
        });
    }
}

/// A rolling update must be able to move; one that recreates has no numbers.
fn strategy(spec: Option<&Value>, errors: &mut Vec<FieldError>) {
    let at = |field: &str| spec.and_then(|spec| spec.pointer(&format!("/strategy/{field}")));
    let rolling = "spec.strategy.rollingUpdate";
    match at("type").and_then(Value::as_str).unwrap_or_default() {
        "Recreate" if at("rollingUpdate").is_some() => {
            errors.push(forbidden_field(rolling, "may not be specified when strategy `type` is 'Recreate'"));
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let zero = |field: &str| match at(&format!("rollingUpdate/{field}")) {
                Some(Value::Number(number)) => number.as_i64() == Some(0),
                Some(Value::String(text)) => text.trim_end_matches('%') == "0",
                _ => false,
            };
            if zero("maxSurge") && zero("maxUnavailable") {
                let why = "may not be 0 when `maxSurge` is 0";
                errors.push(invalid_value(&format!("{rolling}.maxUnavailable"), "0", why));
            }
            for field in ["maxSurge", "maxUnavailable"] {
                if let Some(text) = at(&format!("rollingUpdate/{field}")).and_then(Value::as_str)
                    && text.strip_suffix('%').is_none_or(|number| number.parse::<u32>().is_err())
                {
                    let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
                        or '93%', regex used for validation is '[0-9]+%')";
                    errors.push(invalid_value(&format!("{rolling}.{field}"), text, why));
                }
            }
        }
        other => errors.push(FieldError {
            field: "spec.strategy.type".into(),
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {other:?}: supported values: \"Recreate\", \"RollingUpdate\""),
        }),
    }
}

/// Fields that may not change.
pub(super) fn update(kind: &Kind, old: &Object, new: &Body) -> Result<(), Refusal> {
    const NONE: Value = Value::Null;
    if old.body.field("spec") == new.field("spec") {
        return Ok(());
    }
    if kind.custom {
        return object(kind, &old.key.name, new);
    }
    let change = match kind.kind.as_str() {
        "Pod" => pod_change,
        "StatefulSet" => stateful_set_change,
        "DaemonSet" | "Deployment" | "ReplicaSet" => |was: &Value, is: &Value| immutable(was, is, &["selector"]),
        "Job" => |was: &Value, is: &Value| immutable(was, is, &["template", "selector"]),
        "PersistentVolumeClaim" => claim_change,
        // Nobody looks at what is in a lease.
        _ => return Ok(()),
    };
    let (was, is) = (old.body.get("spec").unwrap_or(&NONE), new.get("spec").unwrap_or(&NONE));
    change(was, is).map_or(Ok(()), |error| Err(invalid(kind, &old.key.name, &[error])))
}

/// The first of these fields that changed.
fn immutable(was: &Value, is: &Value, fields: &[&str]) -> Option<FieldError> {
    let field = fields.iter().find(|field| was.get(field) != is.get(field))?;
    let message = "Invalid value: field is immutable".to_owned();
    Some(FieldError { field: format!("spec.{field}"), reason: "FieldValueInvalid", message })
}

fn stateful_set_change(was: &Value, is: &Value) -> Option<FieldError> {
    let free = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    differ(was, is, &free).then(|| {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
            'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
            'minReadySeconds' are forbidden";
        forbidden_field("spec", why)
    })
}

/// Whether two specs differ in other than these fields.
fn differ(was: &Value, is: &Value, free: &[&str]) -> bool {
    let rest = |spec: &Value| {
        let mut rest = spec.clone();
        if let Some(fields) = rest.as_object_mut() {
            free.iter().for_each(|field| drop(fields.remove(*field)));
        }
        rest
    };
    rest(was) != rest(is)
}

fn pod_change(was: &Value, is: &Value) -> Option<FieldError> {
    let images = |spec: &Value| {
        let mut spec = spec.clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container.as_object_mut().map(|container| container.remove("image"));
            }
        }
        spec
    };
    let kept = |spec: &Value| spec.get("tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let now = kept(is);
    let lost = kept(was).into_iter().any(|toleration| !now.contains(&toleration));
    let free = ["tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates"];
    (lost || differ(&images(was), &images(is), &free)).then(|| {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        forbidden_field("spec", why)
    })
}

/// A bound claim may only grow; an unbound one may be bound.
fn claim_change(was: &Value, is: &Value) -> Option<FieldError> {
    let text = |spec: &Value| spec.get("volumeName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut free = vec!["resources", "volumeAttributesClassName"];
    if text(was).is_empty() {
        free.push("volumeName");
    }
    if was.get("storageClassName").is_none() {
        free.push("storageClassName");
    }
    differ(was, is, &free).then(|| {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
            claims";
        forbidden_field("spec", why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names() {
        for good in ["a", "0", "a.b-c", "jindo-master-0", &"a".repeat(63)] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a/b", &"a".repeat(254)] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert!(is_label("a-b") && !is_label("a.b") && !is_label(&"a".repeat(64)));
    }
}
