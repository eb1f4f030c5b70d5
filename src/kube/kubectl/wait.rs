//! The commands that wait for others to act: `kubectl drain` and `kubectl wait`.
//!
//! Follows `pkg/drain` and `pkg/cmd/wait` of kubectl. Differs: both look again and again instead of watching.

use ::http::Method;
use serde_json::{Value, json};

use super::args::{Drain, Wait, Which};
use super::change::{POLL, usage};
use super::target::{Target, name_of, namespace_of, title};
use super::{Kubectl, KubectlError, Print, jsonpath};
use crate::kube::kind::Kind;
use crate::rt::time::{Duration, sleep, timeout};

impl Kubectl {
    pub(super) async fn drain(&self, drain: &Drain, print: Print<'_>) -> Result<(), KubectlError> {
        let node = drain.node.strip_prefix("node/").unwrap_or(&drain.node);
        self.cordon(node, true, print).await?;
        let pods = self.kind("pods")?;
        let which = Which {
            words: Vec::new(),
            selector: None,
            field_selector: Some(format!("spec.nodeName={node}")),
            all_namespaces: true,
        };
        let (found, _) = self.fetch(&Target { kind: pods, names: Vec::new() }, "", &which).await?;
        let mut leaving = Vec::new();
        let mut ignored = Vec::new();
        let mut refused = Vec::new();
        for pod in &found {
            let full = format!("{}/{}", namespace_of(pod), name_of(pod));
            let owner = pod
                .pointer("/metadata/ownerReferences")
                .and_then(Value::as_array)
                .and_then(|owners| owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true))));
            let daemon = owner.is_some_and(|owner| owner.get("kind").and_then(Value::as_str) == Some("DaemonSet"));
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
            let local = volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume.get("emptyDir").is_some()));
            match () {
                () if daemon && drain.ignore_daemonsets => ignored.push(full),
                () if daemon => {
                    refused.push(format!(
                        "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): {full}"
                    ));
                }
                () if local && !drain.delete_emptydir_data => {
                    let why = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
                    refused.push(format!("{why}: {full}"));
                }
                () if owner.is_none() && !drain.force => {
                    let why = "cannot delete Pods that declare no controller (use --force to override)";
                    refused.push(format!("{why}: {full}"));
                }
                () => leaving.push((
                    namespace_of(pod).to_owned(),
                    name_of(pod).to_owned(),
                    pod.pointer("/metadata/uid").cloned(),
                )),
            }
        }
        if !refused.is_empty() {
            return Err(usage(format!("unable to drain node \"{node}\" due to error: [{}]", refused.join(", "))));
        }
        if !ignored.is_empty() {
            print(&format!("Warning: ignoring DaemonSet-managed Pods: {}\n", ignored.join(", ")));
        }
        for (namespace, name, _) in &leaving {
            print(&format!("evicting pod {namespace}/{name}\n"));
            let mut eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}});
            if let Some(grace) = drain.grace_period.filter(|grace| *grace >= 0) {
                eviction["deleteOptions"] = json!({"gracePeriodSeconds": grace});
            }
            let path = format!("{}/eviction", self.path(pods, namespace, name));
            match self.send(Method::POST, path, Some(&eviction)).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        for (namespace, name, uid) in &leaving {
            while self
                .look(self.path(pods, namespace, name))
                .await?
                .is_some_and(|pod| pod.pointer("/metadata/uid") == uid.as_ref())
            {
                sleep(POLL).await;
            }
            print(&format!("pod/{name} evicted\n"));
        }
        print(&format!("node/{node} drained\n"));
        Ok(())
    }

    pub(super) async fn wait(&self, wait: &Wait, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let limit = span(&wait.timeout).ok_or_else(|| usage(format!("invalid duration \"{}\"", wait.timeout)))?;
        for target in self.targets(&wait.which.words)? {
            let names = if target.names.is_empty() {
                let (objects, _) = self.fetch(&target, namespace, &wait.which).await?;
                objects.iter().map(|object| name_of(object).to_owned()).collect()
            } else {
                target.names.clone()
            };
            for name in names {
                let path = self.path(target.kind, namespace, &name);
                let entry = self.kinds.get(target.kind);
                let met = async {
                    while !holds(&wait.condition, self.look(path.clone()).await?.as_ref(), entry, &name)? {
                        sleep(POLL).await;
                    }
                    Ok::<(), KubectlError>(())
                };
                match timeout(limit, met).await {
                    Ok(met) => met?,
                    Err(_) => {
                        let why = format!("timed out waiting for the condition on {}/{name}", entry.resource());
                        return Err(usage(why));
                    }
                }
                print(&format!("{} condition met\n", title(entry, &name)));
            }
        }
        Ok(())
    }
}

/// Whether `kubectl wait` is over.
fn holds(condition: &str, object: Option<&Value>, kind: &Kind, name: &str) -> Result<bool, KubectlError> {
    if condition == "delete" {
        return Ok(object.is_none());
    }
    let Some(object) = object else {
        return Err(usage(format!("Error from server (NotFound): {} \"{name}\" not found", kind.resource())));
    };
    if let Some(rest) = condition.strip_prefix("condition=") {
        let (type_, status) = rest.split_once('=').unwrap_or((rest, "True"));
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let text = |c: &Value, field: &str| c.get(field).and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let is = |c: &Value| text(c, "type") == type_.to_lowercase() && text(c, "status") == status.to_lowercase();
        return Ok(conditions.is_some_and(|conditions| conditions.iter().any(is)));
    }
    if let Some(rest) = condition.strip_prefix("jsonpath=") {
        let (template, want) = rest.rsplit_once("}=").map_or((rest, None), |(t, w)| (t, Some(w)));
        let template = if want.is_some() { format!("{template}}}") } else { template.to_owned() };
        let got = jsonpath::render(&template, object).map_err(usage)?;
        return Ok(want.map_or(!got.is_empty(), |want| got == want));
    }
    Err(usage(format!("unrecognized condition: \"{condition}\"")))
}

/// `30s`, `2m`, `1h30m`.
fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        let one = match &rest[digits..unit] {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_gos() {
        let rows = [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("5", None),
            ("", None),
            ("2d", None),
        ];
        for (text, want) in rows {
            assert_eq!(span(text).map(|span| span.as_millis()), want, "{text}");
        }
    }
}
