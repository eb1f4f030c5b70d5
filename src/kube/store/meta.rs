//! What clients may say about an object's metadata, and what only the server says.
//!
//! Follows apimachinery and apiserver: `rest.BeforeCreate`, `rest.BeforeUpdate`, `names.SimpleNameGenerator`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::failure::{FieldError, Refusal, conflict, forbidden_field, invalid, modified};
use super::object::Object;
use crate::base::Stream;
use crate::kube::kind::Kind;

pub(super) type Meta = ObjectMeta;

/// The letters of generated names: apimachinery's `rand.String`, without vowels and look-alikes.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Random letters of a generated name.
const SUFFIX: usize = 5;
/// A generated name's beginning is cut to this.
const GENERATED_MAX: usize = 63 - SUFFIX;

/// A time as objects hold it: whole seconds.
pub fn time(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// A random (version 4) UUID.
pub fn uid(chance: &mut Stream) -> String {
    let mut bytes = [0u8; 16];
    chance.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// `generateName` and five letters.
pub fn generated(base: &str, chance: &mut Stream) -> String {
    let end = base.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= GENERATED_MAX).last();
    let mut name = base[..end.unwrap_or(0)].to_owned();
    for _ in 0..SUFFIX {
        name.extend(chance.pick(LETTERS).map(|letter| char::from(*letter)));
    }
    name
}

/// What a new object's metadata becomes. The name is decided already.
pub fn begin(kind: &Kind, meta: &mut Meta, now: Timestamp, chance: &mut Stream) {
    meta.uid = Some(uid(chance));
    meta.creation_timestamp = Some(time(now));
    meta.generation = kind.has_generation.then_some(1);
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.managed_fields = None;
}

/// Takes over into `meta`, which a client sent, what only the server says, and refuses what it may not change.
pub fn carry_over(kind: &Kind, old: &Object, meta: &mut Meta) -> Result<(), Refusal> {
    let name = &old.key.name;
    if let Some(uid) = meta.uid.as_deref().filter(|uid| !uid.is_empty() && *uid != old.uid()) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
        return Err(conflict(kind, name, &why));
    }
    match meta.resource_version.as_deref().unwrap_or_default() {
        // Custom resources take no unconditional update.
        "" if kind.custom => {
            let why = "Invalid value: 0x0: must be specified for an update".to_owned();
            let field =
                FieldError { field: "metadata.resourceVersion".into(), reason: "FieldValueInvalid", message: why };
            return Err(invalid(kind, name, &[field]));
        }
        "" => {}
        version if version.parse() == Ok(old.version) => {}
        _ => return Err(modified(kind, name)),
    }
    if old.is_deleting() {
        let had = |finalizer: &&String| old.meta.finalizers.as_ref().is_some_and(|had| had.contains(finalizer));
        let new: Vec<&String> = meta.finalizers.iter().flatten().filter(|finalizer| !had(finalizer)).collect();
        if !new.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{new:?}"
            );
            return Err(invalid(kind, name, &[forbidden_field("metadata.finalizers", &why)]));
        }
    }
    let keep = &old.meta;
    meta.name.clone_from(&keep.name);
    meta.namespace.clone_from(&keep.namespace);
    meta.generate_name.clone_from(&keep.generate_name);
    meta.uid.clone_from(&keep.uid);
    meta.creation_timestamp.clone_from(&keep.creation_timestamp);
    meta.deletion_timestamp.clone_from(&keep.deletion_timestamp);
    meta.deletion_grace_period_seconds = keep.deletion_grace_period_seconds;
    meta.generation = keep.generation;
    meta.self_link = None;
    meta.managed_fields = None;
    tidy(meta);
    Ok(())
}

/// Empty collections are none at all, so that a write which says the same in other words changes nothing.
pub fn tidy(meta: &mut Meta) {
    meta.labels.take_if(|labels| labels.is_empty());
    meta.annotations.take_if(|annotations| annotations.is_empty());
    meta.finalizers.take_if(|finalizers| finalizers.is_empty());
    meta.owner_references.take_if(|owners| owners.is_empty());
}
