//! The bounds in the schemas of custom kinds: what a type cannot say.
//!
//! Follows the kubebuilder marks of fluid-cloudnative/fluid v1.0.8 and the messages of kube-openapi's validation. A kind without an
//! entry has no bounds.

use serde_json::Value;

use super::failure::FieldError;
use crate::kube::kind::{Body, Kind};

/// A bound of a field.
enum Bound {
    /// A number.
    AtLeast(i64),
    /// A list.
    Items(usize),
    /// A text.
    Chars(usize),
}

/// Kinds, and paths below their spec; `*` stands for every item of a list.
const BOUNDS: &[(&[&str], &str, Bound)] = &[
    (&["Dataset"], "mounts", Bound::Items(1)),
    (&["Dataset"], "mounts.*.mountPoint", Bound::Chars(5)),
    (&["AlluxioRuntime", "GooseFSRuntime", "JindoRuntime"], "tieredstore.levels", Bound::Items(1)),
    (&["AlluxioRuntime", "GooseFSRuntime", "JindoRuntime"], "master.replicas", Bound::AtLeast(1)),
];

/// Every field of a new or changed object that is out of its bounds.
pub(super) fn check(kind: &Kind, body: &Body, errors: &mut Vec<FieldError>) {
    let Some(spec) = body.get("spec") else { return };
    for (kinds, path, bound) in BOUNDS {
        if kinds.contains(&kind.kind.as_str()) {
            let steps: Vec<&str> = path.split('.').collect();
            walk(spec, "spec".into(), &steps, bound, errors);
        }
    }
}

fn walk(value: &Value, at: String, steps: &[&str], bound: &Bound, errors: &mut Vec<FieldError>) {
    match steps {
        [] => errors.extend(broken(value, at, bound)),
        ["*", rest @ ..] => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                walk(item, format!("{at}[{index}]"), rest, bound, errors);
            }
        }
        [field, rest @ ..] => {
            if let Some(value) = value.get(field) {
                walk(value, format!("{at}.{field}"), rest, bound, errors);
            }
        }
    }
}

fn broken(value: &Value, at: String, bound: &Bound) -> Option<FieldError> {
    let (found, rule) = match (bound, value) {
        (Bound::AtLeast(least), Value::Number(number)) if number.as_i64().is_some_and(|number| number < *least) => {
            (number.to_string(), format!("should be greater than or equal to {least}"))
        }
        (Bound::Items(least), Value::Array(items)) if items.len() < *least => {
            (items.len().to_string(), format!("should have at least {least} items"))
        }
        (Bound::Chars(least), Value::String(text)) if text.chars().count() < *least => {
            (format!("{text:?}"), format!("should be at least {least} chars long"))
        }
        _ => return None,
    };
    let message = format!("Invalid value: {found}: {at} in body {rule}");
    Some(FieldError { field: at, reason: "FieldValueInvalid", message })
}
