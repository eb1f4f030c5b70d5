//! One pod's task: steps its machine and carries out what that asks for.
//!
//! Every action that takes time runs as a task of the worker's own and comes back as an event, so that the machine is
//! never kept waiting; all end with the worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use k8s_openapi::api::core::v1::ObjectReference;

use super::config::{Capacity, KubeletConfig};
use super::events::{Events, Notice};
use super::launch::Launcher;
use super::pod::{Action, Moment, Plan, PodEvent, PodMachine, Slot};
use super::pod_status::PodStatuses;
use super::probe::Probed;
use super::volumes::manager::VolumeManager;
use crate::base::lock;
use crate::kube::runtime::{ContainerId, Exit, ExitReason, PodId, Runtime, RuntimeError, SandboxSpec};
use crate::rt::chan::mpsc;
use crate::rt::task::{AbortHandle, Scope};
use crate::rt::time::{Duration, Instant, sleep, sleep_until, wall};
use crate::rt::{Either, select2};

/// The clocks now.
pub fn moment() -> Moment {
    Moment { mono: Instant::now().duration_since(origin()), wall: wall() }
}

fn origin() -> Instant {
    Instant::now() - Duration::MAX
}

/// What all workers of a kubelet share.
pub struct Shared {
    /// The kubelet's numbers.
    pub config: Arc<KubeletConfig>,
    /// The machine.
    pub runtime: Runtime,
    /// Volumes.
    pub volumes: VolumeManager,
    /// What users are told.
    pub events: Events,
    /// What the API server is told.
    pub statuses: PodStatuses,
    /// Starts containers.
    pub launcher: Launcher,
    /// What each admitted pod that is not over takes of the node, by uid.
    pub admitted: Mutex<BTreeMap<String, Capacity>>,
}

/// A pod's worker, until the machine is gone.
pub struct Worker {
    shared: Arc<Shared>,
    machine: PodMachine,
    /// The worker's own tasks answer here.
    sender: mpsc::UnboundedSender<PodEvent>,
    scope: Scope,
    mounting: Option<AbortHandle>,
}

/// The reference of events about a pod.
pub fn reference(id: &PodId) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(id.namespace.clone()),
        name: Some(id.name.clone()),
        uid: Some(id.uid.clone()),
        ..ObjectReference::default()
    }
}

impl Worker {
    /// A worker for `machine`; events come by the receiver whose sender is `sender`.
    pub fn new(shared: Arc<Shared>, machine: PodMachine, sender: mpsc::UnboundedSender<PodEvent>) -> Self {
        Self { shared, machine, sender, scope: Scope::new(), mounting: None }
    }

    /// Works. `first` is the plan of an adoption.
    pub async fn run(mut self, mut events: mpsc::UnboundedReceiver<PodEvent>, first: Plan) {
        let id = self.machine.id().clone();
        self.perform(first);
        loop {
            let plan = self.machine.step(moment());
            let wake = plan.wake;
            self.shared.statuses.set(&id, self.machine.status());
            self.perform(plan);
            if self.machine.is_over() {
                lock(&self.shared.admitted).remove(&id.uid);
            }
            if self.machine.is_gone() {
                break;
            }
            let until = wake.map(|wake| origin() + wake);
            let event = match until {
                Some(until) => match select2(events.recv(), sleep_until(until)).await {
                    Either::Left(event) => event,
                    Either::Right(()) => continue,
                },
                None => events.recv().await,
            };
            let Some(event) = event else { return };
            let plan = self.machine.tell(event, moment());
            self.perform(plan);
        }
        self.shared.statuses.forget(&id.uid);
        self.forget_sandboxes(&id.uid).await;
    }

    /// What is left of the pod in the runtime: records and logs.
    async fn forget_sandboxes(&self, uid: &str) {
        let Ok(found) = self.shared.runtime.list().await else { return };
        for status in found.into_iter().filter(|s| s.sandbox.pod.uid == uid) {
            let _ = self.shared.runtime.remove_sandbox(status.sandbox.id).await;
        }
    }

    fn perform(&mut self, plan: Plan) {
        plan.actions.into_iter().for_each(|action| self.act(action));
    }

    fn note(&self, warning: bool, reason: &str, message: String) {
        let object = reference(self.machine.id());
        self.shared.events.tell(Notice { object, warning, reason: reason.into(), message });
    }

    /// Runs `work` beside the worker and tells the machine of what it gives.
    fn begin(&self, name: &'static str, work: impl Future<Output = PodEvent> + Send + 'static) -> AbortHandle {
        let sender = self.sender.clone();
        // A worker that has ended hears nothing.
        let task = self.scope.spawn(name, work.map(move |event| drop(sender.send(event))));
        task.abort_handle()
    }

    fn act(&mut self, action: Action) {
        let (shared, id) = (self.shared.clone(), self.machine.id().clone());
        match action {
            Action::Note { warning, reason, message } => self.note(warning, reason, message),
            Action::MountVolumes => {
                let pod = self.machine.pod().clone();
                self.mounting = Some(self.begin("mount", async move {
                    let tell = |message| failed_mount(&shared.events, &id, message);
                    shared.volumes.mount_all(&pod, tell).await;
                    PodEvent::VolumesMounted
                }));
            }
            Action::TellUnmounted => {
                let names = self.shared.volumes.unmounted(&id.uid).join(" ");
                let message = format!(
                    "Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[], \
                     failed to process volumes=[]: timed out waiting for the condition"
                );
                self.note(true, "FailedMount", message);
            }
            Action::UnmountVolumes => {
                if let Some(mounting) = self.mounting.take() {
                    mounting.abort();
                }
                self.begin("unmount", async move {
                    let tell = |message: String| tracing::debug!(pod = %id, message, "volumes stay mounted");
                    shared.volumes.unmount_all(&id.uid, tell).await;
                    PodEvent::VolumesUnmounted
                });
            }
            Action::RunSandbox { attempt } => self.run_sandbox(attempt),
            Action::StopSandbox(sandbox) => {
                self.begin("sandbox", async move {
                    while shared.runtime.stop_sandbox(sandbox.clone()).await.is_err() {
                        sleep(Duration::from_secs(1)).await;
                    }
                    PodEvent::SandboxStopped
                });
            }
            Action::Pull(slot) => {
                let Some(container) = self.machine.container(slot).cloned() else { return };
                self.begin("pull", async move {
                    PodEvent::Pulled(slot, shared.launcher.pull(&id, &container, &shared.events).await)
                });
            }
            Action::Start { slot, attempt, sandbox } => {
                let Some(container) = self.machine.container(slot).cloned() else { return };
                let pod = self.machine.pod().clone();
                self.note(false, "Created", format!("Created container {}", container.name));
                self.begin("start", async move {
                    PodEvent::Started(slot, shared.launcher.start(&pod, &container, attempt, sandbox).await)
                });
            }
            Action::Watch(slot, container) => {
                self.begin("wait", async move { watch(&shared, slot, container).await });
            }
            Action::Signal(container, signal) => {
                self.scope.spawn("signal", async move {
                    while let Err(RuntimeError::Unavailable(_)) = shared.runtime.signal(container.clone(), signal).await
                    {
                        sleep(Duration::from_secs(1)).await;
                    }
                });
            }
            Action::Probe(slot, container, kind, spec) => {
                let (of, ip) = (self.machine.container(slot).cloned(), self.machine.ip());
                self.begin("probe", async move {
                    let answer = match (of, ip) {
                        (Some(of), Some(ip)) => shared.launcher.probe(&spec, &of, container.clone(), ip).await,
                        _ => Probed::Unknown,
                    };
                    PodEvent::Probed(slot, container, kind, answer)
                });
            }
            Action::PreStop(slot, container, hook, most) => {
                let (of, ip) = (self.machine.container(slot).cloned(), self.machine.ip());
                self.begin("preStop", async move {
                    let run = shared.launcher.hook(&hook, of.as_ref(), container.clone(), ip);
                    let message = match crate::rt::time::timeout(most, run).await {
                        Ok(Ok(())) => None,
                        Ok(Err(message)) => Some(message),
                        Err(_) => Some("it took longer than the grace period".into()),
                    };
                    if let Some(message) = message {
                        let message = format!("PreStopHook failed: {message}");
                        let (object, reason) = (reference(&id), "FailedPreStopHook".into());
                        shared.events.tell(Notice { object, warning: true, reason, message });
                    }
                    PodEvent::PreStopped(slot, container)
                });
            }
            Action::PostStart(slot, container, hook) => {
                let (of, ip, sender) = (self.machine.container(slot).cloned(), self.machine.ip(), self.sender.clone());
                self.scope.spawn("postStart", async move {
                    let run = shared.launcher.hook(&hook, of.as_ref(), container.clone(), ip);
                    if let Err(message) = run.await {
                        let _ = sender.send(PodEvent::PostStartFailed(slot, container, message));
                    }
                });
            }
            Action::Delete => self.shared.statuses.delete(&id.uid),
        }
    }

    fn run_sandbox(&self, attempt: u32) {
        let (shared, pod) = (self.shared.clone(), self.machine.pod());
        let spec = pod.spec.as_ref();
        let id = self.machine.id().clone();
        let request = SandboxSpec {
            attempt,
            hostname: spec.and_then(|s| s.hostname.clone()).unwrap_or_else(|| id.name.clone()),
            host_network: spec.and_then(|s| s.host_network).unwrap_or(false),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            annotations: pod.metadata.annotations.clone().unwrap_or_default(),
            pod: id,
        };
        self.begin("sandbox", async move {
            let answer = shared.runtime.run_sandbox(request).await;
            PodEvent::SandboxUp(answer.map_err(|error| error.to_string()))
        });
    }
}

fn failed_mount(events: &Events, id: &PodId, message: String) {
    events.tell(Notice { object: reference(id), warning: true, reason: "FailedMount".into(), message });
}

/// Waits for a container's end and for the next look at the runtime.
async fn watch(shared: &Shared, slot: Slot, container: ContainerId) -> PodEvent {
    let exit = loop {
        match shared.runtime.wait(container.clone()).await {
            Ok(exit) => break exit,
            Err(RuntimeError::Unavailable(_)) => sleep(Duration::from_secs(1)).await,
            Err(error) => {
                // The runtime has forgotten it: upstream's ContainerStatusUnknown.
                let message = format!("The container could not be located: {error}");
                break Exit { code: 137, reason: ExitReason::Error, finished: wall(), message };
            }
        }
    };
    let relist = shared.config.relist;
    if !relist.is_zero() {
        let past = moment().mono.as_nanos() % relist.as_nanos();
        sleep(relist.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or(0)))).await;
    }
    PodEvent::Exited(slot, container, exit)
}
