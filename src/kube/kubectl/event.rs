//! Events, as `kubectl get events` and the end of `kubectl describe` show them.
//!
//! Follows `printEvent` of kubernetes `pkg/printers/internalversion` and `DescribeEvents` of kubectl.

use ::http::Method;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::columns::{Column, at, text};
use super::describe::Page;
use super::table::age;
use super::target::{name_of, namespace_of};
use super::{Kubectl, KubectlError};
use crate::kube::query;

pub(super) const COLUMNS: &[Column] = &[
    ("LAST SEEN", false, last_seen),
    ("TYPE", false, |o, _| get(o, "/type")),
    ("REASON", false, |o, _| get(o, "/reason")),
    ("OBJECT", false, |o, _| {
        let (kind, name) = (get(o, "/involvedObject/kind").to_lowercase(), get(o, "/involvedObject/name"));
        if name.is_empty() { kind } else { format!("{kind}/{name}") }
    }),
    ("SUBOBJECT", true, |o, _| get(o, "/involvedObject/fieldPath")),
    ("SOURCE", true, |o, _| source(o, ", ")),
    ("MESSAGE", false, |o, _| get(o, "/message").trim().to_owned()),
    ("FIRST SEEN", true, first_seen),
    ("COUNT", true, |o, _| count(o).to_string()),
    ("NAME", true, |o, _| name_of(o).to_owned()),
];

fn get(event: &Value, pointer: &str) -> String {
    text(at(event, pointer))
}

fn count(event: &Value) -> i64 {
    let series = at(event, "/series/count").or(at(event, "/count"));
    series.and_then(Value::as_i64).filter(|count| *count > 0).unwrap_or(1)
}

fn source(event: &Value, between: &str) -> String {
    let component = at(event, "/source/component").or(at(event, "/reportingComponent"));
    let host = at(event, "/source/host").or(at(event, "/reportingInstance"));
    let parts = [text(component), text(host)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

fn first_seen(event: &Value, now: Timestamp) -> String {
    let time = at(event, "/firstTimestamp").or(at(event, "/eventTime"));
    age(time.and_then(Value::as_str), now)
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    match at(event, "/lastTimestamp").and_then(Value::as_str) {
        Some(time) => age(Some(time), now),
        None => first_seen(event, now),
    }
}

/// The table at the end of a description.
pub(super) fn describe(page: &mut Page, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        page.row(0, "Events:", "<none>");
        return;
    }
    page.row(0, "Events:", "");
    let mut rows = vec![
        ["Type", "Reason", "Age", "From", "Message"].map(str::to_owned).to_vec(),
        ["----", "------", "----", "----", "-------"].map(str::to_owned).to_vec(),
    ];
    for event in events {
        let seen = match count(event) {
            1 => first_seen(event, now),
            count => format!("{} (x{count} over {})", last_seen(event, now), first_seen(event, now)),
        };
        let from = text(at(event, "/source/component").or(at(event, "/reportingComponent")));
        let message = get(event, "/message").trim().to_owned();
        rows.push(vec![get(event, "/type"), get(event, "/reason"), seen, from, message]);
    }
    page.table(1, &rows);
}

impl Kubectl {
    /// Events about an object, by when they were last seen.
    pub(super) async fn events_about(&self, object: &Value, kind: &str) -> Result<Vec<Value>, KubectlError> {
        let (selector, namespace) = (format!("involvedObject.name={}", name_of(object)), namespace_of(object));
        let mut query = String::new();
        query::push(&mut query, "fieldSelector", &selector);
        let path = format!("{}?{query}", self.kinds.get(self.kind("events")?).path(namespace));
        let mut list = self.send(Method::GET, path, None).await?;
        let items = list.get_mut("items").map(Value::take);
        let uid = text(at(object, "/metadata/uid"));
        let own = |event: &Value| {
            let about = get(event, "/involvedObject/uid");
            // Nodes are named by their name instead of their uid.
            let same = about.is_empty() || about == uid || about == name_of(object);
            same && get(event, "/involvedObject/kind") == kind
        };
        let mut events: Vec<Value> = match items {
            Some(Value::Array(items)) => items.into_iter().filter(own).collect(),
            _ => Vec::new(),
        };
        let seen = |event: &Value| text(at(event, "/lastTimestamp").or(at(event, "/eventTime")));
        events.sort_by_key(seen);
        Ok(events)
    }
}
