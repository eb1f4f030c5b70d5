//! The pod machine against a stage that plays the runtime: containers that end, ignore SIGTERM, fail probes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ExecAction, Lifecycle, LifecycleHandler, PodCondition, Probe};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;
use crate::kube::kubelet::probe::{ProbeKind, Probed};
use crate::kube::runtime::{ContainerId, Exit, ExitReason, SandboxId, Signal};

const SECOND: Duration = Duration::from_secs(1);

/// How a container behaves.
#[derive(Debug, Clone, Default)]
struct Play {
    /// Ends by itself after that, with the code.
    ends: Option<(Duration, i32)>,
    /// SIGTERM ends it after that; `None` ignores it.
    term: Option<Duration>,
    /// From when after its start, and until when, a probe fails.
    sick: Option<(ProbeKind, Duration, Duration)>,
    pull_fails: usize,
    hook: Duration,
}

/// Plays the worker and the runtime.
struct Stage {
    machine: PodMachine,
    now: Moment,
    plays: BTreeMap<String, Play>,
    queue: BTreeMap<(Duration, u64), PodEvent>,
    order: u64,
    running: BTreeMap<ContainerId, (Slot, Duration)>,
    pulls: BTreeMap<Slot, usize>,
    /// Seconds and what.
    log: Vec<(u64, String)>,
    deleted: bool,
    stopped: bool,
}

fn moment(seconds: u64) -> Moment {
    let mono = SECOND * u32::try_from(seconds).unwrap();
    Moment { mono, wall: mono + SECOND * 1_700_000_000 }
}

fn pod(init: &[&str], main: &[&str], policy: &str) -> Pod {
    let list = |names: &[&str]| {
        let one = |name: &&str| Container { name: (*name).into(), image: Some("app:1".into()), ..Container::default() };
        names.iter().map(one).collect::<Vec<_>>()
    };
    let spec = PodSpec {
        init_containers: Some(list(init)),
        containers: list(main),
        restart_policy: Some(policy.into()),
        ..PodSpec::default()
    };
    let mut pod = Pod { spec: Some(spec), ..Pod::default() };
    pod.metadata.name = Some("p".into());
    pod.metadata.uid = Some("u1".into());
    pod
}

impl Stage {
    fn new(pod: Pod, plays: &[(&str, Play)]) -> Self {
        let machine = PodMachine::new(PodConfig::default(), Arc::new(pod), "10.0.0.9".into(), moment(0));
        let plays = plays.iter().map(|(name, play)| ((*name).to_owned(), play.clone())).collect();
        Self {
            machine,
            now: moment(0),
            plays,
            queue: BTreeMap::new(),
            order: 0,
            running: BTreeMap::new(),
            pulls: BTreeMap::new(),
            log: Vec::new(),
            deleted: false,
            stopped: false,
        }
    }

    fn at(&mut self, after: Duration, event: PodEvent) {
        self.order += 1;
        self.queue.insert((self.now.mono + after, self.order), event);
    }

    fn say(&mut self, what: impl Into<String>) {
        self.log.push((self.now.mono.as_secs(), what.into()));
    }

    fn play(&self, slot: Slot) -> Play {
        let name = &self.machine.containers[slot].spec.name;
        self.plays.get(name).cloned().unwrap_or_default()
    }

    fn end(&mut self, id: &ContainerId, after: Duration, code: i32) {
        let Some((slot, _)) = self.running.get(id) else { return };
        let finished = self.now.wall + after;
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        let exit = Exit { code, reason, finished, message: String::new() };
        self.at(after, PodEvent::Exited(*slot, id.clone(), exit));
    }

    fn act(&mut self, action: Action) {
        let quick = Duration::from_millis(1);
        match action {
            Action::MountVolumes => self.at(quick, PodEvent::VolumesMounted),
            Action::UnmountVolumes => {
                assert!(self.running.is_empty(), "volumes taken from a running container");
                self.at(quick, PodEvent::VolumesUnmounted);
            }
            Action::TellUnmounted => self.say("unmounted"),
            Action::RunSandbox { attempt } => {
                let id = SandboxId(format!("s{attempt}"));
                let ip = [10, 1, 0, 1].into();
                let sandbox = Sandbox { id, pod: self.machine.id().clone(), attempt, ip };
                self.at(quick, PodEvent::SandboxUp(Ok(sandbox)));
            }
            Action::StopSandbox(_) => {
                assert!(self.running.is_empty(), "the network taken from a running container");
                self.stopped = true;
                self.at(quick, PodEvent::SandboxStopped);
            }
            Action::Pull(slot) => {
                let pulled = self.pulls.entry(slot).or_default();
                *pulled += 1;
                let fails = *pulled <= self.play(slot).pull_fails;
                let result = if fails { Err(PullFailure::Pull("no such image".into())) } else { Ok(()) };
                if fails {
                    self.say("pull");
                }
                self.at(quick, PodEvent::Pulled(slot, result));
            }
            Action::Start { slot, attempt, .. } => {
                assert!(!self.running.values().any(|(other, _)| *other == slot), "started twice");
                assert!(!self.stopped);
                let name = self.machine.containers[slot].spec.name.clone();
                let id = ContainerId(format!("{name}-{attempt}"));
                self.say(format!("start {name}"));
                self.running.insert(id.clone(), (slot, self.now.mono));
                self.at(Duration::ZERO, PodEvent::Started(slot, Ok(id.clone())));
                if let Some((after, code)) = self.play(slot).ends {
                    self.end(&id, after.max(quick), code);
                }
            }
            Action::Watch(..) | Action::PostStart(..) => {}
            Action::PreStop(slot, id, _, _) => {
                let hook = self.play(slot).hook;
                self.say(format!("preStop {id}"));
                self.at(hook, PodEvent::PreStopped(slot, id));
            }
            Action::Signal(id, signal) => {
                self.say(format!("{signal:?} {id}"));
                let Some((slot, _)) = self.running.get(&id).copied() else { return };
                match (signal, self.play(slot).term) {
                    (Signal::Kill, _) => self.end(&id, quick, 137),
                    (Signal::Term, Some(after)) => self.end(&id, after, 143),
                    (Signal::Term, None) => {}
                }
            }
            Action::Probe(slot, id, kind, _) => {
                let up = self.now.mono - self.running.get(&id).map_or(self.now.mono, |(_, since)| *since);
                let sick = self.play(slot).sick.is_some_and(|(of, from, to)| of == kind && (from..to).contains(&up));
                let answer = if sick { Probed::Failure("sick".into()) } else { Probed::Success };
                self.at(quick, PodEvent::Probed(slot, id, kind, answer));
            }
            Action::Note { .. } => {}
            Action::Delete => {
                assert!(self.running.is_empty() && self.stopped || self.log.is_empty(), "deleted too early");
                self.deleted = true;
                self.at(quick, PodEvent::Removed);
            }
        }
    }

    fn tell(&mut self, event: PodEvent) {
        if let PodEvent::Exited(_, id, _) = &event
            && self.running.remove(id).is_none()
        {
            return;
        }
        let plan = self.machine.tell(event, self.now);
        plan.actions.into_iter().for_each(|action| self.act(action));
    }

    fn run_until(&mut self, seconds: u64) {
        let end = moment(seconds);
        loop {
            let plan = self.machine.step(self.now);
            plan.actions.into_iter().for_each(|action| self.act(action));
            assert!(plan.wake.is_none_or(|wake| wake > self.now.mono), "the machine would spin");
            let event = self.queue.keys().next().copied();
            let next = event.map(|(at, _)| at).into_iter().chain(plan.wake).min().filter(|next| *next <= end.mono);
            let Some(next) = next else { break };
            self.now = Moment { mono: next, wall: next + SECOND * 1_700_000_000 };
            if let Some(key) = event.filter(|(at, _)| *at <= next) {
                let event = self.queue.remove(&key).unwrap();
                self.tell(event);
            }
        }
        self.now = end;
    }

    fn delete(&mut self, grace: i64) {
        let mut pod = (**self.machine.pod()).clone();
        pod.metadata.deletion_timestamp = Some(Time(Default::default()));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.tell(PodEvent::Object(Arc::new(pod)));
    }

    fn starts(&self, name: &str) -> Vec<u64> {
        self.log.iter().filter(|(_, what)| *what == format!("start {name}")).map(|(at, _)| *at).collect()
    }

    fn phase(&self) -> &str {
        self.machine.status().phase.as_deref().unwrap()
    }

    fn condition(&self, kind: &str) -> PodCondition {
        let conditions = self.machine.status().conditions.iter().flatten();
        conditions.into_iter().find(|c| c.type_ == kind).unwrap().clone()
    }

    fn waiting(&self) -> Option<String> {
        let row = &self.machine.status().container_statuses.as_ref().unwrap()[0];
        row.state.as_ref().unwrap().waiting.as_ref().and_then(|w| w.reason.clone())
    }
}

fn crash() -> Play {
    Play { ends: Some((SECOND, 1)), ..Play::default() }
}

fn probe(period: i32) -> Probe {
    Probe { exec: Some(ExecAction::default()), period_seconds: Some(period), ..Probe::default() }
}

#[test]
fn a_crash_loop_backs_off_and_says_so() {
    let mut stage = Stage::new(pod(&[], &["a"], "Always"), &[("a", crash())]);
    stage.run_until(100);
    assert_eq!(stage.starts("a"), [0, 1, 12, 33, 74]);
    assert_eq!((stage.phase(), stage.waiting().as_deref()), ("Running", Some("CrashLoopBackOff")));
    let row = stage.machine.status().container_statuses.clone().unwrap().remove(0);
    assert_eq!((row.restart_count, row.ready), (4, false));
    assert_eq!(row.last_state.unwrap().terminated.unwrap().exit_code, 1);
    assert_eq!(stage.condition("Ready").message.as_deref(), Some("containers with unready status: [a]"));
}

#[test]
fn what_restarts_and_what_is_over() {
    let good = Play { ends: Some((SECOND, 0)), ..Play::default() };
    let rows = [
        ("Always", &good, 2, "Running"),
        ("OnFailure", &good, 1, "Succeeded"),
        ("Never", &good, 1, "Succeeded"),
        ("OnFailure", &crash(), 2, "Running"),
        ("Never", &crash(), 1, "Failed"),
    ];
    for (policy, play, starts, phase) in rows {
        let mut stage = Stage::new(pod(&[], &["a"], policy), &[("a", play.clone())]);
        stage.run_until(5);
        assert_eq!((stage.starts("a").len(), stage.phase()), (starts, phase), "{policy} {play:?}");
        let over = phase != "Running";
        assert_eq!((stage.machine.is_over(), stage.stopped), (over, over), "an ended pod keeps no volume (K-17)");
    }
}

#[test]
fn init_containers_run_one_after_the_other() {
    let good = Play { ends: Some((SECOND * 2, 0)), ..Play::default() };
    let mut stage = Stage::new(pod(&["i", "j"], &["a"], "Always"), &[("i", good.clone()), ("j", good.clone())]);
    stage.run_until(1);
    assert_eq!((stage.phase(), stage.condition("Initialized").status.as_str()), ("Pending", "False"));
    stage.run_until(10);
    assert_eq!((stage.starts("i"), stage.starts("j"), stage.starts("a")), (vec![0], vec![2], vec![4]));
    assert_eq!((stage.phase(), stage.condition("Ready").status.as_str()), ("Running", "True"));

    let mut stage = Stage::new(pod(&["i"], &["a"], "Never"), &[("i", crash())]);
    stage.run_until(10);
    assert_eq!((stage.phase(), stage.starts("a").len()), ("Failed", 0));
    let mut stage = Stage::new(pod(&["i"], &["a"], "Always"), &[("i", crash())]);
    stage.run_until(14);
    assert_eq!((stage.phase(), stage.starts("i")), ("Pending", vec![0, 1, 12]));
}

#[test]
fn a_failing_liveness_probe_restarts_with_back_off() {
    let mut sick = pod(&[], &["a"], "Always");
    sick.spec.as_mut().unwrap().containers[0].liveness_probe = Some(probe(10));
    let play =
        Play { sick: Some((ProbeKind::Liveness, SECOND * 5, SECOND * 1000)), term: Some(SECOND), ..Play::default() };
    let mut stage = Stage::new(sick, &[("a", play)]);
    stage.run_until(130);
    // Probes at 0, 10, 20, 30 s: three failures, SIGTERM at 30, ended at 31; then at once, and after 10 s.
    assert_eq!(stage.starts("a"), [0, 31, 72, 123]);
}

#[test]
fn a_startup_probe_gates_the_others() {
    let mut slow = pod(&[], &["a"], "Always");
    let container = &mut slow.spec.as_mut().unwrap().containers[0];
    container.startup_probe = Some(Probe { failure_threshold: Some(10), ..probe(10) });
    container.readiness_probe = Some(probe(5));
    let play = Play { sick: Some((ProbeKind::Startup, Duration::ZERO, SECOND * 45)), ..Play::default() };
    let mut stage = Stage::new(slow, &[("a", play)]);
    stage.run_until(49);
    assert_eq!((stage.starts("a").len(), stage.condition("Ready").status.as_str()), (1, "False"));
    stage.run_until(51);
    assert_eq!(stage.condition("Ready").status, "True");
}

#[test]
fn readiness_comes_and_goes_without_a_restart() {
    let mut pod = pod(&[], &["a"], "Always");
    pod.spec.as_mut().unwrap().containers[0].readiness_probe = Some(probe(10));
    let play = Play { sick: Some((ProbeKind::Readiness, SECOND * 15, SECOND * 45)), ..Play::default() };
    let mut stage = Stage::new(pod, &[("a", play)]);
    for (at, want) in [(1, "True"), (39, "True"), (41, "False"), (49, "False"), (51, "True")] {
        stage.run_until(at);
        assert_eq!(stage.condition("Ready").status, want, "at {at}");
    }
    assert_eq!(stage.starts("a").len(), 1);
}

#[test]
fn a_missing_image_backs_off() {
    let mut stage = Stage::new(pod(&[], &["a"], "Always"), &[("a", Play { pull_fails: 4, ..Play::default() })]);
    let want = [(5, Some("ErrImagePull")), (25, Some("ImagePullBackOff")), (31, Some("ErrImagePull")), (80, None)];
    for (at, want) in want {
        stage.run_until(at);
        if want.is_some() {
            assert_eq!(stage.waiting().as_deref(), want, "at {at}");
        }
    }
    assert_eq!(
        stage.log.iter().filter(|(_, what)| what == "pull").map(|(at, _)| *at).collect::<Vec<_>>(),
        [0, 10, 30, 70]
    );
    stage.run_until(200);
    assert_eq!(stage.starts("a"), [150]);
}

#[test]
fn deletion_is_hook_then_term_then_kill_then_clean_up_then_the_object() {
    type Told = &'static [(u64, &'static str)];
    let rows: [(Play, bool, Told); 4] = [
        (Play { term: Some(SECOND * 3), ..Play::default() }, false, &[(10, "Term a-0")]),
        (Play::default(), false, &[(10, "Term a-0"), (40, "Kill a-0")]),
        (
            Play { hook: SECOND * 20, ..Play::default() },
            true,
            &[(10, "preStop a-0"), (30, "Term a-0"), (40, "Kill a-0")],
        ),
        // A hook that takes all the grace: SIGTERM still gets two seconds.
        (
            Play { hook: SECOND * 30, ..Play::default() },
            true,
            &[(10, "preStop a-0"), (40, "Term a-0"), (42, "Kill a-0")],
        ),
    ];
    for (play, hook, want) in rows {
        let mut pod = pod(&[], &["a"], "Always");
        if hook {
            let pre_stop = Some(LifecycleHandler { exec: Some(ExecAction::default()), ..LifecycleHandler::default() });
            pod.spec.as_mut().unwrap().containers[0].lifecycle = Some(Lifecycle { pre_stop, ..Lifecycle::default() });
        }
        let mut stage = Stage::new(pod, &[("a", play.clone())]);
        stage.run_until(10);
        stage.delete(30);
        stage.run_until(60);
        let log: Vec<(u64, &str)> = stage.log.iter().map(|(at, what)| (*at, what.as_str())).collect();
        assert_eq!(log[1..], *want, "{play:?}");
        assert!(stage.deleted && stage.machine.is_gone(), "{play:?}");
        assert_eq!(stage.phase(), "Failed", "a killed container is no success");
    }
}

#[test]
fn a_second_deletion_shortens_the_grace_and_a_removal_does_not() {
    let mut stage = Stage::new(pod(&[], &["a"], "Always"), &[]);
    stage.run_until(10);
    stage.delete(30);
    stage.run_until(15);
    stage.delete(2);
    stage.run_until(60);
    assert_eq!(stage.log[1..], [(10, "Term a-0".into()), (17, "Kill a-0".into())]);

    let mut stage = Stage::new(pod(&[], &["a"], "Always"), &[]);
    stage.run_until(10);
    stage.delete(0);
    stage.tell(PodEvent::Removed);
    stage.run_until(60);
    assert_eq!(stage.log[1..], [(10, "Term a-0".into()), (40, "Kill a-0".into())], "upstream's, too");
    assert!(!stage.deleted && stage.machine.is_gone(), "the object is gone already");
}

#[test]
fn an_evicted_and_an_overdue_pod_fail_and_stay_until_deleted() {
    let mut stage = Stage::new(pod(&[], &["a"], "Always"), &[("a", Play { term: Some(SECOND), ..Play::default() })]);
    stage.run_until(10);
    stage.tell(PodEvent::Evict { reason: "Terminated".into(), message: "node".into(), grace: SECOND * 5 });
    stage.run_until(20);
    assert_eq!((stage.phase(), stage.machine.status().reason.as_deref()), ("Failed", Some("Terminated")));
    assert!(!stage.deleted);
    stage.delete(30);
    stage.run_until(30);
    assert!(stage.deleted && stage.machine.is_gone());

    let mut overdue = pod(&[], &["a"], "OnFailure");
    overdue.spec.as_mut().unwrap().active_deadline_seconds = Some(60);
    let mut stage = Stage::new(overdue, &[]);
    stage.run_until(59);
    assert_eq!(stage.phase(), "Running");
    stage.run_until(100);
    assert_eq!((stage.phase(), stage.machine.status().reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
}

#[test]
fn a_restarted_kubelet_takes_over_what_runs_and_judges_what_ended() {
    use crate::base::planted::{Bug, plant};
    use crate::kube::runtime::{ContainerRecord, SandboxStatus};
    let mut probed = pod(&[], &["a"], "Always");
    probed.spec.as_mut().unwrap().containers[0].readiness_probe = Some(probe(10));
    let mut stage = Stage::new(probed, &[]);
    stage.run_until(20);
    let mut seen = (**stage.machine.pod()).clone();
    seen.status = Some(stage.machine.status().clone());
    let (now, exit) = (moment(100), |code| Exit {
        code,
        reason: ExitReason::Error,
        finished: moment(90).wall,
        message: String::new(),
    });
    let adopt = |id: &str, exit: Option<Exit>, ready| {
        let sandbox = Sandbox { id: SandboxId("s0".into()), pod: pod_id(&seen), attempt: 0, ip: [10, 1, 0, 1].into() };
        let record = ContainerRecord {
            id: ContainerId(id.into()),
            name: "a".into(),
            attempt: 3,
            image: "app:1".into(),
            started: moment(1).wall,
            exit,
        };
        let found = [SandboxStatus { sandbox, ready, containers: vec![record] }];
        let machine = PodMachine::new(PodConfig::default(), Arc::new(seen.clone()), String::new(), now);
        let (mut machine, plan) = machine.adopt(&found, now);
        let step = machine.step(now);
        assert!(
            !step.actions.iter().any(|a| matches!(a, Action::Start { .. } | Action::Pull(_))),
            "volumes come first"
        );
        (machine.status().container_statuses.as_ref().unwrap()[0].clone(), plan.actions)
    };
    let (row, watches) = adopt("a-0", None, true);
    assert_eq!((row.ready, row.restart_count, watches.len()), (true, 3, 1), "the same container is as ready as it was");
    let (row, _) = adopt("a-1", None, true);
    assert!(!row.ready, "another container must show that it is ready (K-15)");
    let planted = plant(&[Bug::InheritedReadiness]).unwrap();
    assert!(adopt("a-1", None, true).0.ready);
    drop(planted);
    let (row, watches) = adopt("a-0", Some(exit(1)), true);
    assert_eq!((row.last_state.unwrap().terminated.unwrap().exit_code, watches.len()), (1, 0));
    // Lost with the node: the runtime knows nothing.
    let machine = PodMachine::new(PodConfig::default(), Arc::new(seen.clone()), String::new(), now);
    let (mut machine, _) = machine.adopt(&[], now);
    machine.step(now);
    let row = machine.status().container_statuses.as_ref().unwrap()[0].clone();
    let end = row.last_state.unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (255, Some("Unknown")));
    // A final phase stays, whatever is found.
    let mut over = seen.clone();
    over.status.as_mut().unwrap().phase = Some("Succeeded".into());
    let machine = PodMachine::new(PodConfig::default(), Arc::new(over), String::new(), now);
    let (mut machine, _) = machine.adopt(&[], now);
    let plan = machine.step(now);
    assert_eq!(machine.status().phase.as_deref(), Some("Succeeded"));
    assert_eq!(plan.actions, [Action::UnmountVolumes]);
}

fn play() -> impl Strategy<Value = Play> {
    let ends = prop::option::of((1u64..40, 0i32..2).prop_map(|(s, code)| (Duration::from_secs(s), code)));
    let term = prop::option::of((0u64..40).prop_map(Duration::from_secs));
    let kind = prop::sample::select(vec![ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness]);
    let sick = prop::option::of(
        (kind, 0u64..60, 0u64..60).prop_map(|(k, a, b)| (k, SECOND * a as u32, SECOND * (a + b) as u32)),
    );
    (ends, term, sick, 0usize..3, 0u64..40).prop_map(|(ends, term, sick, pull_fails, hook)| Play {
        ends,
        term,
        sick,
        pull_fails,
        hook: Duration::from_secs(hook),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever containers do and whenever the pod is deleted: never two containers in a slot, nothing is taken from under
    /// a running container (the stage asserts both), and all is gone soon after the grace.
    #[test]
    fn a_deleted_pod_leaves_nothing(
        plays in prop::collection::vec(play(), 3),
        policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
        at in 0u64..200, grace in 0i64..40, hook in any::<bool>(),
    ) {
        let mut pod = pod(&["i"], &["a", "b"], policy);
        let spec = pod.spec.as_mut().unwrap();
        for container in &mut spec.containers {
            container.startup_probe = Some(probe(3));
            container.liveness_probe = Some(probe(5));
            container.readiness_probe = Some(probe(7));
            let pre_stop = LifecycleHandler { exec: Some(ExecAction::default()), ..LifecycleHandler::default() };
            container.lifecycle = hook.then(|| Lifecycle { pre_stop: Some(pre_stop), ..Lifecycle::default() });
        }
        let named: Vec<(&str, Play)> = ["i", "a", "b"].into_iter().zip(plays).collect();
        let mut stage = Stage::new(pod, &named);
        stage.run_until(at);
        stage.delete(grace);
        let longest = if grace == 0 { 30 } else { grace as u64 };
        stage.run_until(at + longest + 5);
        prop_assert!(stage.deleted && stage.running.is_empty() && stage.machine.is_gone(), "{:?}", stage.log);
    }
}
