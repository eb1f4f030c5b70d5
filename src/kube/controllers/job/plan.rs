//! What a Job does next: a pure function of the job, its pods and the time.
//!
//! Follows `job_controller.go` of Kubernetes 1.3x: every end of a pod is counted once, by way of `uncountedTerminatedPods` and
//! the tracking finalizer; failures delay the next pods by a doubling back-off. Differs: completion mode NonIndexed only, no pod
//! failure policy, no success policy.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::kube::controllers::meta::{
    after, between, controller_ref, has_finalizer, moment, name, namespace, seconds, terminating, uid,
};
use crate::kube::controllers::pod::{from_template, is_active, is_finished, is_ready, phase, set_label};

/// Keeps a pod's object until its end is counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// Times of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Delay after the first failure: upstream's `DefaultJobPodFailureBackOff`, 10 s. Doubles with each.
    pub base: Duration,
    /// The longest delay: six minutes, as the documentation of Jobs says.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { base: Duration::from_secs(10), max: Duration::from_secs(360) }
    }
}

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The job.
    pub job: &'a Job,
    /// The pods that it controls, ended ones included.
    pub pods: &'a [Arc<Pod>],
    /// Failures in a row without a success, and when the last was.
    pub failures: (u32, Option<Timestamp>),
    /// The wall clock.
    pub now: Timestamp,
    /// Times of the controller.
    pub back_off: BackOff,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make a pod.
    Create(Box<Pod>),
    /// Delete a pod.
    Delete(Arc<Pod>),
    /// Take the tracking finalizer off a pod that is counted.
    Release(Arc<Pod>),
    /// Delete the job: it ended `ttlSecondsAfterFinished` ago.
    Expire,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status, to be written before the steps if it differs.
    pub status: JobStatus,
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// Look again after this.
    pub recheck: Option<Duration>,
}

/// Whether the job ended, and when.
pub fn finished(status: &JobStatus) -> Option<Timestamp> {
    let ended = |c: &&JobCondition| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True";
    let ended = status.conditions.iter().flatten().find(ended)?;
    Some(moment(ended.last_transition_time.as_ref()).unwrap_or(Timestamp::MIN))
}

/// A pod of the job.
pub fn pod(job: &Job) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = from_template(&template, namespace(&job.metadata), controller_ref(job));
    pod.metadata.generate_name = Some(format!("{}-", name(&job.metadata)));
    for prefix in ["", "batch.kubernetes.io/"] {
        set_label(&mut pod.metadata, &format!("{prefix}controller-uid"), uid(&job.metadata));
        set_label(&mut pod.metadata, &format!("{prefix}job-name"), name(&job.metadata));
    }
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.into());
    pod
}

/// Decides.
pub fn plan(view: &View<'_>) -> Plan {
    let spec = view.job.spec.clone().unwrap_or_default();
    let old = view.job.status.clone().unwrap_or_default();
    let mut plan = Plan { status: old.clone(), steps: Vec::new(), recheck: None };
    if let Some(ended) = finished(&old) {
        account(view, &old, &mut plan);
        expire(view, &spec, ended, &mut plan);
        return plan;
    }
    let suspended = spec.suspend == Some(true);
    if plan.status.start_time.is_none() && !suspended {
        plan.status.start_time = Some(Time(view.now));
    }
    account(view, &old, &mut plan);
    let active: Vec<&Arc<Pod>> = view.pods.iter().filter(|pod| is_active(pod)).collect();
    let (succeeded, failed) = totals(&plan.status);
    let verdict = verdict(view, &spec, &plan.status, active.len(), succeeded, failed);
    match verdict {
        Some((kind, reason, message)) => {
            plan.steps.extend(active.iter().map(|pod| Step::Delete(Arc::clone(pod))));
            conclude(&mut plan.status, view.now, kind, reason, message);
            (plan.status.active, plan.status.ready) = (Some(0), Some(0));
        }
        None => {
            plan.status.active = Some(to_i32(active.len()));
            plan.status.ready = Some(to_i32(active.iter().filter(|pod| is_ready(pod)).count()));
            if !terminating(&view.job.metadata) {
                scale(view, &spec, &active, succeeded, &mut plan);
            }
        }
    }
    plan.status.terminating =
        Some(to_i32(view.pods.iter().filter(|p| terminating(&p.metadata) && !is_finished(p)).count()));
    plan
}

/// Ends of pods move into the counters in three rounds: noted as uncounted, released, counted.
fn account(view: &View<'_>, old: &JobStatus, plan: &mut Plan) {
    let written = old.uncounted_terminated_pods.clone().unwrap_or_default();
    let (mut succeeded, mut failed) = (written.succeeded.unwrap_or_default(), written.failed.unwrap_or_default());
    let tracked =
        |id: &String| view.pods.iter().any(|pod| uid(&pod.metadata) == id && has_finalizer(&pod.metadata, TRACKING));
    // Written and released: counted.
    let before = (succeeded.len(), failed.len());
    succeeded.retain(tracked);
    failed.retain(tracked);
    let add = |count: Option<i32>, n: usize| Some(count.unwrap_or_default().saturating_add(to_i32(n)));
    plan.status.succeeded = add(old.succeeded, before.0 - succeeded.len());
    plan.status.failed = add(old.failed, before.1 - failed.len());
    for pod in view.pods.iter().filter(|pod| has_finalizer(&pod.metadata, TRACKING)) {
        let id = uid(&pod.metadata).to_string();
        if succeeded.contains(&id) || failed.contains(&id) {
            plan.steps.push(Step::Release(pod.clone()));
        } else if phase(pod) == "Succeeded" {
            succeeded.push(id);
        } else if phase(pod) == "Failed" || terminating(&pod.metadata) {
            // A pod on its way out counts as failed: podReplacementPolicy TerminatingOrFailed.
            failed.push(id);
        }
    }
    plan.status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
        failed: Some(failed).filter(|f| !f.is_empty()),
        succeeded: Some(succeeded).filter(|s| !s.is_empty()),
    });
}

/// Ended pods, counted or not.
fn totals(status: &JobStatus) -> (usize, usize) {
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let sum = |count: Option<i32>, more: Option<Vec<String>>| {
        usize::try_from(count.unwrap_or_default()).unwrap_or_default() + more.map_or(0, |more| more.len())
    };
    (sum(status.succeeded, uncounted.succeeded), sum(status.failed, uncounted.failed))
}

/// Whether the job is over, as condition type, reason and message.
fn verdict(
    view: &View<'_>,
    spec: &JobSpec,
    status: &JobStatus,
    active: usize,
    succeeded: usize,
    failed: usize,
) -> Option<(&'static str, &'static str, &'static str)> {
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or_default();
    let restarts = |pod: &Arc<Pod>| {
        let status = pod.status.as_ref();
        let all = status.into_iter().flat_map(|s| s.container_statuses.iter().chain(&s.init_container_statuses));
        all.flatten().map(|c| usize::try_from(c.restart_count).unwrap_or_default()).sum::<usize>()
    };
    let on_failure = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
    let restarted: usize =
        if on_failure { view.pods.iter().filter(|pod| is_active(pod)).map(restarts).sum() } else { 0 };
    if failed > limit || restarted > 0 && restarted >= limit {
        return Some(("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let started = moment(status.start_time.as_ref());
    let deadline = spec.active_deadline_seconds.zip(started).map(|(limit, start)| after(start, seconds(limit)));
    if spec.suspend != Some(true) && deadline.is_some_and(|deadline| view.now >= deadline) {
        return Some(("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"));
    }
    let complete = match spec.completions {
        None => succeeded > 0 && active == 0,
        Some(wanted) => succeeded >= usize::try_from(wanted).unwrap_or_default(),
    };
    complete.then_some(("Complete", "CompletionsReached", "Reached expected number of succeeded pods"))
}

fn conclude(status: &mut JobStatus, now: Timestamp, kind: &str, reason: &str, message: &str) {
    if kind == "Complete" {
        status.completion_time = Some(Time(now));
    }
    let target = if kind == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    for kind in [target, kind] {
        status.conditions.get_or_insert_default().push(JobCondition {
            type_: kind.into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        });
    }
}

/// As many active pods as are wanted, the next not before the back-off is over.
fn scale(view: &View<'_>, spec: &JobSpec, active: &[&Arc<Pod>], succeeded: usize, plan: &mut Plan) {
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or_default();
    let wanted = match spec.completions {
        _ if spec.suspend == Some(true) => 0,
        None if succeeded > 0 => active.len().min(parallelism),
        None => parallelism,
        Some(completions) => {
            usize::try_from(completions).unwrap_or_default().saturating_sub(succeeded).min(parallelism)
        }
    };
    // Those that are not ready go first.
    let mut order = active.to_vec();
    order.sort_by_key(|pod| is_ready(pod));
    plan.steps.extend(order.iter().take(active.len().saturating_sub(wanted)).map(|pod| Step::Delete(Arc::clone(pod))));
    let missing = wanted.saturating_sub(active.len());
    let wait = remaining(view);
    if missing > 0 && wait.is_zero() {
        plan.steps.extend((0..missing).map(|_| Step::Create(Box::new(pod(view.job)))));
    } else if missing > 0 {
        plan.recheck = Some(wait);
    }
    if let Some((limit, start)) = spec.active_deadline_seconds.zip(moment(plan.status.start_time.as_ref())) {
        let left = between(view.now, after(start, seconds(limit)));
        plan.recheck = Some(plan.recheck.map_or(left, |wait| wait.min(left)));
    }
}

/// How long new pods still wait after the last failure.
fn remaining(view: &View<'_>) -> Duration {
    let (failures, Some(last)) = view.failures else { return Duration::ZERO };
    if failures == 0 {
        return Duration::ZERO;
    }
    let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
    let delay = view.back_off.base.saturating_mul(factor).min(view.back_off.max);
    between(view.now, after(last, delay))
}

/// Failures since the last success, and when the last was: what the back-off grows with.
pub fn failures(pods: &[Arc<Pod>]) -> (u32, Option<Timestamp>) {
    let mut ends: Vec<(Timestamp, bool)> =
        pods.iter().filter(|p| is_finished(p)).map(|p| (ended(p), phase(p) == "Failed")).collect();
    ends.sort_unstable();
    let row: Vec<_> = ends.iter().rev().take_while(|(_, failed)| *failed).collect();
    (u32::try_from(row.len()).unwrap_or(u32::MAX), row.first().map(|(at, _)| *at))
}

/// When a pod's last container ended, as far as is known.
fn ended(pod: &Pod) -> Timestamp {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let terminated = statuses.filter_map(|status| status.state.as_ref()?.terminated.as_ref());
    let last = terminated.filter_map(|ended| moment(ended.finished_at.as_ref())).max();
    let condition = || moment(crate::kube::controllers::pod::condition(pod, "Ready")?.last_transition_time.as_ref());
    let created = || moment(pod.metadata.creation_timestamp.as_ref());
    last.or_else(condition).or_else(created).unwrap_or(Timestamp::MIN)
}

fn expire(view: &View<'_>, spec: &JobSpec, ended: Timestamp, plan: &mut Plan) {
    let Some(ttl) = spec.ttl_seconds_after_finished else { return };
    let due = after(ended, seconds(ttl));
    if due > view.now {
        plan.recheck = Some(between(view.now, due));
    } else if !terminating(&view.job.metadata) {
        plan.steps.push(Step::Expire);
    }
}

fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
