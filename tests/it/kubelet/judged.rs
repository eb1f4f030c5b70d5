//! Planted bugs of volumes before the oracles: what was seen of the cluster goes through the ledger, and the broken promise
//! is named. Beside each the same story without the bug, in which nothing is found.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::core::params::{DeleteParams, ListParams};
use stormglass::base::SimTime;
use stormglass::base::planted::{Bug, plant};
use stormglass::kube::csi::mount::FileSystem;
use stormglass::oracle::cluster::{Ledger, Placement};
use stormglass::oracle::{RunRecord, converge, identity};
use stormglass::rt::time::Duration;

use super::cluster::Cluster;
use super::phase;

/// A cluster that is watched.
struct Watched {
    cluster: Cluster,
    ledger: Ledger,
    mounts: BTreeSet<(String, String)>,
}

impl Watched {
    /// A pod with a disk runs, with these nodes closed to it.
    fn new(closed: &[usize]) -> Self {
        let cluster = Cluster::new(1);
        cluster.make_claim();
        closed.iter().for_each(|n| cluster.taint(*n));
        cluster.create();
        let mut watched = Self { cluster, ledger: Ledger::default(), mounts: BTreeSet::new() };
        watched.watch(60);
        watched
    }

    fn now(&self) -> SimTime {
        self.cluster.lab.world.world_now()
    }

    /// Disks and the nodes where they are mounted.
    fn mounted(&self) -> BTreeSet<(String, String)> {
        let mut all = BTreeSet::new();
        for (n, machine) in self.cluster.machines.iter().enumerate() {
            for mount in machine.table().mounts() {
                if let FileSystem::Device(device) = &mount.place.fs {
                    all.insert((device.clone(), format!("node-{n}")));
                }
            }
        }
        all
    }

    /// Looks once a second.
    fn watch(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let before = self.mounted();
            let disks = self.cluster.disks();
            let (now, after) = (self.now(), self.mounted());
            let running: Vec<_> = self.cluster.machines.iter().flat_map(super::double::Double::processes).collect();
            self.ledger.look(now, &running);
            self.mounts.difference(&after).for_each(|(disk, node)| self.ledger.unmounted(now, disk, node));
            after.iter().for_each(|(disk, node)| self.ledger.mounted(now, disk, node));
            for (disk, node) in before.intersection(&after) {
                if disks.get(disk).is_some_and(|attached| attached.as_ref() != Some(node)) {
                    self.ledger.taken(now, disk, node, false);
                }
            }
            self.mounts = after;
        }
    }

    /// The pod should run within a minute of `healed`.
    fn judge(mut self, healed: SimTime) -> Vec<&'static str> {
        let pod = self.cluster.pod();
        let seen = pod.as_ref().map_or("gone", |pod| phase(pod));
        let now = self.now();
        self.ledger.aim(now, "pod default/m-0", ("Running", seen), now.since(healed) + Duration::from_secs(60));
        self.found(healed, now + Duration::from_secs(120))
    }

    fn found(self, healed: SimTime, ended: SimTime) -> Vec<&'static str> {
        let cluster = Some(self.ledger.close());
        let record = RunRecord { cluster, healed: Some(healed), ended, ..RunRecord::default() };
        let findings = [identity::check(&record), converge::check(&record)];
        findings.iter().flat_map(|finding| &finding.violations).map(|found| found.name()).collect()
    }
}

/// The kubelet dies, its pod is deleted by force and comes back on the other node of the zone; the old process runs on.
fn deleted_by_force(bugs: &[Bug]) -> Vec<&'static str> {
    let _plant = plant(bugs).unwrap();
    let mut watched = Watched::new(&[2]);
    let (first, _) = watched.cluster.runs_on();
    let uid = watched.cluster.pod().unwrap().metadata.uid.unwrap();
    watched.cluster.lab.world.kill(watched.cluster.kubelets[first]);
    watched.cluster.taint(first);
    let now = watched.now();
    watched.cluster.ask(|client| async move {
        let force = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        client.delete::<Pod>("default", "m-0", &force).await.unwrap();
    });
    watched.ledger.abandoned(now, &uid);
    watched.cluster.create();
    watched.watch(60);
    let ended = watched.now();
    watched.found(SimTime::ZERO, ended)
}

#[test]
fn a_disk_stays_with_a_node_that_may_still_write() {
    assert_eq!(deleted_by_force(&[]), [""; 0]);
    assert_eq!(deleted_by_force(&[Bug::DetachIgnoresUse]), ["DiskTakenFromWriter"], "K-04");
}

/// The controllers die while the disk of a deleted pod is being detached, and come back.
fn crash_in_detach(bugs: &[Bug]) -> Vec<&'static str> {
    let _plant = plant(bugs).unwrap();
    let mut watched = Watched::new(&[2]);
    let (first, _) = watched.cluster.runs_on();
    watched.cluster.taint(first);
    watched.cluster.ask(|client| async move {
        client.delete::<Pod>("default", "m-0", &DeleteParams::default()).await.unwrap();
    });
    let attached = |cluster: &Cluster| {
        let all = cluster
            .ask(|client| async move { client.list::<VolumeAttachment>("", &ListParams::default()).await.unwrap() });
        all.items.iter().any(|attachment| attachment.metadata.deletion_timestamp.is_none())
    };
    for _ in 0..60 {
        if !attached(&watched.cluster) {
            break;
        }
    }
    watched.cluster.lab.world.kill(watched.cluster.controllers.take().unwrap());
    watched.watch(10);
    watched.cluster.start_controllers();
    watched.cluster.create();
    let healed = watched.now();
    watched.watch(200);
    watched.judge(healed)
}

#[test]
fn a_detach_that_was_cut_off_is_done_after_a_restart() {
    assert_eq!(crash_in_detach(&[]), [""; 0]);
    assert_eq!(crash_in_detach(&[Bug::DanglingAttachment]), ["NotConverged"], "K-05: the cloud still has it attached");
}

/// Only the second zone is open, and the claim's name speaks for the first.
fn one_zone_open(bugs: &[Bug]) -> Vec<&'static str> {
    let _plant = plant(bugs).unwrap();
    let mut watched = Watched::new(&[0, 1]);
    let (pod, now) = (watched.cluster.pod().unwrap(), watched.now());
    let name = pod.spec.as_ref().unwrap().node_name.clone().unwrap();
    let (node, volumes) = watched.cluster.ask(|client| async move {
        let volumes = client.list::<PersistentVolume>("", &ListParams::default()).await.unwrap().items;
        (client.get::<Node>("", &name).await.unwrap(), volumes)
    });
    let volumes: Vec<_> = volumes.iter().collect();
    watched.ledger.placement(Placement::of((now, SimTime::ZERO), &pod, &node, &volumes, &[]));
    watched.judge(SimTime::ZERO)
}

#[test]
fn a_disk_is_made_in_the_zone_of_the_node_that_was_chosen() {
    assert_eq!(one_zone_open(&[]), [""; 0]);
    assert_eq!(one_zone_open(&[Bug::ProvisionerIgnoresNode]), ["PlacedAgainstRules", "NotConverged"], "K-10");
}
