//! Which under-stores the masters lack, and when to look.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

use crate::kube::fluid::api::{DatasetSpec, EncryptOption};
use crate::kube::fluid::probe::UnderStoreMount;

/// A secret, or a key of it, is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret {secret} has no key {key}")]
pub struct NoSecret {
    /// Its name.
    pub secret: String,
    /// Which key.
    pub key: String,
}

/// The mounts that a dataset asks for, with their options: a mount's own before the shared ones.
///
/// # Errors
/// If a secret is missing.
pub fn wanted(spec: &DatasetSpec, secrets: &BTreeMap<String, Secret>) -> Result<Vec<UnderStoreMount>, NoSecret> {
    let value = |option: &EncryptOption| {
        let from = &option.value_from.secret_key_ref;
        let data = secrets.get(&from.name).and_then(|secret| secret.data.as_ref());
        let bytes = data.and_then(|data| data.get(&from.key));
        let missing = || NoSecret { secret: from.name.clone(), key: from.key.clone() };
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).ok_or_else(missing)?;
        Ok((option.name.clone(), text))
    };
    let one = |mount: &crate::kube::fluid::api::Mount| {
        // Cloned for each mount: upstream once wrote one mount's options into the map of all (F-12).
        let mut options = spec.shared_options.clone();
        options.extend(mount.options.clone());
        let encrypted = spec.shared_encrypt_options.iter().chain(&mount.encrypt_options);
        let secrets = encrypted.map(value).collect::<Result<_, NoSecret>>()?;
        Ok(UnderStoreMount {
            path: mount.path(),
            location: mount.mount_point.clone(),
            read_only: mount.read_only,
            shared: mount.shared,
            options,
            secrets,
        })
    };
    spec.mounts.iter().map(one).collect()
}

/// Names of the secrets that a dataset refers to.
pub fn secrets(spec: &DatasetSpec) -> Vec<String> {
    let own = spec.mounts.iter().flat_map(|mount| &mount.encrypt_options);
    let mut names: Vec<_> =
        own.chain(&spec.shared_encrypt_options).map(|option| option.value_from.secret_key_ref.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// What is wanted and not there, and what is there and not wanted. The root is never unmounted.
pub fn difference(wanted: &[UnderStoreMount], there: &[String]) -> (Vec<UnderStoreMount>, Vec<String>) {
    let missing = wanted.iter().filter(|mount| !there.contains(&mount.path)).cloned().collect();
    let needless = |path: &&String| path.as_str() != "/" && !wanted.iter().any(|mount| &mount.path == *path);
    (missing, there.iter().filter(needless).cloned().collect())
}

/// Whether master 0 was started after its mounts were made. Times have whole seconds and must differ, upstream as here: a
/// restart within the second of the mounting is not seen. Without a time there is nothing to compare, and no reason to
/// look.
pub fn outdated(mounted: Option<Timestamp>, started: Option<Timestamp>) -> bool {
    match (mounted, started) {
        (Some(mounted), Some(started)) => mounted.as_second() < started.as_second(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn spec() -> DatasetSpec {
        let secret = |name: &str, key: &str| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": "keys", "key": key } } });
        serde_json::from_value(json!({
            "mounts": [
                { "mountPoint": "oss://one/", "name": "one", "options": { "endpoint": "own" }, "encryptOptions": [secret("id", "a")] },
                { "mountPoint": "oss://two/", "name": "two", "path": "/second" },
            ],
            "sharedOptions": { "endpoint": "shared", "region": "r" },
            "sharedEncryptOptions": [secret("key", "b")],
        }))
        .expect("a spec")
    }

    fn keys(names: &[&str]) -> BTreeMap<String, Secret> {
        let data = names.iter().map(|name| (name.to_string(), ByteString(format!("value of {name}").into_bytes())));
        BTreeMap::from([("keys".to_string(), Secret { data: Some(data.collect()), ..Secret::default() })])
    }

    #[test]
    fn a_mounts_own_options_come_before_the_shared_and_stay_its_own() {
        let mounts = wanted(&spec(), &keys(&["a", "b"])).expect("all keys are there");
        let pick =
            |i: usize| (mounts[i].path.as_str(), mounts[i].options["endpoint"].as_str(), mounts[i].secrets.len());
        assert_eq!((pick(0), pick(1)), (("/one", "own", 2), ("/second", "shared", 1)));
        assert_eq!(mounts[0].secrets["id"], "value of a");
        assert_eq!(secrets(&spec()), ["keys"]);
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = wanted(&spec(), &keys(&["b"])).expect_err("no key a");
        assert_eq!(error.to_string(), "secret keys has no key a");
    }

    #[test]
    fn mounts_are_made_and_unmade_but_for_the_root() {
        let mounts = wanted(&spec(), &keys(&["a", "b"])).expect("all keys are there");
        let there = ["/", "/second", "/old"].map(String::from);
        let (missing, needless) = difference(&mounts, &there);
        assert_eq!(missing.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(), ["/one"]);
        assert_eq!(needless, ["/old"]);
    }

    #[test]
    fn a_restart_is_seen_by_whole_seconds() {
        let at = |millis| Some(Timestamp::from_millisecond(millis).expect("in range"));
        for (mounted, started, seen) in [
            (at(1_000), at(2_000), true),
            (at(1_100), at(1_900), false),
            (at(1_900), at(2_000), true),
            (at(2_000), at(1_000), false),
            (None, at(1_000), false),
            (at(1_000), None, false),
        ] {
            assert_eq!(outdated(mounted, started), seen, "{mounted:?} {started:?}");
        }
    }
}
