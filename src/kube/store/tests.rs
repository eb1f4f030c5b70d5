//! The store against what upstream does, and against a naive model.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::Seed;

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn store(config: StoreConfig) -> Store {
    Store::new(Arc::new(Kinds::builtin()), config, Seed(7).stream("test", 0), now(0))
}

fn kind(store: &Store, word: &str) -> KindId {
    store.kinds().by_word(word).unwrap()
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}})
}

fn make(store: &mut Store, word: &str, value: Value) -> Result<Arc<Object>, Refusal> {
    let id = kind(store, word);
    let namespace = if store.kinds().get(id).namespaced { "default" } else { "" };
    store.create(id, namespace, value, Validation::Strict, now(1))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

#[test]
fn what_does_not_fit_is_refused_in_upstreams_words() {
    let mut store = store(StoreConfig::default());
    make(&mut store, "pods", pod("there")).unwrap();
    let set = |template: Value| json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let rows = [
        ("pods", pod("there"), 409, "pods \"there\" already exists"),
        (
            "pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": [], "hostNetwrok": true}}),
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.hostNetwrok\"",
        ),
        (
            "pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": 7}]}}),
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: spec.containers[0].name: expected a string, found a whole \
             number",
        ),
        (
            "pods",
            json!({"metadata": {"name": "p"}, "spec": {"containers": []}}),
            422,
            "Pod \"p\" is invalid: spec.containers: Required value",
        ),
        (
            "pods",
            json!({"spec": {"containers": []}}),
            422,
            "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            "sts",
            set(json!({"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}})),
            422,
            "StatefulSet.apps \"s\" is invalid: spec.template.metadata.labels: Invalid value: `selector` does not match \
             template `labels`",
        ),
        (
            "cm",
            json!({"metadata": {"name": "m", "namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "cm",
            json!({"metadata": {"name": "m", "resourceVersion": "7"}}),
            400,
            "resourceVersion should not be set on objects to be created",
        ),
    ];
    for (word, value, code, message) in rows {
        let refusal = make(&mut store, word, value).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (code, message));
    }
    let pods = kind(&store, "pods");
    let refusal = store.create(pods, "nowhere", pod("p"), Validation::Strict, now(1)).unwrap_err();
    assert_eq!(refusal.message, "namespaces \"nowhere\" not found");
    let refusal = make(&mut store, "nodes", json!({"metadata": {"name": "A_b"}})).unwrap_err();
    assert!(refusal.message.starts_with("Node \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase"));
    let ignored = json!({"metadata": {"name": "m"}, "dta": {}});
    let cm = kind(&store, "cm");
    assert!(store.create(cm, "default", ignored, Validation::Ignore, now(1)).is_ok());
}

#[test]
fn generated_names_uids_and_times_are_the_servers() {
    let mut store = store(StoreConfig::default());
    let value =
        json!({"metadata": {"generateName": "job-", "uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z"}});
    let a = make(&mut store, "cm", value.clone()).unwrap();
    let b = make(&mut store, "cm", value).unwrap();
    assert!(a.key.name.starts_with("job-") && a.key.name.len() == 9 && a.key != b.key, "{a:?} {b:?}");
    assert!(a.uid() != "mine" && a.uid().len() == 36 && a.uid() != b.uid(), "{}", a.uid());
    assert_eq!(a.meta.creation_timestamp.as_ref().unwrap().0, now(1));
}

#[test]
fn a_status_patch_comes_to_the_same_however_it_is_written() {
    let running = json!({"phase": "Running"});
    let labels = json!({"labels": {"a": "b"}});
    let operations = json!([
        {"op": "replace", "path": "/status/phase", "value": "Running"},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
    ]);
    let patches = [
        Patch::Json(operations),
        Patch::Merge(json!({"metadata": labels, "status": running})),
        Patch::Strategic(json!({"metadata": labels, "status": running})),
        // What it says of the spec is left alone.
        Patch::Strategic(json!({"metadata": labels, "spec": {"nodeName": "n"}, "status": running})),
    ];
    let patched = patches.map(|patch| {
        let mut store = store(StoreConfig::default());
        let pods = kind(&store, "pods");
        make(&mut store, "pods", pod("p")).unwrap();
        store.patch(pods, &key("p"), &patch, Part::Status, Validation::Strict).unwrap()
    });
    for object in &patched {
        assert_eq!((&object.meta, &object.body), (&patched[0].meta, &patched[0].body));
        assert_eq!(object.at("status.qosClass"), Some(&json!("BestEffort")));
        assert_eq!(object.labels().get("a").map(String::as_str), Some("b"));
        assert!(object.at("spec.containers").is_some() && object.at("spec.nodeName").is_none());
    }
    let mut store = store(StoreConfig::default());
    let pods = kind(&store, "pods");
    make(&mut store, "pods", pod("p")).unwrap();
    let unknown = Patch::Strategic(json!({"status": {"fancy": 1}}));
    let refusal = store.patch(pods, &key("p"), &unknown, Part::Status, Validation::Strict).unwrap_err();
    assert!(refusal.message.ends_with("strict decoding error: unknown field \"status.fancy\""), "{}", refusal.message);
}

#[test]
fn status_and_spec_are_written_apart() {
    let mut store = store(StoreConfig::default());
    let mut created = pod("p");
    created["status"] = json!({"phase": "Running"});
    let made = make(&mut store, "pods", created).unwrap();
    assert_eq!(made.at("status.phase"), Some(&json!("Pending")));
    assert_eq!(made.at("status.qosClass"), Some(&json!("BestEffort")));
    let pods = kind(&store, "pods");
    let mut value = made.to_value();
    value["status"]["phase"] = json!("Running");
    value["spec"]["containers"][0]["image"] = json!("x:2");
    let status = store.update(pods, &key("p"), &value, Part::Status, Validation::Strict).unwrap();
    assert_eq!(status.at("status.phase"), Some(&json!("Running")));
    assert_eq!(status.at("spec.containers"), made.at("spec.containers"));
    assert_eq!(status.meta.generation, Some(1));

    value["metadata"]["resourceVersion"] = json!("");
    value["status"]["phase"] = json!("Failed");
    let whole = store.update(pods, &key("p"), &value, Part::Whole, Validation::Strict).unwrap();
    assert_eq!(whole.at("status.phase"), Some(&json!("Running")));
    assert_eq!(whole.meta.generation, Some(2));

    value["spec"]["nodeName"] = json!("n");
    let refusal = store.update(pods, &key("p"), &value, Part::Whole, Validation::Strict).unwrap_err();
    assert!(refusal.message.contains("pod updates may not change fields other than"), "{}", refusal.message);
}

#[test]
fn leases_and_events_decide_nothing() {
    let mut store = store(StoreConfig::default());
    let named = json!({ "metadata": { "name": "a", "namespace": "default" } });
    for (word, decides) in [("configmaps", true), ("leases", false), ("pods", true), ("events", false)] {
        let (before, all) = (store.decisive_revision(), store.revision());
        let value = if word == "pods" { pod("p") } else { named.clone() };
        make(&mut store, word, value).unwrap();
        assert!(store.revision() > all);
        assert_eq!(store.decisive_revision(), if decides { store.revision() } else { before }, "{word}");
    }
}

#[test]
fn a_write_that_says_the_same_is_none() {
    let mut store = store(StoreConfig::default());
    let made = make(&mut store, "pods", pod("p")).unwrap();
    let pods = kind(&store, "pods");
    let mut same = made.to_value();
    same["metadata"]["labels"] = json!({});
    let again = store.update(pods, &key("p"), &same, Part::Whole, Validation::Strict).unwrap();
    assert_eq!((again.version, store.revision()), (made.version, made.version));
}

#[test]
fn pods_go_when_their_grace_is_over() {
    let mut store = store(StoreConfig::default());
    let pods = kind(&store, "pods");
    let with = |grace| DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
    // Without a node there is nobody to wait for.
    make(&mut store, "pods", pod("a")).unwrap();
    assert!(matches!(store.delete(pods, &key("a"), &with(None), now(2)), Ok(Deleted::Gone(_))));

    make(&mut store, "pods", pod("b")).unwrap();
    let binding = json!({"target": {"name": "n"}});
    store.bind(pods, &key("b"), &binding, now(2)).unwrap();
    let grace = |deleted: Deleted| match deleted {
        Deleted::Marked(pod) => {
            let at = pod.meta.deletion_timestamp.as_ref().unwrap().0.as_second() - now(0).as_second();
            (at, pod.meta.deletion_grace_period_seconds.unwrap(), pod.meta.generation.unwrap())
        }
        Deleted::Gone(_) => (0, 0, 0),
    };
    let mut delete = |with: DeleteOptions, at| grace(store.delete(pods, &key("b"), &with, now(at)).unwrap());
    assert_eq!(delete(with(None), 10), (40, 30, 2));
    // Neither again nor longer, but shorter, counted from the same moment.
    assert_eq!(delete(with(None), 12), (40, 30, 2));
    assert_eq!(delete(with(Some(60)), 13), (40, 30, 2));
    assert_eq!(delete(with(Some(5)), 14), (15, 5, 2));
    let other = DeleteOptions { uid: Some("other".into()), ..with(Some(0)) };
    assert_eq!(store.delete(pods, &key("b"), &other, now(15)).unwrap_err().reason, "Conflict");
    assert!(matches!(store.delete(pods, &key("b"), &with(Some(0)), now(15)), Ok(Deleted::Gone(_))));
    assert!(store.get(pods, &key("b")).is_err());
}

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let mut store = store(StoreConfig::default());
    let cm = kind(&store, "cm");
    let value = json!({"metadata": {"name": "m", "finalizers": ["x/a"]}});
    make(&mut store, "cm", value).unwrap();
    let marked = store.delete(cm, &key("m"), &DeleteOptions::default(), now(5)).unwrap();
    assert!(matches!(&marked, Deleted::Marked(object) if object.is_deleting()));
    // Twice is once.
    let before = store.revision();
    store.delete(cm, &key("m"), &DeleteOptions::default(), now(6)).unwrap();
    assert_eq!(store.revision(), before);
    let more = Patch::Merge(json!({"metadata": {"finalizers": ["x/a", "x/b"]}}));
    let refusal = store.patch(cm, &key("m"), &more, Part::Whole, Validation::Strict).unwrap_err();
    assert!(refusal.message.contains("no new finalizers can be added"), "{}", refusal.message);
    let none = Patch::Json(json!([{"op": "remove", "path": "/metadata/finalizers/0"}]));
    store.patch(cm, &key("m"), &none, Part::Whole, Validation::Strict).unwrap();
    assert!(store.get(cm, &key("m")).is_err());
    let last = store.events_after(cm, 0).unwrap().last().unwrap().change;
    assert_eq!(last, Change::Deleted);
    // Dependents first, or left alone: the garbage collector's finalizers.
    for (propagation, finalizer) in
        [(Propagation::Foreground, delete::FOREGROUND_FINALIZER), (Propagation::Orphan, delete::ORPHAN_FINALIZER)]
    {
        make(&mut store, "cm", json!({"metadata": {"name": finalizer.to_lowercase()}})).unwrap();
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        let Ok(Deleted::Marked(object)) = store.delete(cm, &key(&finalizer.to_lowercase()), &options, now(7)) else {
            unreachable!("a finalizer holds it")
        };
        assert_eq!(object.meta.finalizers, Some(vec![finalizer.to_owned()]));
    }
}

#[test]
fn a_namespace_takes_its_content_along() {
    let mut store = store(StoreConfig::default());
    let (namespaces, pods) = (kind(&store, "ns"), kind(&store, "pods"));
    make(&mut store, "ns", json!({"metadata": {"name": "team"}})).unwrap();
    store.create(pods, "team", pod("p"), Validation::Strict, now(1)).unwrap();
    let held = ObjectKey::new("team", "p");
    store.bind(pods, &held, &json!({"target": {"name": "n"}}), now(1)).unwrap();
    let options = DeleteOptions::default();
    let team = ObjectKey::new("", "team");
    assert!(matches!(store.delete(namespaces, &team, &options, now(2)), Ok(Deleted::Marked(_))));
    let refusal = store.create(pods, "team", pod("q"), Validation::Strict, now(3)).unwrap_err();
    assert_eq!(refusal.code, 403);
    let now_then = DeleteOptions { grace_period_seconds: Some(0), ..options.clone() };
    store.delete(pods, &held, &now_then, now(4)).unwrap();
    assert!(store.get(namespaces, &team).is_err());
    let default = ObjectKey::new("", "default");
    assert_eq!(store.delete(namespaces, &default, &options, now(5)).unwrap_err().code, 403);
}

#[test]
fn claims_services_and_jobs_get_what_the_cluster_gives() {
    let mut store = store(StoreConfig::default());
    let class = |name: &str, default: &str| {
        json!({"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}},
            "provisioner": "disk"})
    };
    make(&mut store, "sc", class("a", "false")).unwrap();
    make(&mut store, "sc", class("b", "true")).unwrap();
    let claim = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let rows = [
        (claim("open", json!({})), json!("b")),
        (claim("none", json!({"storageClassName": ""})), json!("")),
        (claim("own", json!({"storageClassName": "a"})), json!("a")),
    ];
    for (claim, want) in rows {
        assert_eq!(make(&mut store, "pvc", claim).unwrap().at("spec.storageClassName"), Some(&want));
    }
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let a = make(&mut store, "svc", service("a", json!({"ports": [{"port": 80}]}))).unwrap();
    let headless = make(&mut store, "svc", service("b", json!({"clusterIP": "None"}))).unwrap();
    assert_eq!(a.at("spec.clusterIP"), Some(&json!("10.96.0.17")));
    assert_eq!(headless.at("spec.clusterIP"), Some(&json!("None")));
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}});
    let job = make(&mut store, "job", job).unwrap();
    let uid = json!(job.uid());
    assert_eq!(
        job.at("spec.selector.matchLabels").and_then(|l| l.get("batch.kubernetes.io/controller-uid")),
        Some(&uid)
    );
    assert_eq!(job.body.get("spec").unwrap()["template"]["metadata"]["labels"]["job-name"], json!("j"));
}

#[test]
fn what_was_forgotten_is_gone() {
    let mut store = store(StoreConfig { history_events_max: 2, ..StoreConfig::default() });
    let cm = kind(&store, "cm");
    let versions: Vec<u64> = (0..4)
        .map(|n| make(&mut store, "cm", json!({"metadata": {"name": format!("m{n}")}})).unwrap().version)
        .collect();
    assert_eq!(store.events_after(cm, versions[1]).unwrap().count(), 2);
    let refusal = store.events_after(cm, versions[0]).map(Iterator::count).unwrap_err();
    assert_eq!((refusal.code, refusal.reason.as_str()), (410, "Expired"));
    assert_eq!(store.events_after(cm, store.revision() + 1).map(Iterator::count).unwrap_err().code, 504);
    store.compact();
    assert!(store.events_after(cm, versions[2]).is_err());
    assert_eq!(store.events_after(cm, store.revision()).unwrap().count(), 0);
}

#[test]
fn old_events_are_forgotten_but_for_the_newest() {
    let mut store = store(StoreConfig { history_events_kept: 2, ..StoreConfig::default() });
    let cm = kind(&store, "cm");
    let made =
        |store: &mut Store, n: u32| make(store, "cm", json!({"metadata": {"name": format!("m{n}")}})).unwrap().version;
    let first: Vec<u64> = (0..4).map(|n| made(&mut store, n)).collect();
    (0..super::PERIODS).for_each(|_| store.age());
    assert_eq!(store.events_after(cm, first[0]).unwrap().count(), 3, "they are young");
    let later: Vec<u64> = (4..7).map(|n| made(&mut store, n)).collect();
    store.age();
    assert_eq!(
        store.events_after(cm, first[3]).unwrap().count(),
        3,
        "the old ones went, the young ones are more than two"
    );
    assert_eq!(store.events_after(cm, first[2]).map(Iterator::count).unwrap_err().code, 410);
    (0..super::PERIODS).for_each(|_| store.age());
    assert_eq!(store.events_after(cm, later[0]).unwrap().count(), 2, "two are always kept");
    assert!(store.events_after(cm, first[3]).is_err());
}

#[test]
fn a_secrets_value_is_in_no_message() {
    let mut store = store(StoreConfig::default());
    let value = "c2VjcmV0IQ";
    let rows = [
        json!({"metadata": {"name": "s"}, "data": {"k": value}}),
        json!({"metadata": {"name": "s"}, "data": value}),
        json!({"metadata": {"name": "s"}, "immutable": value}),
        json!({"metadata": {"name": "S"}, "stringData": {"k": value}}),
    ];
    for secret in rows {
        let refusal = make(&mut store, "secrets", secret).unwrap_err();
        assert!(!format!("{refusal:?}").contains(value), "{refusal:?}");
    }
    let made = make(&mut store, "secrets", json!({"metadata": {"name": "s"}, "stringData": {"k": "secret!"}})).unwrap();
    assert_eq!(made.at("data.k"), Some(&json!("c2VjcmV0IQ==")));
    assert_eq!(format!("{made:?}"), format!("default/s@{}", made.version));
}

#[test]
fn custom_kinds_come_from_their_definitions() {
    let kinds = Arc::new(crate::kube::fluid::kinds(Kinds::builtin()));
    let mut store = Store::new(kinds, StoreConfig::default(), Seed(7).stream("test", 0), now(0));
    let id = kind(&store, "jindo");
    let entry = store.kinds().get(id);
    assert_eq!((entry.kind.as_str(), entry.resource().as_str()), ("JindoRuntime", "jindoruntimes.data.fluid.io"));
    assert!(entry.namespaced && entry.has_status && entry.columns.iter().any(|c| c.name == "Master Phase"));
    let tiers =
        json!({"levels": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "1G", "high": "0.9", "low": "0.8"}]});
    let unknown = json!({"metadata": {"name": "j"}, "spec": {"replikas": 1, "tieredstore": tiers}});
    let refusal = make(&mut store, "jindo", unknown).unwrap_err();
    assert!(refusal.code == 400 && refusal.message.contains("replikas"), "{}", refusal.message);
    let made =
        make(&mut store, "jindo", json!({"metadata": {"name": "j"}, "spec": {"replicas": 1, "tieredstore": tiers}}))
            .unwrap();
    assert_eq!(made.meta.generation, Some(1));
    let scaled = Patch::Merge(json!({"spec": {"replicas": 3}}));
    store.patch_scale(id, &key("j"), &scaled).unwrap();
    let now = store.get(id, &key("j")).unwrap();
    assert_eq!((now.at("spec.replicas"), now.meta.generation), (Some(&json!(3)), Some(2)));
    let strategic = store.patch(id, &key("j"), &Patch::Strategic(json!({})), Part::Whole, Validation::Strict);
    assert_eq!(strategic.unwrap_err().code, 415);
    let blind = json!({"metadata": {"name": "j"}, "spec": {"replicas": 1, "tieredstore": tiers}});
    let refusal = store.update(id, &key("j"), &blind, Part::Whole, Validation::Strict).unwrap_err();
    assert!(refusal.message.contains("must be specified for an update"), "{}", refusal.message);
}

/// One call of the random test.
#[derive(Debug, Clone)]
enum Call {
    Create { name: u8, label: u8 },
    Label { name: u8, label: u8, stale: bool },
    Finalize { name: u8, on: bool },
    Delete { name: u8 },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let one = prop_oneof![
        (0..4u8, 0..3u8).prop_map(|(name, label)| Call::Create { name, label }),
        (0..4u8, 0..3u8, any::<bool>()).prop_map(|(name, label, stale)| Call::Label { name, label, stale }),
        (0..4u8, any::<bool>()).prop_map(|(name, on)| Call::Finalize { name, on }),
        (0..4u8).prop_map(|name| Call::Delete { name }),
    ];
    prop::collection::vec(one, 0..40)
}

/// What the model knows of an object.
#[derive(Debug, Clone, Default, PartialEq)]
struct Modelled {
    label: u8,
    held: bool,
    deleting: bool,
}

/// The same call on the model: the object is gone, or as given; nothing if the store must refuse.
fn expect(model: &mut BTreeMap<u8, Modelled>, call: &Call) -> bool {
    let object = |name: &u8| model.get(name).cloned();
    let (name, next) = match call {
        Call::Create { name, label } => match object(name) {
            Some(_) => return false,
            None => (name, Some(Modelled { label: *label, ..Modelled::default() })),
        },
        Call::Label { name, label, stale } => match object(name) {
            Some(object) if !stale => (name, Some(Modelled { label: *label, ..object })),
            _ => return false,
        },
        Call::Finalize { name, on } => match object(name) {
            None => return false,
            Some(object) if object.deleting && *on && !object.held => return false,
            Some(object) if object.deleting && !on => (name, None),
            Some(object) => (name, Some(Modelled { held: *on, ..object })),
        },
        Call::Delete { name } => match object(name) {
            None => return false,
            Some(object) if object.held => (name, Some(Modelled { deleting: true, ..object })),
            Some(_) => (name, None),
        },
    };
    match next {
        Some(next) => drop(model.insert(*name, next)),
        None => drop(model.remove(name)),
    }
    true
}

fn perform(store: &mut Store, id: KindId, call: &Call) -> bool {
    let object_key = |name: &u8| key(&format!("m{name}"));
    match call {
        Call::Create { name, label } => {
            let value = json!({"metadata": {"name": format!("m{name}"), "labels": {"l": format!("v{label}")}}});
            make(store, "cm", value).is_ok()
        }
        Call::Label { name, label, stale } => {
            let version = store.find(id, &object_key(name)).map_or(1, |object| object.version) - u64::from(*stale);
            let patch =
                json!({"metadata": {"labels": {"l": format!("v{label}")}, "resourceVersion": version.to_string()}});
            store.patch(id, &object_key(name), &Patch::Merge(patch), Part::Whole, Validation::Strict).is_ok()
        }
        Call::Finalize { name, on } => {
            let finalizers = if *on { json!(["x/held"]) } else { json!(null) };
            let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
            store.patch(id, &object_key(name), &patch, Part::Whole, Validation::Strict).is_ok()
        }
        Call::Delete { name } => store.delete(id, &object_key(name), &DeleteOptions::default(), now(9)).is_ok(),
    }
}

/// The objects by name with their versions, as a list gives them.
fn listed(store: &Store, id: KindId, selection: &Selection) -> BTreeMap<String, u64> {
    store.list(id, selection).map(|object| (object.key.name.clone(), object.version)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The store accepts and refuses what the model does and holds the same objects; versions only grow; and whoever
    /// resumes a watch from a version it saw, with or without a selector, ends with the same list as the store.
    #[test]
    fn a_watch_replayed_equals_the_list(calls in calls(), from in 0..40usize) {
        let mut store = store(StoreConfig::default());
        let id = kind(&store, "cm");
        let entry = store.kinds().clone();
        let selections = [
            Selection::default(),
            Selection::parse(entry.get(id), "default", "l in (v0,v1)", "").unwrap(),
            Selection::parse(entry.get(id), "", "", "metadata.name!=m1").unwrap(),
        ];
        let mut model = BTreeMap::new();
        let mut seen: Vec<(u64, BTreeMap<String, u64>)> = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            if index == from {
                seen = selections.iter().map(|s| (store.revision(), listed(&store, id, s))).collect();
            }
            let before = store.revision();
            let done = perform(&mut store, id, call);
            prop_assert_eq!(done, expect(&mut model, call), "{:?}", call);
            prop_assert!(store.revision() >= before);
            let objects: BTreeMap<u8, Modelled> = store.list(id, &selections[0]).map(|object| {
                let label = object.labels()["l"].trim_start_matches('v').parse().unwrap();
                let held = object.meta.finalizers.is_some();
                let name = object.key.name.trim_start_matches('m').parse().unwrap();
                (name, Modelled { label, held, deleting: object.is_deleting() })
            }).collect();
            prop_assert_eq!(&objects, &model);
        }
        for (selection, (version, mut objects)) in selections.iter().zip(seen) {
            let mut last = version;
            for event in store.events_after(id, version).unwrap() {
                prop_assert!(event.version > last);
                last = event.version;
                let name = event.object.key.name.clone();
                match selection.sees(event) {
                    Some(Change::Added) => prop_assert!(objects.insert(name, event.version).is_none()),
                    Some(Change::Modified) => prop_assert!(objects.insert(name, event.version).is_some()),
                    Some(Change::Deleted) => prop_assert!(objects.remove(&name).is_some()),
                    None => {}
                }
            }
            prop_assert_eq!(objects, listed(&store, id, selection));
        }
    }
}
