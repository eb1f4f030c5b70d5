//! The three kinds of patches: JSON merge patch (RFC 7386), JSON patch (RFC 6902), and strategic merge (see
//! [`super::strategic`]).
//!
//! Differs: no server-side apply; it is refused by name.

use serde_json::{Map, Value};

use super::strategic;

/// A change of an object, as a client sends it.
#[derive(Clone, PartialEq)]
pub enum Patch {
    /// RFC 7386: null removes, lists are replaced.
    Merge(Value),
    /// RFC 6902: a list of operations.
    Json(Value),
    /// Lists with a merge key are merged by it. Built-in kinds only.
    Strategic(Value),
}

impl Patch {
    /// The media types, in upstream's order.
    pub const MEDIA_TYPES: [&str; 3] =
        ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];

    /// Its media type.
    pub const fn media_type(&self) -> &'static str {
        match self {
            Self::Json(_) => Self::MEDIA_TYPES[0],
            Self::Merge(_) => Self::MEDIA_TYPES[1],
            Self::Strategic(_) => Self::MEDIA_TYPES[2],
        }
    }

    /// From a media type and a body; nothing for other media types.
    pub fn of(media_type: &str, body: Value) -> Option<Self> {
        match media_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json(body)),
            "application/merge-patch+json" => Some(Self::Merge(body)),
            "application/strategic-merge-patch+json" => Some(Self::Strategic(body)),
            _ => None,
        }
    }

    /// What goes over the wire.
    pub const fn body(&self) -> &Value {
        match self {
            Self::Json(body) | Self::Merge(body) | Self::Strategic(body) => body,
        }
    }

    /// Whether it reads and changes nothing of an object but its metadata and status, whatever else there is.
    pub(super) fn is_of_status(&self) -> bool {
        let of_status = |field: &String| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status");
        match self {
            Self::Json(_) => false,
            Self::Merge(patch) | Self::Strategic(patch) => {
                patch.as_object().is_some_and(|fields| fields.keys().all(of_status))
            }
        }
    }

    /// The patched object.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn apply(&self, object: Value) -> Result<Value, String> {
        let mut patched = object;
        match self {
            Self::Merge(patch) => merge(&mut patched, patch),
            Self::Json(operations) => json(&mut patched, operations)?,
            Self::Strategic(patch) => strategic::merge(&mut patched, patch)?,
        }
        Ok(patched)
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (key, value) in fields {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902.
fn json(target: &mut Value, operations: &Value) -> Result<(), String> {
    let Value::Array(operations) = operations else { return Err("a JSON patch is a list of operations".into()) };
    for operation in operations {
        let text = |name: &str| {
            let found = operation.get(name).and_then(Value::as_str);
            found.ok_or_else(|| format!("a JSON patch operation without `{name}`"))
        };
        let value = || operation.get("value").cloned().ok_or("a JSON patch operation without `value`");
        let (op, path) = (text("op")?, text("path")?);
        match op {
            "add" => add(target, path, value()?)?,
            "remove" => drop(remove(target, path)?),
            "replace" => *find(target, path)? = value()?,
            "test" => {
                let want = value()?;
                if *find(target, path)? != want {
                    return Err(format!("testing path {path} failed"));
                }
            }
            "copy" => {
                let copied = find(target, text("from")?)?.clone();
                add(target, path, copied)?;
            }
            "move" => {
                let from = text("from")?;
                if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                    return Err(format!("cannot move {from} into itself"));
                }
                let moved = remove(target, from)?;
                add(target, path, moved)?;
            }
            other => return Err(format!("Unexpected kind: {other}")),
        }
    }
    Ok(())
}

fn steps(path: &str) -> Result<Vec<String>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or_else(|| format!("path {path} does not begin with /"))?;
    Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn missing(path: &str) -> String {
    format!("the path {path} does not exist")
}

/// RFC 6901 forbids leading zeros and signs.
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit()));
    if plain { step.parse().ok() } else { None }
}

fn find<'v>(target: &'v mut Value, path: &str) -> Result<&'v mut Value, String> {
    let mut at = target;
    for step in steps(path)? {
        let next = match at {
            Value::Object(fields) => fields.get_mut(&step),
            Value::Array(items) => index(&step).and_then(|index| items.get_mut(index)),
            _ => None,
        };
        at = next.ok_or_else(|| missing(path))?;
    }
    Ok(at)
}

/// The place that holds the path's last step.
fn holder<'v>(target: &'v mut Value, path: &str) -> Result<(&'v mut Value, String), String> {
    let last = steps(path)?.pop().ok_or_else(|| missing(path))?;
    let parent = path.rfind('/').map_or("", |at| &path[..at]);
    Ok((find(target, parent)?, last))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (holder, last) = holder(target, path)?;
    match holder {
        Value::Object(fields) => {
            fields.insert(last, value);
        }
        Value::Array(items) => {
            let at = if last == "-" { Some(items.len()) } else { index(&last).filter(|at| *at <= items.len()) };
            items.insert(at.ok_or_else(|| missing(path))?, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let (holder, last) = holder(target, path)?;
    let removed = match holder {
        Value::Object(fields) => fields.remove(&last),
        Value::Array(items) => index(&last).filter(|at| *at < items.len()).map(|at| items.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The table of RFC 7386, appendix A.
    #[test]
    fn merge_patches_follow_the_rfc() {
        let rows = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (object, patch, want) in rows {
            assert_eq!(Patch::Merge(patch.clone()).apply(object.clone()), Ok(want), "{object} {patch}");
        }
    }

    #[test]
    fn json_patches_follow_the_rfc() {
        let rows = [
            (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), Some(json!({"a": 1, "b": 2}))),
            (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), Some(json!({"a": [1, 2, 3]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), Some(json!({"a": [1, 2]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/2", "value": 2}]), None),
            (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/0"}]), Some(json!({"a": [2]}))),
            (json!({"a": [1]}), json!([{"op": "remove", "path": "/a/01"}]), None),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/b", "value": 2}]), None),
            (
                json!({"m/n~o": 1}),
                json!([{"op": "replace", "path": "/m~1n~0o", "value": 2}]),
                Some(json!({"m/n~o": 2})),
            ),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), Some(json!({"b": 1}))),
            (json!({"a": {}}), json!([{"op": "move", "from": "/a", "path": "/a/b"}]), None),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), Some(json!({"a": 1, "b": 1}))),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}, {"op": "remove", "path": "/a"}]), None),
            (json!({"a": 1}), json!([{"op": "remove", "path": ""}]), None),
            (json!({}), json!({"op": "add"}), None),
            (json!({}), json!([{"op": "tset", "path": "/a", "value": 1}]), None),
        ];
        for (object, patch, want) in rows {
            assert_eq!(Patch::Json(patch.clone()).apply(object.clone()).ok(), want, "{object} {patch}");
        }
    }
}
