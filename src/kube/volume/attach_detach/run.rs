//! The attach/detach controller's loop: views in, plans made, calls out.

use std::collections::BTreeMap;
use std::convert::Infallible;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::params::DeleteParams;
use serde_json::json;

use super::AttachDetachConfig;
use super::plan::{Action, AttachDetach};
use super::view::{View, pod_is_done};
use crate::base::SimTime;
use crate::kube::client::{ApiError, Client, Informers, Patch};
use crate::kube::scheduler::tell::Teller;
use crate::kube::volume::wake::{Wake, by_key, by_name};
use crate::rt::time::Instant;

/// Attaches and detaches for ever.
pub async fn run(informers: Informers, config: AttachDetachConfig) -> Infallible {
    let client = informers.client().clone();
    let (pods, nodes) = (informers.of::<Pod>(), informers.of::<Node>());
    let (claims, volumes) = (informers.of::<PersistentVolumeClaim>(), informers.of::<PersistentVolume>());
    let attachments = informers.of::<VolumeAttachment>();
    let wake = Wake::new();
    wake.on_change(&pods, pod_matters).await;
    wake.on_change(&nodes, node_matters).await;
    wake.on(&claims).await;
    wake.on(&volumes).await;
    wake.on(&attachments).await;
    let teller = Teller::new(&client, "attachdetach-controller");
    let mut controller = AttachDetach::new(config);
    let began = Instant::now();
    // What was written about a node and its cache may not show yet.
    let mut written = BTreeMap::<String, Vec<String>>::new();
    loop {
        let now = SimTime::ZERO + began.elapsed();
        let view = View {
            pods: by_key(&pods),
            nodes: by_name(&nodes),
            claims: by_key(&claims),
            volumes: by_name(&volumes),
            attachments: by_name(&attachments),
        };
        let mut failed = false;
        for action in controller.plan(now, &view) {
            let about = match &action {
                Action::Attach { volume, node, .. } | Action::Detach { volume, node, .. } => {
                    Some((volume.clone(), node.clone()))
                }
                Action::Report { node, volumes } if written.get(node) == Some(volumes) => continue,
                Action::Report { node, volumes } => {
                    written.insert(node.clone(), volumes.clone());
                    None
                }
                Action::Tell { .. } => None,
            };
            let node = if let Action::Report { node, .. } = &action { Some(node.clone()) } else { None };
            if let Err(error) = act(&client, &teller, action).await {
                tracing::debug!(%error, "attach/detach tries again");
                match about {
                    Some((volume, node)) => controller.failed(&volume, &node, now),
                    None => failed = true,
                }
                node.into_iter().for_each(|node| drop(written.remove(&node)));
            }
        }
        // A node whose cache shows something else than was written has been changed by another hand, or is about to show it.
        written.retain(|node, volumes| !shows(&view, node, volumes));
        let due = if failed { controller.due().min(now + std::time::Duration::from_secs(1)) } else { controller.due() };
        wake.wait(now, due).await;
    }
}

/// Most updates of pods are about their containers.
fn pod_matters(before: &Pod, after: &Pod) -> bool {
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    pod_is_done(before) != pod_is_done(after) || node(before) != node(after)
}

/// Most updates of nodes are heartbeats.
fn node_matters(before: &Node, after: &Node) -> bool {
    let ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let status = |node: &Node| node.status.as_ref().map(|s| (s.volumes_in_use.clone(), s.volumes_attached.clone()));
    before.spec != after.spec || ready(before) != ready(after) || status(before) != status(after)
}

fn shows(view: &View, node: &str, volumes: &[String]) -> bool {
    let status = view.nodes.get(node).and_then(|node| node.status.as_ref());
    let listed = status.and_then(|status| status.volumes_attached.as_ref()).into_iter().flatten();
    listed.map(|volume| volume.name.as_str()).eq(volumes.iter().map(String::as_str))
}

async fn act(client: &Client, teller: &Teller, action: Action) -> Result<(), ApiError> {
    match action {
        Action::Attach { name, driver, volume, node } => {
            let source = VolumeAttachmentSource { persistent_volume_name: Some(volume), inline_volume_spec: None };
            let attachment = VolumeAttachment {
                metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
                spec: VolumeAttachmentSpec { attacher: driver, node_name: node, source },
                status: None,
            };
            match client.create(&attachment).await {
                Err(error) if error.is_already_exists() => Ok(()),
                outcome => outcome.map(drop),
            }
        }
        Action::Detach { name, node, unique, forced, .. } => {
            // `verifySafeToDetach`: the cache may lag behind a pod that has just begun to mount.
            if !forced && still_in_use(client, &node, &unique).await? {
                return Ok(());
            }
            match client.delete::<VolumeAttachment>("", &name, &DeleteParams::default()).await {
                Err(error) if error.is_not_found() => Ok(()),
                outcome => outcome,
            }
        }
        Action::Report { node, volumes } => {
            let listed: Vec<_> = volumes.iter().map(|name| json!({ "name": name, "devicePath": "" })).collect();
            let patch = Patch::Merge(json!({ "status": { "volumesAttached": listed } }));
            client.patch_status::<Node>("", &node, &patch).await.map(drop)
        }
        Action::Tell { pod, warning, reason, message } => {
            teller.tell(&*pod, warning, reason, message);
            Ok(())
        }
    }
}

async fn still_in_use(client: &Client, node: &str, unique: &str) -> Result<bool, ApiError> {
    let node = client.find::<Node>("", node).await?;
    let used = node.and_then(|node| node.status?.volumes_in_use).unwrap_or_default();
    Ok(used.iter().any(|name| name == unique))
}
