//! A node of the cluster: its host, its machine and its kubelet.

use std::sync::Arc;

use super::Seen;
use super::machine::{Container, Machine, Part};
use super::plane::API;
use crate::base::ProcessId;
use crate::kube::client::Client;
use crate::kube::csi::disk::{DISK_DRIVER, DiskDriver};
use crate::kube::kubelet::config::KubeletConfig;
use crate::kube::kubelet::run::{self, Machine as Found};
use crate::rt::backend::BoxFuture;
use crate::rt::chan::watch;

/// A node.
pub struct Node {
    /// What it registers as.
    pub config: KubeletConfig,
    /// Its machine.
    pub machine: Machine,
    /// Its kubelet, while one was started.
    pub kubelet: Option<ProcessId>,
    /// Whether it has power.
    pub powered: bool,
    /// Becomes true when the node shuts down.
    pub shutdown: watch::Sender<bool>,
}

impl Node {
    /// The running container of the pod and part that are asked for, the latest start if there are several.
    pub fn running(&self, pod: impl Fn(&str) -> bool, part: impl Fn(&Part) -> bool) -> Option<Seen> {
        let own = |c: &&Container| c.runs() && part(&c.part) && pod(&c.spec.pod.name);
        self.machine.containers(|all| all.iter().rfind(own).map(Seen::of))
    }

    /// A kubelet for its next start.
    pub fn kubelet_program(&self) -> BoxFuture {
        let config = self.config.clone();
        let (machine, shutdown) = (Arc::new(self.machine.clone()), self.shutdown.subscribe());
        Box::pin(async move {
            let drivers = machine.drivers.clone();
            drivers.register(Arc::new(DiskDriver::new(DISK_DRIVER, machine.clone())));
            let found = Found { runtime: machine.clone(), host: machine, drivers, shutdown };
            match run::run(Client::new(API), config, found).await {}
        })
    }
}
