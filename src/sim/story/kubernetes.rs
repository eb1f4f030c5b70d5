//! The beginning of a story on Kubernetes: nodes register, manifests are applied, the dataset is bound.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{End, Story};
use crate::base::lock;
use crate::kube::client::Client;
use crate::kube::csi::disk::DISK_DRIVER;
use crate::kube::fluid;
use crate::kube::fluid::install::{NAMESPACE, install};
use crate::kube::kind::{Kinds, ObjectKey};
use crate::kube::kubectl::Kubectl;
use crate::kube::store::Selection;
use crate::sim::kubernetes::API;
use crate::sim::outcome::Screen;
use crate::sim::scenario::target::Role;
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
        for object in install(&spec.fluid.profile(), &flavors) {
            self.create(object.to_string())?;
        }
        let installed = self.wait_for(NODES_WITHIN, |story| story.fluid_runs())?;
        if !installed {
            self.show("kubectl get pod -A -o wide")?;
            return Err(End::Stuck(format!("Fluid did not start within {NODES_WITHIN:?}")));
        }
        for class in &spec.storage_classes {
            self.create(class_manifest(class))?;
        }
        if spec.by_hand {
            return Ok(());
        }
        for text in scenario.files.values() {
            self.create(text.clone())?;
        }
        let bound = self.wait_for(BOUND_WITHIN, |story| story.serves())?;
        if !bound {
            self.show("kubectl get pod -A -o wide")?;
            self.show("kubectl get events -A")?;
            return Err(End::Stuck(format!("the dataset was not bound within {BOUND_WITHIN:?}: {}", self.dataset())));
        }
        Ok(())
    }

    /// Keeps the screen of a command, for whoever asks why.
    fn show(&mut self, line: &str) -> Result<(), End> {
        let at = self.now();
        let words = line.split(' ').skip(1).map(str::to_owned).collect();
        let printed = self.kubectl(words, |_| None)?;
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
    fn create(&mut self, manifest: String) -> Result<(), End> {
        let words = ["create", "-f", "manifest.yaml"].map(str::to_owned).to_vec();
        let printed = self.kubectl(words, move |_| Some(manifest.clone()))?;
        if printed.status == 0 { Ok(()) } else { Err(End::Stuck(printed.text)) }
    }

    /// Runs `kubectl` on the user's host.
    pub(super) fn kubectl(
        &mut self,
        words: Vec<String>,
        files: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Printed, End> {
        let Some(kubernetes) = &self.cluster.kubernetes else {
            return Ok(Printed { text: "kubectl: this scenario has no Kubernetes\n".into(), status: 1 });
        };
        let (printed, text) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(String::new())));
        let (done, out) = (printed.clone(), text.clone());
        let program = async move {
            let kubectl = Kubectl::new(Client::new(API), Arc::new(fluid::kinds(Kinds::builtin())));
            let ended = kubectl.run(&words, &files, &|piece| lock(&out).push_str(piece)).await;
            let status = match ended {
                Ok(()) => 0,
                Err(error) => {
                    lock(&out).push_str(&format!("{error}\n"));
                    1
                }
            };
            *lock(&done) = Some(status);
        };
        let Ok(process) = self.lab.world.start(kubernetes.user, "kubectl", Box::pin(program)) else {
            return Err(End::Stuck("the user's host has no power".into()));
        };
        let ended = printed.clone();
        self.wait_for(KUBECTL_WITHIN, |_| lock(&ended).is_some())?;
        self.lab.world.kill(process);
        let status = lock(&printed).unwrap_or(124);
        let text = std::mem::take(&mut *lock(&text));
        Ok(Printed { text, status })
    }

    /// An object as the API server has it.
    pub(super) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let kubernetes = self.cluster.kubernetes.as_ref()?;
        kubernetes.server.with_store(|store| {
            let kind = store.kinds().by_word(kind)?;
            Some(store.find(kind, &ObjectKey::new(namespace, name))?.to_value())
        })
    }

    /// All objects of a kind.
    pub(super) fn objects(&self, kind: &str) -> Vec<Value> {
        let Some(kubernetes) = &self.cluster.kubernetes else { return Vec::new() };
        kubernetes.server.with_store(|store| {
            let Some(kind) = store.kinds().by_word(kind) else { return Vec::new() };
            store.list(kind, &Selection::default()).map(|object| object.to_value()).collect()
        })
    }

    /// Whether every pod of Fluid's installation is ready.
    fn fluid_runs(&self) -> bool {
        let of_fluid = |pod: &Value| pod.pointer("/metadata/namespace").is_some_and(|namespace| namespace == NAMESPACE);
        let ready = |pod: &Value| {
            let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        let pods: Vec<Value> = self.objects("pods").into_iter().filter(of_fluid).collect();
        // The plugin on every node, and two controllers.
        pods.len() >= self.scenario.spec.nodes.len() + 2 && pods.iter().all(ready)
    }

    fn ready_nodes(&self) -> usize {
        let ready = |node: &Value| {
            let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        self.objects("nodes").iter().filter(|node| ready(node)).count()
    }

    /// The dataset's row, in a word for messages.
    fn dataset(&self) -> String {
        let meta = &self.scenario.dataset.metadata;
        let dataset = self.object("datasets", &meta.namespace, &meta.name);
        let status = dataset.as_ref().and_then(|dataset| dataset.get("status"));
        status.map_or_else(|| "there is none".into(), ToString::to_string)
    }

    /// Whether the dataset is bound, and a leader serves with all workers, and there are mounts for the workload.
    fn serves(&self) -> bool {
        let meta = &self.scenario.dataset.metadata;
        let dataset = self.object("datasets", &meta.namespace, &meta.name);
        let bound = dataset.is_some_and(|dataset| dataset.pointer("/status/phase").is_some_and(|p| p == "Bound"));
        let workers = self.cluster.of(Role::Worker).count();
        let leader = self.watch.leader().and_then(|leader| self.cluster.facts(leader));
        let formed = leader.is_some_and(|facts| facts.live_workers == workers && !facts.safe_mode);
        let fuses = self.scenario.spec.workload.clients == 0
            || self.cluster.of(Role::Fuse).all(|fuse| self.cluster.members[fuse].running());
        bound && formed && fuses
    }
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
