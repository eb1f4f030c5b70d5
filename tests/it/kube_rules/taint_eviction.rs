//! Taint eviction: which pods a NoExecute taint drives away, and when.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Toleration};
use stormglass::kube::controllers::taint_eviction::evictor::{Evictor, Patience, patience};
use stormglass::rt::time::Instant;

use super::states::{on, pod, taint};

/// `key:effect` for ever, `key:effect@30` for that many seconds, `*` for everything.
fn tolerations(text: &str) -> Vec<Toleration> {
    let one = |word: &str| {
        let (word, limit) = word.split_once('@').map_or((word, None), |(word, n)| (word, Some(n.parse().unwrap())));
        let (key, effect) = word.split_once(':').unwrap_or((word, ""));
        Toleration {
            key: Some(key).filter(|key| *key != "*").map(Into::into),
            effect: Some(effect.into()).filter(|effect: &String| !effect.is_empty()),
            operator: Some("Exists".into()),
            toleration_seconds: limit,
            value: None,
        }
    };
    text.split_whitespace().map(one).collect()
}

#[test]
fn patience_is_the_least_of_the_tolerations_in_use() {
    let limit = |seconds| Patience::For(Duration::from_secs(seconds));
    // Upstream rule, taints, tolerations, patience.
    let rows = [
        ("no taint drives nobody away", "", "", Patience::Endless),
        ("NoSchedule drives nobody away", "a:NoSchedule", "", Patience::Endless),
        ("GetMatchingTolerations: none matches", "a:NoExecute", "", Patience::None),
        ("GetMatchingTolerations: another key", "a:NoExecute", "b:NoExecute", Patience::None),
        ("GetMatchingTolerations: another effect", "a:NoExecute", "a:NoSchedule", Patience::None),
        ("getMinTolerationTime: without limit", "a:NoExecute", "a:NoExecute", Patience::Endless),
        ("getMinTolerationTime: with a limit", "a:NoExecute", "a:NoExecute@300", limit(300)),
        ("getMinTolerationTime: the least", "a:NoExecute b:NoExecute", "a:NoExecute@300 b:NoExecute@60", limit(60)),
        (
            "getMinTolerationTime: endless and limited",
            "a:NoExecute b:NoExecute",
            "a:NoExecute b:NoExecute@60",
            limit(60),
        ),
        ("getMinTolerationTime: zero and less is now", "a:NoExecute", "a:NoExecute@-5", limit(0)),
        ("one of two is not tolerated", "a:NoExecute b:NoExecute", "a:NoExecute", Patience::None),
        ("an empty key tolerates all", "a:NoExecute b:NoExecute", "*", Patience::Endless),
        ("an empty effect matches all effects", "a:NoExecute", "a@7", limit(7)),
        ("the first match is the one in use", "a:NoExecute", "a:NoExecute@9 a:NoExecute@3", limit(9)),
        ("unused tolerations do not count", "a:NoExecute", "a:NoExecute@9 b:NoExecute@3", limit(9)),
    ];
    for (rule, taints, tolerates, want) in rows {
        let taints: Vec<_> = taints.split_whitespace().map(taint).collect();
        assert_eq!(patience(&taints, &tolerations(tolerates)), want, "{rule}");
    }
}

fn bound(uid: &str, tolerates: &str) -> Pod {
    let mut pod = Pod::clone(&on(pod("p", 'R'), "n"));
    pod.metadata.uid = Some(uid.into());
    pod.spec.get_or_insert_default().tolerations = Some(tolerations(tolerates));
    pod
}

#[test]
fn dates_are_kept_dropped_and_met() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let key = ("default".to_string(), "p".to_string());
    let away = [taint("a:NoExecute")];
    let patient = bound("1", "a:NoExecute@300");
    let mut evictor = Evictor::default();

    assert!(!evictor.look(&patient, &away, at(0)));
    assert!(!evictor.look(&patient, &away, at(100)), "seen again");
    assert_eq!(evictor.next(), Some(at(300)), "the date counts from the first sight");
    assert_eq!(evictor.pop(at(299)), []);
    assert!(evictor.look(&patient, &[], at(299)), "the taint went first");
    assert_eq!((evictor.next(), evictor.pop(at(999))), (None, vec![]));

    evictor.look(&patient, &away, at(400));
    evictor.look(&bound("1", "a:NoExecute@300 b:NoExecute@10"), &[taint("a:NoExecute"), taint("b:NoExecute")], at(500));
    assert_eq!(evictor.next(), Some(at(700)), "as upstream: a shorter one later does not move the date");
    evictor.look(&bound("2", "a:NoExecute@300"), &away, at(600));
    assert_eq!(evictor.next(), Some(at(900)), "another pod of the name has its own date");
    evictor.look(&bound("2", ""), &away, at(700));
    assert_eq!(evictor.pop(at(700)), [(key.clone(), "2".to_string())], "nothing tolerates it: now");
    assert_eq!(evictor.at(&key), None);
}
