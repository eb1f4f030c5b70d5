//! The programs of the operations' containers, against a tool that writes down what it is asked.

use std::future::ready;
use std::sync::{Arc, Mutex};

use stormglass::base::{Seed, lock};
use stormglass::kube::fluid::operation::chart::{
    BACKUP_PATH, BACKUP_PVC, DATA_PATH, DATASET_NAME, DATASET_NAMESPACE, NEED_METADATA, PATH_REPLICAS,
};
use stormglass::kube::fluid::operation::program::{Environment, Failure, back_up, load};
use stormglass::kube::fluid::probe::{Answer, Content, ProbeError};
use stormglass::kube::fluid::tool::CacheTool;
use stormglass::rt::time::sleep;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

use super::stage::SECOND;

/// Writes down what it is asked; `/none` does not exist, `/bad` cannot be loaded.
#[derive(Default)]
struct Tool(Mutex<Vec<String>>);

impl Tool {
    fn note<T: Send + 'static>(&self, what: String, answer: T) -> Answer<'static, T> {
        let failed = what == "load /bad 1";
        lock(&self.0).push(what);
        let error = ProbeError::Failed { command: "distributedLoad".into(), message: "no space".into() };
        Box::pin(ready(if failed { Err(error) } else { Ok(answer) }))
    }
}

impl CacheTool for Tool {
    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, bool> {
        if path == "/slow" {
            return Box::pin(async {
                sleep(60 * SECOND).await;
                Ok(true)
            });
        }
        self.note(format!("stat {path}"), path != "/none")
    }
    fn load_metadata<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        self.note(format!("ls {path}"), ())
    }
    fn set_replication<'a>(&'a self, path: &'a str, max: u32) -> Answer<'a, ()> {
        self.note(format!("max {path} {max}"), ())
    }
    fn load<'a>(&'a self, path: &'a str, replication: u32) -> Answer<'a, ()> {
        self.note(format!("load {path} {replication}"), ())
    }
    fn backup<'a>(&'a self, file: &'a str) -> Answer<'a, ()> {
        self.note(format!("backup {file}"), ())
    }
    fn count(&self) -> Answer<'_, Content> {
        self.note("count".into(), Content { bytes: 577_576_632, files: 6 })
    }
    fn write<'a>(&'a self, file: &'a str, text: &'a str) -> Answer<'a, ()> {
        self.note(format!("write {file} {}", text.lines().last().unwrap_or_default()), ())
    }
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Runs a program in a world of its own.
fn ran<F>(program: impl FnOnce(Arc<Tool>) -> F) -> (Vec<String>, Result<(), Failure>)
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (tool, ended) = (Arc::new(Tool::default()), Arc::new(Mutex::new(None)));
    let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
    let host = lab.world.add_host("pod", [10, 0, 0, 1].into());
    let (program, slot) = (program(tool.clone()), ended.clone());
    let program = async move { *lock(&slot) = Some(program.await) };
    lab.world.start(host, "program", Box::pin(program)).unwrap();
    lab.world.run_until(lab.world.world_now() + 90 * SECOND);
    let asked = lock(&tool.0).clone();
    (asked, lock(&ended).take().unwrap())
}

/// What was asked and how it ended.
fn loaded(paths: &str, copies: &str, metadata: &str) -> (Vec<String>, Result<(), Failure>) {
    let orders = environment(&[(DATA_PATH, paths), (PATH_REPLICAS, copies), (NEED_METADATA, metadata)]);
    ran(|tool| async move { load(&orders, &*tool).await })
}

#[test]
fn paths_are_loaded_in_order_until_one_fails() {
    let (asked, ended) = loaded("/a:/b", "1:2", "true");
    assert_eq!(ended, Ok(()));
    let want = ["stat /a", "max /a 1", "ls /a", "load /a 1", "stat /b", "max /b 2", "ls /b", "load /b 2"];
    assert_eq!(asked, want);
    let (asked, ended) = loaded("/a:/none:/b", "1:1:1", "false");
    assert_eq!((asked.len(), ended), (4, Err(Failure::NoPath("/none".into()))));
    assert!(matches!(loaded("/bad", "1", "false").1, Err(Failure::Cache(_))));
    assert_eq!(loaded("/slow", "1", "false").1, Err(Failure::Silent("/slow".into())));
    for (paths, copies) in [("/a:/b", "1"), ("/a", "x"), ("/a", "1:2"), ("/a", "")] {
        assert_eq!(loaded(paths, copies, "false").1, Err(Failure::Variable(PATH_REPLICAS)), "{paths} {copies}");
    }
}

#[test]
fn a_backup_is_two_files() {
    let orders = environment(&[
        (DATASET_NAME, "hbase"),
        (DATASET_NAMESPACE, "default"),
        (BACKUP_PATH, "/sub/"),
        (BACKUP_PVC, "safe"),
    ]);
    let (asked, ended) = ran(|tool| async move { back_up(&orders, &*tool).await });
    assert_eq!(ended, Ok(()));
    let metadata = "backup /pvc/sub/metadata-backup-hbase-default.gz";
    assert_eq!(asked, [metadata, "count", "write /pvc/sub/hbase-default.yaml filenum: 6"]);
    let (asked, ended) = ran(|tool| async move { back_up(&Environment::new(), &*tool).await });
    assert_eq!((asked.len(), ended), (0, Err(Failure::Variable(DATASET_NAME))));
}
