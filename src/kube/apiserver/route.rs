//! What a request is about: upstream's paths and query parameters, taken apart. Pure.

use std::borrow::Cow;

use http::Method;

use crate::kube::kind::{KindId, Kinds, ObjectKey};
use crate::kube::query;
use crate::kube::store::failure::{Refusal, bad_request, method_not_allowed, no_such_resource};
use crate::kube::store::{Part, Selection, Validation};

/// A request that can be answered.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    /// `/healthz` and the like.
    Health,
    /// `/version`.
    Version,
    List(KindId, Selection),
    Watch(KindId, Selection, WatchQuery),
    Create(KindId, String, Validation),
    DeleteAll(KindId, Selection),
    Get(KindId, ObjectKey),
    Update(KindId, ObjectKey, Part, Validation),
    Patch(KindId, ObjectKey, Part, Validation),
    Delete(KindId, ObjectKey),
    GetScale(KindId, ObjectKey),
    UpdateScale(KindId, ObjectKey),
    PatchScale(KindId, ObjectKey),
    Bind(KindId, ObjectKey),
    Evict(KindId, ObjectKey),
}

/// The parameters of a watch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct WatchQuery {
    /// Everything after this version; without, everything there is and what comes.
    pub version: Option<u64>,
    /// Whether to tell the present version now and then.
    pub bookmarks: bool,
    /// Begin with everything there is, and a bookmark that says so.
    pub initial: bool,
    /// When the server ends the watch.
    pub timeout_seconds: Option<u64>,
}

/// Where a path leads.
struct Place {
    kind: KindId,
    namespace: String,
    name: Option<String>,
    subresource: Option<String>,
}

struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    fn validation(&self) -> Result<Validation, Refusal> {
        if !self.get("dryRun").is_empty() {
            return Err(bad_request("dryRun is not supported"));
        }
        Ok(if self.get("fieldValidation") == "Ignore" { Validation::Ignore } else { Validation::Strict })
    }

    fn selection(&self, kinds: &Kinds, place: &Place) -> Result<Selection, Refusal> {
        let (labels, fields) = (self.get("labelSelector"), self.get("fieldSelector"));
        Selection::parse(kinds.get(place.kind), &place.namespace, labels, fields)
    }

    fn watch(&self) -> Result<WatchQuery, Refusal> {
        let bad = |name: &str| bad_request(&format!("invalid {name}: must be a number"));
        let version = match self.get("resourceVersion") {
            "" | "0" => None,
            version => Some(version.parse().map_err(|_| bad("resourceVersion"))?),
        };
        let timeout_seconds = match self.get("timeoutSeconds") {
            "" => None,
            seconds => Some(seconds.parse().map_err(|_| bad("timeoutSeconds"))?),
        };
        let bookmarks = self.flag("allowWatchBookmarks");
        Ok(WatchQuery { version, bookmarks, initial: self.flag("sendInitialEvents"), timeout_seconds })
    }
}

/// Understands a request.
pub(super) fn route(kinds: &Kinds, method: &Method, path: &str, query: &str) -> Result<Route, Refusal> {
    match path {
        "/healthz" | "/livez" | "/readyz" => return Ok(Route::Health),
        "/version" => return Ok(Route::Version),
        _ => {}
    }
    let place = place(kinds, path)?;
    let query = Query(query::pairs(query));
    let kind = place.kind;
    let Some(name) = place.name.clone() else {
        return match *method {
            Method::GET if query.flag("watch") => {
                Ok(Route::Watch(kind, query.selection(kinds, &place)?, query.watch()?))
            }
            Method::GET => Ok(Route::List(kind, query.selection(kinds, &place)?)),
            Method::POST => Ok(Route::Create(kind, place.namespace, query.validation()?)),
            Method::DELETE => Ok(Route::DeleteAll(kind, query.selection(kinds, &place)?)),
            _ => Err(method_not_allowed()),
        };
    };
    let key = ObjectKey::new(place.namespace, name);
    let is_pod = kinds.get(kind).kind == "Pod";
    let part = match place.subresource.as_deref() {
        None => Part::Whole,
        Some("status") => Part::Status,
        Some("scale") => {
            return match *method {
                Method::GET => Ok(Route::GetScale(kind, key)),
                Method::PUT => Ok(Route::UpdateScale(kind, key)),
                Method::PATCH => Ok(Route::PatchScale(kind, key)),
                _ => Err(method_not_allowed()),
            };
        }
        Some("binding") if is_pod && method == Method::POST => return Ok(Route::Bind(kind, key)),
        Some("eviction") if is_pod && method == Method::POST => return Ok(Route::Evict(kind, key)),
        Some(_) => return Err(no_such_resource()),
    };
    match *method {
        Method::GET => Ok(Route::Get(kind, key)),
        Method::PUT => Ok(Route::Update(kind, key, part, query.validation()?)),
        Method::PATCH => Ok(Route::Patch(kind, key, part, query.validation()?)),
        Method::DELETE if part == Part::Whole => Ok(Route::Delete(kind, key)),
        _ => Err(method_not_allowed()),
    }
}

fn place(kinds: &Kinds, path: &str) -> Result<Place, Refusal> {
    let steps: Vec<Cow<'_, str>> = path.trim_matches('/').split('/').map(query::unescape).collect();
    let steps: Vec<&str> = steps.iter().map(|step| &**step).collect();
    let (group, version, rest) = match steps.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(no_such_resource()),
    };
    let of = |plural: &str| kinds.by_plural(group, version, plural).ok_or_else(no_such_resource);
    let (namespace, kind, rest) = match rest {
        // `namespaces/x` is the namespace itself, and so are its subresources.
        ["namespaces", _, plural, rest @ ..] if !matches!(*plural, "status" | "finalize") => {
            (rest_namespace(&steps), of(plural)?, rest)
        }
        [plural, rest @ ..] => (String::new(), of(plural)?, rest),
        [] => return Err(no_such_resource()),
    };
    if !namespace.is_empty() && !kinds.get(kind).namespaced {
        return Err(no_such_resource());
    }
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some(*name), None),
        [name, subresource] => (Some(*name), Some(*subresource)),
        _ => return Err(no_such_resource()),
    };
    if name.is_some() && kinds.get(kind).namespaced && namespace.is_empty() {
        return Err(no_such_resource());
    }
    Ok(Place { kind, namespace, name: name.map(str::to_owned), subresource: subresource.map(str::to_owned) })
}

/// What follows `namespaces`.
fn rest_namespace(steps: &[&str]) -> String {
    let at = steps.iter().position(|step| *step == "namespaces").map_or(steps.len(), |at| at + 1);
    steps.get(at).map_or(String::new(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_do_upstream() {
        let kinds = Kinds::builtin();
        let pods = kinds.by_word("pods").unwrap();
        let nodes = kinds.by_word("nodes").unwrap();
        let namespaces = kinds.by_word("ns").unwrap();
        let sets = kinds.by_word("sts").unwrap();
        let strict = Validation::Strict;
        let key = ObjectKey::new;
        let rows = [
            (Method::GET, "/api/v1/pods", Some(Route::List(pods, Selection::default()))),
            (Method::GET, "/api/v1/namespaces/x/pods", Some(Route::List(pods, Selection::namespace("x")))),
            (Method::GET, "/api/v1/namespaces/x/pods/p", Some(Route::Get(pods, key("x", "p")))),
            (Method::GET, "/api/v1/namespaces/x", Some(Route::Get(namespaces, key("", "x")))),
            (
                Method::PUT,
                "/api/v1/namespaces/x/status",
                Some(Route::Update(namespaces, key("", "x"), Part::Status, strict)),
            ),
            (Method::POST, "/api/v1/nodes", Some(Route::Create(nodes, String::new(), strict))),
            (Method::PATCH, "/api/v1/nodes/n/status", Some(Route::Patch(nodes, key("", "n"), Part::Status, strict))),
            (Method::POST, "/api/v1/namespaces/x/pods/p/binding", Some(Route::Bind(pods, key("x", "p")))),
            (Method::POST, "/api/v1/namespaces/x/pods/p/eviction", Some(Route::Evict(pods, key("x", "p")))),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/x/statefulsets/s/scale",
                Some(Route::PatchScale(sets, key("x", "s"))),
            ),
            (Method::GET, "/healthz", Some(Route::Health)),
            (Method::GET, "/api/v1/pods/p", None),
            (Method::GET, "/api/v1/namespaces/x/nodes", None),
            (Method::GET, "/apis/apps/v2/statefulsets", None),
            (Method::GET, "/api/v1/namespaces/x/pods/p/log/more", None),
            (Method::DELETE, "/api/v1/namespaces/x/pods/p/status", None),
            (Method::GET, "/", None),
        ];
        for (method, path, want) in rows {
            assert_eq!(route(&kinds, &method, path, "").ok(), want, "{method} {path}");
        }
    }
}
