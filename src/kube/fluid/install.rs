//! What Fluid's own installation consists of: `helm install fluid` as a pure function.
//!
//! Follows `charts/fluid/fluid` of fluid-cloudnative/fluid v1.0.8: one Deployment a controller, of one replica with leader
//! election, and the CSI plugin as a DaemonSet on every node. Differs: no webhook, no `fluidapp-controller`, no accounts and
//! roles; the controllers of the flavors that are installed run from the beginning, upstream scales them up from zero.

use serde_json::{Value, json};

use super::chart::DRIVER;
use super::flavor::Flavor;
use super::images;
use super::profile::Profile;

/// The namespace of all of it.
pub const NAMESPACE: &str = "fluid-system";
/// Name of the controller of datasets, DataLoads and DataBackups.
pub const DATASET_CONTROLLER: &str = "dataset-controller";
/// Name of the CSI plugin's DaemonSet.
pub const CSI_PLUGIN: &str = "csi-nodeplugin-fluid";
/// Where the kubelet keeps its directories: `csi.kubelet.rootDir`.
pub const KUBELET_ROOT: &str = "/var/lib/kubelet";
/// Where fuse pods mount: `runtime.mountRoot`.
pub const MOUNT_ROOT: &str = "/runtime-mnt";

/// Name of a flavor's controller: `goosefsruntime-controller`.
pub fn runtime_controller(flavor: Flavor) -> String {
    format!("{}runtime-controller", flavor.word())
}

/// The objects in the order of their installation: namespace, driver, controllers, plugin.
pub fn install(profile: &Profile, flavors: &[Flavor]) -> Vec<Value> {
    let mut objects = vec![namespace(), driver()];
    objects.push(controller(profile, DATASET_CONTROLLER, images::DATASET_CONTROLLER, &[]));
    for flavor in Flavor::ALL.into_iter().filter(|flavor| flavors.contains(flavor)) {
        let range = flavor.port_range();
        let ports = format!("--runtime-node-port-range={}-{}", range.start, range.end);
        let args = ["--runtime-workers=3".to_string(), ports];
        objects.push(controller(profile, &runtime_controller(flavor), images::runtime_controller(flavor), &args));
    }
    objects.push(plugin(profile));
    objects
}

fn namespace() -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })
}

/// Fuse volumes are attached to nothing.
fn driver() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": { "name": DRIVER },
        "spec": { "attachRequired": false, "podInfoOnMount": false },
    })
}

fn tagged(profile: &Profile, image: &str) -> String {
    format!("{image}:{}", profile.version)
}

/// Any node but those that are none.
fn affinity() -> Value {
    json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{
        "matchExpressions": [{ "key": "type", "operator": "NotIn", "values": ["virtual-kubelet"] }],
    }] } } })
}

fn controller(profile: &Profile, name: &str, image: &str, more: &[String]) -> Value {
    let labels = json!({ "control-plane": name });
    let mut args = vec!["--development=false".to_string()];
    args.extend_from_slice(more);
    args.push("--enable-leader-election".into());
    args.push(format!("--leader-election-namespace={NAMESPACE}"));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "affinity": affinity(),
                    "tolerations": [{ "operator": "Exists" }],
                    "terminationGracePeriodSeconds": 10,
                    "containers": [{
                        "name": "manager",
                        "image": tagged(profile, image),
                        "command": [name, "start"],
                        "args": args,
                        "env": [
                            { "name": "MOUNT_ROOT", "value": MOUNT_ROOT },
                            { "name": "MY_POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                        ],
                        "ports": [{ "name": "metrics", "containerPort": 8080 }],
                        "resources": {
                            "limits": { "cpu": "100m", "memory": "1536Mi" },
                            "requests": { "cpu": "100m", "memory": "200Mi" },
                        },
                    }],
                },
            },
        },
    })
}

fn host_path(name: &str, path: &str, type_: &str) -> Value {
    json!({ "name": name, "hostPath": { "path": path, "type": type_ } })
}

fn mount(name: &str, path: &str, propagation: Option<&str>) -> Value {
    let mut mount = json!({ "name": name, "mountPath": path });
    if let Some(propagation) = propagation {
        mount["mountPropagation"] = propagation.into();
    }
    mount
}

/// The plugin: on every node, tainted or not. It mounts for the kubelet, so it sees the kubelet's directory.
fn plugin(profile: &Profile) -> Value {
    let socket = format!("{KUBELET_ROOT}/csi-plugins/{DRIVER}/csi.sock");
    let node = |name: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } });
    let registrar = json!({
        "name": "node-driver-registrar",
        "image": tagged(profile, images::REGISTRAR),
        "args": ["--v=5", format!("--csi-address={socket}"), format!("--kubelet-registration-path={socket}")],
        "env": [node("KUBE_NODE_NAME")],
        "volumeMounts": [
            mount("kubelet-dir", KUBELET_ROOT, Some("HostToContainer")),
            mount("registration-dir", "/registration", None),
        ],
    });
    let mut args = vec!["--nodeid=$(NODE_ID)".to_string(), "--endpoint=$(CSI_ENDPOINT)".into(), "--v=5".into()];
    if profile.fuse_recovery {
        args.push("--feature-gates=FuseRecovery=true".into());
    }
    args.push(format!("--prune-path={MOUNT_ROOT}"));
    let plugins = json!({
        "name": "plugins",
        "image": tagged(profile, images::CSI),
        "command": ["/usr/local/bin/entrypoint.sh"],
        "args": args,
        "securityContext": { "privileged": true, "runAsUser": 0 },
        "env": [
            node("NODE_ID"),
            { "name": "MOUNT_ROOT", "value": MOUNT_ROOT },
            { "name": "KUBELET_ROOTDIR", "value": KUBELET_ROOT },
            { "name": "CSI_ENDPOINT", "value": format!("unix://{socket}") },
        ],
        "volumeMounts": [
            mount("plugin-dir", "/plugin", None),
            mount("kubelet-dir", KUBELET_ROOT, Some("Bidirectional")),
            mount("fluid-src-dir", MOUNT_ROOT, Some("HostToContainer")),
        ],
    });
    let labels = json!({ "app": CSI_PLUGIN });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": CSI_PLUGIN, "namespace": NAMESPACE },
        "spec": {
            "updateStrategy": { "type": "RollingUpdate" },
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "affinity": affinity(),
                    "tolerations": [{ "operator": "Exists" }],
                    "hostNetwork": true,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "containers": [registrar, plugins],
                    "volumes": [
                        host_path("kubelet-dir", KUBELET_ROOT, "Directory"),
                        host_path("plugin-dir", &format!("{KUBELET_ROOT}/plugins/csi-fluid-plugin"), "DirectoryOrCreate"),
                        host_path("registration-dir", &format!("{KUBELET_ROOT}/plugins_registry"), "DirectoryOrCreate"),
                        host_path("fluid-src-dir", MOUNT_ROOT, "DirectoryOrCreate"),
                    ],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::fluid::images::Program;
    use crate::kube::kind::Kinds;

    fn names(profile: &Profile, flavors: &[Flavor]) -> Vec<String> {
        let name = |object: &Value| {
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        };
        install(profile, flavors).iter().map(name).collect()
    }

    #[test]
    fn one_controller_a_flavor_is_installed_and_one_plugin() {
        let goosefs = names(&Profile::GOOSEFS_DOCUMENT, &[Flavor::GooseFs]);
        assert_eq!(
            goosefs,
            [
                "Namespace fluid-system",
                "CSIDriver fuse.csi.fluid.io",
                "Deployment dataset-controller",
                "Deployment goosefsruntime-controller",
                "DaemonSet csi-nodeplugin-fluid",
            ]
        );
        assert_eq!(names(&Profile::V1_0, &Flavor::ALL).len(), 7);
    }

    #[test]
    fn kubernetes_knows_every_field_and_a_launcher_every_container() {
        let kinds = Kinds::builtin();
        for object in install(&Profile::V1_0, &Flavor::ALL) {
            let word = |field: &str| object[field].as_str().unwrap();
            let kind = kinds.get(kinds.by_kind(word("apiVersion"), word("kind")).unwrap());
            let (_, unknown) = kind.decode(&object).unwrap();
            assert!(unknown.is_empty(), "{unknown:?}");
            let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
            for container in containers.into_iter().flatten() {
                let args: Vec<String> = serde_json::from_value(container["args"].clone()).unwrap();
                let program = Program::of(container["image"].as_str().unwrap(), &args);
                assert!(program.is_some(), "{container}");
            }
        }
    }

    #[test]
    fn the_plugin_has_two_containers_and_runs_wherever_pods_do() {
        let plugin = plugin(&Profile::V1_0);
        let spec = &plugin["spec"]["template"]["spec"];
        let named: Vec<_> =
            spec["containers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(named, ["node-driver-registrar", "plugins"]);
        assert_eq!(spec["tolerations"], json!([{ "operator": "Exists" }]));
        assert!(spec["volumes"].as_array().unwrap().iter().all(|volume| volume["hostPath"].is_object()));
    }
}
