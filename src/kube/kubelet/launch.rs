//! Starts, probes and hooks containers by the runtime, from what their specs say.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, HTTPGetAction, LifecycleHandler, Pod, Secret, VolumeMount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::admission::resources;
use super::config::KubeletConfig;
use super::environment::{Facts, References, environment, expand, referred};
use super::events::{Events, Notice};
use super::pod::{PullFailure, StartFailure, pod_id};
use super::probe::{ProbeAction, ProbeSpec, Probed};
use super::volumes::manager::VolumeManager;
use super::worker::reference;
use crate::kube::client::{ApiError, Client};
use crate::kube::runtime::{
    ContainerId, ContainerMount, ContainerSpec, EnvValue, HttpGet, PodId, Propagation, Runtime, RuntimeError, Sandbox,
};
use crate::rt::chan::Mutex;
use crate::rt::time::{Duration, Instant, sleep, timeout};

/// Starts containers.
pub struct Launcher {
    /// To look up what environments refer to.
    pub client: Client,
    /// The machine.
    pub runtime: Runtime,
    /// Where volumes are.
    pub volumes: VolumeManager,
    /// The kubelet's numbers.
    pub config: Arc<KubeletConfig>,
    /// One pull at a time.
    pub pulls: Mutex<()>,
}

/// Upstream's default pull policy: `Always` for `:latest` and no tag, else `IfNotPresent`.
pub fn pull_policy(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = name.ends_with(":latest") || !name.contains([':', '@']);
    container.image_pull_policy.as_deref().unwrap_or(if latest { "Always" } else { "IfNotPresent" })
}

impl Launcher {
    /// Sees to it that the container's image is there.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn pull(&self, id: &PodId, container: &Container, events: &Events) -> Result<(), PullFailure> {
        let image = container.image.clone().unwrap_or_default();
        let tell = |message| {
            events.tell(Notice { object: reference(id), warning: false, reason: "Pulled".into(), message });
        };
        let failed = |error: RuntimeError| PullFailure::Pull(error.to_string());
        let policy = pull_policy(container);
        if policy != "Always" {
            if self.runtime.images().await.map_err(failed)?.iter().any(|i| i.name == image) {
                tell(format!("Container image \"{image}\" already present on machine"));
                return Ok(());
            }
            if policy == "Never" {
                return Err(PullFailure::NeverPull);
            }
        }
        let waited = Instant::now();
        let one = if self.config.serialize_image_pulls { Some(self.pulls.lock().await) } else { None };
        let message = format!("Pulling image \"{image}\"");
        events.tell(Notice { object: reference(id), warning: false, reason: "Pulling".into(), message });
        let began = Instant::now();
        let pulled = self.runtime.pull_image(image.clone()).await.map_err(failed)?;
        drop(one);
        let (took, all) = (began.elapsed(), waited.elapsed());
        let size = pulled.size;
        tell(format!(
            "Successfully pulled image \"{image}\" in {took:?} ({all:?} including waiting). Image size: {size} bytes."
        ));
        Ok(())
    }

    /// Starts a container.
    ///
    /// # Errors
    /// Why it does not run.
    pub async fn start(
        &self,
        pod: &Pod,
        container: &Container,
        attempt: u32,
        sandbox: Sandbox,
    ) -> Result<ContainerId, StartFailure> {
        let spec = self.spec(pod, container, attempt, sandbox).await?;
        self.runtime.start_container(spec).await.map_err(|error| match error {
            RuntimeError::Start(message) => StartFailure::Command(message),
            error => StartFailure::Runtime(error.to_string()),
        })
    }

    async fn spec(
        &self,
        pod: &Pod,
        container: &Container,
        attempt: u32,
        sandbox: Sandbox,
    ) -> Result<ContainerSpec, StartFailure> {
        let id = pod_id(pod);
        let refs = self.references(&id.namespace, container).await.map_err(|e| StartFailure::Runtime(e.to_string()))?;
        let facts = Facts {
            pod_ip: sandbox.ip.to_string(),
            host_ip: self.config.node.ip.to_string(),
            node: self.config.node.name.clone(),
        };
        let env = environment(container, pod, &refs, &facts).map_err(StartFailure::Config)?;
        let words = |list: &Option<Vec<String>>| list.iter().flatten().map(|w| expand(w, &env).0).collect();
        let mounts: Result<Vec<_>, _> =
            container.volume_mounts.iter().flatten().map(|mount| self.mount(&id.uid, mount, &env)).collect();
        let ports = container.ports.iter().flatten();
        let ports = ports.filter_map(|p| Some((p.name.clone()?, u16::try_from(p.container_port).ok()?))).collect();
        Ok(ContainerSpec {
            sandbox: sandbox.id,
            pod: id,
            name: container.name.clone(),
            attempt,
            image: container.image.clone().unwrap_or_default(),
            command: words(&container.command),
            args: words(&container.args),
            mounts: mounts.map_err(StartFailure::Config)?,
            env,
            working_dir: container.working_dir.clone(),
            resources: resources(container),
            ports,
            privileged: container.security_context.as_ref().and_then(|s| s.privileged).unwrap_or(false),
        })
    }

    fn mount(&self, uid: &str, mount: &VolumeMount, env: &[EnvValue]) -> Result<ContainerMount, String> {
        let volume = self.volumes.mounted(uid, &mount.name);
        let volume = volume.ok_or_else(|| format!("volume {} is not mounted", mount.name))?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (_, Some(text)) => Some(expand(text, env).0),
            (sub, None) => sub.clone(),
        };
        let sub = sub.filter(|sub| !sub.is_empty());
        if sub.as_ref().is_some_and(|sub| sub.starts_with('/') || sub.split('/').any(|part| part == "..")) {
            return Err(format!("failed to prepare subPath for volumeMount \"{}\"", mount.name));
        }
        Ok(ContainerMount {
            volume: mount.name.clone(),
            kind: volume.kind,
            source: sub.map_or_else(|| volume.path.clone(), |sub| format!("{}/{sub}", volume.path)),
            target: mount.mount_path.clone(),
            read_only: volume.read_only || mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        })
    }

    async fn references(&self, namespace: &str, container: &Container) -> Result<References, ApiError> {
        let (maps, secrets) = referred(container);
        let mut refs = References::default();
        for name in maps {
            let map: Option<ConfigMap> = self.client.find(namespace, &name).await?;
            refs.config_maps.extend(map.map(|map| (name, map)));
        }
        for name in secrets {
            let secret: Option<Secret> = self.client.find(namespace, &name).await?;
            refs.secrets.extend(secret.map(|secret| (name, secret)));
        }
        Ok(refs)
    }

    /// Asks a probe once.
    pub async fn probe(&self, spec: &ProbeSpec, of: &Container, container: ContainerId, ip: IpAddr) -> Probed {
        let ask = async {
            match &spec.action {
                ProbeAction::Exec(exec) => {
                    let output = self.runtime.exec(container, exec.command.clone().unwrap_or_default()).await;
                    match output {
                        Ok(output) if output.code == 0 => Probed::Success,
                        Ok(output) => Probed::Failure(format!("{}{}", output.stdout, output.stderr)),
                        Err(_) => Probed::Unknown,
                    }
                }
                ProbeAction::HttpGet(get) => match self.http_get(get, of, ip).await {
                    Ok(200..400) => Probed::Success,
                    Ok(status) => Probed::Failure(format!("HTTP probe failed with statuscode: {status}")),
                    Err(why) => Probed::Failure(why),
                },
                ProbeAction::TcpSocket(tcp) => {
                    let Some(port) = port(&tcp.port, of) else { return Probed::Unknown };
                    let to = tcp.host.as_ref().and_then(|host| host.parse().ok()).unwrap_or(ip);
                    match self.runtime.tcp_connect(to, port).await {
                        Ok(()) => Probed::Success,
                        Err(error) => Probed::Failure(format!("dial tcp {to}:{port}: {error}")),
                    }
                }
            }
        };
        let late = || match &spec.action {
            ProbeAction::Exec(_) => format!("command timed out after {}s", spec.timeout.as_secs()),
            _ => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into(),
        };
        timeout(spec.timeout, ask).await.unwrap_or_else(|_| Probed::Failure(late()))
    }

    async fn http_get(&self, get: &HTTPGetAction, of: &Container, ip: IpAddr) -> Result<u16, String> {
        let port = port(&get.port, of).ok_or("couldn't find port")?;
        let to = get.host.as_ref().and_then(|host| host.parse().ok()).unwrap_or(ip);
        let path = get.path.clone().filter(|p| !p.is_empty()).unwrap_or_else(|| "/".into());
        let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
        let url = format!("http://{to}:{port}{path}");
        let answer = self.runtime.http_get(HttpGet { ip: to, port, path, headers }).await;
        answer.map_err(|error| format!("Get \"{url}\": {error}"))
    }

    /// Runs a lifecycle hook.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn hook(
        &self,
        hook: &LifecycleHandler,
        of: Option<&Container>,
        container: ContainerId,
        ip: Option<IpAddr>,
    ) -> Result<(), String> {
        if let Some(exec) = &hook.exec {
            let output = self.runtime.exec(container, exec.command.clone().unwrap_or_default()).await;
            return match output.map_err(|error| error.to_string())? {
                output if output.code == 0 => Ok(()),
                output => Err(format!("command exited with {}: {}", output.code, output.stderr)),
            };
        }
        if let (Some(get), Some(of), Some(ip)) = (&hook.http_get, of, ip) {
            return match self.http_get(get, of, ip).await? {
                200..400 => Ok(()),
                status => Err(format!("HTTP hook failed with statuscode: {status}")),
            };
        }
        if let Some(pause) = &hook.sleep {
            sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        Err("invalid handler".into())
    }
}

/// A port by number or by the container's name for it.
fn port(port: &IntOrString, of: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let named = of.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.and_then(|p| u16::try_from(p.container_port).ok()).or_else(|| name.parse().ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        let rows = [
            ("nginx", None, "Always"),
            ("nginx:latest", None, "Always"),
            ("nginx:1.27", None, "IfNotPresent"),
            ("host:5000/nginx", None, "Always"),
            ("nginx@sha256:ab", None, "IfNotPresent"),
            ("nginx", Some("Never"), "Never"),
        ];
        for (image, policy, want) in rows {
            let container = Container {
                image: Some(image.into()),
                image_pull_policy: policy.map(Into::into),
                ..Container::default()
            };
            assert_eq!(pull_policy(&container), want, "{image}");
        }
    }
}
