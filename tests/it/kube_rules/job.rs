//! Job: how many pods, how long until the next, when it is over.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use stormglass::kube::controllers::job::plan::{self as job, BackOff, Plan, Step, TRACKING, View, failures, plan};

use super::states::{NOW, at, object, pod, template};

fn job(spec: Value) -> Job {
    let mut all = json!({ "template": template("load"), "completions": 1, "parallelism": 1, "backoffLimit": 6 });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object(json!({ "metadata": { "name": "load", "namespace": "default", "uid": "job" }, "spec": all }))
}

/// States of tracked pods, `P`, `R`, `S`, `F`; what ended did so in that order, long ago.
fn pods(states: &str) -> Vec<Arc<Pod>> {
    let one = |(n, state): (usize, char)| {
        let mut pod = pod(&format!("load-{n}"), state);
        pod.metadata.finalizers = Some(vec![TRACKING.into()]);
        let ready = &mut pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
        ready.last_transition_time = Some(Time(at(n as i64 - 100)));
        Arc::new(pod)
    };
    states.chars().enumerate().map(one).collect()
}

fn decide(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    plan(&View { job, pods, failures: failures(pods), now, back_off: BackOff::default() })
}

fn steps(plan: &Plan) -> String {
    let of = |step: &Step| match step {
        Step::Create(_) => "+".to_string(),
        Step::Delete(pod) => format!("-{}", pod.metadata.name.as_deref().unwrap().trim_start_matches("load-")),
        Step::Release(pod) => format!("r{}", pod.metadata.name.as_deref().unwrap().trim_start_matches("load-")),
        Step::Expire => "expire".into(),
    };
    plan.steps.iter().map(of).collect::<Vec<_>>().join(" ")
}

fn condition(status: &JobStatus) -> String {
    let last = status.conditions.iter().flatten().last();
    last.map(|last| format!("{}/{}", last.type_, last.reason.as_deref().unwrap_or_default())).unwrap_or_default()
}

#[test]
fn pods_are_made_and_counted_as_upstream_does() {
    // Upstream rule, spec, pods, steps, condition. The first back-offs are over.
    let rows = [
        ("manageJob: the first pod", json!({}), "", "+", ""),
        ("manageJob: enough are active", json!({}), "P", "", ""),
        ("manageJob: parallelism", json!({ "completions": 5, "parallelism": 2 }), "", "+ +", ""),
        ("manageJob: not more than are missing", json!({ "completions": 3, "parallelism": 3 }), "SSR", "", ""),
        ("manageJob: too many active", json!({ "completions": 5, "parallelism": 1 }), "RP", "-1", ""),
        (
            "manageJob: no completions, no more after a success",
            json!({ "completions": null, "parallelism": 2 }),
            "SR",
            "",
            "",
        ),
        ("manageJob: a failed pod is replaced", json!({}), "F", "+", ""),
        ("syncJob: complete", json!({}), "S", "", "Complete/CompletionsReached"),
        (
            "syncJob: complete, the rest goes",
            json!({ "completions": 1, "parallelism": 2 }),
            "SR",
            "-1",
            "Complete/CompletionsReached",
        ),
        (
            "syncJob: without completions, when all ended",
            json!({ "completions": null }),
            "S",
            "",
            "Complete/CompletionsReached",
        ),
        ("backoffLimit: as many failures as it says", json!({ "backoffLimit": 2 }), "FF", "+", ""),
        ("backoffLimit: one more", json!({ "backoffLimit": 2 }), "FFF", "", "Failed/BackoffLimitExceeded"),
        (
            "backoffLimit 0",
            json!({ "backoffLimit": 0, "parallelism": 2, "completions": 2 }),
            "FR",
            "-1",
            "Failed/BackoffLimitExceeded",
        ),
        ("suspend", json!({ "suspend": true }), "R", "-0", ""),
    ];
    for (rule, spec, states, want, ended) in rows {
        let plan = decide(&job(spec), &pods(states), NOW);
        assert_eq!((steps(&plan).as_str(), condition(&plan.status).as_str()), (want, ended), "{rule}");
    }
}

#[test]
fn an_end_is_counted_once() {
    let mut job = job(json!({ "completions": 3 }));
    let mut pods = pods("S");
    let first = decide(&job, &pods, NOW);
    let noted = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((noted.succeeded, first.status.succeeded), (Some(vec!["uid-load-0".to_string()]), Some(0)));
    assert_eq!(steps(&first), "+", "released only when the note is written");
    job.status = Some(first.status);
    let second = decide(&job, &pods, NOW);
    assert_eq!(second.status.succeeded, Some(0));
    assert!(steps(&second).starts_with("r0"));
    Arc::make_mut(&mut pods[0]).metadata.finalizers = None;
    job.status = Some(second.status);
    for pods in [pods.as_slice(), &[]] {
        let third = decide(&job, pods, NOW);
        assert_eq!(third.status.succeeded, Some(1), "counted, whether its object is there or not");
        assert_eq!(third.status.uncounted_terminated_pods.unwrap().succeeded, None);
    }
}

#[test]
fn the_back_off_doubles_up_to_six_minutes() {
    let rows = [(1, 10), (2, 20), (3, 40), (6, 320), (7, 360), (40, 360)];
    for (failed, want) in rows {
        let mut pods = pods(&"F".repeat(failed));
        // The last failed just now.
        let ready = &mut Arc::make_mut(&mut pods[0]).status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
        ready.last_transition_time = Some(Time(NOW));
        let job = job(json!({ "backoffLimit": 100 }));
        let plan = decide(&job, &pods, NOW);
        assert_eq!((steps(&plan).as_str(), plan.recheck.unwrap().as_secs()), ("", want), "{failed} failures");
        assert_eq!(steps(&decide(&job, &pods, at(want as i64))), "+", "{failed} failures");
    }
    assert_eq!(failures(&pods("FFSF")).0, 1, "a success starts it anew");
}

#[test]
fn deadline_and_time_to_live() {
    let mut job = job(json!({ "activeDeadlineSeconds": 100, "ttlSecondsAfterFinished": 50 }));
    let plan = decide(&job, &pods("R"), NOW);
    assert_eq!((plan.status.start_time.clone(), plan.recheck.unwrap().as_secs()), (Some(Time(NOW)), 100));
    job.status = Some(plan.status);
    let plan = decide(&job, &pods("R"), at(100));
    assert_eq!((steps(&plan).as_str(), condition(&plan.status).as_str()), ("-0", "Failed/DeadlineExceeded"));
    job.status = Some(plan.status);
    let plan = decide(&job, &[], at(120));
    assert_eq!((steps(&plan).as_str(), plan.recheck.unwrap().as_secs()), ("", 30));
    assert_eq!(steps(&decide(&job, &[], at(150))), "expire");
    assert_eq!(job::finished(job.status.as_ref().unwrap()), Some(at(100)));
}
