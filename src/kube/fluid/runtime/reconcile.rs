//! One round: from the runtime's state to the next thing to do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use serde_json::json;

use super::{Controller, RoundError, RuntimeKind};
use crate::base::planted::{Bug, planted};
use crate::kube::client::{EventType, Patch};
use crate::kube::fluid::api::{Dataset, is_dns1035};
use crate::kube::fluid::backup::{BackupLocation, Place};
use crate::kube::fluid::conditions;
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::profile::EvenMasters;
use crate::kube::kind::ObjectKey;
use crate::rt::time::Duration;

/// Why the dataset cannot begin from the backup that it names.
fn no_restore(flavor: Flavor, dataset: &Dataset) -> Option<String> {
    let wanted = dataset.spec.data_restore_location.as_ref()?;
    if flavor == Flavor::Jindo {
        return Some("dataRestoreLocation: JindoFS has no backup".into());
    }
    let path = wanted.path.as_deref().unwrap_or_default();
    match BackupLocation::parse(path) {
        Err(error) => Some(format!("dataRestoreLocation.path: {error}")),
        Ok(location) if location.place == Place::Node && wanted.node_name.is_none() => {
            Some("dataRestoreLocation.nodeName: a local path is on a node".into())
        }
        Ok(_) => None,
    }
}

impl<K: RuntimeKind> Controller<K> {
    /// Keeps the runtime until its cache is taken down: `alluxio-runtime-controller-finalizer`.
    pub(super) fn finalizer() -> String {
        format!("{}-runtime-controller-finalizer", K::FLAVOR.word())
    }

    pub(super) async fn reconcile(&mut self, key: &ObjectKey) -> Result<Option<Duration>, RoundError> {
        let mut found = self.runtimes.find(key).await?;
        // What would be taken down has the name of what may have been made since.
        if found.as_ref().is_some_and(|runtime| runtime.meta().deletion_timestamp.is_some()) {
            found = self.runtimes.ask(key).await?;
        }
        let Some(runtime) = found else {
            self.engines.remove(key);
            return Ok(None);
        };
        if runtime.meta().deletion_timestamp.is_some() {
            return self.tear_down(key, &runtime).await.map(|()| None);
        }
        if !is_dns1035(&key.name) {
            self.events.event(&*runtime, EventType::Warning, "RuntimeProcessFailed", "the name is no DNS-1035 label");
            return Ok(Some(self.config.retry));
        }
        let mut found = self.datasets.find(key).await?;
        // Before one owns the runtime it must be the one that there is: the two caches may be of different times.
        if found.as_ref().is_some_and(|dataset| !Self::is_adopted(&runtime, dataset)) {
            found = self.datasets.ask(key).await?;
        }
        let Some(dataset) = found else {
            let message = format!("the dataset {key} is not found");
            self.events.event(&*runtime, EventType::Warning, "ErrorProcessRuntimeReason", &message);
            return Ok((!planted(Bug::RuntimeNotAskedAgain)).then_some(self.config.retry_no_dataset));
        };
        if let Some(why) = no_restore(K::FLAVOR, &dataset) {
            self.events.event(&*runtime, EventType::Warning, "RuntimeProcessFailed", why);
            return Ok(Some(self.config.retry));
        }
        if !Self::is_adopted(&runtime, &dataset) {
            self.adopt(key, &runtime, &dataset).await?;
        }
        let bound = dataset.status.as_ref().map_or(&[][..], |status| &status.runtimes);
        if bound.iter().any(|other| other.type_ != K::FLAVOR.word()) {
            let message = format!("the dataset {key} is bound to another runtime");
            self.events.event(&*runtime, EventType::Warning, "RuntimeBoundToOther", &message);
            return Ok(Some(self.config.retry));
        }
        let blueprint = runtime.blueprint(&dataset, self.config.profile, self.ports_of(key)?);
        if blueprint.masters == 0 {
            let message = "spec.master.disabled: a cache without masters is not supported";
            self.events.event(&*runtime, EventType::Warning, "RuntimeProcessFailed", message);
            return Ok(Some(self.config.retry));
        }
        if blueprint.masters.is_multiple_of(2) {
            let message =
                format!("{} masters survive no more failures than {}", blueprint.masters, blueprint.masters - 1);
            self.events.event(&*runtime, EventType::Warning, "EvenMasters", &message);
            if self.config.profile.even_masters == EvenMasters::Refuse {
                return Ok(Some(self.config.retry));
            }
        }
        let ready = dataset.status.as_ref().is_some_and(|status| conditions::holds(&status.conditions, "Ready"));
        if !ready && !self.set_up(key, &dataset, &blueprint).await? {
            return Ok(Some(self.config.retry));
        }
        if let Err(error) = self.create_volume(&blueprint).await {
            tracing::warn!(runtime = %key, %error, "no volume yet");
        }
        self.sync(key, &dataset, &blueprint).await?;
        Ok(Some(self.config.resync))
    }

    pub(super) fn is_kept(runtime: &K) -> bool {
        runtime.meta().finalizers.iter().flatten().any(|finalizer| *finalizer == Self::finalizer())
    }

    fn is_adopted(runtime: &K, dataset: &Dataset) -> bool {
        let mut owners = runtime.meta().owner_references.iter().flatten();
        Self::is_kept(runtime) && owners.any(|owner| Some(&owner.uid) == dataset.metadata.uid.as_ref())
    }

    /// The dataset owns its runtime; the finalizer keeps the runtime until its cache is taken down.
    async fn adopt(&self, key: &ObjectKey, runtime: &K, dataset: &Dataset) -> Result<(), RoundError> {
        let meta = runtime.meta();
        let owner = OwnerReference {
            api_version: Dataset::api_version(&()).into(),
            kind: Dataset::kind(&()).into(),
            name: dataset.metadata.name.clone().unwrap_or_default(),
            uid: dataset.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        if !Self::is_kept(runtime) {
            finalizers.push(Self::finalizer());
        }
        let patch = Patch::Merge(json!({ "metadata": {
            "resourceVersion": meta.resource_version,
            "ownerReferences": [owner],
            "finalizers": finalizers,
        } }));
        let written = self.client.patch::<K>(&key.namespace, &key.name, &patch);
        Ok(self.runtimes.write(key, written).await?)
    }
}
