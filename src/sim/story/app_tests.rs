//! Applications on a whole cluster: what a Pod's shell sees of the dataset, and what is left when its fuse dies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Story;
use crate::base::{Seed, lock};
use crate::kube::runtime::{ContainerRuntime, ExecOutput};
use crate::sim::kubernetes::{Machine, Part};
use crate::sim::progress::Silent;
use crate::sim::scenario::{Scenario, load};
use crate::world::engine::{Budget, EngineKind, Plan, Schedule, build};
use crate::world::lab::Lab;

const WITHIN: Duration = Duration::from_secs(600);

fn scenario() -> Scenario {
    let text = "
name: applications
about: Pods read the dataset.
nodes: [10.0.1.2, 10.0.1.10, 10.0.1.15]
kubernetes: {fluid: goosefs, version: v1.18.4-tke.13}
manifests: [manifests/goosefs/dataset.yaml, manifests/goosefs/runtime.yaml]
under_stores:
  - url: https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/
    files: [{path: CHANGES.md, size: 1290000}, {path: RELEASENOTES.md, size: 640000}]
parameters:
  master: {block_size: 1Mi}
steps:
  - wait: 20s
";
    load::parse("scenarios/applications.yaml", text.into(), &read).unwrap_or_else(|error| panic!("{error}"))
}

#[expect(clippy::disallowed_methods, reason = "manifests are read before the run")]
fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}

fn pod(name: &str, rest: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
    - name: app
      {rest}
      volumeMounts: [{{mountPath: /data, name: hbase-vol}}]
  volumes:
    - name: hbase-vol
      persistentVolumeClaim: {{claimName: hbase}}
"
    )
}

impl Story<'_> {
    fn phase_of(&self, pod: &str) -> String {
        let object = self.object("pods", "default", pod);
        let phase = object.as_ref().and_then(|pod| pod.at("status.phase")).and_then(|phase| phase.as_str());
        phase.unwrap_or("none").to_owned()
    }

    fn pod_is(&mut self, pod: &str, phase: &str) {
        let there = self.wait_for(WITHIN, |story| story.phase_of(pod) == phase).unwrap();
        assert!(there, "{pod} is {}", self.phase_of(pod));
    }

    /// The machine, the container's name and its log.
    fn container(&self, pod: &str) -> (Machine, crate::kube::runtime::ContainerId, String) {
        let machines = self.cluster.kubernetes.as_ref().unwrap().machines();
        let found = machines.into_values().find_map(|machine| {
            let found = machine.containers(|all| {
                let own = all.iter().rfind(|c| c.spec.pod.name == pod)?;
                Some((own.record.id.clone(), own.log.read(None)))
            });
            found.map(|(id, log)| (machine, id, log))
        });
        found.unwrap_or_else(|| panic!("{pod} has no container"))
    }

    fn exec(&mut self, pod: &str, command: &[&str]) -> ExecOutput {
        let (machine, id, _) = self.container(pod);
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let output = Arc::new(Mutex::new(None));
        let kept = output.clone();
        let program = async move { *lock(&kept) = Some(machine.exec(id, command).await.unwrap()) };
        let user = self.cluster.kubernetes.as_ref().unwrap().user;
        self.lab.world.start(user, "exec", Box::pin(program)).unwrap();
        assert!(self.wait_for(WITHIN, |_| lock(&output).is_some()).unwrap(), "exec does not end");
        lock(&output).take().unwrap()
    }

    fn fuse_beside(&self, pod: &str) -> crate::base::ProcessId {
        let (machine, _, _) = self.container(pod);
        let fuse = machine
            .containers(|all| all.iter().find(|c| c.runs() && matches!(c.part, Part::Fuse)).and_then(|c| c.process));
        fuse.expect("a fuse on the pod's node")
    }
}

#[test]
fn applications_read_the_dataset_until_its_fuse_dies() {
    let scenario = scenario();
    let seed = Seed(1);
    crate::rt::interpose::begin(seed);
    let budget = Budget { events: u64::MAX, trace_bytes: u64::MAX, polls_at_once: 10_000_000 };
    let trace = crate::trace::Recorder::new(None);
    let world = build(EngineKind::default(), Plan { seed, schedule: Schedule::Seeded, budget, trace }).unwrap();
    let mut progress = Silent;
    let mut story = Story::new(&scenario, seed, Lab::of(seed, world), &mut progress);
    story.boot().unwrap();

    // The Alluxio document's job and its nginx.
    let script = r#"image: busybox
      command: ["/bin/sh"]
      args: ["-c", "set -x; time cp -r /data/hbase ./; md5sum hbase/* /data/hbase/*"]"#;
    story.create(pod("copy", script)).unwrap();
    story.create(pod("nginx", "image: nginx")).unwrap();
    story.pod_is("copy", "Succeeded");
    let log = story.container("copy").2;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "+ time cp -r /data/hbase ./", "{log}");
    assert!(lines[1].starts_with("real\t0m "), "{log}");
    let sums: Vec<&str> = lines.iter().rev().take(4).map(|line| &line[..32]).collect();
    assert_eq!(sums[..2], sums[2..], "{log}");

    story.pod_is("nginx", "Running");
    let listed = story.exec("nginx", &["ls", "-1", "/data/hbase"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "CHANGES.md\nRELEASENOTES.md\n"), "{}", listed.stderr);
    let sizes = story.exec("nginx", &["bash", "-c", "du -h /data/hbase/*"]);
    assert_eq!(sizes.stdout, "1.3M\t/data/hbase/CHANGES.md\n625K\t/data/hbase/RELEASENOTES.md\n", "{}", sizes.stderr);
    let counters = story.workload.recorder().counters();
    assert!(counters.get("read.acked").is_some_and(|reads| *reads >= 4), "{counters:?}");
    assert_eq!(counters.get("read.mismatch"), None, "{counters:?}");

    let fuse = story.fuse_beside("nginx");
    story.lab.world.kill(fuse);
    story.wait_for(Duration::from_millis(100), |_| false).unwrap();
    let broken = story.exec("nginx", &["ls", "/data/hbase"]);
    let said = "ls: cannot access '/data/hbase': Transport endpoint is not connected\n";
    assert_eq!((broken.code, broken.stderr.as_str()), (2, said));

    // It is told to end.
    let line = "kubectl delete pod nginx".parse().unwrap();
    let files = story.files();
    assert_eq!(story.type_as_user(&line, files).unwrap().status, 0);
}
