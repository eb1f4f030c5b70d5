//! Which objects a list or watch is about: namespace, label selector, field selector.
//!
//! Follows apimachinery's `labels.Parse` and `fields.ParseSelector`. A field that a kind does not offer is refused.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector, SelectorExt};
use serde_json::Value;

use super::failure::{Refusal, bad_request};
use super::object::{Change, Event, Object};
use crate::kube::kind::Kind;

/// A field that must or must not have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    path: String,
    value: String,
    equal: bool,
}

/// What a list or watch is about. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Empty for all.
    pub namespace: String,
    labels: Selector,
    fields: Vec<FieldTerm>,
}

impl Selection {
    /// All objects of a namespace; of all namespaces if it is empty.
    pub fn namespace(namespace: &str) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }

    /// From the parameters of a request.
    ///
    /// # Errors
    /// 400 for a selector that cannot be read or asks for a field that the kind does not offer.
    pub fn parse(kind: &Kind, namespace: &str, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = parse_labels(labels).map_err(|why| bad_request(&format!("unable to parse requirement: {why}")))?;
        Ok(Self { namespace: namespace.into(), labels, fields: parse_fields(kind, fields)? })
    }

    /// Whether it is about this object.
    pub fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || self.namespace == object.key.namespace)
            && self.labels.matches(object.labels())
            && self.fields.iter().all(|term| (field(object, &term.path) == term.value) == term.equal)
    }

    /// What a watch with this selection sees of an event: an object that comes to match is added, one that no longer does
    /// is deleted.
    pub fn sees(&self, event: &Event) -> Option<Change> {
        let after = event.change != Change::Deleted && self.matches(&event.object);
        let before = event.previous.as_ref().is_some_and(|previous| self.matches(previous));
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
        }
    }
}

/// The field as a selector compares it: text; nothing and false flags upstream give as text, too.
fn field(object: &Object, path: &str) -> String {
    match path {
        "metadata.name" => return object.key.name.clone(),
        "metadata.namespace" => return object.key.namespace.clone(),
        "source" => return text(object.at("source.component").or_else(|| object.at("reportingComponent"))),
        _ => {}
    }
    let found = object.at(path);
    match (path, found) {
        ("spec.unschedulable" | "spec.hostNetwork", None) => "false".into(),
        ("status.successful", _) => object.at("status.succeeded").map_or("0".into(), |n| text(Some(n))),
        (_, found) => text(found),
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<FieldTerm>, Refusal> {
    let mut terms = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let split = [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(sign, equal)| part.split_once(sign).map(|(path, value)| (path, value, equal)));
        let Some((path, value, equal)) = split else {
            let why = format!("invalid selector: '{text}'; can't understand '{part}'");
            return Err(bad_request(&format!("unable to parse field selector: {why}")));
        };
        let known = path == "metadata.name" || (path == "metadata.namespace" && kind.namespaced);
        if !known && !kind.fields.iter().any(|field| field == path) {
            let why = if kind.custom { format!("field label not supported: {path}") } else { unsupported(kind, path) };
            return Err(bad_request(&why));
        }
        terms.push(FieldTerm { path: path.into(), value: value.into(), equal });
    }
    Ok(terms)
}

fn unsupported(kind: &Kind, path: &str) -> String {
    match kind.kind.as_str() {
        "Pod" | "Node" | "Event" | "Namespace" | "Secret" | "Job" | "Service" => {
            format!("field label not supported: {path}")
        }
        _ => format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
    }
}

/// Reads a label selector: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
///
/// # Errors
/// What cannot be understood.
pub fn parse_labels(text: &str) -> Result<Selector, String> {
    let mut expressions = Vec::new();
    for part in split_requirements(text).into_iter().filter(|part| !part.is_empty()) {
        expressions.push(requirement(part)?);
    }
    Ok(expressions.into_iter().collect())
}

/// At the commas outside of parentheses.
fn split_requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn requirement(part: &str) -> Result<Expression, String> {
    if let Some(rest) = part.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(label_key(rest)?));
    }
    if let Some((key, set)) = part.split_once('(') {
        let bad = || format!("found '{part}', expected: in (…) or notin (…)");
        let set = set.trim_end().strip_suffix(')').ok_or_else(bad)?;
        let values = set.split(',').map(label_value).collect::<Result<BTreeSet<String>, String>>()?;
        let (key, operator) = key.trim_end().rsplit_once(char::is_whitespace).ok_or_else(bad)?;
        return match operator {
            "in" => Ok(Expression::In(label_key(key)?, values)),
            "notin" => Ok(Expression::NotIn(label_key(key)?, values)),
            _ => Err(bad()),
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Expression::NotEqual(label_key(key)?, label_value(value)?));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Expression::Equal(label_key(key)?, label_value(value)?));
    }
    Ok(Expression::Exists(label_key(part)?))
}

fn legal(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let end = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63 && text.bytes().all(inner) && text.starts_with(end) && text.ends_with(end)
}

fn label_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if legal(name) && prefix.is_none_or(|prefix| !prefix.is_empty() && prefix.len() <= 253) {
        return Ok(key.into());
    }
    Err(format!("invalid label key \"{key}\""))
}

fn label_value(text: &str) -> Result<String, String> {
    let value = text.trim();
    if value.is_empty() || legal(value) {
        return Ok(value.into());
    }
    Err(format!("invalid label value \"{value}\""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn label_selectors_match_as_upstream() {
        let labels = BTreeMap::from([("app".to_string(), "web".to_string()), ("x/tier".into(), "".into())]);
        let rows = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web , x/tier", true),
            ("app!=web", false),
            ("zone!=a", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("zone notin (a)", true),
            ("zone in (a)", false),
            ("!zone,app", true),
            ("!app", false),
            ("x/tier=", true),
            ("app=web,zone", false),
        ];
        for (text, want) in rows {
            assert_eq!(parse_labels(text).unwrap().matches(&labels), want, "{text}");
        }
        for text in ["app in web", "a b", "app in (web", "=x", "app=we b", "app within (x)", "/a=b"] {
            assert!(parse_labels(text).is_err(), "{text}");
        }
    }
}
