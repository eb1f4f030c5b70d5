//! The endpoints controllers and the cluster's DNS: which addresses stand behind a Service, and which names lead there.

pub mod plan;

pub mod records;

pub mod dns;

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::params::DeleteParams;

use super::meta::{label, namespace};
use super::shared::{Shared, absent_is_fine, feed, work};
use crate::kube::client::{ApiError, Informer, InformerEvent, QueueConfig, WorkQueue};
use crate::kube::kind::{ApiObject, ObjectKey};
use crate::kube::matching::Labels;
use crate::rt::task::Scope;
use crate::rt::time::Duration;
pub use records::DnsSink;

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointsConfig {
    /// Delays after errors.
    pub delays: QueueConfig,
    /// Changes of pods are gathered this long: `--endpoint-updates-batch-period`, 0 by default.
    pub batch: Duration,
}

/// Runs the controller: it writes Endpoints and EndpointSlices.
pub async fn run(shared: Shared, config: EndpointsConfig) -> Infallible {
    let (queue, scope) = (WorkQueue::new(config.delays), Scope::new());
    feed(&scope, &shared.services, &queue, |event| vec![event.key()]);
    feed(&scope, &shared.endpoints, &queue, |event| vec![event.key()]);
    feed(&scope, &shared.slices, &queue, |event| {
        let meta = &event.object().metadata;
        label(meta, plan::SERVICE_NAME).map(|service| ObjectKey::new(namespace(meta), service)).into_iter().collect()
    });
    let (services, mut pods, later) = (shared.services.clone(), shared.pods.subscribe(), queue.clone());
    scope.spawn("endpoints of pods", async move {
        while let Some(event) = pods.recv().await {
            selected(&services, &event).into_iter().for_each(|key| later.add_after(key, config.batch));
        }
    });
    work("endpoints", &queue, |key| sync(&shared, key)).await
}

/// The services that select a pod now or did before.
fn selected(services: &Informer<Service>, event: &InformerEvent<Pod>) -> Vec<ObjectKey> {
    let mut labels: Vec<&Labels> = Vec::new();
    if let InformerEvent::Modified(old, _) = event {
        labels.extend(&old.metadata.labels);
    }
    labels.extend(&event.object().metadata.labels);
    let pod = &event.object().metadata;
    let selects = |service: &Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| {
            labels.iter().any(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        })
    };
    services.with(|all| {
        let here = all.iter().filter(|(key, service)| key.namespace == namespace(pod) && selects(service));
        here.map(|(key, _)| key.clone()).collect()
    })
}

async fn sync(shared: &Shared, key: ObjectKey) -> Result<Option<Duration>, ApiError> {
    let slice_name = format!("{}-1", key.name);
    let Some(service) = shared.services.get_key(&key) else {
        let params = DeleteParams::default();
        if shared.endpoints.get_key(&key).is_some() {
            absent_is_fine(shared.client.delete::<Endpoints>(&key.namespace, &key.name, &params).await)?;
        }
        if shared.slices.get(&key.namespace, &slice_name).is_some() {
            absent_is_fine(shared.client.delete::<EndpointSlice>(&key.namespace, &slice_name, &params).await)?;
        }
        return Ok(None);
    };
    let pods = shared.pods_in(&key.namespace, |_| true);
    let Some((endpoints, slice)) = plan::plan(&service, &pods) else { return Ok(None) };
    let old = shared.endpoints.get_key(&key);
    write(shared, endpoints, old, |new, old| new.subsets == old.subsets).await?;
    let old = shared.slices.get(&key.namespace, &slice_name);
    write(shared, slice, old, |new, old| new.endpoints == old.endpoints && new.ports == old.ports).await?;
    Ok(None)
}

/// Makes or replaces an object, unless the cache shows it as it should be.
async fn write<K: ApiObject>(
    shared: &Shared,
    mut new: K,
    old: Option<Arc<K>>,
    same: impl Fn(&K, &K) -> bool,
) -> Result<(), ApiError> {
    let Some(old) = old else { return shared.client.create(&new).await.map(drop) };
    if same(&new, &old) && new.meta().labels == old.meta().labels {
        return Ok(());
    }
    new.meta_mut().resource_version.clone_from(&old.meta().resource_version);
    new.meta_mut().uid.clone_from(&old.meta().uid);
    shared.client.replace(&new).await.map(drop)
}
