//! The PV binder's loop: upstream's `persistentvolume-controller` in kube-controller-manager.
//!
//! After each change it looks at every claim and every volume and does the next write that is missing; a write that comes
//! too late is refused by its version and looked at again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::binder::{Known, Notice, Step, sync_claim, sync_volume};
use super::matching::claim_ref;
use super::wake::{Wake, by_key, by_name};
use crate::base::SimTime;
use crate::kube::client::{ApiError, Client, Informers};
use crate::kube::scheduler::tell::Teller;
use crate::rt::time::Instant;

/// After an error other than a conflict, everything is looked at again this much later.
const RETRY: Duration = Duration::from_secs(1);

/// Binds claims to volumes for ever.
pub async fn run(informers: Informers) -> Infallible {
    let client = informers.client().clone();
    let (claims, volumes) = (informers.of::<PersistentVolumeClaim>(), informers.of::<PersistentVolume>());
    let classes = informers.of::<StorageClass>();
    let wake = Wake::new();
    wake.on(&claims).await;
    wake.on(&volumes).await;
    wake.on(&classes).await;
    let teller = Teller::new(&client, "persistentvolume-controller");
    let mut told = BTreeMap::<(String, String), Notice>::new();
    let began = Instant::now();
    loop {
        let known = Known { claims: by_key(&claims), volumes: by_name(&volumes), classes: by_name(&classes) };
        told.retain(|key, _| known.claims.contains_key(key));
        let mut failed = false;
        for (key, claim) in &known.claims {
            for step in sync_claim(&known, claim) {
                match step {
                    // Told again only when there is something else to tell.
                    Step::Tell(notice) if told.get(key) == Some(&notice) => {}
                    Step::Tell(notice) => {
                        teller.tell(&**claim, notice.warning, notice.reason, notice.message.clone());
                        told.insert(key.clone(), notice);
                    }
                    step => failed |= is_trouble(write(&client, step).await),
                }
            }
        }
        for volume in known.volumes.values() {
            let Some(step) = sync_volume(&known, volume) else { continue };
            failed |= is_trouble(confirm_and_write(&client, volume, step).await);
        }
        let now = SimTime::ZERO + began.elapsed();
        wake.wait(now, if failed { now + RETRY } else { SimTime::NEVER }).await;
    }
}

/// Conflicts and vanished objects are answered by the change that caused them.
fn is_trouble(outcome: Result<(), ApiError>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(error) if error.is_conflict() || error.is_not_found() => false,
        Err(error) => {
            tracing::debug!(%error, "the binder tries again");
            true
        }
    }
}

/// A volume is released only if the API server, not only the cache, has no such claim.
async fn confirm_and_write(client: &Client, volume: &PersistentVolume, step: Step) -> Result<(), ApiError> {
    let releases =
        |next: &PersistentVolume| next.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released");
    if let Step::VolumeStatus(next) = &step
        && releases(next)
        && let Some(reference) = claim_ref(volume)
    {
        let (namespace, name) = (reference.namespace.as_deref(), reference.name.as_deref());
        let found =
            client.find::<PersistentVolumeClaim>(namespace.unwrap_or_default(), name.unwrap_or_default()).await?;
        let same = found.is_some_and(|claim| {
            let chose_it =
                claim.spec.and_then(|spec| spec.volume_name).is_none_or(|name| Some(name) == volume.metadata.name);
            claim.metadata.uid == reference.uid && chose_it
        });
        if same {
            return Ok(());
        }
    }
    write(client, step).await
}

async fn write(client: &Client, step: Step) -> Result<(), ApiError> {
    match step {
        Step::Volume(volume) => client.replace(&*volume).await.map(drop),
        Step::VolumeStatus(volume) => client.replace_status(&*volume).await.map(drop),
        Step::Claim(claim) => client.replace(&*claim).await.map(drop),
        Step::ClaimStatus(claim) => client.replace_status(&*claim).await.map(drop),
        Step::Tell(_) => Ok(()),
    }
}
