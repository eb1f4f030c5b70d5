//! Fluid's own images: controllers, the node plugin, and the tools of its operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;

use super::{Images, Launch, Launched, Program, cache, until_terminated};
use crate::kube::client::{Client, Patch};
use crate::kube::csi::fluid::{FluidPlugin, FluidPluginConfig, Labelled, NodeLabels};
use crate::kube::fluid::api::{AlluxioRuntime, GooseFsRuntime, JindoRuntime};
use crate::kube::fluid::controller::{self, Ended};
use crate::kube::fluid::dataset::DatasetConfig;
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::images::Program as Kind;
use crate::kube::fluid::operation::{OperationConfig, program};
use crate::kube::fluid::runtime::RuntimeConfig;
use crate::rt::task::Scope;
use crate::rt::{Either, select2, signal};
use crate::sim::kubernetes::machine::Part;
use crate::sim::kubernetes::plane::API;
use crate::sim::kubernetes::probe::ExecProbe;
use crate::sim::kubernetes::tool::ClientTool;

/// What Fluid's programs are given beside what their charts write.
pub struct FluidSetup {
    /// How they ask the cache.
    pub probe: Arc<ExecProbe>,
    /// Numbers of the runtime controllers.
    pub runtime: RuntimeConfig,
    /// Numbers of the operations.
    pub operations: OperationConfig,
    /// Numbers of the node plugin.
    pub plugin: FluidPluginConfig,
}

/// Starts a container of Fluid's.
pub fn launch(images: &Arc<Images>, kind: Kind, launch: &Launch) -> Result<Launched, String> {
    let (part, program): (Part, Program) = match kind {
        Kind::DatasetController | Kind::RuntimeController(_) => {
            (Part::Other, Box::pin(until_told(launch.clone(), work(images.clone(), kind, launch.clone()))))
        }
        Kind::Registrar | Kind::JobService(_) => (Part::Other, Box::pin(until_terminated())),
        Kind::CsiPlugin => (Part::CsiPlugin, Box::pin(plugin(images.clone(), launch.clone()))),
        Kind::DataLoad(flavor) | Kind::DataBackup(flavor) => {
            let loads = matches!(kind, Kind::DataLoad(_));
            (Part::Other, Box::pin(operation(images.clone(), flavor, loads, launch.clone())))
        }
        Kind::Master(flavor) | Kind::Worker(flavor) | Kind::Fuse(flavor) => {
            return cache::launch(images, flavor, launch);
        }
    };
    Ok(Launched { part, program })
}

/// The exit code of a controller that ends by itself or is told to.
fn until_told(launch: Launch, work: impl Future<Output = Option<Ended>>) -> impl Future<Output = i32> {
    select2(work, signal::terminated()).map(move |ended| match ended {
        Either::Right(_) => 0,
        Either::Left(ended) => {
            launch.log.write(&format!("{}\n", ended.map_or_else(|| "not set up".into(), |ended| ended.to_string())));
            1
        }
    })
}

async fn work(images: Arc<Images>, kind: Kind, launch: Launch) -> Option<Ended> {
    let setup = images.fluid()?;
    let (client, pod, probe) = (Client::new(API), launch.spec.pod.name.clone(), setup.probe.clone());
    launch.log.write(&format!("{} starts\n", launch.spec.pod.name));
    let ended = match kind {
        Kind::DatasetController => {
            controller::dataset(client, &pod, probe, DatasetConfig::default(), setup.operations).await
        }
        Kind::RuntimeController(Flavor::Alluxio) => {
            controller::runtime::<AlluxioRuntime>(client, &pod, probe, setup.runtime).await
        }
        Kind::RuntimeController(Flavor::GooseFs) => {
            controller::runtime::<GooseFsRuntime>(client, &pod, probe, setup.runtime).await
        }
        Kind::RuntimeController(Flavor::Jindo) => {
            controller::runtime::<JindoRuntime>(client, &pod, probe, setup.runtime).await
        }
        _ => return None,
    };
    ended.err()
}

/// Registers with the node's kubelet, and looks for broken mounts as long as it runs.
async fn plugin(images: Arc<Images>, launch: Launch) -> i32 {
    let Some(setup) = images.fluid() else { return 1 };
    let labels = Arc::new(OwnNode { client: Client::new(API), node: launch.machine.id.node.clone() });
    let plugin = FluidPlugin::new(setup.plugin.clone(), Arc::new(launch.machine.clone()), labels);
    launch.machine.drivers.register(Arc::new(plugin.clone()));
    let scope = Scope::new();
    scope.spawn("fuse-recovery", plugin.run_recovery());
    until_terminated().await
}

async fn operation(images: Arc<Images>, flavor: Flavor, loads: bool, launch: Launch) -> i32 {
    let environment: BTreeMap<String, String> =
        launch.spec.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    let options = match cache::client_of(&images, flavor, &launch).await {
        Ok(options) => options,
        Err(why) => {
            launch.log.write(&format!("{why}\n"));
            return 1;
        }
    };
    let tool = ClientTool::new(options, launch.clone());
    let done =
        if loads { program::load(&environment, &tool).await } else { program::back_up(&environment, &tool).await };
    match done {
        Ok(()) => 0,
        Err(failure) => {
            launch.log.write(&format!("{failure}\n"));
            1
        }
    }
}

/// Patches the plugin's own node.
struct OwnNode {
    client: Client,
    node: String,
}

impl NodeLabels for OwnNode {
    fn set(&self, key: String, value: Option<String>) -> Labelled<'_> {
        Box::pin(async move {
            let patch = Patch::Merge(serde_json::json!({ "metadata": { "labels": { key: value } } }));
            let patched = self.client.patch::<k8s_openapi::api::core::v1::Node>("", &self.node, &patch).await;
            patched.map(drop).map_err(|error| error.to_string())
        })
    }
}
