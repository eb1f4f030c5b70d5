//! Taints and tolerations: `ToleratesTaint` and `FindMatchingUntoleratedTaint` of upstream's component helpers.

use k8s_openapi::api::core::v1::{Taint, Toleration};
use serde_json::{Value, json};
use stormglass::kube::matching::{tolerates, untolerated};

use super::objects::of;

#[test]
fn a_toleration_matches_by_key_value_and_effect() {
    let (ns, ne) = ("NoSchedule", "NoExecute");
    type Row<'a> = (&'a str, Value, (&'a str, &'a str, &'a str), bool);
    #[rustfmt::skip]
    let rows: [Row<'_>; 15] = [
        ("equal needs key, value and effect", json!({"key": "k", "operator": "Equal", "value": "v", "effect": ns}), ("k", "v", ns), true),
        ("no operator is Equal", json!({"key": "k", "value": "v", "effect": ns}), ("k", "v", ns), true),
        ("another value", json!({"key": "k", "value": "w", "effect": ns}), ("k", "v", ns), false),
        ("another key", json!({"key": "l", "value": "v", "effect": ns}), ("k", "v", ns), false),
        ("another effect", json!({"key": "k", "value": "v", "effect": ne}), ("k", "v", ns), false),
        ("an empty effect matches all", json!({"key": "k", "value": "v"}), ("k", "v", ne), true),
        ("no value is the empty value", json!({"key": "k"}), ("k", "", ns), true),
        ("no value is not any value", json!({"key": "k"}), ("k", "v", ns), false),
        ("Exists matches any value", json!({"key": "k", "operator": "Exists"}), ("k", "v", ns), true),
        ("Exists looks at the key", json!({"key": "k", "operator": "Exists"}), ("l", "v", ns), false),
        ("an empty key with Exists matches all keys", json!({"operator": "Exists"}), ("k", "v", ne), true),
        ("and still looks at the effect", json!({"operator": "Exists", "effect": ns}), ("k", "v", ne), false),
        ("an empty key with Equal matches nothing", json!({"operator": "Equal", "value": "v"}), ("k", "v", ns), false),
        ("an unknown operator matches nothing", json!({"key": "k", "operator": "In", "value": "v"}), ("k", "v", ns), false),
        ("seconds do not matter to matching", json!({"key": "k", "operator": "Exists", "tolerationSeconds": 0}), ("k", "v", ne), true),
    ];
    for (rule, toleration, (key, value, effect), want) in rows {
        let taint: Taint = of(json!({ "key": key, "value": value, "effect": effect }));
        assert_eq!(tolerates(&of::<Toleration>(toleration), &taint), want, "{rule}");
    }
}

#[test]
fn the_first_harmful_taint_is_found() {
    let taints: Vec<Taint> = of(json!([
        { "key": "soft", "effect": "PreferNoSchedule" },
        { "key": "gpu", "value": "a100", "effect": "NoSchedule" },
        { "key": "down", "effect": "NoExecute" },
    ]));
    let hard = ["NoSchedule", "NoExecute"];
    let rows: [(&str, Value, &[&str], Option<&str>); 5] = [
        ("the first by the node's order", json!([]), &hard, Some("gpu")),
        ("each taint needs some toleration", json!([{ "key": "gpu", "operator": "Exists" }]), &hard, Some("down")),
        ("all tolerated", json!([{ "operator": "Exists" }]), &hard, None),
        ("only the asked effects", json!([]), &["NoExecute"], Some("down")),
        ("PreferNoSchedule refuses nothing", json!([{ "key": "gpu", "operator": "Exists" }]), &["NoSchedule"], None),
    ];
    for (rule, tolerations, effects, want) in rows {
        let found = untolerated(&taints, &of::<Vec<Toleration>>(tolerations), effects);
        assert_eq!(found.map(|taint| taint.key.as_str()), want, "{rule}");
    }
}
