//! One container of a pod: pulled, started, probed, killed, restarted with back-off.
//!
//! Upstream's `kuberuntime_manager` and `prober` for a single container, as a state machine. Rule: at most one container
//! of a slot is being started or runs; the next attempt begins only after the end of the last one is known.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStateRunning, ContainerStateTerminated};
use k8s_openapi::api::core::v1::{ContainerStateWaiting, ContainerStatus};

use super::super::backoff::Backoff;
use super::super::config::PodConfig;
use super::super::probe::{ProbeKind, ProbeSpec, ProbeState, Probed};
use super::action::{Action, Moment, Plan, PullFailure, Slot, StartFailure};
use super::status::time;
use crate::kube::runtime::{ContainerId, Exit, Sandbox, Signal};
use crate::rt::time::Duration;

/// `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever the end was.
    Always,
    /// After an end with another code than 0.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    /// As the spec says; `Always` is the default.
    pub fn new(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended so is started again.
    pub fn restarts(self, init: bool, code: i32) -> bool {
        match self {
            Self::Always => !init || code != 0,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Where a container is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// Nothing is under way.
    Waiting { reason: Option<&'static str>, message: Option<String>, retry: Option<Duration> },
    /// Its image is being seen to.
    Pulling,
    /// The runtime is starting it.
    Starting,
    /// It runs.
    Running { id: ContainerId, started: Moment, kill: Option<Kill> },
    /// It ended, when by the monotonic clock, and how.
    Ended { at: Duration, end: ContainerStateTerminated, told: bool },
}

/// A kill that is under way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kill {
    /// What was asked for; a later, shorter one shortens the kill.
    asked: Duration,
    deadline: Duration,
    step: KillStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KillStep {
    PreStop,
    Term,
    Kill,
}

/// One container of the pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ContainerMachine {
    pub spec: Container,
    pub init: bool,
    pub state: State,
    /// Attempt of the latest container that was made; none before the first.
    pub attempt: Option<u32>,
    /// How the container before the present one ended.
    pub last: Option<ContainerStateTerminated>,
    probes: BTreeMap<ProbeKind, (ProbeSpec, ProbeState)>,
    crash: Backoff,
    pull: Backoff,
    pull_failed: Option<(Duration, String)>,
    config: PodConfig,
}

impl ContainerMachine {
    pub fn new(spec: Container, init: bool, config: &PodConfig) -> Self {
        Self {
            spec,
            init,
            state: State::Waiting { reason: None, message: None, retry: None },
            attempt: None,
            last: None,
            probes: BTreeMap::new(),
            crash: Backoff::new(config.crash_loop),
            pull: Backoff::new(config.image_pull),
            pull_failed: None,
            config: config.clone(),
        }
    }

    pub fn image(&self) -> &str {
        self.spec.image.as_deref().unwrap_or_default()
    }

    /// A container of it is in the runtime, or may be by now.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Starting | State::Running { .. })
    }

    pub fn id(&self) -> Option<&ContainerId> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Its end, if it ended and nothing came after.
    pub fn end(&self) -> Option<&ContainerStateTerminated> {
        match &self.state {
            State::Ended { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Its startup probe, if it has one, has succeeded.
    pub fn is_started(&self) -> bool {
        let passed = self.probes.get(&ProbeKind::Startup).is_none_or(|(_, probe)| probe.good);
        matches!(self.state, State::Running { .. }) && passed
    }

    /// Runs, is started and its readiness probe is content.
    pub fn is_ready(&self) -> bool {
        self.is_started() && self.probes.get(&ProbeKind::Readiness).is_none_or(|(_, probe)| probe.good)
    }

    /// It runs now; `ready` where a restarted kubelet knows it already.
    pub fn runs(&mut self, id: ContainerId, started: Moment, ready: Option<bool>) {
        self.probes = BTreeMap::new();
        let probes = [
            (ProbeKind::Startup, &self.spec.startup_probe),
            (ProbeKind::Liveness, &self.spec.liveness_probe),
            (ProbeKind::Readiness, &self.spec.readiness_probe),
        ];
        for (kind, probe) in probes {
            if let Some(spec) = probe.as_ref().and_then(ProbeSpec::new) {
                let good = ready.filter(|ready| *ready && kind != ProbeKind::Liveness);
                self.probes.insert(kind, (spec, ProbeState::new(kind, good)));
            }
        }
        self.state = State::Running { id, started, kill: None };
    }

    /// Starts it for the first time, or again when its back-off allows.
    pub fn drive(&mut self, slot: Slot, now: Moment, policy: RestartPolicy, plan: &mut Plan) {
        match &self.state {
            State::Waiting { retry, .. } => match retry.filter(|retry| *retry > now.mono) {
                Some(retry) => plan.look_at(retry),
                None => self.pull(slot, now, plan),
            },
            State::Ended { at, end, told } if policy.restarts(self.init, end.exit_code) => {
                let (at, end, told) = (*at, end.clone(), *told);
                match self.crash.until(at).filter(|until| *until > now.mono) {
                    Some(until) => {
                        if !told {
                            plan.warn("BackOff", format!("Back-off restarting failed container {}", self.spec.name));
                        }
                        self.state = State::Ended { at, end, told: true };
                        plan.look_at(until);
                    }
                    None => {
                        self.crash.tried(at, now.mono);
                        self.last = Some(end);
                        self.pull(slot, now, plan);
                    }
                }
            }
            _ => {}
        }
    }

    fn pull(&mut self, slot: Slot, now: Moment, plan: &mut Plan) {
        if let Some((failed, message)) = &self.pull_failed
            && let Some(until) = self.pull.until(*failed).filter(|until| *until > now.mono)
        {
            let message = format!("Back-off pulling image \"{}\": ErrImagePull: {message}", self.image());
            plan.normal("BackOff", format!("Back-off pulling image \"{}\"", self.image()));
            plan.warn("Failed", "Error: ImagePullBackOff");
            plan.look_at(until);
            self.state =
                State::Waiting { reason: Some("ImagePullBackOff"), message: Some(message), retry: Some(until) };
            return;
        }
        self.state = State::Pulling;
        plan.push(Action::Pull(slot));
    }

    /// The image is there, or is not.
    pub fn pulled(
        &mut self,
        slot: Slot,
        now: Moment,
        result: Result<(), PullFailure>,
        sandbox: Option<&Sandbox>,
        plan: &mut Plan,
    ) {
        let wait = |reason, message: String| State::Waiting {
            reason: Some(reason),
            message: Some(message),
            retry: Some(now.mono.saturating_add(self.config.retry)),
        };
        let state = match (result, sandbox) {
            (Ok(()), Some(sandbox)) => {
                self.pull_failed = None;
                let attempt = self.attempt.map_or(0, |attempt| attempt.saturating_add(1));
                plan.push(Action::Start { slot, attempt, sandbox: sandbox.clone() });
                State::Starting
            }
            (Ok(()), None) => State::Waiting { reason: None, message: None, retry: None },
            (Err(PullFailure::NeverPull), _) => {
                let message = format!("Container image \"{}\" is not present with pull policy of Never", self.image());
                plan.warn("ErrImageNeverPull", message.clone());
                wait("ErrImageNeverPull", message)
            }
            (Err(PullFailure::Pull(message)), _) => {
                plan.warn("Failed", format!("Failed to pull image \"{}\": {message}", self.image()));
                plan.warn("Failed", "Error: ErrImagePull");
                let state = wait("ErrImagePull", message.clone());
                self.pull.tried(now.mono, now.mono);
                self.pull_failed = Some((now.mono, message));
                state
            }
        };
        if let State::Waiting { retry: Some(retry), .. } = &state {
            plan.look_at(*retry);
        }
        self.state = state;
    }

    /// The runtime started it, or did not.
    pub fn started(&mut self, slot: Slot, now: Moment, result: Result<ContainerId, StartFailure>, plan: &mut Plan) {
        let attempt = self.attempt.map_or(0, |attempt| attempt.saturating_add(1));
        let (reason, message) = match result {
            Ok(id) => {
                self.attempt = Some(attempt);
                plan.normal("Started", format!("Started container {}", self.spec.name));
                plan.push(Action::Watch(slot, id.clone()));
                if let Some(hook) = self.spec.lifecycle.as_ref().and_then(|l| l.post_start.clone()) {
                    plan.push(Action::PostStart(slot, id.clone(), hook));
                }
                self.runs(id, now, None);
                return;
            }
            Err(StartFailure::Command(message)) => {
                self.attempt = Some(attempt);
                plan.warn("Failed", format!("Error: {message}"));
                let end = ContainerStateTerminated {
                    exit_code: 128,
                    reason: Some("StartError".into()),
                    message: Some(message),
                    started_at: Some(time(now.wall)),
                    finished_at: Some(time(now.wall)),
                    ..ContainerStateTerminated::default()
                };
                self.state = State::Ended { at: now.mono, end, told: false };
                return;
            }
            Err(StartFailure::Config(message)) => ("CreateContainerConfigError", message),
            Err(StartFailure::Runtime(message)) => ("RunContainerError", message),
        };
        plan.warn("Failed", format!("Error: {message}"));
        let retry = now.mono.saturating_add(self.config.retry);
        plan.look_at(retry);
        self.state = State::Waiting { reason: Some(reason), message: Some(message), retry: Some(retry) };
    }

    /// It ended. Ends of other containers than the present one are old news.
    pub fn exited(&mut self, now: Moment, id: &ContainerId, exit: &Exit) {
        let State::Running { id: own, started, .. } = &self.state else { return };
        if own != id {
            return;
        }
        let end = terminated(id, started.wall, exit);
        self.state = State::Ended { at: now.mono, end, told: false };
        self.probes = BTreeMap::new();
    }

    /// Probes that are due and kills that have waited long enough.
    pub fn tend(&mut self, slot: Slot, now: Moment, ending: bool, plan: &mut Plan) {
        let State::Running { id, started, kill } = &mut self.state else { return };
        if let Some(kill) = kill.as_mut().filter(|kill| kill.step != KillStep::Kill) {
            if kill.deadline <= now.mono && kill.step == KillStep::PreStop {
                // The hook took all the grace; SIGTERM still gets a little.
                kill.step = KillStep::Term;
                kill.deadline = now.mono.saturating_add(self.config.grace_least);
                plan.push(Action::Signal(id.clone(), Signal::Term));
            } else if kill.deadline <= now.mono {
                kill.step = KillStep::Kill;
                plan.push(Action::Signal(id.clone(), Signal::Kill));
            }
            if kill.step != KillStep::Kill {
                plan.look_at(kill.deadline);
            }
        }
        let passed = self.probes.get(&ProbeKind::Startup).is_none_or(|(_, probe)| probe.good);
        for (kind, (spec, probe)) in &mut self.probes {
            // A pod that ends is asked for its readiness only.
            if (*kind != ProbeKind::Startup && !passed) || ((ending || kill.is_some()) && *kind != ProbeKind::Readiness)
            {
                continue;
            }
            match probe.due(spec, started.mono) {
                Some(due) if due <= now.mono => {
                    probe.sent(spec, now.mono);
                    plan.push(Action::Probe(slot, id.clone(), *kind, spec.clone()));
                }
                Some(due) => plan.look_at(due),
                None => {}
            }
        }
    }

    /// A probe's answer. Those of other containers than the present one are old news.
    pub fn probed(
        &mut self,
        slot: Slot,
        now: Moment,
        id: &ContainerId,
        (kind, answer): (ProbeKind, &Probed),
        grace: Duration,
        plan: &mut Plan,
    ) {
        if self.id() != Some(id) {
            return;
        }
        let Some((spec, probe)) = self.probes.get_mut(&kind) else { return };
        let changed = probe.answered(kind, spec, answer);
        if let Probed::Failure(why) = answer {
            plan.warn("Unhealthy", format!("{} probe failed: {why}", kind.as_str()));
        }
        if changed && !probe.good && kind != ProbeKind::Readiness {
            let grace = spec.grace.unwrap_or(grace);
            let word = kind.as_str().to_lowercase();
            let why = format!("Container {} failed {word} probe, will be restarted", self.spec.name);
            self.kill(slot, now, grace, &why, plan);
        }
    }

    /// Begins to kill it, or shortens the grace of a kill under way. Nothing if it does not run.
    pub fn kill(&mut self, slot: Slot, now: Moment, grace: Duration, why: &str, plan: &mut Plan) {
        let hook = self.spec.lifecycle.as_ref().and_then(|l| l.pre_stop.clone());
        let State::Running { id, kill, .. } = &mut self.state else { return };
        let deadline = now.mono.saturating_add(grace);
        match kill {
            Some(kill) if deadline < kill.asked => {
                kill.asked = deadline;
                kill.deadline = kill.deadline.min(deadline);
            }
            Some(_) => {}
            None => {
                plan.normal("Killing", why);
                let step = match hook.filter(|_| !grace.is_zero()) {
                    Some(hook) => {
                        plan.push(Action::PreStop(slot, id.clone(), hook, grace));
                        KillStep::PreStop
                    }
                    None => {
                        plan.push(Action::Signal(id.clone(), Signal::Term));
                        KillStep::Term
                    }
                };
                *kill = Some(Kill { asked: deadline, deadline, step });
            }
        }
    }

    /// The preStop hook is done: SIGTERM, and at least a little time.
    pub fn pre_stopped(&mut self, now: Moment, stopped: &ContainerId, plan: &mut Plan) {
        let least = now.mono.saturating_add(self.config.grace_least);
        let State::Running { id, kill: Some(kill), .. } = &mut self.state else { return };
        if id == stopped && kill.step == KillStep::PreStop {
            *kill = Kill { deadline: kill.deadline.max(least), step: KillStep::Term, ..*kill };
            plan.push(Action::Signal(id.clone(), Signal::Term));
        }
    }

    /// Gives up what has not begun: the pod ends.
    pub fn give_up(&mut self) {
        if self.state == State::Pulling {
            self.state = State::Waiting { reason: None, message: None, retry: None };
        }
    }

    /// Its row in the pod's status.
    pub fn status(&self, policy: RestartPolicy, ending: bool, waiting: &str) -> ContainerStatus {
        let mut last = self.last.clone();
        let wait = |reason: &str, message: Option<String>| ContainerState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }),
            ..ContainerState::default()
        };
        let state = match &self.state {
            State::Waiting { reason, message, .. } => wait(reason.unwrap_or(waiting), message.clone()),
            State::Pulling => match &self.pull_failed {
                Some((_, message)) => wait("ErrImagePull", Some(message.clone())),
                None => wait(waiting, None),
            },
            State::Starting => wait(waiting, None),
            State::Running { started, .. } => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(time(started.wall)) }),
                ..ContainerState::default()
            },
            State::Ended { end, .. } if !ending && policy.restarts(self.init, end.exit_code) => {
                last = Some(end.clone());
                let seconds = self.crash.wait().as_secs();
                let what = format!("back-off {seconds}s restarting failed container={}", self.spec.name);
                wait("CrashLoopBackOff", Some(what))
            }
            State::Ended { end, .. } => ContainerState { terminated: Some(end.clone()), ..ContainerState::default() },
        };
        let known = self.id().map(|id| id.0.clone());
        let ended = || [self.end(), self.last.as_ref()].into_iter().flatten().find_map(|end| end.container_id.clone());
        ContainerStatus {
            name: self.spec.name.clone(),
            image: self.image().into(),
            image_id: self.attempt.map_or_else(String::new, |_| self.image().into()),
            container_id: known.or_else(ended),
            ready: if self.init { self.end().is_some_and(|end| end.exit_code == 0) } else { self.is_ready() },
            started: Some(self.is_started()),
            restart_count: self.attempt.and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
            last_state: last.map(|end| ContainerState { terminated: Some(end), ..ContainerState::default() }),
            state: Some(state),
            ..ContainerStatus::default()
        }
    }
}

/// A container's end as a pod's status tells it.
pub(super) fn terminated(id: &ContainerId, started: Duration, exit: &Exit) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: Some(id.0.clone()),
        exit_code: exit.code,
        reason: Some(exit.reason.as_str().into()),
        message: Some(exit.message.clone()).filter(|m| !m.is_empty()),
        signal: None,
        started_at: Some(time(started)),
        finished_at: Some(time(exit.finished)),
    }
}
