//! Preemption: upstream's `DefaultPreemption`, and what it adds to the message.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use stormglass::base::Seed;
use stormglass::kube::scheduler::SchedulerConfig;
use stormglass::kube::scheduler::cache::Cache;
use stormglass::kube::scheduler::place::{Nominated, View, place};
use stormglass::kube::scheduler::pod::PodInfo;
use stormglass::kube::scheduler::preempt::{Preemption, preempt};

use super::objects::{asks, cluster, node, over, pod, put};

fn outcome(cache: &Cache, nominated: &Nominated, pod: Arc<Pod>) -> Result<(String, Vec<String>), String> {
    let config = SchedulerConfig::default();
    let view = View { snapshot: cache.snapshot(), nominated, config: &config };
    let (pod, mut chance) = (PodInfo::new(pod), Seed(1).stream("scheduler", 0));
    let mut error = place(view, &pod, &mut 0, &mut chance).unwrap_err();
    match preempt(view, &pod, &error, &mut chance) {
        Preemption::Evict { node, victims } => Ok((node, victims.iter().map(|pod| pod.key.1.clone()).collect())),
        Preemption::Nothing(text) => {
            error.preemption = text;
            Err(error.to_string())
        }
    }
}

fn priority(value: i32, cpu: &str) -> Value {
    over(asks(cpu, "1Gi"), json!({ "priority": value }))
}

fn started(name: &str, value: i32, cpu: &str, at: &str) -> Arc<Pod> {
    let mut pod = (*pod(name, priority(value, cpu))).clone();
    pod.status = Some(super::objects::of(json!({ "startTime": at })));
    Arc::new(pod)
}

#[test]
fn the_cheapest_victims_go() {
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    type Row<'a> = (&'a str, Vec<(Arc<Pod>, &'a str)>, (&'a str, Vec<&'a str>));
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        ("the lowest top priority", vec![(started("a", 5, "4", early), "n1"), (started("b", 3, "4", early), "n2")], ("n2", vec!["b"])),
        ("the lowest sum", vec![(started("a", 3, "2", early), "n1"), (started("a2", 2, "2", early), "n1"), (started("b", 3, "4", early), "n2")], ("n2", vec!["b"])),
        ("the youngest", vec![(started("a", 3, "4", early), "n1"), (started("b", 3, "4", late), "n2")], ("n2", vec!["b"])),
        ("only as many as needed, the most important stay", vec![(started("a", 3, "1", early), "n1"), (started("a2", 2, "3", early), "n1"), (started("b", 9, "4", early), "n2")], ("n1", vec!["a2"])),
        ("who runs longer stays", vec![(started("a", 3, "2", early), "n1"), (started("a2", 3, "2", late), "n1"), (started("b", 9, "4", early), "n2")], ("n1", vec!["a2"])),
    ];
    for (rule, there, (node_name, victims)) in rows {
        let mut cache = cluster([node("n1", json!({})), node("n2", json!({}))]);
        there.iter().for_each(|(pod, node)| put(&mut cache, pod, node));
        let need = match rule {
            "the lowest sum" => "4",
            "only as many as needed, the most important stay" => "3",
            _ => "2",
        };
        let found = outcome(&cache, &Nominated::new(), pod("p", priority(10, need))).unwrap();
        assert_eq!(found, (node_name.to_string(), victims.into_iter().map(String::from).collect()), "{rule}");
    }
}

#[test]
fn what_does_not_help_is_said() {
    let taints = json!({ "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
    let mut cache = cluster([node("a", taints), node("b", json!({})), node("c", json!({}))]);
    put(&mut cache, &pod("x", priority(0, "4")), "b");
    put(&mut cache, &pod("y", priority(20, "4")), "c");
    put(&mut cache, &pod("z", priority(5, "0")), "c");
    let why = "0/3 nodes are available: 1 node(s) had untolerated taint {k: }, 2 Insufficient cpu.";
    let rows = [
        (
            "nobody of lower priority",
            pod("p", priority(0, "1")),
            "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, \
             2 No preemption victims found for incoming pod.",
        ),
        (
            "even an empty node is too small",
            pod("p", priority(10, "5")),
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            "preemptionPolicy: Never",
            pod("p", over(priority(10, "1"), json!({ "preemptionPolicy": "Never" }))),
            "preemption: not eligible due to preemptionPolicy=Never.",
        ),
    ];
    for (rule, pod, want) in rows {
        assert_eq!(outcome(&cache, &Nominated::new(), pod), Err(format!("{why} {want}")), "{rule}");
    }
    // The lower one's going does not make room: the filter's own reason is given.
    cache.pod_gone(&("default".into(), "x".into()));
    put(&mut cache, &pod("x", priority(20, "4")), "b");
    let want = "preemption: 0/3 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod, \
                1 Preemption is not helpful for scheduling.";
    assert_eq!(outcome(&cache, &Nominated::new(), pod("p", priority(10, "1"))), Err(format!("{why} {want}")));
}

#[test]
fn a_promised_node_is_kept_from_lower_priorities() {
    let mut cache = cluster([node("a", json!({}))]);
    let leaving = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    let victim: Pod = super::objects::of(over(serde_json::to_value(&*pod("v", priority(0, "1"))).unwrap(), leaving));
    put(&mut cache, &Arc::new(victim), "a");
    let high = pod("high", priority(10, "4"));
    let nominated = Nominated::from([(
        ("default".to_string(), "high".to_string()),
        ("a".to_string(), Arc::new(PodInfo::new(high.clone()))),
    )]);
    let found = outcome(&cache, &nominated, pod("low", priority(5, "1"))).unwrap_err();
    assert!(found.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{found}");
    let found = outcome(&cache, &nominated, high).unwrap_err();
    assert!(found.ends_with("preemption: not eligible due to a terminating pod on the nominated node."), "{found}");
}
