//! JSON that was written from its kind's own type: it has no field that the type does not know.
//!
//! Clients and the API server are one program here, so that the server need not find out again what the client's types
//! made sure of. What is remembered is a fact about a type and a text, true whoever asks and whenever; the newest are kept,
//! and who is not remembered is looked at.

use std::any::TypeId;
use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{Field, Name};
use super::{ApiObject, Body, Parts};
use crate::kube::digest::digest;
use crate::kube::json;

/// Texts that are remembered: more than are ever on their way at once.
const SLOTS: usize = 64;

const _: () = assert!(SLOTS.is_power_of_two());

thread_local! {
    static WRITTEN: RefCell<Vec<Option<Written>>> = const { RefCell::new(Vec::new()) };
}

/// A text and the type that wrote it.
struct Written {
    type_: TypeId,
    json: Bytes,
}

fn slot(json: &[u8]) -> usize {
    // The mask leaves less than SLOTS.
    digest(json) as usize & (SLOTS - 1)
}

/// The object's JSON.
///
/// # Errors
/// Its type cannot be written as JSON.
pub fn write<K: ApiObject>(object: &K) -> serde_json::Result<Bytes> {
    let json = json::write(object)?;
    WRITTEN.with_borrow_mut(|written| {
        written.resize_with(SLOTS, || None);
        written[slot(&json)] = Some(Written { type_: TypeId::of::<K>(), json: json.clone() });
    });
    Ok(json)
}

/// Whether `K` is known to have written this text.
pub(super) fn wrote<K: ApiObject>(json: &[u8]) -> bool {
    let same = |written: &Written| written.type_ == TypeId::of::<K>() && written.json == json;
    WRITTEN.with_borrow(|written| written.get(slot(json)).is_some_and(|at| at.as_ref().is_some_and(same)))
}

/// Takes an object apart as it stands.
pub(super) fn parts(json: &[u8]) -> Option<Parts> {
    take_apart(json, Fields { of_body: |_| true })
}

/// The same, of its body the status alone.
pub(super) fn status_parts(json: &[u8]) -> Option<Parts> {
    take_apart(json, Fields { of_body: |field| field == "status" })
}

fn take_apart(json: &[u8], fields: Fields) -> Option<Parts> {
    let mut deserializer = serde_json::Deserializer::from_str(json::text(json).ok()?);
    let parts = deserializer.deserialize_map(fields).ok()?;
    deserializer.end().ok()?;
    Some(parts)
}

/// Reads an object's metadata as its type, and those other fields that are wanted as they stand.
struct Fields {
    of_body: fn(&str) -> bool,
}

impl<'de> Visitor<'de> for Fields {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let (mut meta, mut body) = (ObjectMeta::default(), Body::default());
        while let Some(field) = map.next_key::<Name>()? {
            if &*field == "metadata" {
                meta = map.next_value()?;
            } else if (self.of_body)(&field) {
                body.insert(field, Field::of_text(map.next_value::<&RawValue>()?).map_err(A::Error::custom)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok((meta, body))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ControllerRevision;
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
    use serde_json::{Value, json};

    use super::*;
    use crate::kube::fluid::api::Dataset;
    use crate::kube::kind::Kinds;

    #[test]
    fn what_a_type_wrote_is_its_own_and_no_other_s() {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("what-a-type-wrote".into());
        let json = write(&map).unwrap();
        assert!(wrote::<ConfigMap>(&json));
        assert!(!wrote::<Secret>(&json));
        assert!(!wrote::<ConfigMap>(&json[1..]));
    }

    fn reads_its_own_as_any_other<K: ApiObject>(object: Value) {
        let kinds = crate::kube::fluid::kinds(Kinds::builtin());
        let kind = kinds.get(kinds.of::<K>().unwrap());
        let own = serde_json::to_vec(&serde_json::from_value::<K>(object).unwrap()).unwrap();
        let (parts, unknown) = kind.decode(&serde_json::from_slice(&own).unwrap()).unwrap();
        assert_eq!((kind.decode_own(&own), unknown), (Some(parts.clone()), Vec::new()), "{}", kind.kind);
        let typed: K = serde_json::from_slice(&own).unwrap();
        assert_eq!(write(&typed).unwrap(), own, "{}", kind.kind);
        assert_eq!(kind.decode_own(&own), Some(parts), "{}, known to be its own", kind.kind);
        let status_alone = |(meta, body): Parts| (meta, body.get("status").cloned());
        let got = kind.decode_own_status(&own).map(status_alone);
        assert_eq!(got, kind.decode_own(&own).map(status_alone), "{}, its status", kind.kind);
        let spaced = [&own[..], b" "].concat();
        assert_eq!(kind.decode_own(&spaced), None, "{}", kind.kind);
        let mut more: Value = serde_json::from_slice(&own).unwrap();
        more["fancy"] = json!(1);
        assert_eq!(kind.decode_own(more.to_string().as_bytes()), None, "{}", kind.kind);
    }

    #[test]
    fn kinds_say_whether_their_status_has_defaults() {
        let kinds = crate::kube::fluid::kinds(Kinds::builtin());
        for (_, kind) in kinds.iter().filter(|(_, kind)| kind.has_status && !kind.custom) {
            let (parts, _) = kind.decode(&json!({"metadata": {"name": "n"}, "spec": {}})).unwrap();
            assert_eq!(parts.1.get("status").is_some(), kind.status_has_defaults, "{}", kind.kind);
            // What else a status update takes.
            let taken = parts.0.labels.is_some() || parts.0.annotations.is_some();
            assert!(kind.status_has_defaults || !taken, "{}", kind.kind);
        }
    }

    #[test]
    fn the_json_of_its_type_is_decoded_as_any_other() {
        reads_its_own_as_any_other::<Pod>(json!({
            "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }));
        reads_its_own_as_any_other::<Lease>(json!({
            "metadata": {"name": "l", "resourceVersion": "7"},
            "spec": {"holderIdentity": "h", "renewTime": "2022-04-19T09:11:54.000001Z", "leaseTransitions": 0},
        }));
        reads_its_own_as_any_other::<Secret>(json!({"metadata": {"name": "s"}, "data": {"k": "dg=="}}));
        reads_its_own_as_any_other::<ControllerRevision>(json!({
            "metadata": {"name": "r"}, "revision": 1, "data": {"f": 0.5, "n": -1, "u": u64::MAX, "s": "\u{1f300}"},
        }));
        reads_its_own_as_any_other::<Service>(json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}));
        reads_its_own_as_any_other::<Dataset>(json!({
            "metadata": {"name": "d"}, "spec": {"mounts": [{"mountPoint": "https://mirror/", "name": "m"}]},
        }));
    }
}
