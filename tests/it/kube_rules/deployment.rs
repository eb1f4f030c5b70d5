//! Deployment: how a rollout passes, how a size changes, what is told of it.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};
use stormglass::kube::controllers::deployment::plan::{Plan, Step, View, plan};
use stormglass::kube::controllers::deployment::sets::{DESIRED, HASH, MAX, REVISION, fences, made};
use stormglass::kube::kind::Kinds;

use super::states::{NOW, at, object, pod, template};

fn rolling(surge: &Value, unavailable: &Value) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } })
}

fn deployment(replicas: i32, strategy: Value) -> Deployment {
    object(json!({
        "metadata": {
            "name": "web", "namespace": "default", "uid": "deployment", "generation": 1,
            "annotations": { "deployment.kubernetes.io/revision": "2" },
        },
        "spec": {
            "replicas": replicas, "strategy": strategy, "revisionHistoryLimit": 1, "progressDeadlineSeconds": 600,
            "selector": { "matchLabels": { "app": "web" } }, "template": template("web:2"),
        }
    }))
}

/// `web:1 3/2 3`: image, asked for and available, and the number that the deployment had.
fn set(deployment: &Deployment, name: &str, text: &str) -> Arc<ReplicaSet> {
    let words: Vec<&str> = text.split([' ', '/']).collect();
    let number = |at: usize| words[at].parse::<i32>().unwrap();
    let mut older = deployment.clone();
    older.spec.template = object(template(words[0]));
    older.spec.replicas = Some(number(3));
    let revision = if words[0] == "web:2" { 2 } else { 1 };
    let mut set = *made(&older, number(1), revision);
    set.metadata.name = Some(name.into());
    set.metadata.uid = Some(name.into());
    let counts = json!({ "replicas": number(1), "readyReplicas": number(2), "availableReplicas": number(2) });
    set.status = Some(object(counts));
    Arc::new(set)
}

fn decide(deployment: &Deployment, sets: &[Arc<ReplicaSet>], pods: &[Arc<Pod>]) -> Plan {
    plan(&View { deployment, sets, pods, now: NOW })
}

fn steps(plan: &Plan) -> String {
    let size = |set: &ReplicaSet| set.spec.replicas.unwrap();
    let of = |step: &Step| match step {
        Step::Create(set) => format!("+{}", size(set)),
        Step::Replace(set) => format!("{}={}", set.metadata.name.as_deref().unwrap(), size(set)),
        Step::Delete(set) => format!("-{}", set.metadata.name.as_deref().unwrap()),
        Step::Number(number) => format!("#{number}"),
    };
    plan.steps.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn numbers_above_and_below_are_resolved_as_upstream() {
    let percent = |text: &str| json!(text);
    // Upstream rule, replicas, maxSurge, maxUnavailable, both resolved.
    let rows = [
        ("defaults of four", 4, percent("25%"), percent("25%"), (1, 1)),
        ("surge rounds up, unavailable down", 3, percent("25%"), percent("25%"), (1, 0)),
        ("ResolveFenceposts: not both zero", 1, json!(0), percent("25%"), (0, 1)),
        ("numbers", 10, json!(3), json!(2), (3, 2)),
        ("all of them", 10, percent("100%"), percent("0%"), (10, 0)),
    ];
    for (rule, replicas, surge, unavailable, want) in rows {
        assert_eq!(fences(&deployment(replicas, rolling(&surge, &unavailable))), want, "{rule}");
    }
}

#[test]
fn a_rollout_passes_as_upstream_has_it() {
    let one = || rolling(&json!(1), &json!(0));
    let either = || rolling(&json!(1), &json!(1));
    let recreate = || json!({ "type": "Recreate" });
    // Upstream rule, replicas, strategy, sets, what is done.
    let rows: [(&str, i32, Value, &[&str], &str); 15] = [
        ("getNewReplicaSet: the first", 3, one(), &[], "#1 +3"),
        ("getNewReplicaSet: another template", 3, one(), &["web:1 3/3 3"], "+1"),
        ("reconcileNewReplicaSet: no room above the surge", 3, one(), &["web:1 3/3 3", "web:2 1/0 3"], ""),
        ("scaleDownOldReplicaSets: one became available", 3, one(), &["web:1 3/3 3", "web:2 1/1 3"], "a=2"),
        ("reconcileNewReplicaSet: then the next", 3, one(), &["web:1 2/2 3", "web:2 1/1 3"], "b=2"),
        ("reconcileNewReplicaSet: the last old one", 3, one(), &["web:1 1/1 3", "web:2 3/3 3"], "a=0"),
        ("complete", 3, one(), &["web:1 0/0 3", "web:2 3/3 3"], ""),
        ("cleanupUnhealthyReplicas: broken old ones first", 3, either(), &["web:1 3/1 3", "web:2 1/0 3"], "a=2"),
        ("reconcileOldReplicaSets: not below the least", 3, either(), &["web:1 2/2 3", "web:2 2/0 3"], ""),
        ("both at once are a scaling first", 4, one(), &["web:1 3/3 3"], "a=4"),
        ("rolloutRecreate: old ones go", 3, recreate(), &["web:1 3/3 3"], "a=0"),
        ("rolloutRecreate: new ones come", 3, recreate(), &["web:1 0/0 3"], "+3"),
        ("rolloutRecreate: as many as wanted", 3, recreate(), &["web:1 0/0 3", "web:2 0/0 3"], "b=3"),
        ("a way back has a new number", 3, one(), &["web:2 0/0 3", "web:1 3/3 3"], "a=1"),
        ("cleanupDeployment: beyond the limit", 1, one(), &["web:2 1/1 1", "web:1 0/0 1", "web:0 0/0 1"], "-b"),
    ];
    for (rule, replicas, strategy, texts, want) in rows {
        let deployment = deployment(replicas, strategy);
        let sets: Vec<_> = texts.iter().zip(["a", "b", "c"]).map(|(text, name)| set(&deployment, name, text)).collect();
        assert_eq!(steps(&decide(&deployment, &sets, &[])), want, "{rule}");
    }
}

#[test]
fn a_size_that_changes_in_mid_rollout_is_shared_in_proportion() {
    // Wanted, sets (of 10 wanted before), what is done.
    let rows: [(i32, &[&str], &str); 5] = [
        (15, &["web:1 8/8 10", "web:2 5/0 10"], "a=12 b=7"),
        (5, &["web:1 8/8 10", "web:2 3/0 10"], "a=4 b=3"),
        (0, &["web:1 8/8 10", "web:2 3/0 10"], "a=0 b=0"),
        (12, &["web:1 0/0 10", "web:2 10/10 10"], "b=12"),
        (10, &["web:1 2/2 10", "web:2 10/10 10"], "a=0"),
    ];
    for (wanted, texts, want) in rows {
        let deployment = deployment(wanted, rolling(&json!("25%"), &json!("25%")));
        let sets: Vec<_> = texts.iter().zip(["a", "b"]).map(|(text, name)| set(&deployment, name, text)).collect();
        assert_eq!(steps(&decide(&deployment, &sets, &[])), want, "{wanted} {texts:?}");
    }
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let deployment = deployment(3, json!({ "type": "Recreate" }));
    let old = set(&deployment, "a", "web:1 0/0 3");
    let owned = |state: char| {
        let mut one = pod("old", state);
        one.metadata.owner_references = Some(vec![object(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "a", "controller": true
        }))]);
        Arc::new(one)
    };
    for (state, want) in [('R', ""), ('r', ""), ('P', ""), ('F', "+3"), ('S', "+3")] {
        assert_eq!(steps(&decide(&deployment, std::slice::from_ref(&old), &[owned(state)])), want, "{state}");
    }
}

#[test]
fn a_paused_deployment_is_scaled_and_not_rolled() {
    let mut paused = deployment(4, rolling(&json!(1), &json!(0)));
    paused.spec.paused = Some(true);
    let old = set(&paused, "a", "web:1 3/3 3");
    assert_eq!(steps(&decide(&paused, &[old], &[])), "a=4");
}

#[test]
fn a_set_carries_the_hash_and_the_numbers() {
    let deployment = deployment(4, rolling(&json!("25%"), &json!("25%")));
    let set = made(&deployment, 1, 7);
    let hash = set.metadata.labels.as_ref().unwrap()[HASH].clone();
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    assert_eq!(set.spec.selector.match_labels.as_ref().unwrap()[HASH], hash);
    let notes = set.metadata.annotations.as_ref().unwrap();
    assert_eq!((&*notes[DESIRED], &*notes[MAX], &*notes[REVISION]), ("4", "5", "7"));
    let mut collided = deployment;
    collided.status.get_or_insert_default().collision_count = Some(1);
    assert_ne!(made(&collided, 1, 7).metadata.name, set.metadata.name);
}

#[test]
fn a_rollout_tells_whether_it_moves() {
    let mut deployment = deployment(3, rolling(&json!(1), &json!(0)));
    let told = |deployment: &Deployment, sets: &[Arc<ReplicaSet>], now: i64| {
        let plan = plan(&View { deployment, sets, pods: &[], now: at(now) });
        let words = |type_: &str| {
            let all = plan.status.conditions.clone().unwrap_or_default();
            let one = all.into_iter().find(|one| one.type_.as_deref() == Some(type_)).unwrap();
            format!("{} {}", one.status.unwrap(), one.reason.unwrap())
        };
        let both = (words("Available"), words("Progressing"));
        (plan.status, both)
    };
    let waiting = [set(&deployment, "a", "web:2 3/2 3")];
    let (status, (available, progressing)) = told(&deployment, &waiting, 0);
    assert_eq!(available, "False MinimumReplicasUnavailable");
    assert_eq!(progressing, "True ReplicaSetUpdated");
    assert_eq!((status.ready_replicas, status.unavailable_replicas), (Some(2), Some(1)));
    deployment.status = Some(status);
    assert_eq!(told(&deployment, &waiting, 599).1.1, "True ReplicaSetUpdated");
    let (status, (_, late)) = told(&deployment, &waiting, 600);
    assert_eq!(late, "False ProgressDeadlineExceeded");
    deployment.status = Some(status);
    let done = [set(&deployment, "a", "web:2 3/3 3")];
    let (_, both) = told(&deployment, &done, 601);
    assert_eq!(both, ("True MinimumReplicasAvailable".into(), "True NewReplicaSetAvailable".into()));
}

#[test]
fn a_manifest_gets_upstreams_defaults() {
    let kinds = Kinds::builtin();
    let kind = kinds.get(kinds.by_kind("apps/v1", "Deployment").unwrap());
    let value = json!({
        "metadata": { "name": "web" },
        "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": template("web:1") }
    });
    let ((_, body), unknown) = kind.decode(&value).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let spec = body.get("spec").unwrap();
    let quarter = json!({ "maxSurge": "25%", "maxUnavailable": "25%" });
    assert_eq!(spec["strategy"], json!({ "type": "RollingUpdate", "rollingUpdate": quarter }));
    assert_eq!((&spec["replicas"], &spec["revisionHistoryLimit"]), (&json!(1), &json!(10)));
    assert_eq!(spec["progressDeadlineSeconds"], json!(600));
    for word in ["deploy", "deployments.apps"] {
        assert_eq!(kinds.by_word(word), kinds.by_kind("apps/v1", "Deployment"), "{word}");
    }
    assert_eq!(kinds.by_word("rs"), kinds.by_kind("apps/v1", "ReplicaSet"));
}

/// Carries a plan out: sets are as large as they are asked to be, `ready` of every ten new pods are available at once.
fn carry_out(sets: &mut Vec<Arc<ReplicaSet>>, plan: Plan, birth: &mut i64) {
    for step in plan.steps {
        match step {
            Step::Create(mut set) => {
                *birth += 1;
                set.metadata.uid = Some(format!("{birth}"));
                set.metadata.creation_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(*birth)));
                sets.push(Arc::new(*set));
            }
            Step::Replace(next) => {
                let old = sets.iter_mut().find(|set| set.metadata.uid == next.metadata.uid).unwrap();
                *old = Arc::new(*next);
            }
            Step::Delete(gone) => sets.retain(|set| set.metadata.uid != gone.metadata.uid),
            Step::Number(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn a_rollout_ends_and_never_passes_its_fences(
        replicas in 1..12i32, surge in 0..4i32, unavailable in 0..4i32, moves in proptest::collection::vec(0..3u8, 8),
    ) {
        prop_assume!(surge + unavailable > 0);
        let mut wish = deployment(replicas, rolling(&json!(surge), &json!(unavailable)));
        let (mut sets, mut birth) = (Vec::new(), 0);
        let mut settled = false;
        for round in 0..400 {
            // A few new templates come while older ones still roll.
            if let Some(image) = moves.get(round / 5).filter(|_| round % 5 == 0) {
                wish.spec.template = object(template(&format!("web:{image}")));
            }
            let plan = plan(&View { deployment: &wish, sets: &sets, pods: &[], now: NOW });
            settled = plan.steps.iter().all(|step| matches!(step, Step::Number(_)));
            wish.status = Some(plan.status.clone());
            carry_out(&mut sets, plan, &mut birth);
            let asked: i32 = sets.iter().map(|set| set.spec.replicas.unwrap()).sum();
            prop_assert!(asked <= replicas + surge, "{asked} of {replicas} + {surge}");
            // Every second round the pods that there should be come up or go.
            let grown = round % 2 == 1;
            for set in &mut sets {
                let mut next = ReplicaSet::clone(set);
                let size = next.spec.replicas.unwrap();
                let before = next.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
                let available = if grown { size } else { before.min(size) };
                next.status = Some(object(json!({ "replicas": size, "readyReplicas": available, "availableReplicas": available })));
                *set = Arc::new(next);
            }
            let available: i32 = sets.iter().map(|set| set.status.as_ref().unwrap().available_replicas.unwrap()).sum();
            prop_assert!(round < 2 || available >= replicas - unavailable, "{available} of {replicas} - {unavailable}");
            if settled && round > 50 { break; }
        }
        prop_assert!(settled);
        let new: Vec<_> = sets.iter().filter(|set| set.spec.replicas != Some(0)).collect();
        prop_assert_eq!(new.len(), 1);
        prop_assert_eq!(new[0].spec.replicas, Some(replicas));
    }
}
