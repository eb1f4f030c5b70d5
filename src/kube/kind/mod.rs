//! What kinds of objects there are: one table, built-in kinds first, then custom ones.
//!
//! A kind that is not in the table is refused by name, by the API server and by everybody who reads manifests. An entry
//! says how the kind is called, where it lives, what its selectors may ask for, and how an object of it is decoded and
//! filled with defaults. It does not say what the kind means: that is for its controller.

pub mod body;
mod builtin;
pub mod defaults;
pub mod own;
pub mod strict;

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::digest::digest;
use super::json;

pub use body::Body;
pub use strict::Misfit;

/// Everything that a Kubernetes object's type must be: `k8s_openapi`'s types are, and those that derive `CustomResource`.
pub trait ApiObject:
    kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

impl<K> ApiObject for K where
    K: kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

/// A kind's place in its [`Kinds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindId(pub(super) usize);

/// An object's place among those of its kind. Ordered by namespace, then name, as lists are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Empty for kinds without namespaces.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// From its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// That of a typed object.
    pub fn of<K: ApiObject>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for ObjectKey {
    /// `namespace/name`, or `name`: client-go's `MetaNamespaceKeyFunc`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// An object taken apart: its metadata, and everything else but `metadata`.
pub type Parts = (ObjectMeta, Body);

/// A decoded object and the paths of its unknown fields.
pub type Decoded = Result<(Parts, Vec<String>), Misfit>;

/// One kind.
pub struct Kind {
    /// API group; empty for the core.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// `Pod`.
    pub kind: String,
    /// `pods`, as in paths and messages.
    pub plural: String,
    /// What kubectl takes instead: `po`.
    pub short_names: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its status is written by itself, at `…/status`.
    pub has_status: bool,
    /// Whether `metadata.generation` counts the changes of its spec.
    pub has_generation: bool,
    /// Where `…/scale` finds its numbers, if it has that.
    pub scale: Option<ScalePaths>,
    /// Whether it comes from a custom resource definition: no strategic merge, updates must name a version, and a status
    /// update changes nothing else.
    pub custom: bool,
    /// What field selectors may ask for beside name and namespace.
    pub fields: Vec<String>,
    /// The columns of kubectl's table, for custom kinds; built-in ones are in kubectl.
    pub columns: Vec<Column>,
    /// Whether decoding fills in defaults of its status.
    status_has_defaults: bool,
    decode: Decode,
    decode_own: DecodeOwn,
    /// Whether its type is known to have written a text.
    wrote: fn(&[u8]) -> bool,
}

/// Decodes, and fills in defaults if the object is whole.
type Decode = Box<dyn Fn(&Value) -> Decoded + Send + Sync>;

/// The same, out of the type's own JSON only.
type DecodeOwn = Box<dyn Fn(&[u8]) -> Option<Parts> + Send + Sync>;

/// The paths of a custom kind's scale subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// Usually `.spec.replicas`.
    pub spec: String,
    /// Usually `.status.replicas`.
    pub status: String,
    /// Of the label selector, as text, if there is one.
    pub selector: Option<String>,
}

/// A column that a custom resource definition asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Title; kubectl shows it in upper case.
    pub name: String,
    /// Where the value is: `.status.phase`.
    pub path: String,
    /// `string`, `integer`, `date`…
    pub type_: String,
    /// Above 0: only in `-o wide`.
    pub priority: i32,
}

impl Kind {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// As messages name it: `pods`, `statefulsets.apps`.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Decodes an object of this kind with its defaults, in canonical form: nothing that its type does not know, no nulls.
    ///
    /// # Errors
    /// A value that does not fit.
    pub fn decode(&self, value: &Value) -> Decoded {
        (self.decode)(value)
    }

    /// What [`Kind::decode`] gives, if `json` is what the kind's type writes to the last byte: then it has no field that the
    /// type does not know, and is read in one pass. Nothing for any other text.
    pub fn decode_own(&self, json: &[u8]) -> Option<Parts> {
        (self.decode_own)(json)
    }

    /// The same for a status update, which is about nothing else: what is neither metadata nor status may be missing.
    pub fn decode_own_status(&self, json: &[u8]) -> Option<Parts> {
        if !self.status_has_defaults && (self.wrote)(json) { own::status_parts(json) } else { self.decode_own(json) }
    }

    /// Whether a new object's status is dropped. Nodes keep theirs: kubelets register with it.
    pub fn begins_without_status(&self) -> bool {
        self.has_status && self.kind != "Node"
    }

    /// The path of its collection: `/apis/apps/v1/namespaces/x/statefulsets`; without a namespace, of all.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        let scope = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        format!("/{root}/{}/{scope}{}", self.api_version(), self.plural)
    }

    fn of<K: ApiObject>(defaults: fn(&mut K)) -> Self {
        let decode = move |value: &Value| {
            let (mut object, mut unknown) = strict::decode::<K>(value)?;
            // Types that derive CustomResource write these two and do not read them.
            unknown.retain(|path| path != "apiVersion" && path != "kind");
            defaults(&mut object);
            Ok((parts(object)?, unknown))
        };
        let decode_own = move |json: &[u8]| {
            let mut object: K = json::read(json).ok()?;
            if !own::wrote::<K>(json) {
                json::write(&object).ok().filter(|own| own == json)?;
            }
            defaults(&mut object);
            parts(object).ok()
        };
        Self {
            group: K::group(&()).into_owned(),
            version: K::version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            short_names: Vec::new(),
            namespaced: true,
            has_status: false,
            has_generation: false,
            scale: None,
            custom: false,
            fields: Vec::new(),
            columns: Vec::new(),
            status_has_defaults: false,
            decode: Box::new(decode),
            decode_own: Box::new(decode_own),
            wrote: own::wrote::<K>,
        }
    }

    /// A kind without defaults: what its type wrote is the whole object as it stands.
    fn plain<K: ApiObject>() -> Self {
        let mut kind = Self::of::<K>(|_| {});
        let by_type = std::mem::replace(&mut kind.decode_own, Box::new(|_| None));
        kind.decode_own = Box::new(move |json| if own::wrote::<K>(json) { own::parts(json) } else { by_type(json) });
        kind
    }

    /// From a type that derives `CustomResource`: everything comes from its definition.
    fn custom<K: ApiObject + CustomResourceExt>() -> Self {
        let crd = K::crd();
        let mut kind = Self::plain::<K>();
        kind.custom = true;
        kind.has_generation = true;
        kind.namespaced = crd.spec.scope == "Namespaced";
        kind.short_names = crd.spec.names.short_names.unwrap_or_default();
        let Some(version) = crd.spec.versions.into_iter().find(|version| version.name == kind.version) else {
            return kind;
        };
        if let Some(subresources) = version.subresources {
            kind.has_status = subresources.status.is_some();
            kind.scale = subresources.scale.map(|scale| ScalePaths {
                spec: scale.spec_replicas_path,
                status: scale.status_replicas_path,
                selector: scale.label_selector_path,
            });
        }
        let fields = version.selectable_fields.unwrap_or_default();
        kind.fields = fields.into_iter().map(|field| field.json_path.trim_start_matches('.').to_owned()).collect();
        let columns = version.additional_printer_columns.unwrap_or_default();
        kind.columns = columns
            .into_iter()
            .map(|column| Column {
                name: column.name,
                path: column.json_path,
                type_: column.type_,
                priority: column.priority.unwrap_or(0),
            })
            .collect();
        kind
    }
}

/// Takes an object apart.
fn parts<K: ApiObject>(mut object: K) -> Result<Parts, Misfit> {
    let meta = std::mem::take(object.meta_mut());
    let encoded = serde_json::to_value(&object).map_err(|error| misfit(&error))?;
    let Value::Object(mut body) = encoded else { return Err(misfit(&"is no object")) };
    body.remove("metadata");
    Ok((meta, body.into()))
}

fn misfit(what: &dyn std::fmt::Display) -> Misfit {
    Misfit { path: String::new(), what: what.to_string() }
}

/// All kinds that a cluster knows.
pub struct Kinds {
    all: Vec<Kind>,
    /// Their plurals' digests, in order: the table is long, and every request looks for its kind.
    plurals: Vec<(u64, KindId)>,
}

impl Kinds {
    /// Kubernetes' own.
    pub fn builtin() -> Self {
        let mut kinds = Self { all: Vec::new(), plurals: Vec::new() };
        builtin::table().into_iter().for_each(|kind| kinds.add(kind));
        kinds
    }

    fn add(&mut self, kind: Kind) {
        let entry = (digest(kind.plural.as_bytes()), KindId(self.all.len()));
        self.plurals.insert(self.plurals.partition_point(|other| *other < entry), entry);
        self.all.push(kind);
    }

    /// Adds a custom kind, as applying its definition would.
    #[must_use]
    pub fn with_custom<K: ApiObject + CustomResourceExt>(mut self) -> Self {
        self.add(Kind::custom::<K>());
        self
    }

    /// An entry.
    pub fn get(&self, id: KindId) -> &Kind {
        &self.all[id.0]
    }

    /// All of them, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (KindId, &Kind)> {
        self.all.iter().enumerate().map(|(index, kind)| (KindId(index), kind))
    }

    /// By what a manifest says.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<KindId> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        self.find(|entry| entry.kind == kind && entry.group == group && entry.version == version)
    }

    /// By what a path says.
    pub fn by_plural(&self, group: &str, version: &str, plural: &str) -> Option<KindId> {
        self.called(plural).find(|id| self.get(*id).group == group && self.get(*id).version == version)
    }

    /// Those of that plural, in the table's order.
    fn called(&self, plural: &str) -> impl Iterator<Item = KindId> {
        let digest = digest(plural.as_bytes());
        let from = self.plurals.partition_point(|(other, _)| *other < digest);
        let same = self.plurals[from..].iter().take_while(move |(other, _)| *other == digest);
        same.map(|(_, id)| *id).filter(move |id| self.get(*id).plural == plural)
    }

    /// By what a user types: `pod`, `pods`, `po`, `statefulsets.apps`, in any case of letters.
    pub fn by_word(&self, word: &str) -> Option<KindId> {
        // No name is taken twice, and programs use this one.
        if let Some(kind) = self.called(word).next() {
            return Some(kind);
        }
        let word = word.to_ascii_lowercase();
        let (name, group) = word.split_once('.').map_or((word.as_str(), None), |(name, group)| (name, Some(group)));
        self.find(|entry| {
            let named = entry.plural == name
                || entry.kind.eq_ignore_ascii_case(name)
                || entry.short_names.iter().any(|short| short == name);
            let in_group = |group: &str| {
                group == entry.group || group.strip_prefix(&entry.version) == Some(&format!(".{}", entry.group))
            };
            named && group.is_none_or(in_group)
        })
    }

    /// That of a type.
    pub fn of<K: ApiObject>(&self) -> Option<KindId> {
        self.by_plural(&K::group(&()), &K::version(&()), &K::plural(&()))
    }

    fn find(&self, is: impl Fn(&Kind) -> bool) -> Option<KindId> {
        self.all.iter().position(is).map(KindId)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn kinds_are_found_by_all_their_names() {
        let kinds = Kinds::builtin();
        let pod = kinds.of::<Pod>();
        assert!(pod.is_some());
        for word in ["po", "pod", "pods", "Pod", "PODS"] {
            assert_eq!(kinds.by_word(word), pod, "{word}");
        }
        let sets = kinds.of::<StatefulSet>().unwrap();
        for word in ["sts", "statefulset", "statefulsets.apps", "statefulset.v1.apps"] {
            assert_eq!(kinds.by_word(word), Some(sets), "{word}");
        }
        assert_eq!(kinds.by_kind("apps/v1", "StatefulSet"), Some(sets));
        for nothing in ["pod.apps", "gateways", "", "statefulsets.v2.apps"] {
            assert_eq!(kinds.by_word(nothing), None, "{nothing}");
        }
        assert_eq!(kinds.by_kind("apps/v1beta1", "StatefulSet"), None);
        assert_eq!(kinds.get(sets).resource(), "statefulsets.apps");
        assert_eq!(kinds.get(sets).path("default"), "/apis/apps/v1/namespaces/default/statefulsets");
    }

    #[test]
    fn no_name_is_taken_twice() {
        let kinds = Kinds::builtin();
        let mut names: Vec<&str> = Vec::new();
        for (_, kind) in kinds.iter() {
            names.push(&kind.plural);
            names.extend(kind.short_names.iter().map(String::as_str));
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        // Events are told twice upstream too, but only the core's are here.
        assert_eq!(names.len(), all);
    }
}
