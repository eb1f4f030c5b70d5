//! The control plane, as programs on a host of its own.
//!
//! Each is a process that can be killed and started again like any other; only etcd, the objects themselves, outlives them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::desk::{Desk, Order};
use crate::kube::apiserver::ApiServer;
use crate::kube::client::{Client, Informers};
use crate::kube::controllers::endpoints::dns::{self, DnsConfig};
use crate::kube::controllers::endpoints::records::DnsSink;
use crate::kube::controllers::garbage_collector::kinds::Objects;
use crate::kube::controllers::manager::{self, ControllerManagerConfig};
use crate::kube::csi::disk::DISK_DRIVER;
use crate::kube::fluid::api::{AlluxioRuntime, Dataset, GooseFsRuntime, JindoRuntime};
use crate::kube::scheduler::{self, SchedulerConfig};
use crate::kube::volume::attach_detach::{self, AttachDetachConfig};
use crate::kube::volume::cloud::MemoryCloud;
use crate::kube::volume::driver::DriverConfig;
use crate::kube::volume::{bind_loop, driver};
use crate::rt::backend::BoxFuture;
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// Where the API server listens.
pub const API: &str = "apiserver:6443";
/// Its port.
pub const API_PORT: u16 = 6443;

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-scheduler`.
    Scheduler,
    /// `kube-controller-manager`, volumes included.
    ControllerManager,
    /// The disk driver's controller.
    DiskController,
    /// The name server.
    Dns,
}

impl Component {
    /// All, in the order in which they are started.
    pub const ALL: [Self; 5] =
        [Self::ApiServer, Self::Scheduler, Self::ControllerManager, Self::DiskController, Self::Dns];

    /// Its process's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
            Self::DiskController => "csi-disk-controller",
            Self::Dns => "coredns",
        }
    }
}

/// What the programs share.
pub struct Plane {
    /// The objects.
    pub server: Arc<ApiServer>,
    /// The cloud's disks.
    pub cloud: Arc<MemoryCloud>,
    /// Where names are told.
    pub desk: Desk,
}

/// Tells the world's resolver.
struct Resolver(Desk);

impl Resolver {
    fn tell(&self, name: &str, addresses: &[IpAddr]) {
        self.0.leave(Order::Resolve(name.into(), addresses.to_vec()));
        // What a pod's search domains make of a short name, for pods of the default namespace.
        if let Some(short) = name.strip_suffix(".default") {
            self.0.leave(Order::Resolve(short.into(), addresses.to_vec()));
        }
    }
}

impl DnsSink for Resolver {
    fn publish(&self, name: &str, addresses: &[IpAddr], _: Duration) {
        self.tell(name, addresses);
    }

    fn withdraw(&self, name: &str) {
        self.tell(name, &[]);
    }
}

impl Plane {
    /// The program of a component, for its next start.
    pub fn program(&self, component: Component, ip: IpAddr) -> BoxFuture {
        let client = Client::new(API);
        match component {
            Component::ApiServer => {
                let serve = self.server.clone().run(SocketAddr::new(ip, API_PORT));
                Box::pin(async move {
                    if let Err(error) = serve.await {
                        tracing::error!(%error, "the API server ends");
                    }
                })
            }
            Component::Scheduler => {
                Box::pin(async { match scheduler::run(client, SchedulerConfig::default()).await {} })
            }
            Component::ControllerManager => Box::pin(controllers(client)),
            Component::DiskController => {
                let config = DriverConfig { name: DISK_DRIVER.into(), ..DriverConfig::default() };
                let cloud = self.cloud.clone();
                Box::pin(async { match driver::run(client, cloud, config).await {} })
            }
            Component::Dns => {
                let sink = Arc::new(Resolver(self.desk.clone()));
                Box::pin(async { match dns::run(client, DnsConfig::default(), sink).await {} })
            }
        }
    }
}

async fn controllers(client: Client) {
    let (scope, informers) = (Scope::new(), Informers::new(client));
    let own = informers.clone();
    scope.spawn("persistentvolume-binder", async move { match bind_loop::run(own).await {} });
    let own = informers.clone();
    scope.spawn("attachdetach-controller", async move {
        match attach_detach::run(own, AttachDetachConfig::default()).await {}
    });
    let watched = |informers: &Informers, objects: Objects| {
        objects
            .with("Dataset", true, &informers.of::<Dataset>())
            .with("AlluxioRuntime", true, &informers.of::<AlluxioRuntime>())
            .with("GooseFSRuntime", true, &informers.of::<GooseFsRuntime>())
            .with("JindoRuntime", true, &informers.of::<JindoRuntime>())
    };
    match manager::run(informers, ControllerManagerConfig::default(), watched).await {}
}
