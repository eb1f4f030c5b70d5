//! Create, update and patch.
//!
//! Follows apiserver's `registry/generic` and the strategies of each kind: a main update leaves the status, a status update
//! leaves everything else; the generation counts changes of the spec; an update that takes the last finalizer of a deleted
//! object removes it.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::failure::{
    Refusal, already_exists, bad_request, conflict, forbidden, invalid, method_not_allowed, not_found, required,
    unsupported_patch,
};
use super::meta::{self, Meta};
use super::object::Object;
use super::patch::Patch;
use super::{Store, admission, validate};
use crate::kube::kind::body::Field;
use crate::kube::kind::{Body, Kind, KindId, ObjectKey, Parts};

/// How often a generated name that is taken is drawn again: kube-apiserver's `RetryGenerateName`.
const NAME_DRAWS_MAX: usize = 8;

/// Which part of an object an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Whole,
    /// The status.
    Status,
}

/// What becomes of fields that the kind does not know. Upstream's `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validation {
    /// The write is refused, and every such field named. Differs: it is the default; upstream's is to warn.
    #[default]
    Strict,
    /// They are dropped.
    Ignore,
}

impl Store {
    /// Makes a new object.
    ///
    /// # Errors
    /// 400 or 422 for an object that does not fit its kind, 404 without its namespace, 409 if the name is taken.
    pub fn create(
        &mut self,
        kind_id: KindId,
        namespace: &str,
        mut value: Value,
        validation: Validation,
        now: Timestamp,
    ) -> Result<Arc<Object>, Refusal> {
        let kinds = self.kinds.clone();
        let kind = kinds.get(kind_id);
        made_in(kind, namespace)?;
        if kind.begins_without_status() {
            value.as_object_mut().map(|object| object.remove("status"));
        }
        let parts = decode(kind, &value, validation)?;
        self.create_decoded(kind_id, namespace, parts, now)
    }

    /// Makes a new object out of what was decoded already: without a status, if its kind [begins without
    /// one](Kind::begins_without_status).
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_decoded(
        &mut self,
        kind_id: KindId,
        namespace: &str,
        (mut meta, mut body): Parts,
        now: Timestamp,
    ) -> Result<Arc<Object>, Refusal> {
        let kinds = self.kinds.clone();
        let kind = kinds.get(kind_id);
        made_in(kind, namespace)?;
        place(kind, namespace, &mut meta)?;
        if !meta.resource_version.as_deref().unwrap_or_default().is_empty() {
            return Err(bad_request("resourceVersion should not be set on objects to be created"));
        }
        let key = self.name(kind_id, kind, &mut meta)?;
        validate::name(kind, &key.name)?;
        self.enter_namespace(kind, &key, now)?;
        if self.find(kind_id, &key).is_some() {
            return Err(already_exists(kind, &key.name));
        }
        meta::begin(kind, &mut meta, now, &mut self.chance);
        meta::tidy(&mut meta);
        admission::on_create(self, kind, &mut meta, &mut body);
        validate::object(kind, &key.name, &body)?;
        let object = self.put(kind_id, meta, body);
        self.check();
        Ok(object)
    }

    /// The object's name, drawn if it asks for that.
    fn name(&mut self, id: KindId, kind: &Kind, meta: &mut Meta) -> Result<ObjectKey, Refusal> {
        let namespace = meta.namespace.clone().unwrap_or_default();
        if let Some(name) = meta.name.clone().filter(|name| !name.is_empty()) {
            return Ok(ObjectKey { namespace, name });
        }
        let Some(base) = meta.generate_name.clone().filter(|base| !base.is_empty()) else {
            let mut missing = required("metadata.name");
            missing.message = "Required value: name or generateName is required".into();
            return Err(invalid(kind, "", &[missing]));
        };
        let mut key = ObjectKey { namespace, name: meta::generated(&base, &mut self.chance) };
        for _ in 1..NAME_DRAWS_MAX {
            if self.find(id, &key).is_none() {
                break;
            }
            key.name = meta::generated(&base, &mut self.chance);
        }
        meta.name = Some(key.name.clone());
        Ok(key)
    }

    /// NamespaceLifecycle: the namespace is there and stays.
    fn enter_namespace(&mut self, kind: &Kind, key: &ObjectKey, now: Timestamp) -> Result<(), Refusal> {
        let namespace_kind = self.kinds.by_kind("v1", "Namespace");
        let Some(namespaces) = namespace_kind.filter(|_| kind.namespaced) else { return Ok(()) };
        let namespace = ObjectKey::new("", key.namespace.clone());
        match self.find(namespaces, &namespace) {
            Some(found) if found.is_deleting() => {
                let why = format!(
                    "unable to create new content in namespace {} because it is being terminated",
                    key.namespace
                );
                Err(forbidden(kind, &key.name, &why))
            }
            Some(_) => Ok(()),
            None if self.config.namespaces_made => {
                let made = serde_json::json!({"metadata": {"name": key.namespace}});
                self.create(namespaces, "", made, Validation::Strict, now).map(drop)
            }
            None => Err(not_found(self.kinds.get(namespaces), &key.namespace)),
        }
    }

    /// Replaces an object, or its status.
    ///
    /// # Errors
    /// As [`Store::create`]; 404 if it is not there, 409 if the value names another version or uid.
    pub fn update(
        &mut self,
        id: KindId,
        key: &ObjectKey,
        value: &Value,
        part: Part,
        validation: Validation,
    ) -> Result<Arc<Object>, Refusal> {
        let old = self.to_update(id, key, part)?;
        let parts = decode(self.kinds.get(id), value, validation)?;
        self.update_old(id, &old, parts, part)
    }

    /// Replaces an object, or its status, by what was decoded already.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn update_decoded(
        &mut self,
        id: KindId,
        key: &ObjectKey,
        parts: Parts,
        part: Part,
    ) -> Result<Arc<Object>, Refusal> {
        let old = self.to_update(id, key, part)?;
        self.update_old(id, &old, parts, part)
    }

    fn to_update(&self, id: KindId, key: &ObjectKey, part: Part) -> Result<Arc<Object>, Refusal> {
        if part == Part::Status && !self.kinds.get(id).has_status {
            return Err(super::failure::no_such_resource());
        }
        self.get(id, key)
    }

    fn update_old(
        &mut self,
        id: KindId,
        old: &Arc<Object>,
        (mut meta, body): Parts,
        part: Part,
    ) -> Result<Arc<Object>, Refusal> {
        let kinds = self.kinds.clone();
        let (kind, key) = (kinds.get(id), &old.key);
        let name = meta.name.get_or_insert_with(|| key.name.clone());
        if *name != key.name {
            let why = format!("the name of the object ({name}) does not match the name on the URL ({})", key.name);
            return Err(bad_request(&why));
        }
        place(kind, &key.namespace, &mut meta)?;
        meta::carry_over(kind, old, &mut meta)?;
        let (meta, body) = match part {
            Part::Whole => whole(kind, old, meta, body)?,
            Part::Status => status(kind, old, meta, &body),
        };
        Ok(self.replace(id, old, meta, body))
    }

    /// Writes the next version of an object, or removes it if nothing keeps it; a version that says the same is not written.
    pub(super) fn replace(&mut self, id: KindId, old: &Arc<Object>, mut meta: Meta, body: Body) -> Arc<Object> {
        meta.resource_version.clone_from(&old.meta.resource_version);
        if meta == old.meta && body == old.body {
            return old.clone();
        }
        let over = meta.deletion_timestamp.is_some()
            && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
            && meta.finalizers.as_ref().is_none_or(Vec::is_empty);
        let object = self.put(id, meta, body);
        let object = if over { self.remove(id, &object.key).unwrap_or(object) } else { object };
        if over {
            self.finish_namespace(&object.key.namespace);
        }
        self.check();
        object
    }

    /// Changes an object, or its status, by a patch.
    ///
    /// # Errors
    /// As [`Store::update`]; 415 for a strategic merge of a custom kind; 422 for a patch that does not apply.
    pub fn patch(
        &mut self,
        id: KindId,
        key: &ObjectKey,
        patch: &Patch,
        part: Part,
        validation: Validation,
    ) -> Result<Arc<Object>, Refusal> {
        let kinds = self.kinds.clone();
        let kind = kinds.get(id);
        if kind.custom && matches!(patch, Patch::Strategic(_)) {
            return Err(unsupported_patch(&Patch::MEDIA_TYPES[..2]));
        }
        let old = self.get(id, key)?;
        // Of a pod, the spec is nearly all there is.
        let status_alone = part == Part::Status && !kind.custom && patch.is_of_status();
        let before = if status_alone { old.to_status_value() } else { old.to_value() };
        let patched = patch.apply(before).map_err(|why| super::failure::unprocessable(&why))?;
        self.update(id, key, &patched, part, validation)
    }
}

/// What a main update makes of an object.
fn whole(kind: &Kind, old: &Object, mut meta: Meta, mut body: Body) -> Result<Parts, Refusal> {
    if kind.has_status {
        match old.body.field("status") {
            Some(status) => body.insert("status", status.clone()),
            None => body.remove("status"),
        }
    }
    validate::update(kind, old, &body)?;
    if kind.has_generation && spec_differs(kind, &old.body, &body) {
        meta.generation = Some(meta.generation.unwrap_or(0).saturating_add(1));
    }
    Ok((meta, body))
}

fn spec_differs(kind: &Kind, old: &Body, new: &Body) -> bool {
    if !kind.custom {
        return old.field("spec") != new.field("spec");
    }
    fn rest(body: &Body) -> impl Iterator<Item = (&str, &Field)> {
        body.iter().filter(|(name, _)| *name != "status")
    }
    rest(old).ne(rest(new))
}

/// What a status update makes of an object: of built-in kinds, labels and annotations go with the status.
fn status(kind: &Kind, old: &Object, sent: Meta, sent_body: &Body) -> Parts {
    let mut meta = old.meta.clone();
    if !kind.custom {
        meta.labels = sent.labels;
        meta.annotations = sent.annotations;
    }
    let mut body = old.body.clone();
    match sent_body.field("status") {
        Some(status) => body.insert("status", status.clone()),
        None => body.remove("status"),
    }
    (meta, body)
}

/// Objects of namespaces are made in one.
fn made_in(kind: &Kind, namespace: &str) -> Result<(), Refusal> {
    if kind.namespaced && namespace.is_empty() { Err(method_not_allowed()) } else { Ok(()) }
}

/// Decodes what a client sent.
pub(super) fn decode(kind: &Kind, value: &Value, validation: Validation) -> Result<Parts, Refusal> {
    let cannot = |why: &str| {
        bad_request(&format!(
            "{} in version \"{}\" cannot be handled as a {}: {why}",
            kind.kind, kind.version, kind.kind
        ))
    };
    let (parts, unknown) = kind.decode(value).map_err(|misfit| cannot(&misfit.to_string()))?;
    if validation == Validation::Strict && !unknown.is_empty() {
        let fields: Vec<String> = unknown.iter().map(|field| format!("unknown field \"{field}\"")).collect();
        return Err(cannot(&format!("strict decoding error: {}", fields.join(", "))));
    }
    Ok(parts)
}

/// The namespace of the request is the object's, whatever it left open.
fn place(kind: &Kind, namespace: &str, meta: &mut Meta) -> Result<(), Refusal> {
    if !kind.namespaced {
        meta.namespace = None;
        return Ok(());
    }
    if meta.namespace.as_deref().is_some_and(|own| !own.is_empty() && own != namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(bad_request(why));
    }
    meta.namespace = Some(namespace.into());
    Ok(())
}

/// Refuses to work on an object of another version or uid than a client expects.
pub(super) fn precondition(
    kind: &Kind,
    object: &Object,
    uid: Option<&str>,
    version: Option<&str>,
) -> Result<(), Refusal> {
    let name = &object.key.name;
    if let Some(uid) = uid.filter(|uid| *uid != object.uid()) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object.uid());
        return Err(conflict(kind, name, &why));
    }
    if let Some(version) = version.filter(|version| version.parse() != Ok(object.version)) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            object.version
        );
        return Err(conflict(kind, name, &why));
    }
    Ok(())
}
