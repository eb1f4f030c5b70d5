//! Which objects a command is about, and getting them as they are: JSON of any kind.

use ::http::Method;
use bytes::Bytes;
use serde_json::Value;

use super::args::Which;
use super::{Kubectl, KubectlError};
use crate::kube::client::{ApiError, JSON};
use crate::kube::kind::{Kind, KindId};
use crate::kube::query;

/// One kind, and names of it; none for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub kind: KindId,
    pub names: Vec<String>,
}

/// `pod/x`, `statefulset.apps/x`.
pub(super) fn title(kind: &Kind, name: &str) -> String {
    format!("{}/{name}", singular(kind))
}

/// `pod`, `statefulset.apps`.
pub(super) fn singular(kind: &Kind) -> String {
    let word = kind.kind.to_lowercase();
    if kind.group.is_empty() { word } else { format!("{word}.{}", kind.group) }
}

pub(super) fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn namespace_of(object: &Value) -> &str {
    object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
}

impl Kubectl {
    /// Understands `TYPE[,TYPE] [NAME…]` and `TYPE/NAME…`.
    pub(super) fn targets(&self, words: &[String]) -> Result<Vec<Target>, KubectlError> {
        let Some(first) = words.first() else {
            return Err(KubectlError::Usage("You must specify the type of resource to get.".into()));
        };
        if first.contains('/') {
            let mut targets: Vec<Target> = Vec::new();
            for word in words {
                let (kind, name) = word.split_once('/').ok_or_else(|| {
                    let why = "there is no need to specify a resource type as a separate argument when passing arguments \
                        in resource/name form";
                    KubectlError::Usage(why.into())
                })?;
                let kind = self.kind(kind)?;
                match targets.iter_mut().find(|target| target.kind == kind) {
                    Some(target) => target.names.push(name.into()),
                    None => targets.push(Target { kind, names: vec![name.into()] }),
                }
            }
            return Ok(targets);
        }
        let names = words[1..].to_vec();
        first.split(',').map(|word| Ok(Target { kind: self.kind(word)?, names: names.clone() })).collect()
    }

    pub(super) fn kind(&self, word: &str) -> Result<KindId, KubectlError> {
        let none = || KubectlError::Usage(format!("the server doesn't have a resource type \"{word}\""));
        self.kinds.by_word(word).ok_or_else(none)
    }

    /// The namespace in a path: none for kinds without.
    pub(super) fn scope<'s>(&self, kind: KindId, namespace: &'s str) -> &'s str {
        if self.kinds.get(kind).namespaced { namespace } else { "" }
    }

    pub(super) fn path(&self, kind: KindId, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.kinds.get(kind).path(self.scope(kind, namespace)))
    }

    pub(super) async fn send(&self, method: Method, path: String, body: Option<&Value>) -> Result<Value, ApiError> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        decoded(&self.client.raw(method, path, JSON, body).await?)
    }

    pub(super) async fn patch(&self, path: String, media_type: &'static str, body: &Value) -> Result<Value, ApiError> {
        decoded(&self.client.raw(Method::PATCH, path, media_type, body.to_string().into()).await?)
    }

    /// The objects of a target, and the version that they were read at.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        namespace: &str,
        which: &Which,
    ) -> Result<(Vec<Value>, String), ApiError> {
        if !target.names.is_empty() {
            let mut objects = Vec::new();
            for name in &target.names {
                objects.push(self.send(Method::GET, self.path(target.kind, namespace, name), None).await?);
            }
            let version = objects.last().and_then(|object| object.pointer("/metadata/resourceVersion"));
            let version = version.and_then(Value::as_str).unwrap_or_default().to_owned();
            return Ok((objects, version));
        }
        let mut query = String::new();
        let selectors = [("labelSelector", &which.selector), ("fieldSelector", &which.field_selector)];
        for (name, value) in selectors {
            value.iter().for_each(|value| query::push(&mut query, name, value));
        }
        let scope = if which.all_namespaces { "" } else { self.scope(target.kind, namespace) };
        let path = self.kinds.get(target.kind).path(scope);
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut list = self.send(Method::GET, path, None).await?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        Ok((items, version))
    }
}

fn decoded(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::Malformed(format!("column {}", error.column())))
}
