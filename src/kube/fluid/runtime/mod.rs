//! The runtime controllers: `alluxioruntime-controller`, `goosefsruntime-controller`, `jindoruntime-controller`.
//!
//! Follows `pkg/controllers/runtime_controller.go` and `pkg/ddc/base` of fluid-cloudnative/fluid: one reconcile sets a
//! runtime up step by step until its dataset is bound, and then keeps numbers, mounts, replicas and labels true, again and
//! again. Everything else that a cache needs is done by Kubernetes. Differs: one worker instead of three, so a probe that
//! hangs holds up the other runtimes of this kind as well.

mod health;
mod install;
mod kind;
mod mounts;
mod nodes;
mod reconcile;
mod row;
mod setup;
mod sync;
mod teardown;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use kube::core::params::ListParams;

use super::api::{Dataset, DatasetStatus, RuntimeStatus};
use super::chart::PortSet;
use super::ports::{PortPolicy, Ports, PortsExhausted};
use super::probe::{CacheProbe, Content, PodRef, ProbeError};
use super::profile::Profile;
use crate::base::Stream;
use crate::kube::client::{ApiError, Client, EventRecorder, Informer, MutationCache, WorkQueue};
use crate::kube::kind::ObjectKey;
use crate::rt::chance;
use crate::rt::task::{JoinHandle, Scope};
use crate::rt::time::{Duration, Instant, timeout};
pub use kind::RuntimeKind;

/// The controller's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Differences by version.
    pub profile: Profile,
    /// How ports of the node are chosen.
    pub ports: PortPolicy,
    /// After a round that failed or did not finish the setup: 20 s.
    pub retry: Duration,
    /// Without a dataset: 5 s.
    pub retry_no_dataset: Duration,
    /// After a good round: 90 s.
    pub resync: Duration,
    /// Between two looks at the numbers: `FLUID_SYNC_RETRY_DURATION` of 5 s.
    pub sync_min: Duration,
    /// A round is given up after this: 10 minutes.
    pub round_max: Duration,
    /// Between two looks whether the volume is there: 1 s.
    pub volume_poll: Duration,
    /// How often the caches are asked to free what they have when a runtime goes: 3.
    pub clean_tries: u32,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            profile: Profile::V1_0,
            ports: PortPolicy::Bitmap,
            retry: Duration::from_secs(20),
            retry_no_dataset: Duration::from_secs(5),
            resync: Duration::from_secs(90),
            sync_min: Duration::from_secs(5),
            round_max: Duration::from_secs(600),
            volume_poll: Duration::from_secs(1),
            clean_tries: 3,
        }
    }
}

/// Why a round ended early. All of them are tried again later.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The API server refused, or did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The cache did not answer.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// No ports are left.
    #[error(transparent)]
    Ports(#[from] PortsExhausted),
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] mounts::NoSecret),
    /// A set is not healthy.
    #[error("{0}")]
    Unhealthy(String),
    /// An object of the chart is none of Kubernetes'. Only a bug here can cause that.
    #[error("{0}")]
    Chart(String),
}

/// What a controller remembers of a runtime. All of it is found anew after a restart of the controller.
#[derive(Default)]
struct Engine {
    ports: Option<PortSet>,
    counting: Option<JoinHandle<Result<Content, ProbeError>>>,
    synced_at: Option<Instant>,
}

/// A controller of one kind of runtime.
struct Controller<K> {
    client: Client,
    runtimes: MutationCache<K>,
    datasets: MutationCache<Dataset>,
    probe: Arc<dyn CacheProbe>,
    config: RuntimeConfig,
    events: EventRecorder,
    engines: BTreeMap<ObjectKey, Engine>,
    ports: Ports,
    chance: Stream,
    tasks: Scope,
}

/// Runs the controller of the runtimes of kind `K`.
///
/// # Errors
/// If the ports that are taken already cannot be read at the start; whoever runs it starts it again, as a pod is.
pub async fn run<K: RuntimeKind>(
    client: Client,
    probe: Arc<dyn CacheProbe>,
    config: RuntimeConfig,
) -> Result<Infallible, RoundError> {
    let (runtimes, datasets) = (Informer::<K>::all(&client), Informer::<Dataset>::all(&client));
    runtimes.synced().await;
    datasets.synced().await;
    let taken = install::ports_taken::<K>(&client).await?;
    let events = EventRecorder::new(&client, &format!("{}-controller", K::plural(&()).trim_end_matches('s')), "");
    let mut controller = Controller::<K> {
        events,
        probe,
        config,
        engines: BTreeMap::new(),
        ports: Ports::new(K::FLAVOR.port_range(), config.ports, taken.values().flat_map(PortSet::list)),
        chance: chance::stream("fluid-ports"),
        tasks: Scope::new(),
        runtimes: MutationCache::new(&client, runtimes.clone()),
        datasets: MutationCache::new(&client, datasets),
        client,
    };
    for (key, ports) in taken {
        controller.engines.entry(key).or_default().ports = Some(ports);
    }
    let queue = WorkQueue::<ObjectKey>::default();
    let feeder = Scope::new();
    feeder.spawn("runtime-events", feed(runtimes, queue.clone()));
    loop {
        let key = queue.get().await;
        let wait = controller.round(&key).await;
        queue.done(&key);
        if let Some(wait) = wait {
            queue.add_after(key, wait);
        }
    }
}

/// A runtime is looked at when its spec changes, or its deletion begins; not when its status does, or each round would ask
/// for the next.
async fn feed<K: RuntimeKind>(runtimes: Informer<K>, queue: WorkQueue<ObjectKey>) {
    use crate::kube::client::InformerEvent::{Added, Deleted, Modified};
    let mut events = runtimes.subscribe_to(|event| match event {
        Added(_) | Deleted(_) => true,
        Modified(before, after) => {
            let (before, after) = (before.meta(), after.meta());
            before.generation != after.generation || before.deletion_timestamp != after.deletion_timestamp
        }
    });
    while let Some(event) = events.recv().await {
        queue.add(event.key());
    }
}

impl<K: RuntimeKind> Controller<K> {
    /// One round; gives when the next is due, if one is.
    async fn round(&mut self, key: &ObjectKey) -> Option<Duration> {
        let retry = self.config.retry;
        match timeout(self.config.round_max, self.reconcile(key)).await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                tracing::warn!(runtime = %key, %error, "round ended early");
                Some(retry)
            }
            Err(_) => {
                tracing::warn!(runtime = %key, "round took too long");
                Some(retry)
            }
        }
    }

    /// The container that is asked everything: that of master 0, whoever leads.
    fn master(key: &ObjectKey) -> PodRef {
        PodRef::master(K::FLAVOR, &key.namespace, &key.name)
    }

    async fn status(&self, key: &ObjectKey) -> Result<RuntimeStatus, ApiError> {
        match self.runtimes.find(key).await? {
            Some(runtime) => Ok(runtime.status()),
            // The server says that it is gone.
            None => Ok(self.client.get::<K>(&key.namespace, &key.name).await?.status()),
        }
    }

    /// Changes a runtime's status, again if somebody else changed the runtime meanwhile.
    async fn update_status(&self, key: &ObjectKey, change: impl Fn(&mut RuntimeStatus)) -> Result<(), ApiError> {
        let known = self.runtimes.find(key).await?;
        let change = |runtime: &mut K| change(runtime.status_mut());
        self.runtimes.write(key, super::update::status(&self.client, key, known, K::status, change)).await
    }

    /// Changes a dataset's status in the same way.
    async fn update_dataset(&self, key: &ObjectKey, change: impl Fn(&mut DatasetStatus)) -> Result<(), ApiError> {
        let known = self.datasets.find(key).await?;
        self.datasets.write(key, super::update::dataset(&self.client, key, known, change)).await
    }
}

/// All objects with a label.
fn labelled(selector: &str) -> ListParams {
    ListParams::default().labels(selector)
}
