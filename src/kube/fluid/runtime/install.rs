//! Installing a release: ports, objects, volume.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Service};
use kube::core::params::ListParams;
use serde_json::Value;

use super::{Controller, RoundError, RuntimeKind};
use crate::base::planted::{Bug, planted};
use crate::kube::client::{ApiError, Client};
use crate::kube::fluid::chart::{Blueprint, PortSet};
use crate::kube::kind::{ApiObject, ObjectKey, strict};
use crate::rt::time::sleep;

/// Ports of the releases that are installed: their values say which.
pub async fn ports_taken<K: RuntimeKind>(client: &Client) -> Result<BTreeMap<ObjectKey, PortSet>, ApiError> {
    let maps = client.list::<ConfigMap>("", &ListParams::default()).await?.items;
    let suffix = K::FLAVOR.values("");
    let of = |map: &ConfigMap| {
        let name = map.metadata.name.as_deref()?.strip_suffix(&suffix)?;
        let data: Value = serde_json::from_str(map.data.as_ref()?.get("data")?).ok()?;
        let ports: Vec<u16> = serde_json::from_value(data.get("ports")?.clone()).ok()?;
        let key = ObjectKey::new(map.metadata.namespace.clone().unwrap_or_default(), name);
        Some((key, PortSet::from_list(&ports)?))
    };
    Ok(maps.iter().filter_map(of).collect())
}

impl<K: RuntimeKind> Controller<K> {
    /// The runtime's ports; they are taken the first time.
    pub(super) fn ports_of(&mut self, key: &ObjectKey) -> Result<PortSet, RoundError> {
        let engine = self.engines.entry(key.clone()).or_default();
        if let Some(ports) = engine.ports {
            return Ok(ports);
        }
        let taken = self.ports.take(PortSet::COUNT, &mut self.chance)?;
        let ports = PortSet::from_list(&taken).unwrap_or(PortSet::native(K::FLAVOR));
        engine.ports = Some(ports);
        Ok(ports)
    }

    /// Creates the objects of the release that are not there. One that was installed half is completed.
    pub(super) async fn install(&self, blueprint: &Blueprint) -> Result<(), RoundError> {
        let values = blueprint.flavor.values(&blueprint.name);
        if planted(Bug::HalfInstallTakenForWhole)
            && self.client.find::<ConfigMap>(&blueprint.namespace, &values).await?.is_some()
        {
            return Ok(());
        }
        for object in blueprint.objects() {
            create(&self.client, &object).await?;
        }
        Ok(())
    }

    /// Creates volume and claim, and waits between the two until the volume is there to be claimed.
    pub(super) async fn create_volume(&self, blueprint: &Blueprint) -> Result<(), RoundError> {
        let name = blueprint.profile.volume(&blueprint.namespace, &blueprint.name);
        if self.client.find::<PersistentVolume>("", &name).await?.is_none() {
            create(&self.client, &blueprint.persistent_volume()).await?;
        }
        if self.client.find::<PersistentVolumeClaim>(&blueprint.namespace, &blueprint.name).await?.is_some() {
            return Ok(());
        }
        loop {
            let volume: PersistentVolume = self.client.get("", &name).await?;
            let phase = volume.status.and_then(|status| status.phase).unwrap_or_default();
            if phase == "Available" || phase == "Bound" {
                return create(&self.client, &blueprint.persistent_volume_claim()).await;
            }
            sleep(self.config.volume_poll).await;
        }
    }
}

/// Creates an object of the chart; one that is there stays as it is.
async fn create(client: &Client, object: &Value) -> Result<(), RoundError> {
    match object["kind"].as_str().unwrap_or_default() {
        "ConfigMap" => create_as::<ConfigMap>(client, object).await,
        "Service" => create_as::<Service>(client, object).await,
        "StatefulSet" => create_as::<StatefulSet>(client, object).await,
        "DaemonSet" => create_as::<DaemonSet>(client, object).await,
        "PersistentVolume" => create_as::<PersistentVolume>(client, object).await,
        "PersistentVolumeClaim" => create_as::<PersistentVolumeClaim>(client, object).await,
        other => Err(RoundError::Chart(format!("the chart holds a {other}"))),
    }
}

async fn create_as<T: ApiObject>(client: &Client, object: &Value) -> Result<(), RoundError> {
    let object: T = strict::decode_known(object).map_err(|misfit| RoundError::Chart(misfit.to_string()))?;
    match client.create(&object).await {
        Err(error) if !error.is_already_exists() => Err(error.into()),
        _ => Ok(()),
    }
}
