//! What upstream fills in where a manifest is silent.
//!
//! Follows kubernetes `pkg/apis/*/v1/defaults.go`, and of the admission plugins DefaultTolerationSeconds. Pure: an object
//! in, the object completed. Every function may be applied again without effect. What needs other objects (a default
//! storage class, a Service's address) is the store's admission.

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetUpdateStrategy, Deployment, DeploymentStrategy, ReplicaSet, RollingUpdateDaemonSet,
    RollingUpdateDeployment, RollingUpdateStatefulSetStrategy, StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Container, Namespace, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod, PodSpec, Probe,
    ResourceRequirements, Secret, Service, Toleration,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How long pods stay on a node that is not ready or not reachable: kube-apiserver's
/// `--default-not-ready-toleration-seconds` and `--default-unreachable-toleration-seconds`.
pub const TOLERATION_SECONDS: i64 = 300;

/// `terminationGracePeriodSeconds` of a pod.
pub const GRACE_SECONDS: i64 = 30;

/// The mode of the files of a Secret or ConfigMap volume.
const VOLUME_FILE_MODE: i32 = 0o644;

/// Sets what is not set.
fn or<T>(field: &mut Option<T>, value: impl Into<T>) {
    field.get_or_insert_with(|| value.into());
}

/// A Pod. Its status is left alone: on creation the store resets it.
pub fn pod(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    pod_spec(spec);
    or(&mut spec.priority, 0);
    or(&mut spec.preemption_policy, "PreemptLowerPriority");
    let tolerations = spec.tolerations.get_or_insert_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        tolerate(tolerations, key);
    }
}

/// DefaultTolerationSeconds: unless the pod says something about the taint already.
fn tolerate(tolerations: &mut Vec<Toleration>, key: &str) {
    let says = |t: &Toleration| {
        t.key.as_deref().is_none_or(|k| k.is_empty() || k == key)
            && t.effect.as_deref().is_none_or(|e| e.is_empty() || e == "NoExecute")
    };
    if !tolerations.iter().any(says) {
        tolerations.push(Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some("NoExecute".into()),
            toleration_seconds: Some(TOLERATION_SECONDS),
            value: None,
        });
    }
}

/// The spec of a Pod or of a template.
pub fn pod_spec(spec: &mut PodSpec) {
    or(&mut spec.restart_policy, "Always");
    or(&mut spec.termination_grace_period_seconds, GRACE_SECONDS);
    or(&mut spec.dns_policy, "ClusterFirst");
    or(&mut spec.scheduler_name, "default-scheduler");
    or(&mut spec.enable_service_links, true);
    spec.security_context.get_or_insert_default();
    let host_network = spec.host_network == Some(true);
    for one in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container(one, host_network);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        if let Some(source) = &mut volume.secret {
            or(&mut source.default_mode, VOLUME_FILE_MODE);
        }
        if let Some(source) = &mut volume.config_map {
            or(&mut source.default_mode, VOLUME_FILE_MODE);
        }
        if let Some(source) = &mut volume.host_path {
            or(&mut source.type_, "");
        }
    }
}

fn container(container: &mut Container, host_network: bool) {
    let image = container.image.as_deref().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    or(&mut container.image_pull_policy, if latest { "Always" } else { "IfNotPresent" });
    or(&mut container.termination_message_path, "/dev/termination-log");
    or(&mut container.termination_message_policy, "File");
    let resources = container.resources.get_or_insert_default();
    requests_from_limits(resources);
    for port in container.ports.iter_mut().flatten() {
        or(&mut port.protocol, "TCP");
        if host_network && port.host_port.is_none_or(|host| host == 0) {
            port.host_port = Some(port.container_port);
        }
    }
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    for env in container.env.iter_mut().flatten() {
        if let Some(field) = env.value_from.as_mut().and_then(|from| from.field_ref.as_mut()) {
            or(&mut field.api_version, "v1");
        }
    }
}

fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

fn probe(probe: &mut Probe) {
    or(&mut probe.timeout_seconds, 1);
    or(&mut probe.period_seconds, 10);
    or(&mut probe.success_threshold, 1);
    or(&mut probe.failure_threshold, 3);
    if let Some(get) = &mut probe.http_get {
        or(&mut get.path, "/");
        or(&mut get.scheme, "HTTP");
    }
}

/// A Deployment.
pub fn deployment(deployment: &mut Deployment) {
    let spec = &mut deployment.spec;
    or(&mut spec.replicas, 1);
    or(&mut spec.revision_history_limit, 10);
    or(&mut spec.progress_deadline_seconds, 600);
    let strategy = spec.strategy.get_or_insert_with(DeploymentStrategy::default);
    or(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDeployment::default);
        or(&mut rolling.max_unavailable, IntOrString::String("25%".into()));
        or(&mut rolling.max_surge, IntOrString::String("25%".into()));
    }
    spec.template.spec.iter_mut().for_each(pod_spec);
}

/// A ReplicaSet.
pub fn replica_set(set: &mut ReplicaSet) {
    let spec = &mut set.spec;
    or(&mut spec.replicas, 1);
    spec.template.iter_mut().filter_map(|template| template.spec.as_mut()).for_each(pod_spec);
}

/// A StatefulSet.
pub fn stateful_set(set: &mut StatefulSet) {
    let spec = &mut set.spec;
    or(&mut spec.replicas, 1);
    or(&mut spec.pod_management_policy, "OrderedReady");
    or(&mut spec.revision_history_limit, 10);
    let strategy = spec.update_strategy.get_or_insert_with(StatefulSetUpdateStrategy::default);
    or(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateStatefulSetStrategy::default);
        or(&mut rolling.partition, 0);
    }
    let retention = spec
        .persistent_volume_claim_retention_policy
        .get_or_insert_with(StatefulSetPersistentVolumeClaimRetentionPolicy::default);
    or(&mut retention.when_deleted, "Retain");
    or(&mut retention.when_scaled, "Retain");
    spec.template.spec.iter_mut().for_each(pod_spec);
    spec.volume_claim_templates.iter_mut().flatten().for_each(persistent_volume_claim);
}

/// A DaemonSet.
pub fn daemon_set(set: &mut DaemonSet) {
    let spec = &mut set.spec;
    or(&mut spec.revision_history_limit, 10);
    let strategy = spec.update_strategy.get_or_insert_with(DaemonSetUpdateStrategy::default);
    or(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDaemonSet::default);
        or(&mut rolling.max_unavailable, IntOrString::Int(1));
        or(&mut rolling.max_surge, IntOrString::Int(0));
    }
    spec.template.spec.iter_mut().for_each(pod_spec);
}

/// A Job. Its selector follows from its uid: the store's admission.
pub fn job(job: &mut Job) {
    let Some(spec) = &mut job.spec else { return };
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    or(&mut spec.parallelism, 1);
    or(&mut spec.backoff_limit, 6);
    or(&mut spec.completion_mode, "NonIndexed");
    or(&mut spec.suspend, false);
    or(&mut spec.pod_replacement_policy, "TerminatingOrFailed");
    spec.template.spec.iter_mut().for_each(pod_spec);
}

/// A Service. Its address is given by the store's admission.
pub fn service(service: &mut Service) {
    let Some(spec) = &mut service.spec else { return };
    or(&mut spec.type_, "ClusterIP");
    or(&mut spec.session_affinity, "None");
    or(&mut spec.internal_traffic_policy, "Cluster");
    for port in spec.ports.iter_mut().flatten() {
        or(&mut port.protocol, "TCP");
        if port.target_port.is_none() {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    service.status.get_or_insert_default().load_balancer.get_or_insert_default();
}

/// A Secret: plain texts become data.
pub fn secret(secret: &mut Secret) {
    or(&mut secret.type_, "Opaque");
    if let Some(texts) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
}

/// A PersistentVolume.
pub fn persistent_volume(volume: &mut PersistentVolume) {
    let Some(spec) = &mut volume.spec else { return };
    or(&mut spec.persistent_volume_reclaim_policy, "Retain");
    or(&mut spec.volume_mode, "Filesystem");
    or(&mut volume.status.get_or_insert_default().phase, "Pending");
}

/// A PersistentVolumeClaim. Its class, if it names none, is for the store's admission.
pub fn persistent_volume_claim(claim: &mut PersistentVolumeClaim) {
    let spec = claim.spec.get_or_insert_with(PersistentVolumeClaimSpec::default);
    or(&mut spec.volume_mode, "Filesystem");
    or(&mut claim.status.get_or_insert_default().phase, "Pending");
}

/// A StorageClass.
pub fn storage_class(class: &mut StorageClass) {
    or(&mut class.reclaim_policy, "Delete");
    or(&mut class.volume_binding_mode, "Immediate");
}

/// A Namespace: active, and labelled with its name.
pub fn namespace(namespace: &mut Namespace) {
    or(&mut namespace.status.get_or_insert_default().phase, "Active");
    if let Some(name) = namespace.metadata.name.clone() {
        namespace.metadata.labels.get_or_insert_default().insert("kubernetes.io/metadata.name".into(), name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decoded(value: Value) -> Pod {
        let mut decoded = serde_json::from_value(value).unwrap();
        pod(&mut decoded);
        decoded
    }

    #[test]
    fn pods_tolerate_lost_nodes_for_five_minutes_unless_they_say_otherwise() {
        let own = |toleration: Value| {
            let pod = decoded(json!({"spec": {"containers": [], "tolerations": [toleration]}}));
            pod.spec.unwrap().tolerations.unwrap().len() - 1
        };
        assert_eq!(own(json!({"key": "other", "operator": "Exists"})), 2);
        assert_eq!(own(json!({"operator": "Exists"})), 0);
        assert_eq!(own(json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"})), 1);
        assert_eq!(own(json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"})), 1);
        assert_eq!(own(json!({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"})), 2);
    }

    #[test]
    fn images_without_a_tag_are_pulled_always() {
        let rows = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1.2", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
        ];
        for (image, want) in rows {
            let pod = decoded(json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
            assert_eq!(pod.spec.unwrap().containers[0].image_pull_policy.as_deref(), Some(want), "{image}");
        }
    }

    #[test]
    fn defaults_are_stable() {
        let manifest = json!({
            "spec": {
                "hostNetwork": true,
                "containers": [{"name": "a", "ports": [{"containerPort": 7}], "livenessProbe": {"httpGet": {"port": 1}},
                    "resources": {"limits": {"cpu": "1"}}}],
                "volumes": [{"name": "s", "secret": {"secretName": "x"}}],
            },
        });
        let once = decoded(manifest);
        let mut twice = once.clone();
        pod(&mut twice);
        assert_eq!(once, twice);
        let container = &once.spec.as_ref().unwrap().containers[0];
        assert_eq!(container.ports.as_ref().unwrap()[0].host_port, Some(7));
        assert!(container.resources.as_ref().unwrap().requests.is_some());
    }
}
