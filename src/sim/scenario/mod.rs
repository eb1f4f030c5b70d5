//! Scenario files: the story of a run, as data.
//!
//! [`Spec`] is the YAML as written, [`Scenario`] is a spec whose manifests were read and whose names were checked. All
//! that is random in a run comes from the seed; the scenario only says within which bounds. Reading files is the
//! caller's: loading is given a function that does it.

pub mod value;

pub mod diagnostic;

pub mod yaml;

pub mod target;

pub mod world;

pub mod fault;

pub mod command;

pub mod step;

pub mod params;

pub mod manifest;

pub mod kubernetes;

pub mod runtime;

pub mod planted;

pub mod workload;

pub mod check;

pub mod load;

pub mod schema;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::CommandLine;
pub use fault::{ConnectFailure, Direction, DiskCall, DnsFailure, Fault};
pub use kubernetes::KubernetesSpec;
pub use load::{LoadError, load};
pub use manifest::ManifestSource;
pub use params::Parameters;
pub use planted::Planted;
pub use runtime::RuntimeManifest;
pub use step::{Expect, LeaderExpect, Run, ServiceExpect, Step};
pub use target::{Role, Target, Targets};
pub use value::{Odds, Span};
pub use workload::Workload;
pub use world::{Burst, Credentials, KeyPair, Latency, Limits, Link, SecretPair, SpanRange, UnderStore};

use crate::kube::fluid::api::{DatasetSpec, Manifest};
use crate::sim::kubernetes::Component;

/// A scenario file as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Stormglass scenario")]
pub struct Spec {
    /// Name: that of the file without `.yaml`.
    pub name: String,
    /// What happens and what must hold, in a line or two; shown by `stormglass list`.
    pub about: String,
    /// The nodes of the Kubernetes cluster, by name. Each runs one fuse client, and at most one worker.
    pub nodes: Vec<String>,
    /// The Kubernetes objects that the cluster is formed from.
    pub manifests: Vec<ManifestSource>,
    /// The Kubernetes that the cluster lives on. Without it masters, workers and fuse clients are started directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesSpec>,
    /// The under-stores that the manifests mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under_stores: Vec<UnderStore>,
    /// The links between hosts. Without any: 100 to 500 microseconds each way, no loss, no bound of bandwidth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Knobs of the stack and the world that differ from their defaults.
    #[serde(default)]
    pub parameters: Parameters,
    /// What the clients do meanwhile.
    #[serde(default)]
    pub workload: Workload,
    /// What happens, in order. The first step starts when the cluster serves.
    pub steps: Vec<Step>,
    /// What a run may use.
    #[serde(default)]
    pub limits: Limits,
    /// How the run is to end.
    #[serde(default)]
    pub verdict: ExpectedVerdict,
    /// The deliberate bug that is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<Planted>,
}

/// How a run is expected to end.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedVerdict {
    /// Every promise is kept and the cluster serves again.
    #[default]
    Pass,
    /// The faults are more than a correct system must survive: it refuses service, loses nothing and comes back.
    Unavailable,
    /// One of these violations is found, by the name of the broken promise. For planted bugs.
    Violation(Vec<String>),
}

/// A scenario that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The path it was read from, as the user gave it; shown in the command that reproduces a run.
    pub path: String,
    /// As written.
    pub spec: Spec,
    /// The dataset of the manifests.
    pub dataset: Manifest<DatasetSpec>,
    /// The runtime that caches it.
    pub runtime: RuntimeManifest,
    /// The text of every file that `kubectl -f` finds, by its path as the scenario gives it.
    pub files: BTreeMap<String, String>,
}

/// A host that the manifests and nodes give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedHost {
    /// Its name, such as `hbase-master-0`, or the host of an under-store's url.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its place within the role, from 0.
    pub index: u32,
    /// The node it runs on; none for servers outside of the cluster.
    pub node: Option<String>,
}

impl Scenario {
    /// All hosts: masters, workers, fuse clients, under-stores. Named as Fluid names the pods.
    pub fn hosts(&self) -> Vec<PlannedHost> {
        let runtime = &self.runtime;
        let name = &runtime.metadata().name;
        let nodes = &self.spec.nodes;
        let cluster = [
            (Role::Master, runtime.masters()),
            (Role::Worker, runtime.workers()),
            (Role::Fuse, u32::try_from(nodes.len()).unwrap_or(u32::MAX)),
        ];
        let pod = |role: Role| match role {
            Role::Master => runtime.flavor().master(name),
            Role::Worker => runtime.flavor().worker(name),
            Role::Fuse | Role::UnderStore | Role::Node | Role::Control => runtime.flavor().fuse(name),
        };
        let pods = cluster.into_iter().flat_map(|(role, count)| {
            (0..count).map({
                let name = pod(role);
                move |index| PlannedHost {
                    name: format!("{name}-{index}"),
                    role,
                    index,
                    node: nodes.get(index as usize % nodes.len().max(1)).cloned(),
                }
            })
        });
        let mut hosts: Vec<PlannedHost> = pods.collect();
        let mut outside: Vec<&str> = Vec::new();
        for store in &self.spec.under_stores {
            let host = store.host();
            if !outside.contains(&host) {
                outside.push(host);
            }
        }
        hosts.extend(outside.into_iter().zip(0..).map(|(host, index)| PlannedHost {
            name: host.into(),
            role: Role::UnderStore,
            index,
            node: None,
        }));
        if self.spec.kubernetes.is_some() {
            hosts.extend(self.nodes());
        }
        hosts
    }

    /// The access key that a Secret of the manifests holds.
    pub fn key_pair(&self, pair: &SecretPair) -> Option<KeyPair> {
        let values = self.secrets().remove(&pair.name)?;
        let value = |key: &str| values.get(key).cloned();
        Some(KeyPair { id: value(&pair.id)?, secret: crate::base::Secret::new(value(&pair.secret)?) })
    }

    /// What the Secrets of the manifests hold in the clear, by name and key.
    pub fn secrets(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for text in self.files.values() {
            let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).unwrap_or_default();
            for secret in documents.iter().filter(|document| document["kind"] == "Secret") {
                let Some(name) = secret.pointer("/metadata/name").and_then(serde_json::Value::as_str) else { continue };
                let values = secret.get("stringData").and_then(serde_json::Value::as_object);
                let own = all.entry(name.to_owned()).or_default();
                let text =
                    |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
                own.extend(values.into_iter().flatten().filter_map(text));
            }
        }
        all
    }

    /// The nodes' kubelets and the programs of the control plane.
    fn nodes(&self) -> impl Iterator<Item = PlannedHost> {
        let nodes = self.spec.nodes.iter().map(|name| (Role::Node, name.clone(), Some(name.clone())));
        let control = Component::ALL.map(|component| (Role::Control, component.name().to_owned(), None));
        let numbered = |all: Vec<(Role, String, Option<String>)>| {
            let one = |(index, (role, name, node))| PlannedHost { name, role, index, node };
            (0..).zip(all).map(one)
        };
        numbered(nodes.collect()).chain(numbered(control.to_vec()))
    }
}

/// The host of a url: `mirror` in `https://mirror:8443/a/`.
pub fn url_host(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = after.split('/').next().unwrap_or(after);
    host.split(':').next().unwrap_or(host)
}
