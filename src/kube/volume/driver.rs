//! The controller of a CSI driver for zonal disks: external-provisioner and external-attacher in one program.
//!
//! It alone talks to the cloud. Claims become disks and volumes, attachments become attached disks, and their deletion is
//! held back by a finalizer until the cloud has detached.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use kube::core::params::DeleteParams;
use serde_json::json;

use super::cloud::{CloudError, DiskCloud};
use super::matching::{SELECTED_NODE, ZONE, class_of, requested};
use super::provision::{NoZone, to_delete, volume, volume_name_for, wanted, zone};
use super::wake::{Wake, by_key, by_name};
use crate::base::SimTime;
use crate::base::planted::{Bug, planted};
use crate::kube::client::{ApiError, Client, Informer, Patch};
use crate::kube::clock::time_now;
use crate::kube::scheduler::queue::backoff;
use crate::kube::scheduler::tell::Teller;
use crate::rt::chan::mpsc;
use crate::rt::task::spawn;
use crate::rt::time::{Instant, sleep};

/// The driver's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverConfig {
    /// What classes and volumes call the driver.
    pub name: String,
    /// The label of nodes that names their zone.
    pub zone_key: String,
    /// The first wait after an error: the side-cars' `--retry-interval-start`, 1 s.
    pub retry_initial: Duration,
    /// The longest: `--retry-interval-max`, 5 minutes.
    pub retry_max: Duration,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            name: "disk.csi.stormglass.dev".into(),
            zone_key: ZONE.into(),
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
        }
    }
}

impl DriverConfig {
    /// What holds an attachment back until the cloud has detached.
    pub fn finalizer(&self) -> String {
        format!("external-attacher/{}", self.name.replace('.', "-"))
    }
}

/// One thing to do with the cloud.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Make a volume for this claim.
    Provision(String, String),
    /// Remove this volume.
    Remove(String),
    /// Carry out this attachment.
    Attach(String),
    /// Undo it.
    Detach(String),
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Cloud(#[from] CloudError),
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("error generating accessibility requirements: {0}")]
    Zone(#[from] NoZone),
}

/// What the attachment needs of its driver; none for another's or a finished one.
pub fn attachment_work(attachment: &VolumeAttachment, config: &DriverConfig) -> Option<Work> {
    let name = attachment.metadata.name.clone().unwrap_or_default();
    let finalizer = config.finalizer();
    let held = attachment.metadata.finalizers.iter().flatten().any(|f| *f == finalizer);
    let attached = attachment.status.as_ref().is_some_and(|status| status.attached);
    match attachment.metadata.deletion_timestamp {
        _ if attachment.spec.attacher != config.name => None,
        Some(_) => held.then_some(Work::Detach(name)),
        None => (!attached).then_some(Work::Attach(name)),
    }
}

struct Caches {
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
    attachments: Informer<VolumeAttachment>,
}

impl Caches {
    fn work(&self, config: &DriverConfig) -> Vec<Work> {
        let classes = by_name(&self.classes);
        let claims = by_key(&self.claims);
        let made = claims.into_iter().filter(|(_, claim)| {
            wanted(claim, &classes, &config.name) && self.volumes.get("", &volume_name_for(claim)).is_none()
        });
        let mut work: Vec<Work> = made.map(|((namespace, name), _)| Work::Provision(namespace, name)).collect();
        let volumes = by_name(&self.volumes);
        let going = volumes.into_iter().filter(|(_, volume)| to_delete(volume, &config.name));
        work.extend(going.map(|(name, _)| Work::Remove(name)));
        let attachments = self.attachments.list();
        work.extend(attachments.iter().filter_map(|attachment| attachment_work(attachment, config)));
        work
    }
}

/// Serves the driver's volumes for ever.
pub async fn run(client: Client, cloud: Arc<dyn DiskCloud>, config: DriverConfig) -> Infallible {
    let caches = Arc::new(Caches {
        claims: Informer::all(&client),
        volumes: Informer::all(&client),
        classes: Informer::all(&client),
        nodes: Informer::all(&client),
        attachments: Informer::all(&client),
    });
    let wake = Wake::new();
    wake.on(&caches.claims).await;
    wake.on(&caches.volumes).await;
    wake.on(&caches.classes).await;
    wake.on_change(&caches.nodes, |before, after| before.metadata.labels != after.metadata.labels).await;
    wake.on(&caches.attachments).await;
    let teller = Teller::new(&client, "disk-csi-controller");
    let hands = Arc::new(Hands { client, cloud, teller, caches: caches.clone(), config: config.clone() });
    let (sender, mut finished) = mpsc::unbounded_channel::<(Work, bool)>();
    let mut busy = BTreeSet::<Work>::new();
    let mut tries = BTreeMap::<Work, (u32, SimTime)>::new();
    let began = Instant::now();
    loop {
        let now = SimTime::ZERO + began.elapsed();
        while let Ok((work, good)) = finished.try_recv() {
            busy.remove(&work);
            let attempts = tries.get(&work).map_or(0, |(attempts, _)| *attempts) + 1;
            let until = now + backoff(config.retry_initial, config.retry_max, attempts);
            let _ = if good { tries.remove(&work) } else { tries.insert(work, (attempts, until)) };
        }
        let mut due = SimTime::NEVER;
        let work = caches.work(&config);
        tries.retain(|known, _| work.contains(known));
        for work in work.into_iter().filter(|work| !busy.contains(work)).collect::<Vec<_>>() {
            let until = tries.get(&work).map_or(SimTime::ZERO, |(_, until)| *until);
            if until > now {
                due = due.min(until);
                continue;
            }
            busy.insert(work.clone());
            let (hands, sender, handle) = (hands.clone(), sender.clone(), wake.handle());
            drop(spawn("csi work", async move {
                let good = hands.carry_out(&work).await;
                let _ = sender.send((work, good));
                handle.notify_one();
            }));
        }
        wake.wait(now, due).await;
    }
}

/// What carries the work out.
struct Hands {
    client: Client,
    cloud: Arc<dyn DiskCloud>,
    teller: Teller,
    caches: Arc<Caches>,
    config: DriverConfig,
}

impl Hands {
    /// Whether it was done, or is not needed any more.
    async fn carry_out(&self, work: &Work) -> bool {
        let outcome = match work {
            Work::Provision(namespace, name) => self.provision(namespace, name).await,
            Work::Remove(name) => self.remove(name).await,
            Work::Attach(name) => self.attach(name).await,
            Work::Detach(name) => self.detach(name).await,
        };
        match outcome {
            Ok(()) => true,
            Err(Failure::Api(error)) if error.is_not_found() || error.is_conflict() => true,
            Err(error) => {
                tracing::debug!(%error, ?work, "the driver tries again");
                false
            }
        }
    }

    async fn provision(&self, namespace: &str, name: &str) -> Result<(), Failure> {
        let claim = self.client.get::<PersistentVolumeClaim>(namespace, name).await?;
        let classes = by_name(&self.caches.classes);
        let Some(class) = classes.get(class_of(&claim)).filter(|_| wanted(&claim, &classes, &self.config.name)) else {
            return Ok(());
        };
        let message = format!("External provisioner is provisioning volume for claim \"{namespace}/{name}\"");
        self.teller.tell(&claim, false, "Provisioning", message);
        let zone = match zone(&claim, class, &by_name(&self.caches.nodes), &self.config.zone_key) {
            Ok(zone) => zone,
            Err(error) => return self.no_zone(&claim, error).await,
        };
        let disk = volume_name_for(&claim);
        let handle = self.cloud.create(disk.clone(), requested(&claim), zone.clone()).await?;
        let made = volume(&claim, class, &self.config.name, &handle, (&self.config.zone_key, &zone));
        match self.client.create(&made).await {
            Err(error) if error.is_already_exists() => {}
            outcome => drop(outcome?),
        }
        self.teller.tell(&claim, false, "ProvisioningSucceeded", format!("Successfully provisioned volume {disk}"));
        Ok(())
    }

    /// A selected node that cannot be used is given back to the scheduler.
    async fn no_zone(&self, claim: &PersistentVolumeClaim, error: NoZone) -> Result<(), Failure> {
        let class = class_of(claim);
        let message =
            format!("failed to provision volume with StorageClass \"{class}\": {}", Failure::Zone(error.clone()));
        self.teller.tell(claim, true, "ProvisioningFailed", message);
        if let NoZone::NoNode(_) = error {
            let meta = &claim.metadata;
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            let patch = Patch::Merge(json!({ "metadata": { "annotations": { SELECTED_NODE: null } } }));
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            self.client.patch::<PersistentVolumeClaim>(namespace, name, &patch).await?;
            return Ok(());
        }
        Err(error.into())
    }

    async fn remove(&self, name: &str) -> Result<(), Failure> {
        let volume = self.client.get::<PersistentVolume>("", name).await?;
        let attached = self.caches.attachments.list();
        if attached.iter().any(|a| a.spec.source.persistent_volume_name.as_deref() == Some(name)) {
            let machine = "a node".to_string();
            return Err(CloudError::InUse { disk: name.into(), machine }.into());
        }
        if let Some(csi) = volume.spec.and_then(|spec| spec.csi) {
            self.cloud.delete(csi.volume_handle).await?;
        }
        Ok(self.client.delete::<PersistentVolume>("", name, &DeleteParams::default()).await?)
    }

    async fn handle_of(&self, attachment: &VolumeAttachment) -> Result<Option<String>, Failure> {
        let Some(name) = &attachment.spec.source.persistent_volume_name else { return Ok(None) };
        let volume = self.client.find::<PersistentVolume>("", name).await?;
        Ok(volume.and_then(|volume| Some(volume.spec?.csi?.volume_handle)))
    }

    async fn attach(&self, name: &str) -> Result<(), Failure> {
        let attachment = self.client.get::<VolumeAttachment>("", name).await?;
        if attachment_work(&attachment, &self.config) != Some(Work::Attach(name.into())) {
            return Ok(());
        }
        let finalizer = self.config.finalizer();
        let mut finalizers = attachment.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.contains(&finalizer) {
            finalizers.push(finalizer);
            let version = &attachment.metadata.resource_version;
            let metadata = json!({ "finalizers": finalizers, "resourceVersion": version });
            self.client.patch::<VolumeAttachment>("", name, &Patch::Merge(json!({ "metadata": metadata }))).await?;
        }
        let outcome = match self.handle_of(&attachment).await? {
            Some(handle) => self.cloud.attach(handle, attachment.spec.node_name.clone()).await,
            None => Err(CloudError::NoDisk(name.into())),
        };
        let status = match &outcome {
            Ok(()) => json!({ "attached": true, "attachError": null }),
            Err(error) => {
                let message = format!("rpc error: code = Internal desc = {error}");
                json!({ "attached": false, "attachError": { "message": message, "time": time_now() } })
            }
        };
        let patch = Patch::Merge(json!({ "status": status }));
        self.client.patch_status::<VolumeAttachment>("", name, &patch).await?;
        Ok(outcome?)
    }

    async fn detach(&self, name: &str) -> Result<(), Failure> {
        let attachment = self.client.get::<VolumeAttachment>("", name).await?;
        if attachment_work(&attachment, &self.config) != Some(Work::Detach(name.into())) {
            return Ok(());
        }
        let early = planted(Bug::DanglingAttachment);
        if early {
            self.let_go(name, &attachment).await?;
            // The detach waits for its turn.
            sleep(self.config.retry_initial * 5).await;
        }
        if let Some(handle) = self.handle_of(&attachment).await? {
            let node = attachment.spec.node_name.clone();
            if let Err(error) = self.cloud.detach(handle, node).await {
                let message = format!("rpc error: code = Internal desc = {error}");
                let status = json!({ "detachError": { "message": message, "time": time_now() } });
                let patch = Patch::Merge(json!({ "status": status }));
                self.client.patch_status::<VolumeAttachment>("", name, &patch).await?;
                return Err(error.into());
            }
        }
        if early { Ok(()) } else { self.let_go(name, &attachment).await }
    }

    /// Nothing holds the attachment back any more.
    async fn let_go(&self, name: &str, attachment: &VolumeAttachment) -> Result<(), Failure> {
        let own = self.config.finalizer();
        let held = attachment.metadata.finalizers.iter().flatten();
        let rest: Vec<&String> = held.filter(|finalizer| **finalizer != own).collect();
        let version = &attachment.metadata.resource_version;
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": rest, "resourceVersion": version } }));
        self.client.patch::<VolumeAttachment>("", name, &patch).await?;
        Ok(())
    }
}
