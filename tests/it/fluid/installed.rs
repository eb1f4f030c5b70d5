//! Fluid's own pods in a cluster with the real controllers: the rows that the documents show.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use kube::core::params::ListParams;
use serde_json::{Value, json};
use stormglass::base::{Seed, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Informers, Patch};
use stormglass::kube::controllers::{ControllerManagerConfig, manager};
use stormglass::kube::fluid::flavor::Flavor;
use stormglass::kube::fluid::install::install;
use stormglass::kube::fluid::profile::Profile;
use stormglass::kube::kind::Kinds;
use stormglass::rt::time::sleep;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

use super::stage::{API, SECOND, kubectl, kubectl_with};
use crate::kube_control::fakes::{self, Kubelet};

/// The stand-in of a kubelet tells of pods and not of their containers: all of them run.
async fn run_containers(client: &Client) {
    for pod in client.list::<Pod>("fluid-system", &ListParams::default()).await.unwrap().items {
        let running = |name: &str| {
            let state = json!({ "running": { "startedAt": stormglass::kube::clock::time_now() } });
            json!({ "name": name, "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": state })
        };
        let statuses: Vec<Value> = pod.spec.unwrap().containers.iter().map(|one| running(&one.name)).collect();
        let patch = Patch::Strategic(json!({ "status": { "containerStatuses": statuses } }));
        client.patch_status::<Pod>("fluid-system", &pod.metadata.name.unwrap(), &patch).await.unwrap();
    }
}

/// What `kubectl get pod -n fluid-system` prints in a cluster of so many nodes.
fn pods(profile: Profile, flavors: &'static [Flavor], nodes: u8) -> String {
    let lab = Lab::new(Seed(7), Glass::plain(Seed(7)));
    let control = lab.world.add_host("apiserver", [10, 0, 0, 9].into());
    let server = ApiServer::new(stormglass::kube::fluid::kinds(Kinds::builtin()), ApiServerConfig::default(), Seed(7));
    let program = server.run(SocketAddr::from(([10, 0, 0, 9], 6443)));
    lab.world.start(control, "apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
    let manager = async {
        match manager::run(Informers::new(Client::new(API)), ControllerManagerConfig::default(), |_, o| o).await {}
    };
    lab.world.start(control, "manager", Box::pin(manager)).unwrap();
    lab.world.start(control, "scheduler", Box::pin(fakes::scheduler(Client::new(API)))).unwrap();
    for n in 0..nodes {
        let host = lab.world.add_host(&format!("node-{n}"), [10, 0, 1, n + 1].into());
        let kubelet = Kubelet { node: format!("node-{n}"), network: [10, 1, n], start: SECOND, stop: SECOND };
        lab.world.start(host, "kubelet", Box::pin(kubelet.run(Client::new(API)))).unwrap();
    }
    let printed = Arc::new(Mutex::new(String::new()));
    let slot = printed.clone();
    let user = async move {
        let client = Client::new(API);
        for object in install(&profile, flavors) {
            kubectl_with(&client, "apply -f file", &object.to_string()).await.unwrap();
        }
        sleep(60 * SECOND).await;
        run_containers(&client).await;
        *lock(&slot) = kubectl(&client, "get pod -n fluid-system").await.unwrap();
        let table = kubectl(&client, "get deploy,rs -n fluid-system").await.unwrap();
        assert!(table.contains("deployment.apps/dataset-controller") && table.contains("1/1"), "{table}");
        assert!(table.contains("replicaset.apps/dataset-controller-"), "{table}");
    };
    lab.world.start(control, "user", Box::pin(user)).unwrap();
    lab.world.run_until(lab.world.world_now() + 70 * SECOND);
    assert!(lab.world.panics().is_empty(), "{:?}", lab.world.panics());
    lock(&printed).clone()
}

/// The rows without the parts of names that are drawn, sorted.
fn rows(table: &str) -> Vec<String> {
    let mut rows: Vec<String> = table
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split_whitespace().collect();
            let (name, drawn) = cells[0].rsplit_once('-').unwrap();
            assert_eq!(drawn.len(), 5, "{row}");
            let name = if name.contains("controller-") { name.rsplit_once('-').unwrap().0 } else { name };
            format!("{name} {}", cells[1..4].join(" "))
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn the_pods_of_the_goosefs_document_run() {
    let table = pods(Profile::GOOSEFS_DOCUMENT, &[Flavor::GooseFs], 3);
    let columns: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    let plugin = "csi-nodeplugin-fluid 2/2 Running 0";
    let own = ["dataset-controller 1/1 Running 0", "goosefsruntime-controller 1/1 Running 0"];
    assert_eq!(rows(&table), [plugin, plugin, plugin, own[0], own[1]]);
}

#[test]
fn the_pods_of_the_alluxio_document_run() {
    let plugin = "csi-nodeplugin-fluid 2/2 Running 0";
    let own = ["alluxioruntime-controller 1/1 Running 0", "dataset-controller 1/1 Running 0"];
    assert_eq!(rows(&pods(Profile::V0_7, &[Flavor::Alluxio], 2)), [own[0], plugin, plugin, own[1]]);
}
