//! What an operation has done for it: the Job of a DataLoad, the pod of a DataBackup. Made if it is not there, else looked at.

use std::future::Future;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::params::DeleteParams;
use serde_json::{Value, json};

use super::chart::{backup_pod, backup_pod_name, load_job, load_job_name};
use super::kind::{OperationKind, Outcome};
use super::{OperationError, Target};
use crate::kube::client::{ApiError, Client};
use crate::kube::clock;
use crate::kube::fluid::api::{DataBackup, DataLoad};
use crate::kube::fluid::backup::{BackupLocation, Place};
use crate::kube::fluid::probe::{CacheProbe, PodRef};
use crate::kube::fluid::profile::{BackupMaster, Profile};
use crate::kube::kind::{ApiObject, strict};

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It was made now: an event says so by this name.
    Begun(String),
    /// It runs.
    Running,
    /// It ended.
    Ended(Outcome),
}

/// An operation that can be carried out.
pub trait Work: OperationKind {
    /// Begins it, or looks how far it is.
    fn advance(
        &self,
        client: &Client,
        probe: &dyn CacheProbe,
        target: &Target,
        profile: &Profile,
    ) -> impl Future<Output = Result<Progress, OperationError>> + Send;
    /// Removes what was made.
    fn clean(&self, client: &Client) -> impl Future<Output = Result<(), ApiError>> + Send;
    /// What its status tells besides, once it is complete, of the node where it ran.
    fn infos(&self, node: &str) -> Vec<(String, String)>;
}

fn owner<K: ApiObject>(object: &K) -> Value {
    let meta = object.meta();
    json!(OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

fn made_by<K: Resource<DynamicType = ()>>(owner: &K, meta: &ObjectMeta) -> bool {
    meta.owner_references.iter().flatten().any(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
}

fn created(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp.as_ref().map_or_else(clock::now, |time| time.0)
}

async fn make<K: ApiObject>(client: &Client, object: &Value) -> Result<(), OperationError> {
    let object: K = strict::decode_known(object).map_err(|misfit| OperationError::Chart(misfit.to_string()))?;
    match client.create(&object).await {
        Err(error) if !error.is_already_exists() => Err(error.into()),
        _ => Ok(()),
    }
}

async fn remove<K: ApiObject>(client: &Client, namespace: &str, name: &str) -> Result<(), ApiError> {
    match client.delete::<K>(namespace, name, &DeleteParams::background()).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn place(meta: &ObjectMeta) -> (&str, &str) {
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

impl Work for DataLoad {
    async fn advance(
        &self,
        client: &Client,
        _: &dyn CacheProbe,
        target: &Target,
        _: &Profile,
    ) -> Result<Progress, OperationError> {
        let (namespace, name) = place(&self.metadata);
        let job_name = load_job_name(name);
        let Some(job) = client.find::<Job>(namespace, &job_name).await? else {
            make::<Job>(client, &load_job(self, &target.dataset, target.flavor, &owner(self))).await?;
            return Ok(Progress::Begun(job_name));
        };
        if !made_by(self, &job.metadata) {
            return Err(OperationError::Taken(format!("job {job_name}")));
        }
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ends = conditions.filter(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True");
        let Some(end) = ends.next() else { return Ok(Progress::Running) };
        Ok(Progress::Ended(Outcome {
            complete: end.type_ == "Complete",
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
            began: created(&job.metadata),
            ended: end.last_transition_time.as_ref().map_or_else(clock::now, |time| time.0),
            node: String::new(),
        }))
    }

    fn infos(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }

    async fn clean(&self, client: &Client) -> Result<(), ApiError> {
        let (namespace, name) = place(&self.metadata);
        remove::<Job>(client, namespace, &load_job_name(name)).await
    }
}

/// The master that a backup is taken from.
async fn backup_master(probe: &dyn CacheProbe, target: &Target, profile: &Profile) -> Result<PodRef, OperationError> {
    let several = match profile.backup_master {
        BackupMaster::LeaderOfMasters => target.masters > 1,
        BackupMaster::LeaderOfWorkers => target.workers > 1,
    };
    let mut master = target.master.clone();
    if several {
        master.name = probe.leader(&target.master).await?;
    }
    Ok(master)
}

impl Work for DataBackup {
    async fn advance(
        &self,
        client: &Client,
        probe: &dyn CacheProbe,
        target: &Target,
        profile: &Profile,
    ) -> Result<Progress, OperationError> {
        let (namespace, name) = place(&self.metadata);
        let pod_name = backup_pod_name(name);
        let Some(pod) = client.find::<Pod>(namespace, &pod_name).await? else {
            let location = BackupLocation::parse(&self.spec.backup_path)
                .map_err(|error| OperationError::Chart(error.to_string()))?;
            let master: Pod = {
                let master = backup_master(probe, target, profile).await?;
                client.get(&master.namespace, &master.name).await?
            };
            let spec = master.spec.unwrap_or_default();
            let node = spec.node_name.unwrap_or_default();
            let ip = master.status.and_then(|status| status.pod_ip).unwrap_or_default();
            let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
            let mut rpc = ports.filter(|port| port.name.as_deref() == Some("rpc"));
            let rpc = rpc.next().and_then(|port| u16::try_from(port.container_port).ok());
            let (false, Some(rpc)) = (node.is_empty() || ip.is_empty(), rpc) else {
                return Err(OperationError::NoMaster);
            };
            let made = backup_pod(self, &location, target.flavor, (&node, &ip, rpc), &owner(self));
            make::<Pod>(client, &made).await?;
            return Ok(Progress::Begun(pod_name));
        };
        if !made_by(self, &pod.metadata) {
            return Err(OperationError::Taken(format!("pod {pod_name}")));
        }
        let status = pod.status.clone().unwrap_or_default();
        let (complete, reason, message) = match status.phase.as_deref() {
            Some("Succeeded") => (true, "BackupSuccessful", "Backup Pod exec successfully and finish"),
            Some("Failed") => (false, "BackupFailed", "Backup Pod exec failed and exit"),
            _ => return Ok(Progress::Running),
        };
        let times = status.conditions.iter().flatten().filter_map(|c| c.last_transition_time.as_ref().map(|t| t.0));
        let ended = times.max().unwrap_or_else(clock::now);
        let (reason, message) = (reason.into(), message.into());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        Ok(Progress::Ended(Outcome { complete, reason, message, began: created(&pod.metadata), ended, node }))
    }

    async fn clean(&self, client: &Client) -> Result<(), ApiError> {
        let (namespace, name) = place(&self.metadata);
        remove::<Pod>(client, namespace, &backup_pod_name(name)).await
    }

    fn infos(&self, node: &str) -> Vec<(String, String)> {
        let claim = BackupLocation::parse(&self.spec.backup_path).is_ok_and(|at| matches!(at.place, Place::Claim(_)));
        let node = if claim { "NA" } else { node };
        vec![
            ("BackupLocationPath".to_string(), self.spec.backup_path.clone()),
            ("BackupLocationNodeName".to_string(), node.to_string()),
        ]
    }
}
