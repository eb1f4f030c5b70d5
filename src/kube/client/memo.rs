//! Objects by their JSON: what many watchers are told of is decoded once.
//!
//! A real control plane is many processes, and each decodes what it reads; here they are one thread. What is remembered is a
//! function of the bytes and of the type alone, and every byte is compared, so that neither the order of the readers nor
//! what another run left behind can show. The newest are kept: one object a slot, and each type has its own slots, so that
//! leases, of which there is a new one every second, push out nothing else and lie where the last ones lay.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kube::digest::digest;
use crate::kube::json;
use crate::kube::kind::ApiObject;

/// Objects of a type that are remembered: a change is read by all who watch within a second.
const SLOTS: usize = 64;

const _: () = assert!(SLOTS.is_power_of_two());

thread_local! {
    static MEMO: RefCell<Memo> = const { RefCell::new(Memo { by_type: BTreeMap::new() }) };
}

/// A decoded object and what it was decoded from.
struct Decoded {
    digest: u64,
    json: Box<[u8]>,
    object: Arc<dyn Any + Send + Sync>,
}

/// The objects that were decoded last.
struct Memo {
    by_type: BTreeMap<TypeId, Vec<Option<Decoded>>>,
}

impl Memo {
    fn decode<K: ApiObject>(&mut self, json: &[u8]) -> serde_json::Result<Arc<K>> {
        let digest = digest(json);
        let slots = self.by_type.entry(TypeId::of::<K>()).or_default();
        slots.resize_with(SLOTS, || None);
        // The mask leaves less than SLOTS.
        let slot = &mut slots[digest as usize & (SLOTS - 1)];
        let same = |known: &&Decoded| known.digest == digest && *known.json == *json;
        let known = slot.as_ref().filter(same).and_then(|known| known.object.clone().downcast::<K>().ok());
        if let Some(object) = known {
            return Ok(object);
        }
        let object: Arc<K> = Arc::new(json::read(json)?);
        *slot = Some(Decoded { digest, json: json.into(), object: object.clone() });
        Ok(object)
    }
}

/// The object that `json` is; the same one for whoever else asks.
///
/// # Errors
/// It is none of this kind.
pub fn decode<K: ApiObject>(json: &[u8]) -> serde_json::Result<Arc<K>> {
    MEMO.with_borrow_mut(|memo| memo.decode(json))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    use super::*;

    fn named(name: &str) -> Vec<u8> {
        format!(r#"{{"metadata":{{"name":"{name}"}}}}"#).into_bytes()
    }

    #[test]
    fn the_same_text_is_decoded_once_and_once_per_type() {
        let mut memo = Memo { by_type: BTreeMap::new() };
        let first: Arc<ConfigMap> = memo.decode(&named("a")).unwrap();
        let again: Arc<ConfigMap> = memo.decode(&named("a")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let secret: Arc<Secret> = memo.decode(&named("a")).unwrap();
        assert_eq!(secret.metadata.name.as_deref(), Some("a"));
        let other: Arc<ConfigMap> = memo.decode(&named("b")).unwrap();
        assert_eq!(other.metadata.name.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_pushed_out_is_decoded_again() {
        let mut memo = Memo { by_type: BTreeMap::new() };
        for round in 0..2 {
            for number in 0..SLOTS * 2 {
                let name = format!("object-{number}");
                let object: Arc<ConfigMap> = memo.decode(&named(&name)).unwrap();
                assert_eq!(object.metadata.name, Some(name), "round {round}");
            }
        }
        assert_eq!(memo.by_type.values().map(Vec::len).collect::<Vec<_>>(), [SLOTS]);
    }

    #[test]
    fn what_does_not_fit_is_refused_each_time() {
        let mut memo = Memo { by_type: BTreeMap::new() };
        for _ in 0..2 {
            assert!(memo.decode::<ConfigMap>(b"{\"metadata\":1}").is_err());
        }
    }
}
