//! A container's environment and command line, with every reference resolved.
//!
//! Upstream's `makeEnvironmentVariables` and `expansion.Expand`: `envFrom` first, then `env` in order, later names win;
//! `$(NAME)` stands for an earlier variable, `$$` for `$`, and what is not known stays as it is written.
//! Rule: a value that comes from a Secret, or is made with one, is marked as such and stays out of what is printed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};

use crate::kube::runtime::EnvValue;

/// The objects that a pod's containers refer to, by name; those that are missing are absent.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct References {
    /// ConfigMaps of the pod's namespace.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets of the pod's namespace.
    pub secrets: BTreeMap<String, Secret>,
}

/// Names of the ConfigMaps and Secrets that a container's environment refers to.
pub fn referred(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
        maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    for list in [&mut maps, &mut secrets] {
        list.sort();
        list.dedup();
    }
    (maps, secrets)
}

/// What the node adds to what the objects say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The pod's address.
    pub pod_ip: String,
    /// The node's address.
    pub host_ip: String,
    /// The node's name.
    pub node: String,
}

/// The environment of `container`.
///
/// # Errors
/// The message of `CreateContainerConfigError`: which object or key is missing.
pub fn environment(
    container: &Container,
    pod: &Pod,
    refs: &References,
    facts: &Facts,
) -> Result<Vec<EnvValue>, String> {
    let mut env: Vec<EnvValue> = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match refs.config_maps.get(&reference.name) {
                Some(map) => {
                    env.extend(map.data.iter().flatten().map(|(k, v)| plain(format!("{prefix}{k}"), v.clone())))
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match refs.secrets.get(&reference.name) {
                Some(secret) => env.extend(secret_values(secret).map(|(k, value)| EnvValue {
                    name: format!("{prefix}{k}"),
                    value,
                    secret: true,
                })),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", reference.name)),
            }
        }
    }
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (_, Some(source)) => from_source(source, container, pod, refs, facts)?,
            (Some(text), None) => Some(expand(text, &env)),
            (None, None) => Some((String::new(), false)),
        };
        env.extend(value.map(|(value, secret)| EnvValue { name: var.name.clone(), value, secret }));
    }
    Ok(env)
}

fn plain(name: String, value: String) -> EnvValue {
    EnvValue { name, value, secret: false }
}

fn secret_values(secret: &Secret) -> impl Iterator<Item = (String, String)> + '_ {
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned()))
}

/// The value and whether it is secret; `None` for an optional one that is missing.
fn from_source(
    source: &EnvVarSource,
    container: &Container,
    pod: &Pod,
    refs: &References,
    facts: &Facts,
) -> Result<Option<(String, bool)>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        let value = field_value(&field.field_path, pod, facts);
        return value.map(|v| Some((v, false))).ok_or_else(|| format!("unsupported fieldPath: {}", field.field_path));
    }
    if let Some(field) = &source.resource_field_ref {
        let resources = super::admission::resources(container);
        let value = match field.resource.as_str() {
            "limits.cpu" => resources.cpu_milli_limit.map(|m| m.div_ceil(1000)),
            "requests.cpu" => resources.cpu_milli_request.map(|m| m.div_ceil(1000)),
            "limits.memory" => resources.memory_limit,
            "requests.memory" => resources.memory_request,
            other => return Err(format!("unsupported container resource : {other}")),
        };
        return Ok(Some((value.unwrap_or(0).to_string(), false)));
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        let Some(map) = refs.config_maps.get(&key.name) else {
            return if optional { Ok(None) } else { Err(format!("configmap \"{}\" not found", key.name)) };
        };
        return match map.data.as_ref().and_then(|d| d.get(&key.key)) {
            Some(value) => Ok(Some((value.clone(), false))),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        let Some(secret) = refs.secrets.get(&key.name) else {
            return if optional { Ok(None) } else { Err(format!("secret \"{}\" not found", key.name)) };
        };
        return match secret_values(secret).find(|(k, _)| *k == key.key) {
            Some((_, value)) => Ok(Some((value, true))),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)),
        };
    }
    Err("a valueFrom of a kind that is not simulated".into())
}

/// The downward API's value of a field path.
pub fn field_value(path: &str, pod: &Pod, facts: &Facts) -> Option<String> {
    let meta = &pod.metadata;
    let keyed = |list: &Option<BTreeMap<String, String>>, name: &str| {
        let key = path.strip_prefix(name)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(list.as_ref().and_then(|l| l.get(key)).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => Some(facts.node.clone()),
        "spec.serviceAccountName" => {
            Some(pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_default())
        }
        "status.podIP" | "status.podIPs" => Some(facts.pod_ip.clone()),
        "status.hostIP" | "status.hostIPs" => Some(facts.host_ip.clone()),
        _ => keyed(&meta.labels, "metadata.labels").or_else(|| keyed(&meta.annotations, "metadata.annotations")),
    }
}

/// `$(NAME)` replaced by the variable's value; gives whether a secret went in.
pub fn expand(text: &str, env: &[EnvValue]) -> (String, bool) {
    let (mut out, mut secret) = (String::with_capacity(text.len()), false);
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.iter().rfind(|var| var.name == name) {
                Some(var) => {
                    out.push_str(&var.value);
                    secret |= var.secret;
                }
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    (out, secret)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::{EnvVar, ObjectFieldSelector, SecretKeySelector};

    use super::*;

    #[test]
    fn references_are_expanded_as_upstream_does() {
        let env = [plain("A".into(), "1".into()), EnvValue { name: "S".into(), value: "x".into(), secret: true }];
        let rows = [
            ("$(A)-$(A)", "1-1", false),
            ("$$(A)", "$(A)", false),
            ("$(B) $A $", "$(B) $A $", false),
            ("$(A", "$(A", false),
            ("p=$(S)", "p=x", true),
            ("", "", false),
        ];
        for (text, want, secret) in rows {
            assert_eq!(expand(text, &env), (want.to_owned(), secret), "{text}");
        }
    }

    fn var(name: &str, source: EnvVarSource) -> EnvVar {
        EnvVar { name: name.into(), value: None, value_from: Some(source) }
    }

    #[test]
    fn a_secret_is_marked_and_not_printed() {
        let key = SecretKeySelector { name: "s".into(), key: "k".into(), optional: None };
        let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
        let derived = EnvVar { name: "D".into(), value: Some("<$(P)>".into()), value_from: None };
        let container = Container { env: Some(vec![var("P", source), derived]), ..Container::default() };
        let facts = Facts { pod_ip: "10.0.0.1".into(), host_ip: "10.0.0.9".into(), node: "n".into() };
        let mut refs = References::default();
        let missing = environment(&container, &Pod::default(), &refs, &facts);
        assert_eq!(missing, Err("secret \"s\" not found".into()));
        let data = [("k".to_owned(), ByteString(b"hunter2".to_vec()))];
        refs.secrets.insert("s".into(), Secret { data: Some(data.into()), ..Secret::default() });
        let env = environment(&container, &Pod::default(), &refs, &facts).unwrap();
        assert_eq!(env[1].value, "<hunter2>");
        assert!(!format!("{env:?}").contains("hunter2"), "{env:?}");
    }

    #[test]
    fn fields_of_the_pod_are_found() {
        let mut pod = Pod::default();
        pod.metadata.name = Some("m-0".into());
        pod.metadata.labels = Some([("a/b".to_owned(), "v".to_owned())].into());
        let facts = Facts { pod_ip: "10.0.0.1".into(), host_ip: "10.0.0.9".into(), node: "n".into() };
        let rows = [
            ("metadata.name", Some("m-0")),
            ("status.podIP", Some("10.0.0.1")),
            ("metadata.labels['a/b']", Some("v")),
            ("metadata.labels['none']", Some("")),
            ("spec.nodeName", Some("n")),
            ("metadata.color", None),
        ];
        for (path, want) in rows {
            let source = EnvVarSource {
                field_ref: Some(ObjectFieldSelector { field_path: path.into(), api_version: None }),
                ..EnvVarSource::default()
            };
            let container = Container { env: Some(vec![var("X", source)]), ..Container::default() };
            let got =
                environment(&container, &pod, &References::default(), &facts).ok().map(|env| env[0].value.clone());
            assert_eq!(got.as_deref(), want, "{path}");
        }
    }
}
