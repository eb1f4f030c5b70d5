//! StatefulSet: who is made, who goes, and in which order.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;
use stormglass::kube::controllers::statefulset::identity::{self, ordinal};
use stormglass::kube::controllers::statefulset::plan::{Plan, Revision, Step, View, plan};

use super::states::{NOW, object, pod, template};

fn set(policy: &str, strategy: &str, replicas: i32) -> StatefulSet {
    let (kind, partition) = strategy.split_once('/').unwrap_or((strategy, "0"));
    let rolling = json!({ "partition": partition.parse::<i32>().unwrap() });
    let strategy =
        if kind == "OnDelete" { json!({ "type": kind }) } else { json!({ "type": kind, "rollingUpdate": rolling }) };
    object(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "set", "generation": 3 },
        "spec": {
            "serviceName": "web", "replicas": replicas, "podManagementPolicy": policy, "updateStrategy": strategy,
            "selector": { "matchLabels": { "app": "web" } }, "template": template("b"),
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }]
        }
    }))
}

fn revision(name: &str) -> Revision {
    Revision { name: name.into(), template: object(template(name)) }
}

/// A member as the controller would have made it, in a state.
fn member(set: &StatefulSet, ordinal: i32, state: char, at: &str) -> Arc<Pod> {
    let made = identity::pod(set, &object(template(at)), at, ordinal);
    let mut pod = pod(&format!("web-{ordinal}"), state);
    (pod.metadata.labels, pod.spec) = (made.metadata.labels, made.spec);
    Arc::new(pod)
}

/// `0Rb 2Pa`: ordinal, state, revision.
fn members(set: &StatefulSet, text: &str) -> Vec<Arc<Pod>> {
    let one = |word: &str| {
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap();
        let state = word[digits..].chars().next().unwrap();
        member(set, word[..digits].parse().unwrap(), state, &word[digits + 1..])
    };
    text.split_whitespace().map(one).collect()
}

fn decide(set: &StatefulSet, pods: &[Arc<Pod>], claims: &[String]) -> Plan {
    let (current, update) = (revision("a"), revision("b"));
    plan(&View { set, pods, current: &current, update: &update, claims, now: NOW })
}

/// `+1b` made at that revision, `-2` deleted, `c1` its claim made, `~1` mended.
fn steps(plan: &Plan) -> String {
    let number = |name: &Option<String>| name.as_deref().and_then(|name| name.rsplit('-').next()).unwrap().to_string();
    let of = |step: &Step| match step {
        Step::CreateClaim(claim) => format!("c{}", number(&claim.metadata.name)),
        Step::Create(pod) => {
            let revision = &pod.metadata.labels.as_ref().unwrap()[identity::REVISION];
            format!("+{}{revision}", number(&pod.metadata.name))
        }
        Step::Update(pod) => format!("~{}", number(&pod.metadata.name)),
        Step::Delete(pod) => format!("-{}", number(&pod.metadata.name)),
    };
    plan.steps.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn members_are_made_and_removed_as_upstream_does() {
    // Upstream rule, policy, strategy, replicas, members, what is done.
    let rows = [
        (
            "newVersionedStatefulSetPod: new members are at the update revision",
            "OrderedReady",
            "RollingUpdate",
            3,
            "",
            "c0 +0b",
        ),
        ("processReplica: OrderedReady stops after one creation", "OrderedReady", "RollingUpdate", 3, "0Rb", "c1 +1b"),
        ("processReplica: waits for Running and Ready", "OrderedReady", "RollingUpdate", 3, "0Ub", ""),
        ("processReplica: a pod without a status is pending", "OrderedReady", "RollingUpdate", 3, "0Nb", "c0"),
        ("processReplica: claims of pending pods are made up", "OrderedReady", "RollingUpdate", 3, "0Pb", "c0"),
        ("processReplica: waits for a terminating pod", "OrderedReady", "RollingUpdate", 3, "0rb", ""),
        ("processReplica: a gap is filled before the end", "OrderedReady", "RollingUpdate", 3, "0Rb 2Rb", "c1 +1b"),
        ("processReplica: a failed pod is deleted first", "OrderedReady", "RollingUpdate", 2, "0Fb 1Rb", "-0"),
        ("processReplica: a succeeded pod is deleted first", "OrderedReady", "RollingUpdate", 2, "0Sb 1Rb", "-0"),
        ("processReplica: once is enough", "OrderedReady", "RollingUpdate", 2, "0fb 1Rb", ""),
        ("allowsBurst: Parallel makes all at once", "Parallel", "RollingUpdate", 2, "", "c0 +0b c1 +1b"),
        ("allowsBurst: Parallel waits for nobody", "Parallel", "RollingUpdate", 3, "0Ub 1rb", "c2 +2b"),
        ("processReplica: even Parallel makes no second pod", "Parallel", "RollingUpdate", 2, "0fb 1rb", ""),
        (
            "processCondemned: highest ordinal first, one at a time",
            "OrderedReady",
            "RollingUpdate",
            1,
            "0Rb 1Rb 2Rb",
            "-2",
        ),
        ("processCondemned: waits for the one on its way", "OrderedReady", "RollingUpdate", 1, "0Rb 1Rb 2rb", ""),
        ("processCondemned: a broken lower member blocks", "OrderedReady", "RollingUpdate", 1, "0Rb 1Ub 2Ub", ""),
        ("processCondemned: the first broken one may go", "OrderedReady", "RollingUpdate", 1, "0Rb 1Rb 2Ub", "-2"),
        ("processCondemned: of two failed ones neither goes", "OrderedReady", "RollingUpdate", 1, "0Rb 1Fb 2Fb", ""),
        ("processReplica: scale in waits for the rest", "OrderedReady", "RollingUpdate", 1, "0Ub 1Rb", ""),
        ("processCondemned: Parallel removes all at once", "Parallel", "RollingUpdate", 1, "0Ub 1Ub 2Rb", "-2 -1"),
        ("updateStatefulSet: scaled to zero", "OrderedReady", "RollingUpdate", 0, "0Rb", "-0"),
        ("updateStatefulSet: highest old member first", "OrderedReady", "RollingUpdate", 3, "0Ra 1Ra 2Ra", "-2"),
        ("updateStatefulSet: waits for the updated one", "OrderedReady", "RollingUpdate", 3, "0Ra 1Ra 2Ub", ""),
        ("updateStatefulSet: then the next", "OrderedReady", "RollingUpdate", 3, "0Ra 1Ra 2Rb", "-1"),
        ("updateStatefulSet: Parallel updates one by one too", "Parallel", "RollingUpdate", 3, "0Ra 1Ra 2Ub", ""),
        (
            "kubernetes #67250: a broken old member blocks its own repair",
            "OrderedReady",
            "RollingUpdate",
            3,
            "0Ra 1Ra 2Ua",
            "",
        ),
        (
            "updateStatefulSet: Parallel replaces a broken old member",
            "Parallel",
            "RollingUpdate",
            3,
            "0Ra 1Ra 2Ua",
            "-2",
        ),
        ("partition: below it nothing is updated", "OrderedReady", "RollingUpdate/2", 3, "0Ra 1Ra 2Rb", ""),
        ("partition: at and above it all is", "OrderedReady", "RollingUpdate/2", 3, "0Ra 1Ra 2Ra", "-2"),
        ("partition: below it members come back old", "OrderedReady", "RollingUpdate/2", 3, "1Ra 2Rb", "c0 +0a"),
        ("partition: beyond the replicas", "OrderedReady", "RollingUpdate/9", 2, "0Ra 1Ra", ""),
        ("OnDelete: nothing is updated", "OrderedReady", "OnDelete", 2, "0Ra 1Ra", ""),
        ("OnDelete: what was deleted comes back new", "OrderedReady", "OnDelete", 2, "0Ra", "c1 +1b"),
        ("getParentNameAndOrdinal: other names are ignored", "OrderedReady", "RollingUpdate", 1, "0Rb", ""),
    ];
    for (rule, policy, strategy, replicas, there, want) in rows {
        let set = set(policy, strategy, replicas);
        assert_eq!(steps(&decide(&set, &members(&set, there), &[])), want, "{rule}");
    }
}

#[test]
fn a_member_keeps_its_identity() {
    let set = set("OrderedReady", "RollingUpdate", 2);
    let made = identity::pod(&set, &object(template("b")), "b", 1);
    let spec = made.spec.as_ref().unwrap();
    let labels = made.metadata.labels.as_ref().unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("web-1"), Some("web")));
    assert_eq!((labels[identity::POD_NAME].as_str(), labels[identity::POD_INDEX].as_str()), ("web-1", "1"));
    let volume = &spec.volumes.as_ref().unwrap()[0];
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-web-1");
    let claims = identity::claims(&set, 1);
    assert_eq!(claims[0].metadata.labels.as_ref().unwrap()["app"], "web");
    assert_eq!(claims[0].metadata.owner_references, None, "claims outlive the set");

    let claimed = ["data-web-0".to_string()];
    assert_eq!(steps(&decide(&set, &[], &claimed)), "+0b", "a claim that is there is used again");
    let mut lost = Pod::clone(&member(&set, 0, 'R', "b"));
    lost.metadata.labels.as_mut().unwrap().remove(identity::POD_NAME);
    let pods = [Arc::new(lost), member(&set, 1, 'R', "b")];
    assert_eq!(steps(&decide(&set, &pods, &claimed)), "~0", "UpdateStatefulPod gives a lost label back");
}

#[test]
fn the_counters_are_upstreams() {
    // Members, strategy; replicas, ready, current, updated; whether the update revision became the current one.
    let rows = [
        ("0Ra 1Ra 2Ra", "RollingUpdate", (3, 3, 2, 0), false),
        ("0Ra 1Ra 2rb", "RollingUpdate", (3, 3, 2, 0), false),
        ("0Rb 1Rb 2Ub", "RollingUpdate", (3, 2, 0, 3), false),
        ("0Rb 1Rb 2Rb", "RollingUpdate", (3, 3, 3, 3), true),
        ("0Rb 1Rb 2Rb", "OnDelete", (3, 3, 0, 3), false),
        ("0Rb", "RollingUpdate", (1, 1, 0, 1), false),
    ];
    for (there, strategy, want, complete) in rows {
        let set = set("OrderedReady", strategy, 3);
        let status = decide(&set, &members(&set, there), &[]).status;
        let of = |n: Option<i32>| n.unwrap();
        let got =
            (status.replicas, of(status.ready_replicas), of(status.current_replicas), of(status.updated_replicas));
        assert_eq!(got, want, "{there} {strategy}");
        let current = if complete { "b" } else { "a" };
        assert_eq!(status.current_revision.as_deref(), Some(current), "{there} {strategy}");
        assert_eq!(status.observed_generation, Some(3));
    }
}

#[test]
fn min_ready_seconds_delay_the_next_member() {
    let mut set = set("OrderedReady", "RollingUpdate", 2);
    set.spec.min_ready_seconds = Some(90);
    let early = decide(&set, &members(&set, "0Rb"), &[]);
    assert_eq!((steps(&early).as_str(), early.recheck.unwrap().as_secs()), ("", 30));
    assert_eq!(early.status.available_replicas, Some(0));
    set.spec.min_ready_seconds = Some(60);
    assert_eq!(steps(&decide(&set, &members(&set, "0Rb"), &[])), "c1 +1b");
}

/// What may happen to a pod of the naive cluster between two looks.
#[derive(Debug, Clone)]
enum Happens {
    Progress(u8),
    Fail(u8),
    Delete(u8),
    Vanish(u8),
    Scale(i32),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => any::<u8>().prop_map(Happens::Progress),
        1 => any::<u8>().prop_map(Happens::Fail),
        1 => any::<u8>().prop_map(Happens::Delete),
        3 => any::<u8>().prop_map(Happens::Vanish),
        1 => (0..5).prop_map(Happens::Scale),
    ]
}

/// The API server as a list of pods that refuses a name twice.
struct Naive {
    set: StatefulSet,
    pods: BTreeMap<i32, char>,
}

impl Naive {
    fn apply(&mut self, happens: &Happens) {
        let pick = |n: &u8, pods: &BTreeMap<i32, char>| pods.keys().nth(usize::from(*n) % pods.len().max(1)).copied();
        match happens {
            Happens::Scale(replicas) => self.set.spec.replicas = Some(*replicas),
            Happens::Progress(n) | Happens::Fail(n) | Happens::Delete(n) | Happens::Vanish(n) => {
                let Some(ordinal) = pick(n, &self.pods) else { return };
                let state = self.pods[&ordinal];
                match happens {
                    Happens::Progress(_) if matches!(state, 'P' | 'U') => self.pods.insert(ordinal, 'R'),
                    Happens::Fail(_) if state.is_ascii_uppercase() => self.pods.insert(ordinal, 'F'),
                    Happens::Delete(_) => self.pods.insert(ordinal, state.to_ascii_lowercase()),
                    Happens::Vanish(_) if state.is_ascii_lowercase() => self.pods.remove(&ordinal),
                    _ => None,
                };
            }
        }
    }

    /// Left alone: whatever can become ready does, whatever was deleted goes.
    fn settle(&mut self, ordered: bool) {
        for _ in 0..64 {
            self.round(ordered);
            self.pods.retain(|_, state| state.is_ascii_uppercase());
            self.pods.values_mut().filter(|state| **state == 'P').for_each(|state| *state = 'R');
        }
    }

    /// One round of the controller, checked against the promises.
    fn round(&mut self, ordered: bool) {
        let pods: Vec<_> = self.pods.iter().map(|(ordinal, state)| member(&self.set, *ordinal, *state, "b")).collect();
        let decided = decide(&self.set, &pods, &[]);
        let acts: Vec<_> = decided.steps.iter().filter(|step| !matches!(step, Step::CreateClaim(_))).collect();
        assert!(!ordered || acts.len() <= 1, "OrderedReady does one thing at a time: {acts:?}");
        for step in acts {
            match step {
                Step::Create(pod) => {
                    let new = ordinal("web", pod.metadata.name.as_ref().unwrap()).unwrap();
                    assert_eq!(self.pods.insert(new, 'P'), None, "a second pod for ordinal {new}");
                    let before = |ordinal: &i32| self.pods.get(ordinal) == Some(&'R');
                    assert!(
                        !ordered || (0..new).all(|ordinal| before(&ordinal)),
                        "{new} before its turn: {:?}",
                        self.pods
                    );
                    assert!(new < self.set.spec.replicas.unwrap());
                }
                Step::Delete(pod) => {
                    let old = ordinal("web", pod.metadata.name.as_ref().unwrap()).unwrap();
                    let state = self.pods[&old];
                    let condemned = old >= self.set.spec.replicas.unwrap();
                    assert!(
                        state == 'F' && !condemned || condemned && state.is_ascii_uppercase(),
                        "{old} in {:?}",
                        self.pods
                    );
                    assert!(
                        !ordered || !condemned || self.pods.keys().all(|other| *other <= old),
                        "{old} is not the last"
                    );
                    self.pods.insert(old, state.to_ascii_lowercase());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_set_keeps_its_promises_and_settles(ordered: bool, story in prop::collection::vec(happens(), 0..60)) {
        let policy = if ordered { "OrderedReady" } else { "Parallel" };
        let mut naive = Naive { set: set(policy, "RollingUpdate", 3), pods: BTreeMap::new() };
        for event in &story {
            naive.round(ordered);
            naive.apply(event);
        }
        naive.settle(ordered);
        // Failed members that are too many block each other, upstream too: the last is not the first that is broken. What
        // deletes failed pods, a user or the pod garbage collector, unblocks them.
        let replicas = naive.set.spec.replicas.unwrap();
        let stuck: Vec<_> = naive.pods.split_off(&replicas).into_iter().collect();
        let failed = stuck.iter().filter(|(_, state)| *state == 'F').count();
        prop_assert!(stuck.is_empty() || ordered && failed >= 2 && stuck.last().unwrap().1 == 'F', "{stuck:?}");
        naive.settle(ordered);
        let wanted: BTreeMap<i32, char> = (0..replicas).map(|ordinal| (ordinal, 'R')).collect();
        prop_assert_eq!(naive.pods, wanted);
    }
}
