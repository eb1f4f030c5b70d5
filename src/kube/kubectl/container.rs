//! `kubectl exec` and `kubectl logs`.
//!
//! Differs: upstream goes through the API server, which passes the connection on to the kubelet; here the API server is
//! asked for the pod and its node's address, and the kubelet is called directly, so that a user who is cut off from a node
//! sees what upstream's API server would.

use ::http::Method;
use bytes::Bytes;
use serde_json::Value;

use super::args::{Exec, Logs};
use super::change::usage;
use super::columns::list;
use super::{Kubectl, KubectlError, Print};
use crate::kube::client::{ApiError, Client, ClientConfig, JSON};
use crate::kube::kubelet::server::PORT;
use crate::kube::query;
use crate::rt::net;
use crate::rt::time::{Duration, timeout};

/// kube-apiserver's dial timeout.
const DIAL: Duration = Duration::from_secs(30);
/// A command may take so long: the kubelet's `streamingConnectionIdleTimeout` of 4 h.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

const DEPRECATED: &str = "kubectl exec [POD] [COMMAND] is DEPRECATED and will be removed in a future version. Use kubectl \
    exec [POD] -- [COMMAND] instead.\n";

/// Where a container runs.
struct Place {
    pod: Value,
    name: String,
    container: String,
    /// What kubectl says about its choice; may be empty.
    notice: String,
}

impl Place {
    fn path(&self, verb: &str, namespace: &str) -> String {
        format!("/{verb}/{namespace}/{}/{}", self.name, self.container)
    }
}

impl Kubectl {
    pub(super) async fn exec(&self, exec: &Exec, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let (word, rest) = exec.words.split_first().ok_or_else(|| usage("pod or type/name must be specified"))?;
        let command = [rest, &exec.command].concat();
        if command.is_empty() {
            return Err(usage("you must specify at least one command for the container"));
        }
        let place = self.place(word, exec.container.as_deref(), namespace).await?;
        let phase = place.pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
            return Err(usage(why));
        }
        let mut query = String::new();
        command.iter().for_each(|word| query::push(&mut query, "command", word));
        let target = format!("{}?{query}", place.path("exec", namespace));
        let answer = match self.kubelet(&place, Method::POST, target).await {
            Err(KubectlError::Server(ApiError::Status(status))) if status.reason == "NotFound" => {
                return Err(usage(format!("unable to upgrade connection: {}", status.message)));
            }
            Err(KubectlError::Server(ApiError::Status(status))) if status.reason == "InternalError" => {
                return Err(usage(format!(
                    "Internal error occurred: error executing command in container: {}",
                    status.message
                )));
            }
            other => other?,
        };
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| ApiError::Malformed(format!("column {}", error.column())))?;
        let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default();
        let code = answer.get("code").and_then(Value::as_i64).unwrap_or(0);
        let mut stderr = if rest.is_empty() { String::new() } else { DEPRECATED.to_owned() };
        stderr.push_str(&place.notice);
        print(text("stdout"));
        if exec.tty {
            print(text("stderr"));
        } else {
            stderr.push_str(text("stderr"));
        }
        if code == 0 && stderr.is_empty() {
            return Ok(());
        }
        // A shell sees the lowest eight bits.
        Err(KubectlError::Command { stderr, code: (code & 0xff) as u8 })
    }

    pub(super) async fn logs(&self, logs: &Logs, namespace: &str, print: Print<'_>) -> Result<(), KubectlError> {
        let (word, container) = match &logs.words[..] {
            [word] => (word, logs.container.as_deref()),
            [word, container] if logs.container.is_none() => (word, Some(container.as_str())),
            [_, _] => return Err(usage("only one of -c or an inline [CONTAINER] arg is allowed")),
            _ => return Err(usage("expected 'logs (POD | TYPE/NAME) [CONTAINER_NAME]'")),
        };
        let place = self.place(word, container, namespace).await?;
        if let Some(why) = unreadable(&place, logs.previous) {
            return Err(refused(why));
        }
        let mut query = String::new();
        if logs.tail >= 0 {
            query::push(&mut query, "tailLines", &logs.tail.to_string());
        }
        if logs.previous {
            query::push(&mut query, "previous", "true");
        }
        let mut target = place.path("containerLogs", namespace);
        if !query.is_empty() {
            target = format!("{target}?{query}");
        }
        let text = self.kubelet(&place, Method::GET, target).await?;
        print(&String::from_utf8_lossy(&text));
        if place.notice.is_empty() { Ok(()) } else { Err(KubectlError::Command { stderr: place.notice, code: 0 }) }
    }

    /// Finds the pod and chooses the container.
    async fn place(&self, word: &str, container: Option<&str>, namespace: &str) -> Result<Place, KubectlError> {
        let name = match word.split_once('/') {
            None => word,
            Some(("pod" | "pods" | "po", name)) => name,
            Some((other, _)) => return Err(usage(format!("{other} is not supported here: name a pod"))),
        };
        let kind = self.kind("pods")?;
        let pod = self.send(Method::GET, self.path(kind, namespace, name), None).await?;
        let names = |field: &str| -> Vec<String> {
            let all = list(&pod, field).iter().filter_map(|container| container.get("name")?.as_str());
            all.map(str::to_owned).collect()
        };
        let (main, init) = (names("/spec/containers"), names("/spec/initContainers"));
        let chosen = pod.pointer("/metadata/annotations/kubectl.kubernetes.io~1default-container");
        let chosen = chosen.and_then(Value::as_str).filter(|name| main.iter().any(|own| own == name));
        let mut notice = String::new();
        let container = match container {
            Some(named) if main.iter().chain(&init).any(|own| own == named) => named.to_owned(),
            Some(named) => return Err(refused(format!("container {named} is not valid for pod {name}"))),
            None => {
                let first = chosen.or(main.first().map(String::as_str)).unwrap_or_default().to_owned();
                if chosen.is_none() && main.len() + init.len() > 1 {
                    let init = init.iter().map(|name| format!("{name} (init)"));
                    let all: Vec<_> = main.iter().cloned().chain(init).collect();
                    notice = format!("Defaulted container \"{first}\" out of: {}\n", all.join(", "));
                }
                first
            }
        };
        let name = name.to_owned();
        Ok(Place { pod, name, container, notice })
    }

    /// One request to the kubelet of the pod's node.
    async fn kubelet(&self, place: &Place, method: Method, target: String) -> Result<Bytes, KubectlError> {
        let node = place.pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if node.is_empty() {
            return Err(refused(format!("pod {} does not have a host assigned", place.name)));
        }
        let node = self.send(Method::GET, self.path(self.kind("nodes")?, "", node), None).await?;
        let internal = list(&node, "/status/addresses").iter().find(|address| address["type"] == "InternalIP");
        let address = internal.and_then(|address| address.get("address")).and_then(Value::as_str).unwrap_or_default();
        let host_port = format!("{address}:{PORT}");
        let dial = |why: String| {
            let why = format!("dial tcp {host_port}: {why}");
            let logs = format!("Get \"https://{host_port}{target}\": {why}");
            let message = if method == Method::GET { logs } else { format!("error dialing backend: {why}") };
            KubectlError::Backend(message)
        };
        match timeout(DIAL, net::connect(&host_port)).await {
            Err(_) => return Err(dial("i/o timeout".into())),
            Ok(Err(error)) => return Err(dial(format!("connect: {}", dialled(&error)))),
            Ok(Ok(_)) => {}
        }
        let config = ClientConfig { request_timeout: LONGEST, ..ClientConfig::default() };
        Client::with_config(host_port.as_str(), config)
            .raw(method.clone(), target.clone(), JSON, Bytes::new())
            .await
            .map_err(|error| match error {
                ApiError::Connect(why) => dial(format!("connect: {why}")),
                other => other.into(),
            })
    }
}

/// As Go words it.
fn dialled(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        std::io::ErrorKind::TimedOut => "connection timed out".into(),
        _ => error.to_string(),
    }
}

/// The server's 400.
fn refused(why: String) -> KubectlError {
    KubectlError::BadRequest(why)
}

/// Why there are no logs: `validateContainerLogStatus` of the kubelet.
fn unreadable(place: &Place, previous: bool) -> Option<String> {
    let Place { pod, name, container, .. } = place;
    let whose = format!("container \"{container}\" in pod \"{name}\"");
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|field| list(pod, field));
    let Some(status) = statuses.find(|status| status["name"] == container.as_str()) else {
        // Without a node the next step says so.
        let bound = pod.pointer("/spec/nodeName").is_some();
        return bound.then(|| format!("{whose} is not available"));
    };
    let there = |field: &str| status.pointer(field).is_some_and(|state| !state.is_null());
    let before = there("/lastState/terminated");
    if previous {
        return (!before).then(|| format!("previous terminated {whose} not found"));
    }
    if before || there("/state/running") || there("/state/terminated") {
        return None;
    }
    Some(match status.pointer("/state/waiting/reason").and_then(Value::as_str) {
        Some("ErrImagePull") => format!("{whose} is waiting to start: image can't be pulled"),
        Some("ImagePullBackOff") => format!("{whose} is waiting to start: trying and failing to pull image"),
        Some(reason) => format!("{whose} is waiting to start: {reason}"),
        None => format!("{whose} is waiting to start - no logs yet"),
    })
}
