//! The table of Kubernetes' own kinds: those that a distributed cache and its failures need, and no other.
//!
//! Names, short names, scopes and selectable fields follow kube-apiserver 1.37. Differs: only the kinds that the simulated
//! control plane acts upon are here, so that a manifest never asks for something that would silently do nothing.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, StorageClass, VolumeAttachment};

use super::{Kind, ScalePaths, defaults};

impl Kind {
    fn short(mut self, names: &[&str]) -> Self {
        self.short_names = names.iter().map(ToString::to_string).collect();
        self
    }

    fn selects(mut self, fields: &[&str]) -> Self {
        self.fields = fields.iter().map(ToString::to_string).collect();
        self
    }

    fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    fn status(mut self) -> Self {
        self.has_status = true;
        self
    }

    /// A status that has defaults of its own.
    fn defaulted_status(mut self) -> Self {
        self.status_has_defaults = true;
        self.status()
    }

    fn generation(mut self) -> Self {
        self.has_generation = true;
        self
    }

    fn scaled(mut self) -> Self {
        let (spec, status) = (".spec.replicas".to_owned(), ".status.replicas".to_owned());
        self.scale = Some(ScalePaths { spec, status, selector: None });
        self
    }
}

pub(super) fn table() -> Vec<Kind> {
    vec![
        Kind::of::<Namespace>(defaults::namespace)
            .short(&["ns"])
            .cluster()
            .defaulted_status()
            .selects(&["status.phase"]),
        Kind::plain::<Node>().short(&["no"]).cluster().status().selects(&["spec.unschedulable"]),
        Kind::of::<Pod>(defaults::pod).short(&["po"]).status().generation().selects(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ]),
        Kind::of::<Service>(defaults::service)
            .short(&["svc"])
            .defaulted_status()
            .selects(&["spec.clusterIP", "spec.type"]),
        Kind::plain::<Endpoints>().short(&["ep"]),
        Kind::plain::<EndpointSlice>(),
        Kind::plain::<ConfigMap>().short(&["cm"]),
        Kind::of::<Secret>(defaults::secret).selects(&["type"]),
        Kind::plain::<Event>().short(&["ev"]).selects(&[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]),
        Kind::of::<PersistentVolume>(defaults::persistent_volume).short(&["pv"]).cluster().defaulted_status(),
        Kind::of::<PersistentVolumeClaim>(defaults::persistent_volume_claim).short(&["pvc"]).defaulted_status(),
        Kind::of::<StorageClass>(defaults::storage_class).short(&["sc"]).cluster(),
        Kind::plain::<VolumeAttachment>().cluster().status(),
        Kind::plain::<CSINode>().cluster(),
        Kind::plain::<CSIDriver>().cluster(),
        Kind::plain::<Lease>(),
        Kind::of::<Deployment>(defaults::deployment).short(&["deploy"]).status().generation().scaled(),
        Kind::of::<ReplicaSet>(defaults::replica_set)
            .short(&["rs"])
            .status()
            .generation()
            .scaled()
            .selects(&["status.replicas"]),
        Kind::of::<StatefulSet>(defaults::stateful_set).short(&["sts"]).status().generation().scaled(),
        Kind::of::<DaemonSet>(defaults::daemon_set).short(&["ds"]).status().generation(),
        Kind::plain::<ControllerRevision>(),
        Kind::of::<Job>(defaults::job).status().generation().selects(&["status.successful"]),
    ]
}
