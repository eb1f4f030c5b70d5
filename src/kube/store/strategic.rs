//! Strategic merge patch: as a JSON merge patch, but lists whose elements have a merge key are merged by it.
//!
//! Follows apimachinery `pkg/util/strategicpatch` with the merge keys of kubernetes' types, by the name of the field that
//! holds the list: no such name has two keys in the kinds that we know, except `ports`. Understands `$patch` (`delete`,
//! `replace`, `merge`), `$deleteFromPrimitiveList/…`, `$setElementOrder/…` and `$retainKeys`; another directive is refused.

use serde_json::{Map, Value};

use super::patch;

/// How the elements of a list are told apart.
enum Identity {
    /// By one of their fields.
    Key(&'static str),
    /// By themselves: texts.
    Whole,
    /// Not at all: the list is replaced.
    Atomic,
}

/// By the field's name. `items`: what the lists hold, to tell a container's ports from a service's.
fn identity(field: &str, lists: [&[Value]; 2]) -> Identity {
    let has = |key: &str| lists.iter().any(|list| list.iter().any(|item| item.get(key).is_some()));
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets" => Identity::Key("name"),
        "volumeMounts" => Identity::Key("mountPath"),
        "volumeDevices" => Identity::Key("devicePath"),
        "ports" if has("containerPort") => Identity::Key("containerPort"),
        "ports" => Identity::Key("port"),
        "conditions" | "addresses" => Identity::Key("type"),
        "ownerReferences" => Identity::Key("uid"),
        "hostAliases" | "podIPs" | "hostIPs" => Identity::Key("ip"),
        "topologySpreadConstraints" => Identity::Key("topologyKey"),
        "finalizers" | "podCIDRs" => Identity::Whole,
        // Taints, tolerations, volumesAttached, volumesInUse, subsets and all else have no merge key upstream.
        _ => Identity::Atomic,
    }
}

/// Merges `patch` into `target`.
///
/// # Errors
/// A directive that is not understood, or an element without its merge key.
pub fn merge(target: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match fields.get("$patch").map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = Value::Object(plain(fields));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(format!("unrecognized type: {other}")),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return Ok(()) };
    if let Some(keep) = fields.get("$retainKeys").and_then(Value::as_array) {
        object.retain(|key, _| keep.iter().any(|kept| kept.as_str() == Some(key)));
    }
    for (key, value) in fields {
        field(object, key, value)?;
    }
    // The order directives come last: they arrange what the others left.
    for (key, value) in fields {
        if let (Some(list), Value::Array(order)) = (key.strip_prefix("$setElementOrder/"), value) {
            arrange(object, list, order);
        }
    }
    Ok(())
}

/// Without directives.
fn plain(fields: &Map<String, Value>) -> Map<String, Value> {
    fields.iter().filter(|(key, _)| !key.starts_with('$')).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn field(object: &mut Map<String, Value>, key: &str, value: &Value) -> Result<(), String> {
    if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
        if let (Some(Value::Array(items)), Value::Array(gone)) = (object.get_mut(list), value) {
            items.retain(|item| !gone.contains(item));
        }
        return Ok(());
    }
    if key.starts_with("$setElementOrder/") || matches!(key, "$patch" | "$retainKeys") {
        return Ok(());
    }
    if key.starts_with('$') {
        return Err(format!("unrecognized directive: {key}"));
    }
    match value {
        Value::Null => drop(object.remove(key)),
        Value::Array(items) => {
            let current = match object.remove(key) {
                Some(Value::Array(current)) => current,
                _ => Vec::new(),
            };
            object.insert(key.into(), Value::Array(list(key, current, items)?));
        }
        Value::Object(_) => merge(object.entry(key).or_insert(Value::Null), value)?,
        other => patch::merge(object.entry(key).or_insert(Value::Null), other),
    }
    Ok(())
}

fn list(field: &str, mut current: Vec<Value>, items: &[Value]) -> Result<Vec<Value>, String> {
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if items.iter().any(|item| {
        item.get("$patch").is_some_and(|d| d == "replace") && item.as_object().is_some_and(|o| o.len() == 1)
    }) {
        return Ok(items.iter().filter(|item| directive(item).is_none()).cloned().collect());
    }
    let key = match identity(field, [&current, items]) {
        Identity::Atomic => return Ok(items.to_vec()),
        Identity::Whole => {
            for item in items {
                if !current.contains(item) {
                    current.push(item.clone());
                }
            }
            return Ok(current);
        }
        Identity::Key(key) => key,
    };
    for item in items {
        let id = item.get(key).ok_or_else(|| format!("map: {field} does not contain declared merge key: {key}"))?;
        let same = current.iter().position(|other| other.get(key) == Some(id));
        match (directive(item).as_deref(), same) {
            (Some("delete"), _) => current.retain(|other| other.get(key) != Some(id)),
            (_, Some(at)) => merge(&mut current[at], item)?,
            (_, None) => {
                let mut new = Value::Null;
                merge(&mut new, item)?;
                current.push(new);
            }
        }
    }
    Ok(current)
}

/// Puts the elements of a list in the order asked for; others keep their order, behind.
fn arrange(object: &mut Map<String, Value>, field: &str, order: &[Value]) {
    let Some(Value::Array(items)) = object.get_mut(field) else { return };
    let key = match identity(field, [items, order]) {
        Identity::Key(key) => Some(key),
        Identity::Whole => None,
        Identity::Atomic => return,
    };
    let same = |item: &Value, wanted: &Value| match key {
        Some(key) => item.get(key) == wanted.get(key),
        None => item == wanted,
    };
    items.sort_by_key(|item| order.iter().position(|wanted| same(item, wanted)).unwrap_or(order.len()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_merge_by_their_keys() {
        let rows = [
            (
                json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}),
                json!({"containers": [{"name": "a", "image": "y"}, {"name": "c"}]}),
                Some(json!({"containers": [{"name": "a", "image": "y"}, {"name": "b"}, {"name": "c"}]})),
            ),
            (
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"containers": [{"name": "a", "$patch": "delete"}]}),
                Some(json!({"containers": [{"name": "b"}]})),
            ),
            (json!({"containers": []}), json!({"containers": [{"image": "y"}]}), None),
            (
                json!({"taints": [{"key": "a"}]}),
                json!({"taints": [{"key": "b"}]}),
                Some(json!({"taints": [{"key": "b"}]})),
            ),
            (
                json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "X"}]}),
                json!({"conditions": [{"type": "Ready", "status": "False"}], "$setElementOrder/conditions": [
                    {"type": "X"}, {"type": "Ready"},
                ]}),
                Some(json!({"conditions": [{"type": "X"}, {"type": "Ready", "status": "False"}]})),
            ),
            (json!({"finalizers": ["a"]}), json!({"finalizers": ["b", "a"]}), Some(json!({"finalizers": ["a", "b"]}))),
            (
                json!({"finalizers": ["a", "b"]}),
                json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
                Some(json!({"finalizers": ["b"]})),
            ),
            (
                json!({"labels": {"a": "1", "b": "2"}}),
                json!({"labels": {"a": null}}),
                Some(json!({"labels": {"b": "2"}})),
            ),
            (
                json!({"strategy": {"type": "A", "rolling": {}}}),
                json!({"strategy": {"$retainKeys": ["type"], "type": "B"}}),
                Some(json!({"strategy": {"type": "B"}})),
            ),
            (
                json!({"spec": {"a": 1}}),
                json!({"spec": {"$patch": "replace", "b": 2}}),
                Some(json!({"spec": {"b": 2}})),
            ),
            (json!({}), json!({"$unknown": 1}), None),
            (
                json!({"ports": [{"port": 1, "name": "a"}]}),
                json!({"ports": [{"port": 1, "name": "b"}, {"port": 2}]}),
                Some(json!({"ports": [{"port": 1, "name": "b"}, {"port": 2}]})),
            ),
        ];
        for (object, patch, want) in rows {
            let mut merged = object.clone();
            let done = merge(&mut merged, &patch);
            assert_eq!(done.ok().map(|()| merged), want, "{object} {patch}");
        }
    }
}
