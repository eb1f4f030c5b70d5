//! Hostile manifests: a kind or field that is not known is refused by name, a value that does not fit says where, and no refusal
//! tells what was in a Secret.

use stormglass::kube::fluid::profile::Profile;

use super::stage::{kubectl, kubectl_with, tell};

const RUNTIME: &str = "apiVersion: data.fluid.io/v1alpha1
kind: AlluxioRuntime
metadata: {name: hbase}
spec:
  replicas: 2
  tieredstore: {levels: [{mediumtype: MEM, path: /dev/shm, quota: 2Gi}]}
";
const DATASET: &str = "apiVersion: data.fluid.io/v1alpha1
kind: Dataset
metadata: {name: hbase}
spec:
  mounts: [{mountPoint: 'https://mirrors.example/hbase/', name: hbase}]
";
const LOAD: &str = "apiVersion: data.fluid.io/v1alpha1
kind: DataLoad
metadata: {name: warm}
spec:
  dataset: {name: hbase}
";
const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
";

/// A manifest with a piece replaced.
fn but(manifest: &str, old: &str, new: &str) -> String {
    assert!(manifest.contains(old), "{old}");
    manifest.replacen(old, new, 1)
}

#[test]
fn what_is_not_known_or_does_not_fit_is_named() {
    let kind = |kind: &str| but(RUNTIME, "AlluxioRuntime", kind);
    let runtime = |more: &str| format!("{RUNTIME}  {more}\n");
    let load = |more: &str| format!("{LOAD}  {more}\n");
    let deployment = |more: &str| format!("{DEPLOYMENT}  {more}\n");
    let none = |kind: &str| format!("no matches for kind \"{kind}\" in version \"data.fluid.io/v1alpha1\"");
    let rows = [
        // Kinds that Fluid or Kubernetes knows.
        (kind("JuiceFSRuntime"), none("JuiceFSRuntime")),
        (kind("ThinRuntime"), none("ThinRuntime")),
        (but(LOAD, "DataLoad", "DataMigrate"), none("DataMigrate")),
        (
            but(DEPLOYMENT, "apps/v1", "apps/v1beta1"),
            "no matches for kind \"Deployment\" in version \"apps/v1beta1\"".into(),
        ),
        (but(DEPLOYMENT, "Deployment", "CronJob"), "no matches for kind \"CronJob\"".into()),
        // Fields that Fluid knows.
        (runtime("jobMaster: {}"), "spec: unknown field `jobMaster`".into()),
        (runtime("apiGateway: {enabled: true}"), "spec: unknown field `apiGateway`".into()),
        (runtime("master: {jvmOptions: [-Xmx4g]}"), "spec.master: unknown field `jvmOptions`".into()),
        (load("schedule: '* * * * *'"), "spec: unknown field `schedule`".into()),
        (load("runAfter: {kind: DataLoad, name: x}"), "spec: unknown field `runAfter`".into()),
        (but(DATASET, "name: hbase}]", "name: hbase, speed: 3}]"), "spec.mounts[0]: unknown field `speed`".into()),
        (deployment("rollbackTo: {revision: 1}"), "unknown field \"spec.rollbackTo\"".into()),
        // Values that do not fit.
        (load("policy: Cron"), "spec.policy: expected one of Once".into()),
        (runtime("fuse: {cleanPolicy: OnFuseChanged}"), "spec.fuse.cleanPolicy: expected one of ".into()),
        (runtime("worker: {networkMode: Bridge}"), "spec.worker.networkMode: expected one of ".into()),
        (but(RUNTIME, "replicas: 2", "replicas: two"), "spec.replicas: expected u32, found a text".into()),
        (but(RUNTIME, "replicas: 2", "replicas: -1"), "spec.replicas: expected u32".into()),
        (but(RUNTIME, "MEM", "NVME"), "spec.tieredstore.levels[0].mediumtype: expected one of ".into()),
        (but(RUNTIME, "2Gi", "plenty"), "spec.tieredstore.levels[0].quota: ".into()),
        (
            but(RUNTIME, "[{mediumtype: MEM, path: /dev/shm, quota: 2Gi}]", "7"),
            "spec.tieredstore.levels: expected a ".into(),
        ),
        (
            format!("{DATASET}  accessModes: ReadWriteMany\n"),
            "spec.accessModes: expected a sequence, found a text".into(),
        ),
        // Bounds.
        (
            runtime("master: {replicas: 0}"),
            "spec.master.replicas: Invalid value: 0: spec.master.replicas in body should be greater than or equal to 1"
                .into(),
        ),
        (
            but(DATASET, "[{mountPoint: 'https://mirrors.example/hbase/', name: hbase}]", "[]"),
            "spec.mounts in body should have at least 1 items".into(),
        ),
        (
            but(DATASET, "https://mirrors.example/hbase/", "a:/"),
            "spec.mounts[0].mountPoint in body should be at least 5 chars long".into(),
        ),
        // Deployments.
        (
            but(DEPLOYMENT, "labels: {app: web}", "labels: {app: other}"),
            "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`".into(),
        ),
        (
            deployment("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}"),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0\": may not be 0 when `maxSurge` is 0"
                .into(),
        ),
        (
            deployment("strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}"),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'".into(),
        ),
        (
            deployment("strategy: {type: BlueGreen}"),
            "spec.strategy.type: Unsupported value: \"BlueGreen\": supported values: \"Recreate\", \"RollingUpdate\""
                .into(),
        ),
        (
            deployment("strategy: {rollingUpdate: {maxSurge: some}}"),
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"some\": a valid percent string".into(),
        ),
        (
            but(DEPLOYMENT, "spec: {containers", "spec: {restartPolicy: Never, containers"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"".into(),
        ),
        (but(DEPLOYMENT, "image: nginx", "image: [nginx]"), "spec.template.spec.containers[0].image: expected ".into()),
        (but(DEPLOYMENT, ", image: nginx", ""), "spec.template.spec.containers[0].image: Required value".into()),
    ];
    tell(Profile::V1_0, move |client, _| async move {
        for (manifest, want) in rows {
            let error = kubectl_with(&client, "create -f file", &manifest).await.expect_err(&manifest);
            assert!(error.contains(&want), "{error}\nwant {want}\nof\n{manifest}");
        }
        for fine in [RUNTIME, DATASET, LOAD, DEPLOYMENT] {
            kubectl_with(&client, "create -f file", fine).await.unwrap();
        }
        // A change is held to the same bounds as a new object.
        let none = but(DATASET, "[{mountPoint: 'https://mirrors.example/hbase/', name: hbase}]", "[]");
        let error = kubectl_with(&client, "apply -f file", &none).await.unwrap_err();
        assert!(error.contains("spec.mounts in body should have at least 1 items"), "{error}");
    });
}

#[test]
fn no_refusal_tells_what_was_in_a_secret() {
    tell(Profile::V1_0, |client, _| async move {
        for secret in
            ["data: {key: 'hunter2!'}", "data: {key: [hunter2]}", "stringData: {key: {a: hunter2}}", "hunter2"]
        {
            let manifest = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{secret}\n");
            let error = kubectl_with(&client, "create -f file", &manifest).await.unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let unknown = kubectl(&client, "get juicefsruntime").await.unwrap_err();
        assert!(unknown.contains("the server doesn't have a resource type \"juicefsruntime\""), "{unknown}");
    });
}
