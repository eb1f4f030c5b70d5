//! A pod on its node, from admission to the last trace of it, as a state machine with a time argument.
//!
//! [`PodMachine::tell`] takes an event, [`PodMachine::step`] says what is to be done and when to look again; [`worker`]
//! does it. Upstream's pod worker states: sync (volumes, sandbox, init containers in order, containers), terminating (all
//! containers killed within the grace), terminated (volumes unmounted), gone.
//! Rule: the object is deleted only after nothing of the pod is left on the node, so that a name is free only when its
//! process is dead.
//!
//! | file | what it is |
//! |---|---|
//! | [`action`] | events in, actions out |
//! | `container` | one container |
//! | [`status`] | phase and conditions |
//! | `adopt` | what a restarted kubelet finds running |
//!
//! [`worker`]: super::worker

pub mod action;

mod container;

pub mod status;

mod adopt;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};

pub use self::action::{Action, Moment, Plan, PodEvent, PullFailure, Slot, StartFailure};
pub use self::container::RestartPolicy;
use self::container::{ContainerMachine, State};
use self::status::{Picture, wall};
use super::config::PodConfig;
use crate::kube::runtime::{PodId, Sandbox};
use crate::rt::time::Duration;

/// Grace of a pod whose spec names none: 30 s.
const GRACE: Duration = Duration::from_secs(30);
/// Whatever is asked for, containers get that long: 1 s.
const GRACE_LEAST: Duration = Duration::from_secs(1);

/// Where a pod is.
#[derive(Debug, Clone, PartialEq)]
enum Life {
    /// Its containers are to run.
    Active,
    /// Its containers are to end by then, on the monotonic clock.
    Ending(Duration),
    /// They have ended for good; network and volumes go.
    Leaving,
    /// Nothing is left on the node; the object may be.
    Left,
}

/// The pod's network.
#[derive(Debug, Clone, PartialEq)]
enum Net {
    None { retry: Option<Duration> },
    Asked,
    Up(Sandbox),
    Stopping,
    Stopped,
}

/// The pod's volumes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Volumes {
    Unmounted,
    Mounting { told: Duration },
    Mounted,
    Unmounting,
    Gone,
}

/// A pod on its node.
#[derive(Debug, Clone, PartialEq)]
pub struct PodMachine {
    config: PodConfig,
    id: PodId,
    pod: Arc<Pod>,
    host_ip: String,
    life: Life,
    net: Net,
    sandboxes: u32,
    volumes: Volumes,
    containers: Vec<ContainerMachine>,
    inits: usize,
    fixed: Option<(&'static str, Option<String>, Option<String>)>,
    start: Moment,
    removed: bool,
    deleted: bool,
    status: PodStatus,
}

fn spec(pod: &Pod) -> Option<&PodSpec> {
    pod.spec.as_ref()
}

/// The pod's identity; empty texts where the object lacks them, which the API server never lets happen.
pub fn pod_id(pod: &Pod) -> PodId {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    PodId { namespace: text(&meta.namespace), name: text(&meta.name), uid: text(&meta.uid) }
}

fn seconds(value: Option<i64>) -> Option<Duration> {
    value.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs)
}

impl PodMachine {
    /// A pod that was admitted at `now` and has nothing on the node.
    pub fn new(config: PodConfig, pod: Arc<Pod>, host_ip: String, now: Moment) -> Self {
        let containers = |init| {
            let list: &[Container] = match (spec(&pod), init) {
                (Some(spec), true) => spec.init_containers.as_deref().unwrap_or_default(),
                (Some(spec), false) => &spec.containers,
                (None, _) => &[],
            };
            list.iter().map(|c| ContainerMachine::new(c.clone(), init, &config)).collect::<Vec<_>>()
        };
        let mut all = containers(true);
        let inits = all.len();
        all.extend(containers(false));
        let status = pod.status.clone().unwrap_or_default();
        let start = status.start_time.as_ref().map_or(now.wall, wall);
        let mut machine = Self {
            id: pod_id(&pod),
            config,
            pod,
            host_ip,
            life: Life::Active,
            net: Net::None { retry: None },
            sandboxes: 0,
            volumes: Volumes::Unmounted,
            containers: all,
            inits,
            fixed: None,
            start: Moment { mono: now.mono.saturating_sub(now.wall.saturating_sub(start)), wall: start },
            removed: false,
            deleted: false,
            status,
        };
        machine.take(machine.pod.clone(), now);
        machine
    }

    /// A pod that admission refused: Failed for good, nothing is started.
    pub fn rejected(
        config: PodConfig,
        pod: Arc<Pod>,
        host_ip: String,
        now: Moment,
        reason: &str,
        message: &str,
    ) -> Self {
        let mut machine = Self::new(config, pod, host_ip, now);
        let message = format!("Pod was rejected: {message}");
        machine.fixed = Some(("Failed", Some(reason.into()), Some(message)));
        machine.life = Life::Leaving;
        machine
    }

    /// Whose pod it is.
    pub fn id(&self) -> &PodId {
        &self.id
    }

    /// The object as last told.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// Its status, as of the last step.
    pub fn status(&self) -> &PodStatus {
        &self.status
    }

    /// The pod's address, while it has a network.
    pub fn ip(&self) -> Option<IpAddr> {
        self.sandbox().map(|sandbox| sandbox.ip)
    }

    /// The container at a slot.
    pub fn container(&self, slot: Slot) -> Option<&Container> {
        self.containers.get(slot).map(|c| &c.spec)
    }

    /// Nothing of it is left here and the object is gone: the machine can be forgotten.
    pub fn is_gone(&self) -> bool {
        self.life == Life::Left && self.removed
    }

    /// Its containers have ended for good: it takes no room on the node any more.
    pub fn is_over(&self) -> bool {
        matches!(self.life, Life::Leaving | Life::Left)
    }

    fn policy(&self) -> RestartPolicy {
        RestartPolicy::new(spec(&self.pod).and_then(|s| s.restart_policy.as_deref()))
    }

    /// Upstream's `calculateEffectiveGracePeriod`: a deletion without grace frees the name at once, and yet the containers
    /// have all the grace of the spec.
    fn grace(&self) -> Duration {
        let own = spec(&self.pod).and_then(|s| seconds(s.termination_grace_period_seconds)).unwrap_or(GRACE);
        let asked = seconds(self.pod.metadata.deletion_grace_period_seconds).filter(|asked| !asked.is_zero());
        asked.unwrap_or(own).max(GRACE_LEAST)
    }

    fn sandbox(&self) -> Option<&Sandbox> {
        match &self.net {
            Net::Up(sandbox) => Some(sandbox),
            _ => None,
        }
    }

    /// Takes a newer object. Of the spec only what may change counts: deletion.
    fn take(&mut self, pod: Arc<Pod>, now: Moment) {
        self.pod = pod;
        if self.pod.metadata.deletion_timestamp.is_some() {
            self.end(now, self.grace());
        }
    }

    /// Ends the pod, or shortens the grace of its end.
    fn end(&mut self, now: Moment, grace: Duration) {
        let by = now.mono.saturating_add(grace);
        self.life = match self.life {
            Life::Active => Life::Ending(by),
            Life::Ending(before) => Life::Ending(before.min(by)),
            Life::Leaving => Life::Leaving,
            Life::Left => Life::Left,
        };
    }

    /// Notes what happened. Follow with [`Self::step`].
    pub fn tell(&mut self, event: PodEvent, now: Moment) -> Plan {
        let mut plan = Plan::default();
        match event {
            PodEvent::Object(pod) => self.take(pod, now),
            PodEvent::Removed => {
                self.removed = true;
                self.end(now, self.grace());
            }
            PodEvent::Evict { reason, message, grace } => {
                if !self.is_over() {
                    self.fixed.get_or_insert(("Failed", Some(reason), Some(message)));
                    self.end(now, grace.min(self.grace()));
                }
            }
            PodEvent::VolumesMounted => {
                if matches!(self.volumes, Volumes::Mounting { .. }) {
                    self.volumes = Volumes::Mounted;
                }
            }
            PodEvent::VolumesUnmounted => {
                if self.volumes == Volumes::Unmounting {
                    self.volumes = Volumes::Gone;
                }
            }
            PodEvent::SandboxUp(Ok(sandbox)) => self.net = Net::Up(sandbox),
            PodEvent::SandboxUp(Err(message)) => {
                plan.warn("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}"));
                self.net = Net::None { retry: Some(now.mono.saturating_add(self.config.retry)) };
            }
            PodEvent::SandboxStopped => self.net = Net::Stopped,
            event => self.tell_container(event, now, &mut plan),
        }
        plan
    }

    fn tell_container(&mut self, event: PodEvent, now: Moment, plan: &mut Plan) {
        let (grace, net) = (self.grace(), self.sandbox().cloned());
        let slot = match &event {
            PodEvent::Pulled(slot, _) | PodEvent::Started(slot, _) | PodEvent::Exited(slot, ..) => *slot,
            PodEvent::Probed(slot, ..) | PodEvent::PreStopped(slot, _) | PodEvent::PostStartFailed(slot, ..) => *slot,
            _ => return,
        };
        let Some(container) = self.containers.get_mut(slot) else { return };
        match event {
            PodEvent::Pulled(_, result) if container.state == State::Pulling => {
                container.pulled(slot, now, result, net.as_ref(), plan);
            }
            PodEvent::Started(_, result) if container.state == State::Starting => {
                container.started(slot, now, result, plan);
            }
            PodEvent::Exited(_, id, exit) => container.exited(now, &id, &exit),
            PodEvent::Probed(_, id, kind, answer) => container.probed(slot, now, &id, (kind, &answer), grace, plan),
            PodEvent::PreStopped(_, id) => container.pre_stopped(now, &id, plan),
            PodEvent::PostStartFailed(_, id, message) if container.id() == Some(&id) => {
                plan.warn("FailedPostStartHook", format!("PostStartHook failed: {message}"));
                container.kill(slot, now, grace, "FailedPostStartHook", plan);
            }
            _ => {}
        }
    }

    /// Decides what is to be done now, and brings the status up to date.
    pub fn step(&mut self, now: Moment) -> Plan {
        let mut plan = Plan::default();
        self.check_deadline(now, &mut plan);
        if self.life == Life::Active {
            self.sync(now, &mut plan);
        }
        if let Life::Ending(by) = self.life {
            self.kill_all(now, by.saturating_sub(now.mono), &mut plan);
        }
        if self.life == Life::Leaving {
            self.leave(&mut plan);
        }
        let ending = self.life != Life::Active;
        for (slot, container) in self.containers.iter_mut().enumerate() {
            container.tend(slot, now, ending, &mut plan);
        }
        self.status = self.picture(now);
        let wanted_gone = self.pod.metadata.deletion_timestamp.is_some();
        if self.life == Life::Left && wanted_gone && !self.removed && !self.deleted {
            self.deleted = true;
            plan.push(Action::Delete);
        }
        plan
    }

    fn check_deadline(&mut self, now: Moment, plan: &mut Plan) {
        let Some(most) = spec(&self.pod).and_then(|s| seconds(s.active_deadline_seconds)) else { return };
        let deadline = self.start.mono.saturating_add(most);
        if self.life != Life::Active {
            return;
        }
        if deadline > now.mono {
            return plan.look_at(deadline);
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.fixed = Some(("Failed", Some("DeadlineExceeded".into()), Some(message.into())));
        self.end(now, self.grace());
    }

    /// Volumes, then the sandbox, then containers.
    fn sync(&mut self, now: Moment, plan: &mut Plan) {
        match self.volumes {
            Volumes::Unmounted => {
                plan.push(Action::MountVolumes);
                self.volumes = Volumes::Mounting { told: now.mono };
                return plan.look_at(now.mono.saturating_add(self.config.mount_timeout));
            }
            Volumes::Mounting { told } => {
                let mut due = told.saturating_add(self.config.mount_timeout);
                if due <= now.mono {
                    plan.push(Action::TellUnmounted);
                    self.volumes = Volumes::Mounting { told: now.mono };
                    due = now.mono.saturating_add(self.config.mount_timeout);
                }
                return plan.look_at(due);
            }
            _ => {}
        }
        match &self.net {
            Net::None { retry: Some(retry) } if *retry > now.mono => plan.look_at(*retry),
            Net::None { .. } | Net::Stopped => {
                plan.push(Action::RunSandbox { attempt: self.sandboxes });
                self.sandboxes = self.sandboxes.saturating_add(1);
                self.net = Net::Asked;
            }
            Net::Asked | Net::Stopping => {}
            Net::Up(_) => self.sync_containers(now, plan),
        }
    }

    fn sync_containers(&mut self, now: Moment, plan: &mut Plan) {
        let policy = self.policy();
        let (init, main) = self.containers.split_at_mut(self.inits);
        let begun = main.iter().any(|c| c.attempt.is_some());
        let good = |c: &ContainerMachine| c.end().is_some_and(|end| end.exit_code == 0);
        if let Some((slot, container)) = init.iter_mut().enumerate().find(|(_, c)| !begun && !good(c)) {
            container.drive(slot, now, policy, plan);
            let failed = container.end().is_some_and(|end| !policy.restarts(true, end.exit_code));
            if failed {
                self.life = Life::Leaving;
            }
            return;
        }
        for (n, container) in main.iter_mut().enumerate() {
            container.drive(self.inits + n, now, policy, plan);
        }
        if main.iter().all(|c| c.end().is_some_and(|end| !policy.restarts(false, end.exit_code))) {
            self.life = Life::Leaving;
        }
    }

    /// All containers at once, each with its own hook; what has not begun never does.
    fn kill_all(&mut self, now: Moment, grace: Duration, plan: &mut Plan) {
        for (slot, container) in self.containers.iter_mut().enumerate() {
            container.give_up();
            let why = format!("Stopping container {}", container.spec.name);
            container.kill(slot, now, grace, &why, plan);
        }
        if !self.containers.iter().any(ContainerMachine::is_up) && self.net != Net::Asked {
            self.life = Life::Leaving;
        }
    }

    fn leave(&mut self, plan: &mut Plan) {
        if let Net::Up(sandbox) = &self.net {
            plan.push(Action::StopSandbox(sandbox.id.clone()));
            self.net = Net::Stopping;
        }
        if self.net == Net::Stopping {
            return;
        }
        match self.volumes {
            Volumes::Unmounted => self.volumes = Volumes::Gone,
            Volumes::Mounting { .. } | Volumes::Mounted => {
                plan.push(Action::UnmountVolumes);
                self.volumes = Volumes::Unmounting;
            }
            Volumes::Unmounting | Volumes::Gone => {}
        }
        if self.volumes == Volumes::Gone {
            self.life = Life::Left;
        }
    }

    fn picture(&self, now: Moment) -> PodStatus {
        let (policy, ending) = (self.policy(), self.life != Life::Active);
        let waiting = if self.inits > 0 { "PodInitializing" } else { "ContainerCreating" };
        let (init, main) = self.containers.split_at(self.inits);
        let rows = |list: &[ContainerMachine]| list.iter().map(|c| c.status(policy, ending, waiting)).collect();
        // The address stays in the status of an ended pod.
        let ip = match &self.net {
            Net::Up(sandbox) => Some(sandbox.ip.to_string()),
            _ => self.status.pod_ip.clone(),
        };
        status::status(Picture {
            pod: &self.pod,
            before: &self.status,
            policy,
            init: rows(init),
            main: rows(main),
            over: self.is_over(),
            fixed: self.fixed.clone().filter(|_| self.is_over()),
            ip,
            host_ip: self.host_ip.clone(),
            start: Some(self.start.wall),
            now: now.wall,
        })
    }
}
