//! Garbage collection by owner: background, foreground, orphan.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use stormglass::kube::controllers::garbage_collector::graph::{Action, FOREGROUND, Graph, ORPHAN};

use super::states::NOW;

/// `pod<set!`: the pod's owner is the set and may block it; a second owner after another `<`.
fn meta(text: &str, finalizer: Option<&str>) -> ObjectMeta {
    let mut words = text.split('<');
    let name = words.next().unwrap();
    let owner = |word: &str| {
        let uid = word.trim_end_matches('!').to_string();
        let block = Some(word.ends_with('!'));
        OwnerReference { kind: "Set".into(), name: uid.clone(), uid, block_owner_deletion: block, ..Default::default() }
    };
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("default".into()),
        uid: Some(name.into()),
        owner_references: Some(words.map(owner).collect()),
        deletion_timestamp: finalizer.map(|_| Time(NOW)),
        finalizers: finalizer.map(|finalizer| vec![finalizer.to_string()]),
        ..ObjectMeta::default()
    }
}

/// A graph of objects; `+f` and `+o` stand for being deleted in the foreground and as an orphaning owner.
fn graph(objects: &str) -> Graph {
    let mut graph = Graph::default();
    for word in objects.split_whitespace() {
        let (text, finalizer) = match word.split_once('+') {
            Some((text, "f")) => (text, Some(FOREGROUND)),
            Some((text, "o")) => (text, Some(ORPHAN)),
            _ => (word, None),
        };
        graph.seen("Set", &meta(text, finalizer));
    }
    graph
}

#[test]
fn what_happens_to_the_owned() {
    let unreference = |uids: &[&str]| Action::Unreference(uids.iter().map(ToString::to_string).collect());
    // Upstream rule, objects, the one that is looked at, owners that the API server does not have; what happens.
    let rows = [
        ("attemptToDeleteItem: no owner, no business", "pod", "pod", "", Action::Keep),
        ("classifyReferences: a solid owner keeps it", "set pod<set", "pod", "", Action::Keep),
        ("classifyReferences: all owners dangle", "pod<set", "pod", "set", Action::Delete),
        ("classifyReferences: one solid owner is enough", "b pod<a<b", "pod", "a", unreference(&["a"])),
        ("an owner that was not looked up counts as there", "pod<set", "pod", "", Action::Keep),
        ("foreground: blocked by a dependent", "set+f pod<set!", "set", "", Action::Keep),
        ("foreground: a dependent that does not block", "set+f pod<set", "set", "", Action::FinishForeground),
        ("foreground: nobody left", "set+f", "set", "", Action::FinishForeground),
        ("foreground: the dependent goes", "set+f pod<set!", "pod", "", Action::Delete),
        ("foreground: its own dependents go first", "set+f pod<set! sub<pod!", "pod", "", Action::DeleteForeground),
        (
            "foreground: another owner keeps it, the reference goes",
            "set+f b pod<set!<b",
            "pod",
            "",
            unreference(&["set"]),
        ),
        ("foreground: without blockOwnerDeletion it waits for the owner", "set+f pod<set", "pod", "", Action::Keep),
    ];
    for (rule, objects, uid, absent, want) in rows {
        let absent: Vec<&str> = absent.split_whitespace().collect();
        assert_eq!(graph(objects).action(uid, |owner| absent.contains(&owner.uid.as_str())), want, "{rule}");
    }
    let Action::Orphan(orphans) = graph("set+o a<set b<set! c").action("set", |_| false) else {
        panic!("not orphaned")
    };
    assert_eq!(orphans.iter().map(|orphan| orphan.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn who_is_looked_at_when() {
    let mut graph = graph("set a<set b<set!");
    assert_eq!(graph.gone(&meta("set", None)), ["a", "b"], "the owner went: its dependents");
    assert_eq!(graph.seen("Set", &meta("a<set", None)), Vec::<String>::new(), "nothing new");
    graph.seen("Set", &meta("set", None));
    assert_eq!(graph.seen("Set", &meta("set", Some(FOREGROUND))), ["a", "b", "set"], "deleted in the foreground: all");
    assert_eq!(graph.gone(&meta("b<set!", None)), ["set"], "a blocking dependent went: the owner");
    assert_eq!(graph.action("set", |_| false), Action::FinishForeground);
    let owner = |uid: &str, kind: &str| OwnerReference {
        kind: kind.into(),
        name: "set".into(),
        uid: uid.into(),
        ..Default::default()
    };
    assert!(graph.holds(&owner("set", "Set"), "default"));
    assert!(!graph.holds(&owner("set", "Set"), "else"), "an owner in another namespace is none");
    assert!(!graph.holds(&owner("other", "Set"), "default"), "the same name is not the same object");
}
