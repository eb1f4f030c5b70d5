//! Simulated seconds a CPU second of a whole control plane at rest: API server, controller manager, scheduler stand-in, 100 kubelet
//! stand-ins on machines of their own, 500 pods in five StatefulSets; one hour.
//!
//! Each node renews its lease every ten seconds and writes its status every five minutes, over the simulated network, as JSON over
//! HTTP. The throughput's elements are simulated seconds; the aim is 200 a CPU second. Time is CPU time of the thread that runs
//! the world, so that other work on the machine does not count.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use stormglass::base::{Seed, SimTime};
use stormglass::kube::apiserver::{ApiCounters, ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Informers};
use stormglass::kube::controllers::{ControllerManagerConfig, manager};
use stormglass::kube::kind::Kinds;
use stormglass::kube::store::Selection;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

#[path = "common/cpu_time.rs"]
mod common;

#[path = "../tests/it/kube_control/fakes.rs"]
mod fakes;

const API: &str = "control:6443";
const NODES: u8 = 100;
const SETS: u32 = 5;
const REPLICAS: u32 = 100;
const SIMULATED: u64 = 3600;

async fn sets() {
    let client = Client::new(API);
    for n in 0..SETS {
        let name = format!("set-{n}");
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "default" },
            "spec": {
                "serviceName": name, "replicas": REPLICAS, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "containers": [{ "name": "main", "image": "web:1" }] }
                }
            }
        }))
        .unwrap();
        client.create(&set).await.unwrap();
    }
}

/// One hour. Gives what the API server did.
fn hour() -> ApiCounters {
    let lab = Lab::new(Seed(7), Glass::plain(Seed(7)));
    let control = lab.world.add_host("control", [10, 0, 0, 9].into());
    let server = ApiServer::new(Kinds::builtin(), ApiServerConfig::default(), Seed(7));
    let serving = server.clone();
    let start = |host, program| lab.world.start(host, "program", program).map(drop).unwrap();
    start(control, Box::pin(async move { serving.run(SocketAddr::from(([10, 0, 0, 9], 6443))).await.unwrap() }));
    let managed = async {
        manager::run(Informers::new(Client::new(API)), ControllerManagerConfig::default(), |_, objects| objects).await;
    };
    start(control, Box::pin(managed));
    start(control, Box::pin(fakes::scheduler(Client::new(API))));
    for n in 0..NODES {
        let name = format!("node-{n}");
        let host = lab.world.add_host(&name, [10, 0, 1, n + 1].into());
        let (begin, stop) = (Duration::from_secs(1), Duration::from_secs(2));
        let kubelet = fakes::Kubelet { node: name, network: [10, 1, n], start: begin, stop };
        start(host, Box::pin(kubelet.run(Client::new(API))));
    }
    lab.world.run_until(SimTime::from_secs(30));
    start(control, Box::pin(sets()));
    lab.world.run_until(SimTime::from_secs(SIMULATED));
    assert!(lab.world.panics().is_empty(), "{:?}", lab.world.panics());
    assert_eq!(running(&server), (SETS * REPLICAS) as usize, "pods that run");
    server.counters()
}

fn running(server: &Arc<ApiServer>) -> usize {
    server.with_store(|store| {
        let pods = store.kinds().of::<Pod>().unwrap();
        let running = |phase: Option<&serde_json::Value>| phase.is_some_and(|phase| phase == "Running");
        store.list(pods, &Selection::default()).filter(|pod| running(pod.at("status.phase"))).count()
    })
}

fn control_plane(c: &mut Criterion<CpuTime>) {
    #[expect(clippy::disallowed_macros, reason = "a bench tells what it measured")]
    {
        eprintln!("{:?}", hour());
    }
    let mut group = c.benchmark_group("control_plane");
    group.sample_size(10).throughput(Throughput::Elements(SIMULATED));
    group.bench_function("100-nodes-500-pods", |b| b.iter(|| black_box(hour())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = control_plane
}
criterion_main!(benches);
