//! DataLoad and DataBackup: what runs, who waits for whom, how they end and what is left.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::core::params::DeleteParams;
use serde_json::{Value, json};
use stormglass::base::lock;
use stormglass::kube::client::{Client, Patch};
use stormglass::kube::fluid::api::{
    AlluxioRuntime, DataBackup, DataLoad, Dataset, JindoRuntime, OperationPhase, OperationStatus,
};
use stormglass::kube::fluid::profile::Profile;
use stormglass::rt::time::sleep;

use super::stage::{SECOND, Work, hbase, kubectl, object, of_the_document, row, tell};

async fn load(client: &Client, name: &str, more: Value) {
    let mut spec = json!({ "dataset": { "name": "hbase", "namespace": "default" } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let object: DataLoad = object(json!({ "metadata": { "name": name, "namespace": "default" }, "spec": spec }));
    client.create(&object).await.unwrap();
}

async fn backup(client: &Client, name: &str, path: &str) {
    let spec = json!({ "dataset": "hbase", "backupPath": path });
    let object: DataBackup = object(json!({ "metadata": { "name": name, "namespace": "default" }, "spec": spec }));
    client.create(&object).await.unwrap();
}

async fn loads(client: &Client, name: &str) -> OperationStatus {
    client.get::<DataLoad>("default", name).await.unwrap().status.unwrap_or_default()
}

async fn backups(client: &Client, name: &str) -> OperationStatus {
    client.get::<DataBackup>("default", name).await.unwrap().status.unwrap_or_default()
}

async fn locks(client: &Client) -> String {
    let dataset: Dataset = client.get("default", "hbase").await.unwrap();
    dataset.status.unwrap().operation_ref.into_iter().map(|(type_, names)| format!("{type_}={names}")).collect()
}

async fn alluxio(client: &Client, workers: u32, masters: u32) {
    client.create(&hbase()).await.unwrap();
    client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", workers, masters))).await.unwrap();
    sleep(100 * SECOND).await;
}

fn environment(pod: &Value) -> Vec<String> {
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    let pair = |one: &Value| format!("{}={}", one["name"].as_str().unwrap(), one["value"].as_str().unwrap());
    variables.iter().map(pair).collect()
}

#[test]
fn a_load_waits_for_its_dataset_runs_and_goes_when_its_time_is_over() {
    tell(Profile::V1_0, |client, cache| async move {
        *lock(&cache.work) = Work::GoesOn;
        let target = json!([{ "path": "/hbase/a", "replicas": 2 }, { "path": "/hbase/b" }]);
        load(&client, "warm", json!({ "loadMetadata": true, "target": target, "ttlSecondsAfterFinished": 60 })).await;
        sleep(50 * SECOND).await;
        assert_eq!(loads(&client, "warm").await.phase, OperationPhase::None);
        alluxio(&client, 2, 3).await;
        let status = loads(&client, "warm").await;
        assert_eq!((status.phase, status.duration.as_str()), (OperationPhase::Executing, "Unfinished"));
        assert_eq!(locks(&client).await, "DataLoad=warm");
        let job: Job = client.get("default", "warm-loader-job").await.unwrap();
        let spec = serde_json::to_value(job.spec.unwrap()).unwrap();
        let orders = environment(&spec["template"]["spec"]);
        assert_eq!(orders[..3], ["DATA_PATH=/hbase/a:/hbase/b", "PATH_REPLICAS=2:1", "NEED_LOAD_METADATA=true"]);
        assert_eq!(spec["backoffLimit"], 3);
        *lock(&cache.work) = Work::Succeeds;
        sleep(25 * SECOND).await;
        let table = kubectl(&client, "get dataload").await.unwrap();
        let cells: Vec<&str> = table.split_whitespace().collect();
        assert_eq!(cells[..8], ["NAME", "DATASET", "PHASE", "AGE", "DURATION", "warm", "hbase", "Complete"]);
        let status = loads(&client, "warm").await;
        assert!(status.duration.ends_with('s'), "{}", status.duration);
        assert_eq!(status.conditions[0].reason, "CompletionsReached");
        assert_eq!(locks(&client).await, "");
        sleep(80 * SECOND).await;
        assert!(client.find::<DataLoad>("default", "warm").await.unwrap().is_none(), "its TTL is over");
        assert!(client.find::<Job>("default", "warm-loader-job").await.unwrap().is_none());
    });
}

#[test]
fn a_second_load_waits_or_runs_as_the_version_has_it() {
    for (profile, both) in [(Profile::V0_7, false), (Profile::V1_0, true)] {
        tell(profile, move |client, cache| async move {
            *lock(&cache.work) = Work::GoesOn;
            alluxio(&client, 2, 3).await;
            load(&client, "first", json!({})).await;
            sleep(30 * SECOND).await;
            load(&client, "second", json!({})).await;
            sleep(60 * SECOND).await;
            let second = loads(&client, "second").await.phase;
            assert_eq!(second, if both { OperationPhase::Executing } else { OperationPhase::Pending });
            assert_eq!(locks(&client).await, if both { "DataLoad=first,second" } else { "DataLoad=first" });
            // Somebody gives the first one up: its job goes, and the lock with it.
            client.delete::<DataLoad>("default", "first", &DeleteParams::default()).await.unwrap();
            sleep(60 * SECOND).await;
            assert!(client.find::<Job>("default", "first-loader-job").await.unwrap().is_none());
            assert_eq!(loads(&client, "second").await.phase, OperationPhase::Executing);
            assert_eq!(locks(&client).await, "DataLoad=second");
        });
    }
}

#[test]
fn loads_that_cannot_be_done_fail_and_say_why() {
    tell(Profile::V1_0, |client, cache| async move {
        *lock(&cache.work) = Work::Fails;
        alluxio(&client, 2, 3).await;
        load(&client, "broken", json!({})).await;
        load(&client, "relative", json!({ "target": [{ "path": "hbase" }] })).await;
        sleep(60 * SECOND).await;
        for (name, reason) in [("broken", "BackoffLimitExceeded"), ("relative", "PathNotSupported")] {
            let status = loads(&client, name).await;
            assert_eq!((status.phase, &*status.conditions[0].reason), (OperationPhase::Failed, reason));
        }
        assert_eq!(locks(&client).await, "");
    });
}

#[test]
fn a_load_does_not_begin_while_master_0_is_silent() {
    tell(Profile::V1_0, |client, cache| async move {
        alluxio(&client, 2, 3).await;
        *lock(&cache.silent) = true;
        load(&client, "warm", json!({})).await;
        sleep(60 * SECOND).await;
        assert_eq!(loads(&client, "warm").await.phase, OperationPhase::Pending);
        *lock(&cache.silent) = false;
        sleep(60 * SECOND).await;
        assert_eq!(loads(&client, "warm").await.phase, OperationPhase::Complete);
    });
}

/// The pods of the masters, which nobody makes here.
async fn masters(client: &Client) {
    for i in 0..3 {
        let port = json!({ "name": "rpc", "containerPort": 20_000 });
        let pod: Pod = object(json!({
            "metadata": { "name": format!("hbase-master-{i}"), "namespace": "default" },
            "spec": { "nodeName": format!("n{}", i + 1), "containers": [{ "name": "m", "image": "i", "ports": [port] }] },
        }));
        client.create(&pod).await.unwrap();
        let status = Patch::Merge(json!({ "status": { "podIP": format!("10.0.1.{i}") } }));
        client.patch_status::<Pod>("default", &format!("hbase-master-{i}"), &status).await.unwrap();
    }
}

#[test]
fn a_backup_runs_beside_the_leader_or_beside_whom_the_version_takes_for_it() {
    // Master 2 leads. The newer versions look at the number of workers where that of masters is meant.
    for (profile, workers, node, address) in [
        (Profile::V0_7, 1, "n3", "10.0.1.2"),
        (Profile::V1_0, 2, "n3", "10.0.1.2"),
        (Profile::V1_0, 1, "n1", "10.0.1.0"),
    ] {
        tell(profile, move |client, cache| async move {
            *lock(&cache.work) = Work::GoesOn;
            alluxio(&client, workers, 3).await;
            masters(&client).await;
            backup(&client, "safe", "pvc://store/sub").await;
            sleep(30 * SECOND).await;
            let pod: Pod = client.get("default", "safe-pod").await.unwrap();
            let spec = serde_json::to_value(pod.spec.unwrap()).unwrap();
            assert_eq!(spec["nodeName"], node);
            let orders = environment(&spec);
            assert!(orders[0].contains(&format!("-Dalluxio.master.hostname={address} ")), "{orders:?}");
            assert_eq!(orders[3..], ["BACKUP_PATH=/sub/", "BACKUP_PVC=store"]);
            assert_eq!(locks(&client).await, "DataBackup=safe");
            *lock(&cache.work) = Work::Succeeds;
            sleep(25 * SECOND).await;
            let status = backups(&client, "safe").await;
            assert_eq!((status.phase, &*status.conditions[0].reason), (OperationPhase::Complete, "BackupSuccessful"));
            let table = kubectl(&client, "get databackup safe --no-headers").await.unwrap();
            let cells: Vec<&str> = table.split_whitespace().collect();
            assert_eq!(cells[..5], ["safe", "hbase", "Complete", "pvc://store/sub", "NA"]);
        });
    }
}

#[test]
fn a_backup_to_a_node_tells_which_and_a_wrong_place_fails() {
    tell(Profile::V0_7, |client, cache| async move {
        alluxio(&client, 2, 3).await;
        masters(&client).await;
        backup(&client, "local", "local:///var/backup").await;
        backup(&client, "wrong", "oss://bucket/dir").await;
        sleep(60 * SECOND).await;
        assert_eq!(backups(&client, "local").await.infos["BackupLocationNodeName"], "n3");
        let wrong = backups(&client, "wrong").await;
        assert_eq!((wrong.phase, &*wrong.conditions[0].reason), (OperationPhase::Failed, "PathNotSupported"));
        *lock(&cache.work) = Work::GoesOn;
        client.delete::<DataBackup>("default", "local", &DeleteParams::default()).await.unwrap();
        backup(&client, "third", "local:///var/backup").await;
        sleep(60 * SECOND).await;
        backup(&client, "fourth", "local:///var/backup").await;
        sleep(60 * SECOND).await;
        let fourth = backups(&client, "fourth").await;
        let reason = &*fourth.conditions[0].reason;
        assert_eq!((fourth.phase, reason), (OperationPhase::Failed, "conflictDataBackupRef"), "the older rule");
    });
}

#[test]
fn masters_begin_from_the_backup_that_a_dataset_names() {
    tell(Profile::V1_0, |client, _| async move {
        let mut dataset = hbase();
        dataset.spec.data_restore_location = Some(object(json!({ "path": "pvc://store/sub" })));
        client.create(&dataset).await.unwrap();
        client.create::<AlluxioRuntime>(&object(of_the_document("AlluxioRuntime", 2, 3))).await.unwrap();
        sleep(150 * SECOND).await;
        let set: StatefulSet = client.get("default", "hbase-master").await.unwrap();
        let pod = serde_json::to_value(set.spec.template.spec.unwrap()).unwrap();
        let variables = pod["containers"][0]["env"].as_array().unwrap();
        let wanted = json!({ "name": "JOURNAL_BACKUP", "value": "/pvc/sub/metadata-backup-hbase-default.gz" });
        assert!(variables.contains(&wanted), "{variables:?}");
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.contains(&json!({ "name": "pvc", "persistentVolumeClaim": { "claimName": "store" } })));
        assert_eq!(row(&client, "hbase").await.1, "1.00GiB", "what the backup says, not what is counted");
    });
}

#[test]
fn jindofs_has_no_backup() {
    tell(Profile::V1_0, |client, _| async move {
        let mut dataset = hbase();
        dataset.spec.data_restore_location = Some(object(json!({ "path": "pvc://store/sub" })));
        client.create(&dataset).await.unwrap();
        client.create::<JindoRuntime>(&object(of_the_document("JindoRuntime", 2, 1))).await.unwrap();
        sleep(60 * SECOND).await;
        assert!(client.find::<StatefulSet>("default", "hbase-jindofs-master").await.unwrap().is_none());
        let without = Patch::Merge(json!({ "spec": { "dataRestoreLocation": null } }));
        client.patch::<Dataset>("default", "hbase", &without).await.unwrap();
        sleep(120 * SECOND).await;
        backup(&client, "safe", "pvc://store/sub").await;
        sleep(60 * SECOND).await;
        let status = backups(&client, "safe").await;
        assert_eq!((status.phase, &*status.conditions[0].reason), (OperationPhase::Failed, "RuntimeNotSupported"));
    });
}
