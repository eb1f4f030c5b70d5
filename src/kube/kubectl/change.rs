//! The commands that change something, with upstream's messages.
//!
//! Differs: `apply` is a merge of the manifest into what is there; a field that a manifest no longer names stays.

use ::http::Method;
use serde_json::{Value, json};

use super::args::{Delete, File, Marks, Scale, Which};
use super::target::{name_of, namespace_of, singular, title};
use super::{Files, Kubectl, KubectlError, Print};
use crate::kube::client::ApiError;
use crate::kube::kind::KindId;
use crate::rt::time::{Duration, sleep};

/// Between two looks at an object that is to become something.
pub(super) const POLL: Duration = Duration::from_millis(500);

pub(super) fn usage(why: impl Into<String>) -> KubectlError {
    KubectlError::Usage(why.into())
}

impl Kubectl {
    /// The objects of the files, in order.
    fn manifests(&self, names: &[String], files: Files<'_>) -> Result<Vec<(KindId, Value)>, KubectlError> {
        let mut found = Vec::new();
        for name in names {
            let text = files(name).ok_or_else(|| usage(format!("the path \"{name}\" does not exist")))?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                .map_err(|error| usage(format!("error parsing {name}: {}", error.without_snippet())))?;
            for document in documents.into_iter().filter(|document| !document.is_null()) {
                let word = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (version, kind) = (word("apiVersion"), word("kind"));
                let known = self.kinds.by_kind(&version, &kind).ok_or_else(|| {
                    usage(format!(
                        "resource mapping not found for name: \"{}\" namespace: \"{}\" from \"{name}\": no \
                         matches for kind \"{kind}\" in version \"{version}\"",
                        name_of(&document),
                        namespace_of(&document)
                    ))
                })?;
                found.push((known, document));
            }
        }
        Ok(found)
    }

    fn own_namespace<'a>(&self, object: &'a Value, namespace: &'a str) -> &'a str {
        let own = namespace_of(object);
        if own.is_empty() { namespace } else { own }
    }

    pub(super) async fn create(
        &self,
        file: &File,
        namespace: &str,
        files: Files<'_>,
        print: Print<'_>,
    ) -> Result<(), KubectlError> {
        for (kind, object) in self.manifests(&file.filename, files)? {
            let entry = self.kinds.get(kind);
            let path = entry.path(self.scope(kind, self.own_namespace(&object, namespace)));
            let made = self.send(Method::POST, path, Some(&object)).await?;
            print(&format!("{} created\n", title(entry, name_of(&made))));
        }
        Ok(())
    }

    pub(super) async fn apply(
        &self,
        file: &File,
        namespace: &str,
        files: Files<'_>,
        print: Print<'_>,
    ) -> Result<(), KubectlError> {
        for (kind, object) in self.manifests(&file.filename, files)? {
            let entry = self.kinds.get(kind);
            let namespace = self.own_namespace(&object, namespace);
            let path = self.path(kind, namespace, name_of(&object));
            let done = match self.send(Method::GET, path.clone(), None).await {
                Ok(live) => {
                    let strategic = "application/strategic-merge-patch+json";
                    let media = if entry.custom { "application/merge-patch+json" } else { strategic };
                    let next = self.patch(path, media, &object).await?;
                    let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
                    if version(&live) == version(&next) { "unchanged" } else { "configured" }
                }
                Err(error) if error.is_not_found() => {
                    self.send(Method::POST, entry.path(self.scope(kind, namespace)), Some(&object)).await?;
                    "created"
                }
                Err(error) => return Err(error.into()),
            };
            print(&format!("{} {done}\n", title(entry, name_of(&object))));
        }
        Ok(())
    }

    pub(super) async fn delete(
        &self,
        delete: &Delete,
        namespace: &str,
        files: Files<'_>,
        print: Print<'_>,
    ) -> Result<(), KubectlError> {
        let policy = match delete.cascade.as_str() {
            "background" => "Background",
            "foreground" => "Foreground",
            "orphan" => "Orphan",
            other => return Err(usage(format!("invalid cascade value ({other})"))),
        };
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let grace = delete.grace_period.or(delete.force.then_some(0)).filter(|grace| *grace >= 0);
        if grace == Some(0) && !delete.force {
            // Upstream turns it into 1 s and waits.
            options["gracePeriodSeconds"] = json!(1);
        } else if let Some(grace) = grace {
            options["gracePeriodSeconds"] = json!(grace);
        }
        // As upstream: all are deleted, whatever becomes of one, and then all are waited for.
        let (mut going, mut failed) = (Vec::new(), Vec::new());
        for (kind, name, namespace) in self.doomed(delete, namespace, files).await? {
            let entry = self.kinds.get(kind);
            let path = self.path(kind, &namespace, &name);
            match self.send(Method::DELETE, path.clone(), Some(&options)).await {
                Ok(answer) => {
                    let uid = answer.pointer("/details/uid").or(answer.pointer("/metadata/uid")).cloned();
                    let how = if delete.force { "force deleted" } else { "deleted" };
                    print(&format!("{} \"{name}\" {how}\n", singular(entry)));
                    going.push((path, uid));
                }
                Err(error) if delete.ignore_not_found && error.is_not_found() => {}
                Err(error @ ApiError::Status(_)) => failed.push(error),
                Err(error) => return Err(error.into()),
            }
        }
        if delete.wait && !delete.force {
            for (path, uid) in going {
                while let Some(object) = self.look(path.clone()).await? {
                    if object.pointer("/metadata/uid") != uid.as_ref() {
                        break;
                    }
                    sleep(POLL).await;
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(KubectlError::Several(failed)) }
    }

    /// What is to go.
    async fn doomed(
        &self,
        delete: &Delete,
        namespace: &str,
        files: Files<'_>,
    ) -> Result<Vec<(KindId, String, String)>, KubectlError> {
        if !delete.filename.is_empty() {
            let all = self.manifests(&delete.filename, files)?;
            let one = |(kind, o): &(KindId, Value)| {
                (*kind, name_of(o).to_owned(), self.own_namespace(o, namespace).to_owned())
            };
            return Ok(all.iter().map(one).collect());
        }
        let mut doomed = Vec::new();
        for target in self.targets(&delete.which.words)? {
            if !target.names.is_empty() {
                doomed.extend(target.names.iter().map(|name| (target.kind, name.clone(), namespace.to_owned())));
                continue;
            }
            if !delete.all && delete.which.selector.is_none() && delete.which.field_selector.is_none() {
                return Err(usage("resource(s) were provided, but no name was specified"));
            }
            let (objects, _) = self.fetch(&target, namespace, &delete.which).await?;
            doomed.extend(objects.iter().map(|o| (target.kind, name_of(o).to_owned(), namespace_of(o).to_owned())));
        }
        Ok(doomed)
    }

    pub(super) async fn look(&self, path: String) -> Result<Option<Value>, ApiError> {
        match self.send(Method::GET, path, None).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects that a taint or label is about, and the marks.
    async fn marked(&self, marks: &Marks, namespace: &str) -> Result<(KindId, Vec<Value>, Vec<String>), KubectlError> {
        let is_mark = |word: &String| word.contains('=') || word.ends_with('-') || word.contains(':');
        let (wanted, words): (Vec<String>, Vec<String>) = marks.words.iter().cloned().partition(is_mark);
        let target = self.targets(&words)?.into_iter().next().ok_or_else(|| usage("no resource type"))?;
        if target.names.is_empty() && !marks.all && marks.selector.is_none() {
            return Err(usage("one or more resources must be specified as <resource> <name> or <resource>/<name>"));
        }
        if wanted.is_empty() {
            return Err(usage("at least one label or taint update is required"));
        }
        let which = Which { words, selector: marks.selector.clone(), field_selector: None, all_namespaces: false };
        let (objects, _) = self.fetch(&target, namespace, &which).await?;
        Ok((target.kind, objects, wanted))
    }

    pub(super) async fn taint(&self, marks: &Marks, print: Print<'_>) -> Result<(), KubectlError> {
        let (kind, nodes, wanted) = self.marked(marks, "").await?;
        if self.kinds.get(kind).kind != "Node" {
            return Err(usage("invalid resource type, only node(s) is supported"));
        }
        for node in nodes {
            let name = name_of(&node);
            let old = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
            let (taints, added) = taints(name, old, &wanted, marks.overwrite)?;
            let body = json!({"spec": {"taints": taints}});
            self.patch(self.path(kind, "", name), "application/strategic-merge-patch+json", &body).await?;
            print(&format!("node/{name} {}\n", if added { "tainted" } else { "untainted" }));
        }
        Ok(())
    }

    pub(super) async fn label(&self, marks: &Marks, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let (kind, objects, wanted) = self.marked(marks, namespace).await?;
        for object in objects {
            let mut labels = serde_json::Map::new();
            let (mut set, mut unset) = (false, false);
            for mark in &wanted {
                if let Some((key, value)) = mark.split_once('=') {
                    let old = object.pointer("/metadata/labels").and_then(|labels| labels.get(key));
                    if let Some(old) = old.and_then(Value::as_str).filter(|old| *old != value && !marks.overwrite) {
                        return Err(usage(format!("'{key}' already has a value ({old}), and --overwrite is false")));
                    }
                    set |= old.and_then(Value::as_str) != Some(value);
                    labels.insert(key.into(), value.into());
                } else {
                    unset = true;
                    labels.insert(mark.trim_end_matches('-').into(), Value::Null);
                }
            }
            let path = self.path(kind, namespace_of(&object), name_of(&object));
            self.patch(path, "application/merge-patch+json", &json!({"metadata": {"labels": labels}})).await?;
            let done = if set {
                "labeled"
            } else if unset {
                "unlabeled"
            } else {
                "not labeled"
            };
            print(&format!("{} {done}\n", title(self.kinds.get(kind), name_of(&object))));
        }
        Ok(())
    }

    pub(super) async fn cordon(&self, node: &str, on: bool, print: Print<'_>) -> Result<(), KubectlError> {
        let node = node.strip_prefix("node/").unwrap_or(node);
        let path = self.path(self.kind("node")?, "", node);
        let now = self.send(Method::GET, path.clone(), None).await?;
        let is = now.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        let word = if on { "cordoned" } else { "uncordoned" };
        if is == on {
            print(&format!("node/{node} already {word}\n"));
            return Ok(());
        }
        let body = json!({"spec": {"unschedulable": if on { Value::Bool(true) } else { Value::Null }}});
        self.patch(path, "application/strategic-merge-patch+json", &body).await?;
        print(&format!("node/{node} {word}\n"));
        Ok(())
    }

    pub(super) async fn scale(&self, scale: &Scale, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let body = json!({"spec": {"replicas": scale.replicas}});
        for target in self.targets(&scale.words)? {
            for name in &target.names {
                let path = format!("{}/scale", self.path(target.kind, namespace, name));
                self.patch(path, "application/merge-patch+json", &body).await?;
                print(&format!("{} scaled\n", title(self.kinds.get(target.kind), name)));
            }
        }
        Ok(())
    }
}

/// The taints of a node after the marks, and whether any were added.
fn taints(
    node: &str,
    mut taints: Vec<Value>,
    wanted: &[String],
    overwrite: bool,
) -> Result<(Vec<Value>, bool), KubectlError> {
    let text = |taint: &Value, field: &str| taint.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut added = false;
    for mark in wanted {
        if let Some(gone) = mark.strip_suffix('-') {
            let (key, effect) = gone.split_once(':').map_or((gone, None), |(key, effect)| (key, Some(effect)));
            let key = key.split_once('=').map_or(key, |(key, _)| key);
            let before = taints.len();
            taints.retain(|taint| {
                text(taint, "key") != key || effect.is_some_and(|effect| text(taint, "effect") != effect)
            });
            if taints.len() == before {
                return Err(usage(format!("taint \"{gone}\" not found")));
            }
            continue;
        }
        let (pair, effect) = mark.rsplit_once(':').ok_or_else(|| usage(format!("invalid taint spec: {mark}")))?;
        if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            return Err(usage(format!("invalid taint effect: {effect}, unsupported taint effect")));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let same = |taint: &Value| text(taint, "key") == key && text(taint, "effect") == effect;
        if taints.iter().any(same) && !overwrite {
            let why = format!("node {node} already has {key} taint(s) with same effect(s) and --overwrite is false");
            return Err(usage(why));
        }
        taints.retain(|taint| !same(taint));
        let mut taint = json!({"key": key, "effect": effect});
        if !value.is_empty() {
            taint["value"] = value.into();
        }
        taints.push(taint);
        added = true;
    }
    Ok((taints, added))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_come_and_go_as_upstream() {
        let old = vec![json!({"key": "a", "effect": "NoSchedule"}), json!({"key": "a", "effect": "NoExecute"})];
        let after = |marks: &[&str], overwrite| {
            let marks: Vec<String> = marks.iter().map(ToString::to_string).collect();
            taints("n", old.clone(), &marks, overwrite).map(|(taints, added)| (taints.len(), added)).ok()
        };
        let rows = [
            (&["b=1:NoSchedule"][..], false, Some((3, true))),
            (&["a-"], false, Some((0, false))),
            (&["a:NoExecute-"], false, Some((1, false))),
            (&["b-"], false, None),
            (&["a=1:NoSchedule"], false, None),
            (&["a=1:NoSchedule"], true, Some((2, true))),
            (&["a=1:Never"], false, None),
            (&["a=1"], false, None),
        ];
        for (marks, overwrite, want) in rows {
            assert_eq!(after(marks, overwrite), want, "{marks:?}");
        }
    }
}
