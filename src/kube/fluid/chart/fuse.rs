//! The fuse pods: a DaemonSet on the nodes that ask for a mount.
//!
//! Until something labels a node there is no pod, and upstream reports the role `Ready` all the same.

use serde_json::{Value, json};

use super::blueprint::Blueprint;
use super::pods::{self, container, metadata, own_volumes, template};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::labels;
use crate::kube::fluid::profile::FuseNodes;

/// The DaemonSet.
pub fn set(b: &Blueprint) -> Value {
    let name = b.flavor.fuse(&b.name);
    let root = b.flavor.mount_root(&b.namespace, &b.name);
    let (mut volumes, mut mounts) = own_volumes(b, &b.fuse);
    volumes.push(json!({ "name": "fuse-mount", "hostPath": { "path": root, "type": "DirectoryOrCreate" } }));
    mounts.push(json!({ "name": "fuse-mount", "mountPath": root, "mountPropagation": "Bidirectional" }));
    if b.flavor == Flavor::Jindo {
        volumes.push(json!({ "name": "config", "configMap": { "name": b.flavor.config(&b.name) } }));
        mounts.push(json!({ "name": "config", "mountPath": "/etc/jindofs" }));
    }
    let point = b.flavor.mount_point(&b.namespace, &b.name);
    let mut one = container(b, &b.fuse, &format!("{}-fuse", b.flavor.word()), &["fuse", &point, "/"], &[]);
    one["volumeMounts"] = mounts.into();
    one["securityContext"] = json!({ "privileged": true });
    let mut pod = template(b, "fuse", &b.fuse, vec![one], volumes);
    let wanted = match b.profile.fuse {
        FuseNodes::OnDemand => labels::fuse(&b.namespace, &b.name, &b.dataset_uid),
        FuseNodes::WithWorkers => labels::common(&b.namespace, &b.name, &b.dataset_uid),
    };
    pod["spec"]["nodeSelector"][wanted] = "true".into();
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(b, &name, pods::labels_of(b, "fuse")),
        "spec": {
            "selector": { "matchLabels": pods::selector(b, "fuse") },
            "updateStrategy": { "type": "OnDelete" },
            "template": pod,
        },
    })
}
