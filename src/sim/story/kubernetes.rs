//! The beginning of a story on Kubernetes: nodes register, manifests are applied, the dataset is bound.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::shell::{Files, UserShell};
use super::{End, Story};
use crate::kube::csi::disk::DISK_DRIVER;
use crate::kube::fluid::install::{NAMESPACE, install};
use crate::kube::store::Object;
use crate::sim::outcome::Screen;
use crate::sim::scenario::ManifestSource;
use crate::sim::scenario::target::Role;
use crate::sim::shell::{Line, LineError};
use crate::stack::client::Printed;

/// Nodes must be ready within this: a kubelet's first status, and some more.
const NODES_WITHIN: Duration = Duration::from_secs(120);
/// A dataset must be bound within this: images, elections, Fluid's rounds of 20 s.
const BOUND_WITHIN: Duration = Duration::from_secs(600);
/// A user does not wait longer for a command.
const KUBECTL_WITHIN: Duration = Duration::from_secs(600);

impl Story<'_> {
    pub(super) fn boot_kubernetes(&mut self) -> Result<(), End> {
        let scenario = self.scenario;
        let Some(spec) = &scenario.spec.kubernetes else { return Ok(()) };
        if let Some(kubernetes) = &mut self.cluster.kubernetes {
            kubernetes.start(&self.lab);
        }
        let nodes = scenario.spec.nodes.len();
        let ready = self.wait_for(NODES_WITHIN, |story| story.ready_nodes() == nodes)?;
        if !ready {
            return Err(End::Stuck(format!("{} of {nodes} nodes were ready", self.ready_nodes())));
        }
        let flavors = [scenario.runtime.flavor()];
        let objects: Vec<String> = install(&spec.fluid.profile(), &flavors).iter().map(ToString::to_string).collect();
        self.create(objects.join("\n---\n"))?;
        let installed = self.wait_for(NODES_WITHIN, |story| story.fluid_runs())?;
        if !installed {
            self.show("kubectl get pod -A -o wide")?;
            return Err(End::Stuck(format!("Fluid did not start within {NODES_WITHIN:?}")));
        }
        for class in &spec.storage_classes {
            self.create(class_manifest(class))?;
        }
        if let Some(kubernetes) = &self.cluster.kubernetes {
            self.witness.resources.begin(kubernetes);
        }
        if spec.by_hand {
            return Ok(());
        }
        for source in &scenario.spec.manifests {
            let text = match source {
                ManifestSource::File(name) => scenario.files.get(name),
                ManifestSource::Inline(text) => Some(text),
            };
            if let Some(text) = text {
                self.create(text.clone())?;
            }
        }
        self.wait_for(BOUND_WITHIN, |story| story.lacks().is_none())?;
        let Some(lack) = self.lacks() else { return Ok(()) };
        self.show("kubectl get pod -A -o wide")?;
        self.show("kubectl get events -A")?;
        Err(End::Stuck(format!("the cache does not serve after {BOUND_WITHIN:?}: {}", self.describe(&lack))))
    }

    /// Keeps the screen of a command, for whoever asks why.
    fn show(&mut self, line: &str) -> Result<(), End> {
        let at = self.now();
        let parsed = line.parse().map_err(|error: LineError| End::Stuck(format!("{line}: {error}")))?;
        let printed = self.type_as_user(&parsed, self.files())?;
        let (took, command) = (self.now().since(at), line.to_owned());
        let screen = Screen {
            name: command.clone(),
            command,
            host: "user".into(),
            at,
            took,
            status: printed.status,
            text: printed.text,
        };
        self.progress.on_screen(&screen);
        self.outcome.screens.push(screen);
        Ok(())
    }

    /// Creates the objects of a manifest, as a user would.
    pub(super) fn create(&mut self, manifest: String) -> Result<(), End> {
        const LINE: &str = "kubectl create -f manifest.yaml";
        let line = LINE.parse().map_err(|error: LineError| End::Stuck(format!("{LINE}: {error}")))?;
        let files = Files(Arc::new([("manifest.yaml".to_owned(), manifest)].into()));
        let printed = self.type_as_user(&line, files)?;
        if printed.status == 0 { Ok(()) } else { Err(End::Stuck(printed.text)) }
    }

    /// The files of the scenario.
    pub(super) fn files(&self) -> Files {
        Files(Arc::new(self.scenario.files.clone()))
    }

    /// Runs a line on the user's host. What it printed until the bound is kept; its exit code then is 124.
    pub(super) fn type_as_user(&mut self, line: &Line, files: Files) -> Result<Printed, End> {
        let Some(kubernetes) = &self.cluster.kubernetes else {
            return Err(End::Stuck("this scenario has no Kubernetes".into()));
        };
        let host = kubernetes.user;
        self.type_line(host, KUBECTL_WITHIN, line, move || UserShell::new(files))
    }

    /// Whether the story has taken its dataset down: what is left to promise is that nothing is left.
    pub(super) fn torn_down(&self) -> bool {
        let meta = &self.scenario.dataset.metadata;
        let by_hand = self.scenario.spec.kubernetes.as_ref().is_some_and(|spec| spec.by_hand);
        by_hand && self.object("datasets", &meta.namespace, &meta.name).is_none()
    }

    /// Whether the dataset is being taken down, or gone: masters that go with it are no outage.
    pub(super) fn going_down(&self) -> bool {
        if self.scenario.spec.kubernetes.as_ref().is_none_or(|spec| !spec.by_hand) {
            return false;
        }
        let meta = &self.scenario.dataset.metadata;
        let dataset = self.object("datasets", &meta.namespace, &meta.name);
        dataset.is_none_or(|dataset| dataset.is_deleting())
    }

    /// An object as the API server has it.
    pub(super) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cluster.kubernetes.as_ref()?.object(kind, namespace, name)
    }

    /// All objects of a kind.
    fn objects(&self, kind: &str) -> Vec<Arc<Object>> {
        self.cluster.kubernetes.as_ref().map(|kubernetes| kubernetes.objects(kind)).unwrap_or_default()
    }

    /// Whether every pod of Fluid's installation is ready.
    fn fluid_runs(&self) -> bool {
        let mut pods = self.objects("pods");
        pods.retain(|pod| pod.key.namespace == NAMESPACE);
        // The plugin on every node, and two controllers.
        pods.len() >= self.scenario.spec.nodes.len() + 2 && pods.iter().all(|pod| pod.is_true("Ready"))
    }

    fn ready_nodes(&self) -> usize {
        self.objects("nodes").iter().filter(|node| node.is_true("Ready")).count()
    }

    /// The dataset's row, in a word for messages.
    fn dataset(&self) -> String {
        let meta = &self.scenario.dataset.metadata;
        let dataset = self.object("datasets", &meta.namespace, &meta.name);
        let status = dataset.as_ref().and_then(|dataset| dataset.at("status"));
        status.map_or_else(|| "there is none".into(), ToString::to_string)
    }

    /// Whether the dataset is bound, and a leader serves with all workers, and there are mounts for the workload.
    /// What there is not yet of a cache that serves. Asked for after every slice of time.
    fn lacks(&self) -> Option<Lack> {
        let meta = &self.scenario.dataset.metadata;
        let dataset = self.object("datasets", &meta.namespace, &meta.name);
        if !dataset.is_some_and(|dataset| dataset.at("status.phase").is_some_and(|phase| phase == "Bound")) {
            return Some(Lack::Dataset);
        }
        let workers = self.cluster.of(Role::Worker).count();
        let leader = self.watch.leader().and_then(|leader| self.cluster.facts(leader));
        if !leader.is_some_and(|facts| facts.live_workers == workers && !facts.safe_mode) {
            return Some(Lack::Workers(workers));
        }
        let missing = |fuse: &usize| !self.cluster.members[*fuse].running();
        let mut needed = self.cluster.of(Role::Fuse).filter(|_| self.scenario.spec.workload.clients > 0);
        needed.find(missing).map(Lack::Fuse)
    }

    fn describe(&self, lack: &Lack) -> String {
        match lack {
            Lack::Dataset => format!("the dataset is not bound: {}", self.dataset()),
            Lack::Workers(all) => format!("no master serves with all {all} workers"),
            Lack::Fuse(index) => {
                let name = &self.cluster.members[*index].plan.name;
                format!(
                    "{name} does not run, and the workload needs one on each node: give the runtime as many replicas"
                )
            }
        }
    }
}

/// What a cache cannot serve without.
enum Lack {
    Dataset,
    /// So many.
    Workers(usize),
    /// This member.
    Fuse(usize),
}

fn class_manifest(name: &str) -> String {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": name },
        "provisioner": DISK_DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
    })
    .to_string()
}
