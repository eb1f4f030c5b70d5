//! Attach and detach: upstream's attach/detach controller, and the cloud behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use proptest::prelude::*;
use serde_json::{Value, json};
use stormglass::base::SimTime;
use stormglass::base::planted::{Bug, plant};
use stormglass::kube::volume::attach_detach::{
    Action, AttachDetach, AttachDetachConfig, View, attachment_name, pod_is_done, unique_name,
};
use stormglass::kube::volume::cloud::{CloudError, Disks, Request};

use super::objects::{bound, mounts, node, of, over, pod, volume};

const UNIQUE: &str = "kubernetes.io/csi/disk.csi^d-pv";

fn secs(s: u64) -> SimTime {
    SimTime::from_secs(s)
}

/// A cluster of two nodes and one volume, whose driver does at once what it is asked.
struct Stage {
    view: View,
    controller: AttachDetach,
    now: u64,
    /// What was told since the last look.
    told: Vec<String>,
    forced: usize,
}

impl Stage {
    fn new(config: AttachDetachConfig) -> Self {
        let mut view = View::default();
        view.volumes.insert("pv".into(), bound_volume());
        view.claims.insert(("default".into(), "data".into()), bound("data", "pv"));
        let mut stage = Self { view, controller: AttachDetach::new(config), now: 0, told: Vec::new(), forced: 0 };
        stage.node("a", json!({}));
        stage.node("b", json!({}));
        stage
    }

    fn node(&mut self, name: &str, more: Value) {
        let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        self.view.nodes.insert(name.into(), node(name, over(ready, more)));
    }

    fn status(&mut self, name: &str, f: impl FnOnce(&mut Node)) {
        f(Arc::make_mut(self.view.nodes.get_mut(name).unwrap()));
    }

    fn in_use(&mut self, name: &str, used: bool) {
        let list = if used { vec![UNIQUE.to_string()] } else { Vec::new() };
        self.status(name, |node| node.status.as_mut().unwrap().volumes_in_use = Some(list));
    }

    fn unready(&mut self, name: &str) {
        let conditions = of(json!([{ "type": "Ready", "status": "Unknown" }]));
        self.status(name, |node| node.status.as_mut().unwrap().conditions = Some(conditions));
    }

    fn run_pod(&mut self, name: &str, node: &str) {
        let spec = over(mounts(&["data"]), json!({ "nodeName": node }));
        self.view.pods.insert(("default".into(), name.into()), pod(name, spec));
    }

    fn drop_pod(&mut self, name: &str) {
        self.view.pods.remove(&("default".to_string(), name.to_string()));
    }

    /// Plans and carries out until nothing is left to do; the driver answers at once.
    fn settle(&mut self) {
        for _ in 0..50 {
            let actions = self.controller.plan(secs(self.now), &self.view);
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.carry_out(action));
        }
        panic!("the controller does not come to rest");
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Attach { name, driver, volume, node } => {
                let attachment: VolumeAttachment = of(json!({
                    "metadata": { "name": name }, "status": { "attached": true },
                    "spec": { "attacher": driver, "nodeName": node, "source": { "persistentVolumeName": volume } },
                }));
                self.view.attachments.insert(name, Arc::new(attachment));
            }
            Action::Detach { name, forced, .. } => {
                self.forced += usize::from(forced);
                self.view.attachments.remove(&name);
            }
            Action::Report { node, volumes } => {
                let list: Vec<Value> = volumes.iter().map(|name| json!({ "name": name, "devicePath": "" })).collect();
                self.status(&node, |node| node.status.as_mut().unwrap().volumes_attached = Some(of(json!(list))));
            }
            Action::Tell { reason, message, .. } => self.told.push(format!("{reason}: {message}")),
        }
    }

    fn attached(&self) -> Vec<&str> {
        self.view.attachments.values().map(|attachment| attachment.spec.node_name.as_str()).collect()
    }

    fn reported(&self, name: &str) -> Vec<String> {
        let status = self.view.nodes[name].status.as_ref().unwrap();
        status.volumes_attached.iter().flatten().map(|volume| volume.name.clone()).collect()
    }
}

fn bound_volume() -> Arc<PersistentVolume> {
    let reference = json!({ "namespace": "default", "name": "data", "uid": "uid-data" });
    volume("pv", "disk", "a", json!({ "spec": { "claimRef": reference }, "status": { "phase": "Bound" } }))
}

#[test]
fn a_volume_follows_its_pod() {
    let mut stage = Stage::new(AttachDetachConfig::default());
    assert_eq!(unique_name(&bound_volume()), UNIQUE);
    stage.run_pod("m", "a");
    stage.settle();
    assert_eq!((stage.attached(), stage.reported("a")), (vec!["a"], vec![UNIQUE.to_string()]));
    assert_eq!(stage.told, ["SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume \"pv\" "]);
    // The kubelet mounts, the pod is deleted and gone, the kubelet still unmounts: nothing moves.
    stage.in_use("a", true);
    stage.drop_pod("m");
    stage.run_pod("m", "b");
    stage.told.clear();
    stage.settle();
    assert_eq!(stage.attached(), ["a"]);
    let why = "Volume is already exclusively attached to one node and can't be attached to another";
    assert_eq!(stage.told, [format!("FailedAttachVolume: Multi-Attach error for volume \"pv\" {why}")]);
    stage.in_use("a", false);
    stage.settle();
    assert_eq!((stage.attached(), stage.reported("a"), stage.forced), (vec!["b"], vec![], 0));
}

#[test]
fn two_pods_race_for_a_disk() {
    let mut stage = Stage::new(AttachDetachConfig::default());
    stage.run_pod("first", "a");
    stage.settle();
    stage.told.clear();
    stage.run_pod("second", "b");
    stage.settle();
    stage.settle();
    assert_eq!(stage.attached(), ["a"]);
    let want = "FailedAttachVolume: Multi-Attach error for volume \"pv\" Volume is already used by pod(s) first";
    assert_eq!(stage.told, [want], "told once");
    // On the same node ReadWriteOnce is no obstacle.
    stage.drop_pod("second");
    stage.run_pod("third", "a");
    stage.settle();
    assert_eq!((stage.attached(), stage.told.len()), (vec!["a"], 1));
    // ReadWriteMany may be everywhere.
    let many = json!({ "spec": { "accessModes": ["ReadWriteMany"] } });
    let volume: PersistentVolume = of(over(serde_json::to_value(&*bound_volume()).unwrap(), many));
    stage.view.volumes.insert("pv".into(), Arc::new(volume));
    stage.run_pod("second", "b");
    stage.settle();
    assert_eq!(stage.attached().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b"]));
}

#[test]
fn when_a_node_does_not_let_go() {
    let taint = json!({ "spec": { "taints": [{ "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" }] } });
    let (plain, old) = (
        AttachDetachConfig::default(),
        AttachDetachConfig { force_detach_healthy: true, ..AttachDetachConfig::default() },
    );
    let never = AttachDetachConfig { force_detach_disabled: true, ..AttachDetachConfig::default() };
    #[rustfmt::skip]
    let rows: [(&str, AttachDetachConfig, bool, bool, Option<u64>); 6] = [
        ("an unhealthy node: after six minutes, by force", plain.clone(), false, false, Some(360)),
        ("a healthy node: never (since 1.26)", plain.clone(), true, false, None),
        ("a healthy node: after six minutes before 1.26 (k8s #106710)", old, true, false, Some(360)),
        ("--disable-force-detach-on-timeout", never.clone(), false, false, None),
        ("out-of-service: at once", plain, false, true, Some(0)),
        ("out-of-service wins over the flag", never, false, true, Some(0)),
    ];
    for (rule, config, healthy, out_of_service, want) in rows {
        let mut stage = Stage::new(config);
        if out_of_service {
            stage.node("a", taint.clone());
        }
        stage.run_pod("m", "a");
        stage.settle();
        stage.in_use("a", true);
        if !healthy {
            stage.unready("a");
        }
        stage.drop_pod("m");
        stage.run_pod("m", "b");
        let mut moved = None;
        for now in [0, 1, 100, 359, 360, 3600] {
            stage.now = now;
            stage.settle();
            if moved.is_none() && stage.attached() == ["b"] {
                moved = Some(now);
            }
        }
        assert_eq!(moved, want, "{rule}");
        assert_eq!(stage.forced, usize::from(want.is_some()), "{rule}");
    }
}

#[test]
fn the_wait_is_due_to_the_second_and_begins_anew_after_a_restart() {
    let mut stage = Stage::new(AttachDetachConfig::default());
    stage.run_pod("m", "a");
    stage.settle();
    stage.in_use("a", true);
    stage.unready("a");
    stage.drop_pod("m");
    stage.now = 100;
    stage.settle();
    assert_eq!(stage.controller.due(), secs(460));
    // Upstream keeps the time in memory only.
    stage.controller = AttachDetach::new(AttachDetachConfig::default());
    stage.now = 300;
    stage.settle();
    assert_eq!((stage.controller.due(), stage.attached()), (secs(660), vec!["a"]));
    // The node object is deleted: what it said last still holds.
    stage.view.nodes.remove("a");
    stage.settle();
    assert_eq!(stage.attached(), ["a"]);
    stage.now = 660;
    stage.settle();
    assert_eq!((stage.attached(), stage.forced), (vec![], 1));
}

#[test]
fn failures_are_retried_with_backoff() {
    let mut stage = Stage::new(AttachDetachConfig::default());
    stage.run_pod("m", "a");
    let mut waits = Vec::new();
    let mut now = SimTime::ZERO;
    for _ in 0..10 {
        let actions = stage.controller.plan(now, &stage.view);
        assert!(matches!(actions[..], [Action::Attach { .. }]), "{actions:?}");
        stage.controller.failed("pv", "a", now);
        assert!(stage.controller.plan(now, &stage.view).is_empty());
        let due = stage.controller.due();
        waits.push(due.since(now).as_millis());
        now = due;
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 122_000, 122_000]);
}

/// Whether the disk of a pod that was deleted or has ended gets to another node: while its node uses it, and then.
fn moves(bug: Option<Bug>, change: impl FnOnce(&mut Stage)) -> [bool; 2] {
    let _plant = plant(bug.as_slice()).unwrap();
    let mut stage = Stage::new(AttachDetachConfig::default());
    stage.run_pod("m", "a");
    stage.settle();
    stage.in_use("a", true);
    change(&mut stage);
    stage.run_pod("n", "b");
    [true, false].map(|used| {
        stage.in_use("a", used);
        stage.settle();
        stage.attached() == ["b"]
    })
}

#[test]
fn a_planted_controller_takes_a_disk_that_is_in_use() {
    for (bug, want) in [(None, [false, true]), (Some(Bug::DetachIgnoresUse), [true, true])] {
        assert_eq!(moves(bug, |stage| stage.drop_pod("m")), want, "{bug:?} (K-04)");
    }
}

#[test]
fn a_planted_controller_leaves_a_disk_to_a_pod_that_has_ended() {
    let ends = |stage: &mut Stage| {
        let ended = json!({ "status": { "phase": "Succeeded" } });
        let pod = stage.view.pods.get_mut(&("default".to_string(), "m".to_string())).unwrap();
        *pod = Arc::new(of(over(serde_json::to_value(&**pod).unwrap(), ended)));
    };
    for (bug, want) in [(None, [false, true]), (Some(Bug::FinishedPodKeepsDisk), [false, false])] {
        assert_eq!(moves(bug, ends), want, "{bug:?} (K-17)");
    }
}

#[test]
fn an_attachment_that_goes_must_be_gone_first() {
    let mut stage = Stage::new(AttachDetachConfig::default());
    stage.run_pod("m", "a");
    stage.settle();
    let name = attachment_name("d-pv", "disk.csi", "a");
    let going = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    let attachment: VolumeAttachment = of(over(serde_json::to_value(&*stage.view.attachments[&name]).unwrap(), going));
    stage.view.attachments.insert(name.clone(), Arc::new(attachment));
    // Detaching was begun, and a pod comes back to the same node: neither a second attach nor a report of the old one.
    let actions = stage.controller.plan(secs(1), &stage.view);
    assert!(
        actions.iter().all(|action| matches!(action, Action::Report { volumes, .. } if volumes.is_empty())),
        "{actions:?}"
    );
    stage.view.attachments.remove(&name);
    stage.settle();
    assert_eq!(stage.attached(), ["a"]);
}

#[test]
fn which_pods_need_their_volumes() {
    let status = |phase: &str, state: Value, deleted: bool| -> Pod {
        let deletion = if deleted { json!("2026-01-01T00:00:00Z") } else { Value::Null };
        of(json!({ "metadata": { "name": "p", "deletionTimestamp": deletion },
            "status": { "phase": phase, "containerStatuses": state } }))
    };
    let c = |state: Value| json!([{ "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }]);
    let (running, over) = (c(json!({ "running": {} })), c(json!({ "terminated": { "exitCode": 0 } })));
    let rows = [
        ("runs", status("Running", running.clone(), false), false),
        ("has ended: its disk may go (k8s #45191)", status("Succeeded", over.clone(), false), true),
        ("has failed", status("Failed", over.clone(), false), true),
        ("is being deleted and still runs", status("Running", running, true), false),
        ("is being deleted and no container runs", status("Running", over, true), true),
        ("its container crashed and comes back", status("Running", c(json!({ "waiting": {} })), false), false),
    ];
    for (rule, pod, want) in rows {
        assert_eq!(pod_is_done(&pod), want, "{rule}");
    }
}

#[test]
fn the_cloud_keeps_a_disk_to_one_machine_and_one_zone() {
    let mut disks = Disks::default();
    for (machine, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        disks.add_machine(machine, zone);
    }
    let mut ask = |request: Request, at: u64| {
        let ticket = disks.accept(request, secs(at));
        disks.outcome(ticket, secs(at)).unwrap()
    };
    let attach = |machine: &str| Request::Attach("d".into(), machine.into());
    assert_eq!(ask(attach("a1"), 1), Err(CloudError::NoDisk("d".into())));
    assert_eq!(ask(Request::Create("d".into(), 1, "a".into()), 2), Ok(()));
    assert!(matches!(ask(attach("b1"), 3), Err(CloudError::OtherZone { .. })));
    assert_eq!(ask(attach("z"), 4), Err(CloudError::NoMachine("z".into())));
    assert_eq!((ask(attach("a1"), 5), ask(attach("a1"), 6)), (Ok(()), Ok(())));
    let in_use = Err(CloudError::InUse { disk: "d".into(), machine: "a1".into() });
    assert_eq!((ask(attach("a2"), 7), ask(Request::Delete("d".into()), 8)), (in_use.clone(), in_use));
    assert_eq!(ask(Request::Detach("d".into(), "a2".into()), 9), Ok(()), "it is not there: nothing happens");
    assert_eq!(ask(Request::Detach("d".into(), "a1".into()), 10), Ok(()));
    assert_eq!(ask(attach("a2"), 11), Ok(()));
    let history = &disks.disks(secs(12))["d"].history;
    let want = [(secs(5), Some("a1")), (secs(10), None), (secs(11), Some("a2"))];
    assert_eq!(history.iter().map(|(at, who)| (*at, who.as_deref())).collect::<Vec<_>>(), want);

    // A detach that nobody waits for any more is carried out all the same, after what came in between (k8s #11231).
    disks.accept(Request::Detach("d".into(), "a2".into()), secs(20));
    let ticket = disks.accept(attach("a2"), secs(15));
    assert_eq!(disks.outcome(ticket, secs(15)), Some(Ok(())));
    assert_eq!(disks.disks(secs(19))["d"].attached.as_deref(), Some("a2"));
    assert_eq!(disks.disks(secs(20))["d"].attached, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However pods come and go and nodes fall ill, a `ReadWriteOnce` volume is never attached to two nodes, and never taken
    /// from a node that says it uses it unless by force, which needs six minutes of an unhealthy node.
    #[test]
    fn a_volume_is_on_one_node(steps in prop::collection::vec((0..7u8, 0..2usize, 0..200u64), 1..60)) {
        let names = ["a", "b"];
        let mut stage = Stage::new(AttachDetachConfig::default());
        let mut used = BTreeMap::from([("a", false), ("b", false)]);
        let mut sick_since = BTreeMap::<&str, u64>::new();
        for (what, which, wait) in steps {
            let name = names[which];
            match what {
                0 | 1 => stage.run_pod(&format!("p-{name}"), name),
                2 => stage.drop_pod(&format!("p-{name}")),
                3 => {
                    // A kubelet mounts only what is reported as attached.
                    let may = stage.reported(name).contains(&UNIQUE.to_string());
                    stage.in_use(name, may);
                    used.insert(name, may);
                }
                4 => {
                    stage.in_use(name, false);
                    used.insert(name, false);
                }
                5 => {
                    stage.unready(name);
                    sick_since.entry(name).or_insert(stage.now);
                }
                _ => stage.now += wait,
            }
            let before = (stage.forced, stage.attached().first().map(|node| node.to_string()));
            stage.settle();
            prop_assert!(stage.attached().len() <= 1, "{:?}", stage.attached());
            let left = before.1.filter(|node| !stage.attached().contains(&node.as_str()));
            if let Some(node) = left {
                let was_used = used[node.as_str()];
                prop_assert_eq!(stage.forced > before.0, was_used);
                if was_used {
                    let since = sick_since.get(node.as_str()).copied();
                    prop_assert!(since.is_some_and(|_| stage.now >= 360), "taken from {} by force", node);
                    stage.in_use(&node, false);
                    used.insert(if node == "a" { "a" } else { "b" }, false);
                }
            }
        }
    }
}
