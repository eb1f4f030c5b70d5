//! A pod's status from what its containers are: phase, conditions, rows.
//!
//! Upstream's `getPhase` and `pkg/kubelet/status/generate.go`. Pure. Conditions that are not the kubelet's are kept as they
//! are; a condition's transition time moves only when its status does.

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::container::RestartPolicy;
use crate::rt::time::Duration;

/// The conditions that a kubelet writes, in upstream's order.
pub const OWN_CONDITIONS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// A wall clock's reading as the API writes it.
pub fn time(wall: Duration) -> Time {
    let nanos = i128::try_from(wall.as_nanos()).unwrap_or(i128::MAX);
    Time(Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX))
}

/// Time since the Unix epoch of what the API wrote.
pub fn wall(time: &Time) -> Duration {
    let nanos = u64::try_from(time.0.as_nanosecond()).unwrap_or(0);
    Duration::from_nanos(nanos)
}

/// What a status is made from.
#[derive(Debug, Clone)]
pub struct Picture<'a> {
    /// The object.
    pub pod: &'a Pod,
    /// The status before.
    pub before: &'a PodStatus,
    /// `spec.restartPolicy`.
    pub policy: RestartPolicy,
    /// Rows of the init containers.
    pub init: Vec<ContainerStatus>,
    /// Rows of the others.
    pub main: Vec<ContainerStatus>,
    /// Nothing runs and nothing will be started again.
    pub over: bool,
    /// Phase, reason and message that stand whatever the containers say (rejected, evicted, ended before).
    pub fixed: Option<(&'static str, Option<String>, Option<String>)>,
    /// The pod's address.
    pub ip: Option<String>,
    /// The node's address.
    pub host_ip: String,
    /// When the kubelet took the pod.
    pub start: Option<Duration>,
    /// The wall clock.
    pub now: Duration,
}

fn ended(row: &ContainerStatus) -> Option<i32> {
    row.state.as_ref().and_then(|s| s.terminated.as_ref()).map(|t| t.exit_code)
}

fn had_ended(row: &ContainerStatus) -> bool {
    row.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
}

fn runs(row: &ContainerStatus) -> bool {
    row.state.as_ref().is_some_and(|s| s.running.is_some())
}

/// `status.phase` from the rows.
pub fn phase(policy: RestartPolicy, init: &[ContainerStatus], main: &[ContainerStatus], over: bool) -> &'static str {
    let started = |row: &ContainerStatus| runs(row) || ended(row).is_some() || had_ended(row);
    let init_failed = init.iter().any(|row| ended(row).is_some_and(|code| code != 0));
    let init_done = init.iter().all(|row| ended(row) == Some(0)) || main.iter().any(started);
    if init_failed && policy == RestartPolicy::Never {
        return "Failed";
    }
    if !init_done {
        return if over { "Failed" } else { "Pending" };
    }
    let running = main.iter().any(runs);
    let waiting = main.iter().any(|row| !started(row));
    let all_good = !main.is_empty() && main.iter().all(|row| ended(row) == Some(0));
    match (waiting, running) {
        (true, _) if over => "Failed",
        (true, _) => "Pending",
        (false, true) => "Running",
        _ if over && all_good => "Succeeded",
        _ if over => "Failed",
        _ if policy == RestartPolicy::Always => "Running",
        _ if all_good => "Succeeded",
        _ if policy == RestartPolicy::Never => "Failed",
        _ => "Running",
    }
}

/// A condition's status, reason and message.
type Verdict = (bool, Option<&'static str>, Option<String>);

fn names(rows: &[ContainerStatus], want: impl Fn(&ContainerStatus) -> bool) -> String {
    rows.iter().filter(|row| want(row)).map(|row| row.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn ready(phase: &str, main: &[ContainerStatus]) -> Verdict {
    match phase {
        "Succeeded" => (false, Some("PodCompleted"), None),
        "Failed" => (false, Some("PodFailed"), None),
        _ if main.iter().all(|row| row.ready) => (true, None, None),
        _ => {
            let message = format!("containers with unready status: [{}]", names(main, |row| !row.ready));
            (false, Some("ContainersNotReady"), Some(message))
        }
    }
}

fn initialized(phase: &str, picture: &Picture<'_>) -> Verdict {
    let good = |row: &ContainerStatus| ended(row) == Some(0);
    let begun = picture.main.iter().any(|row| runs(row) || ended(row).is_some() || had_ended(row));
    match phase {
        "Succeeded" => (true, Some("PodCompleted"), None),
        _ if begun || picture.init.iter().all(good) => (true, None, None),
        _ => {
            let message = format!("containers with incomplete status: [{}]", names(&picture.init, |row| !good(row)));
            (false, Some("ContainersNotInitialized"), Some(message))
        }
    }
}

/// Readiness gates that are not true hold the pod's Ready back.
fn gated(picture: &Picture<'_>, containers: &Verdict) -> Verdict {
    let gates = picture.pod.spec.as_ref().and_then(|s| s.readiness_gates.as_deref()).unwrap_or_default();
    let given = picture.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let open = |gate: &str| given.iter().any(|c| c.type_ == gate && c.status == "True");
    let closed: Vec<_> = gates.iter().map(|g| g.condition_type.as_str()).filter(|gate| !open(gate)).collect();
    if !containers.0 || closed.is_empty() {
        return containers.clone();
    }
    let list: Vec<_> = closed
        .iter()
        .map(|g| format!("corresponding condition of pod readiness gate \"{g}\" does not exist or is not True"))
        .collect();
    (false, Some("ReadinessGatesNotReady"), Some(list.join(", ")))
}

fn condition(kind: &str, (good, reason, message): Verdict, before: &PodStatus, now: Duration) -> PodCondition {
    let status = if good { "True" } else { "False" };
    let old = before.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == status);
    let since = old.and_then(|c| c.last_transition_time.clone()).unwrap_or_else(|| time(now));
    PodCondition {
        type_: kind.into(),
        status: status.into(),
        reason: reason.map(Into::into),
        message,
        last_transition_time: Some(since),
        ..PodCondition::default()
    }
}

/// The status that the picture comes to.
pub fn status(picture: Picture<'_>) -> PodStatus {
    let computed = phase(picture.policy, &picture.init, &picture.main, picture.over);
    let (phase, reason, message) = picture.fixed.clone().unwrap_or((computed, None, None));
    let containers = ready(phase, &picture.main);
    let verdicts = [
        (picture.ip.is_some() && !picture.over, None, None),
        initialized(phase, &picture),
        gated(&picture, &containers),
        containers,
    ];
    let mut conditions: Vec<PodCondition> = OWN_CONDITIONS
        .into_iter()
        .zip(verdicts)
        .map(|(kind, verdict)| condition(kind, verdict, picture.before, picture.now))
        .collect();
    let given = picture.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.extend(given.iter().filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str())).cloned());
    let list = |rows: Vec<ContainerStatus>| Some(rows).filter(|rows| !rows.is_empty());
    PodStatus {
        phase: Some(phase.into()),
        reason,
        message,
        conditions: Some(conditions),
        init_container_statuses: list(picture.init),
        container_statuses: list(picture.main),
        host_ip: Some(picture.host_ip.clone()),
        host_ips: Some(vec![HostIP { ip: picture.host_ip }]),
        pod_ips: picture.ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: picture.ip,
        start_time: picture.start.map(time),
        qos_class: Some(qos(picture.pod).into()),
        nominated_node_name: picture.pod.status.as_ref().and_then(|s| s.nominated_node_name.clone()),
        ..PodStatus::default()
    }
}

/// Upstream's `ComputePodQOS`: Guaranteed if every container's limits are set and equal its requests, BestEffort if nothing
/// is asked for, else Burstable.
pub fn qos(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let (mut asked, mut guaranteed) = (false, true);
    for container in all {
        for name in ["cpu", "memory"] {
            let of = |list: Option<&std::collections::BTreeMap<String, _>>| list.and_then(|l| l.get(name)).cloned();
            let resources = container.resources.as_ref();
            let limit = of(resources.and_then(|r| r.limits.as_ref()));
            let request = of(resources.and_then(|r| r.requests.as_ref())).or_else(|| limit.clone());
            asked |= request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (asked, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
