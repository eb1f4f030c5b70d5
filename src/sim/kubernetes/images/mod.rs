//! What images run: a container's command, arguments, environment and mounts become a program of the world.
//!
//! | images | module |
//! |---|---|
//! | Fluid's controllers, its node plugin, the tools of its operations | `fluid` |
//! | `alluxio/alluxio`, `goosefs/goosefs`, `jindofs/smartdata` | `cache` |
//! | `nginx`, `busybox` and their like: a shell, or a server that only waits | `app` |
//!
//! An image that is in none of them is in no registry either: pulling it fails, as for a slip in its name.

mod app;
pub mod cache;
pub mod fluid;
pub mod properties;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::machine::{Machine, Part, Spot, mount_of, on_node};
use crate::kube::csi::mount::MountTable;
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::images::{self as names, Program as Kind};
use crate::kube::runtime::{ContainerId, ContainerSpec, ExecOutput, Propagation};
use crate::rt::signal;
use crate::sim::scenario::Parameters;
use crate::sim::workload::Recorder;
use crate::stack::fuse::Errno;

pub use super::machine::Log;
pub use fluid::FluidSetup;

/// The first number of a mount among the clients of the history; those of the workload come before.
const FIRST_MOUNT: u32 = 1_000_000;

/// Fluid's own images.
const FLUID: [&str; 6] = [
    names::DATASET_CONTROLLER,
    names::CSI,
    names::REGISTRAR,
    names::runtime_controller(Flavor::Alluxio),
    names::runtime_controller(Flavor::GooseFs),
    names::runtime_controller(Flavor::Jindo),
];

/// A program that ends with an exit code.
pub type Program = Pin<Box<dyn Future<Output = i32> + Send>>;

/// A program and what it is.
pub struct Launched {
    /// The program.
    pub program: Program,
    /// What it is to the cache.
    pub part: Part,
}

/// A container about to start, or one in which a command is to run.
#[derive(Clone)]
pub struct Launch {
    /// Where.
    pub machine: Machine,
    /// Its name on the node.
    pub id: ContainerId,
    /// What was asked for.
    pub spec: ContainerSpec,
    /// Where its output goes.
    pub log: Log,
    /// The node's mounts as they were when it started: what its mounts without propagation go on showing.
    pub own_mounts: MountTable,
}

impl Launch {
    /// The words of its first process: command, then arguments.
    pub fn words(&self) -> Vec<String> {
        self.spec.command.iter().chain(&self.spec.args).cloned().collect()
    }

    /// The node's path of one of the container's.
    pub fn on_node(&self, path: &str) -> String {
        on_node(&self.spec.mounts, &self.root(), path).0
    }

    /// Where one of the container's paths really is, and whether writes to it are refused.
    ///
    /// # Errors
    /// As [`Machine::find`].
    pub fn find(&self, path: &str) -> Result<(Spot, bool), Errno> {
        let (real, read_only) = on_node(&self.spec.mounts, &self.root(), path);
        let mount = mount_of(&self.spec.mounts, path);
        let own = mount.filter(|mount| mount.propagation == Propagation::Private).map(|_| &self.own_mounts);
        let (spot, place_read_only) = self.machine.find_in(own, &real)?;
        Ok((spot, read_only || place_read_only))
    }

    /// Where the container's own files are on the node.
    pub fn root(&self) -> String {
        format!("/var/lib/containers/{}/{}/rootfs", self.spec.pod.uid, self.spec.name)
    }
}

/// Ends when the process is told to.
pub async fn until_terminated() -> i32 {
    if signal::terminated().await.is_err() {
        std::future::pending::<()>().await;
    }
    0
}

/// The registry of images.
pub struct Images {
    /// Defaults of the cache's images.
    pub parameters: Parameters,
    recorder: OnceLock<Arc<Recorder>>,
    fluid: OnceLock<Arc<FluidSetup>>,
    mounts: AtomicU32,
}

impl Images {
    /// The images, with the scenario's parameters as their defaults.
    pub fn new(parameters: Parameters) -> Self {
        Self { parameters, recorder: OnceLock::new(), fluid: OnceLock::new(), mounts: AtomicU32::new(0) }
    }

    /// Fluid's programs are given this.
    pub fn set_up_fluid(&self, setup: FluidSetup) {
        let _ = self.fluid.set(Arc::new(setup));
    }

    fn fluid(&self) -> Option<Arc<FluidSetup>> {
        self.fluid.get().cloned()
    }

    /// From now on mounts write into this history.
    pub fn keep_history(&self, recorder: &Arc<Recorder>) {
        let _ = self.recorder.set(recorder.clone());
    }

    /// The history, and the number of a new mount in it.
    pub fn history(&self) -> Option<(u32, Arc<Recorder>)> {
        let recorder = self.recorder.get()?.clone();
        Some((FIRST_MOUNT + self.mounts.fetch_add(1, Ordering::Relaxed), recorder))
    }

    /// Whether a registry has the image.
    pub fn known(&self, image: &str) -> bool {
        let bare = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(image, |(name, _)| name);
        cache::flavor(image).is_some() || FLUID.contains(&bare) || app::known(image)
    }

    /// The program of a container.
    ///
    /// # Errors
    /// Its command cannot be started.
    pub fn launch(self: &Arc<Self>, launch: &Launch) -> Result<Launched, String> {
        if let Some(kind) = Kind::of(&launch.spec.image, &launch.spec.args) {
            return fluid::launch(self, kind, launch);
        }
        match cache::flavor(&launch.spec.image) {
            Some(flavor) => cache::launch(self, flavor, launch),
            None => Ok(app::launch(launch)),
        }
    }

    /// Runs a command in a container.
    pub fn exec(
        self: &Arc<Self>,
        launch: Launch,
        command: Vec<String>,
    ) -> Pin<Box<dyn Future<Output = ExecOutput> + Send>> {
        Box::pin(app::exec(self.clone(), launch, command))
    }
}
