//! The ConfigMaps of a release: what was installed, and the configuration that every role reads.
//!
//! Alluxio and GooseFS read `-Dname=value` from their `*_JAVA_OPTS`; JindoFS reads `jindofsx.cfg`. What the user wrote comes
//! last and wins, as upstream has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::blueprint::{Blueprint, Part};
use super::pods::{metadata, tier_dir};
use crate::base::planted::{Bug, planted};
use crate::kube::fluid::api::MediumType;
use crate::kube::fluid::flavor::Flavor;

type Properties = BTreeMap<String, String>;

/// Where masters keep their journal in the pod.
pub const JOURNAL: &str = "/journal";

/// `{n}-{flavor}-values`: what was installed.
pub fn values(b: &Blueprint) -> Value {
    let data = json!({
        "fullnameOverride": b.name,
        "master": { "replicas": b.masters, "hostNetwork": b.master.host_network },
        "worker": { "replicas": b.workers, "hostNetwork": b.worker.host_network },
        "ports": b.ports.list(),
    });
    let name = b.flavor.values(&b.name);
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(b, &name, json!({ "release": b.name })),
        "data": { "data": data.to_string() },
    })
}

/// `{n}-config`: the configuration of all roles.
pub fn config(b: &Blueprint) -> Value {
    let data = match b.flavor {
        Flavor::Alluxio => java_options(b, "ALLUXIO"),
        Flavor::GooseFs => java_options(b, "GOOSEFS"),
        Flavor::Jindo => json!({ "jindofsx.cfg": jindo_file(b) }),
    };
    let name = b.flavor.config(&b.name);
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(b, &name, json!({ "release": b.name })),
        "data": data,
    })
}

fn java_options(b: &Blueprint, word: &str) -> Value {
    let line = |properties: &Properties| {
        properties.iter().map(|(name, value)| format!("-D{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let role = |part: &Part| line(&part.properties);
    let mut all = common(b);
    all.extend(b.properties.clone());
    let mut data = Properties::new();
    data.insert(format!("{word}_JAVA_OPTS"), line(&all));
    data.insert(format!("{word}_MASTER_JAVA_OPTS"), role(&b.master));
    data.insert(format!("{word}_WORKER_JAVA_OPTS"), role(&b.worker));
    data.insert(format!("{word}_FUSE_JAVA_OPTS"), role(&b.fuse));
    json!(data)
}

/// Properties that Fluid sets for Alluxio and GooseFS.
fn common(b: &Blueprint) -> Properties {
    let prefix = b.flavor.prefix();
    let mut all = Properties::new();
    let mut set = |name: &str, value: String| all.insert(format!("{prefix}{name}"), value);
    // PR #3281: left at its default, three masters were three clusters of one.
    let embedded = b.embedded() && !planted(Bug::JournalLeftLocal);
    set("master.journal.type", if embedded { "EMBEDDED" } else { "UFS" }.into());
    set("master.journal.folder", JOURNAL.into());
    set("master.rpc.port", b.ports.master_rpc.to_string());
    set("master.web.port", b.ports.master_web.to_string());
    set("master.rpc.addresses", addresses(b, b.ports.master_rpc));
    if embedded {
        set("master.embedded.journal.port", b.ports.master_embedded.to_string());
        set("master.embedded.journal.addresses", addresses(b, b.ports.master_embedded));
    }
    set("worker.rpc.port", b.ports.worker_rpc.to_string());
    set("worker.web.port", b.ports.worker_web.to_string());
    set("worker.tieredstore.levels", b.tiers.levels.len().to_string());
    for (i, level) in b.tiers.levels.iter().enumerate() {
        let (paths, quotas): (Vec<_>, Vec<_>) =
            level.dirs().into_iter().map(|(path, bytes)| (tier_dir(b, &path), bytes.to_string())).unzip();
        let (high, low) = level.watermarks();
        let mut set = |name: &str, value: String| set(&format!("worker.tieredstore.level{i}.{name}"), value);
        set("alias", medium(level.mediumtype).into());
        set("dirs.path", paths.join(","));
        set("dirs.quota", quotas.join(","));
        set("dirs.mediumtype", vec![medium(level.mediumtype); paths.len()].join(","));
        set("watermark.high.ratio", ratio(high));
        set("watermark.low.ratio", ratio(low));
    }
    all
}

/// Sections of JindoFS's file: what is common, the masters, the workers.
fn jindo_file(b: &Blueprint) -> String {
    let line = |(name, value): (&String, &String)| format!("{name} = {value}\n");
    let section = |name: &str, mut properties: Properties, part: &Part| {
        properties.extend(b.properties.clone());
        properties.extend(part.properties.clone());
        format!("[{name}]\n{}", properties.iter().map(line).collect::<String>())
    };
    let namespaces = addresses(b, b.ports.master_rpc);
    let pair = |name: &str, value: String| (name.to_string(), value);
    let mut masters = Properties::from([
        pair("namespace.rpc.port", b.ports.master_rpc.to_string()),
        pair("namespace.backend.type", if b.embedded() { "raft" } else { "rocksdb" }.into()),
        pair("namespace.meta-dir", meta_dir(b)),
    ]);
    if b.embedded() {
        let port = b.ports.master_embedded;
        let members: Vec<_> = b.master_pods().iter().map(|pod| format!("{pod}:{port}:0")).collect();
        masters.insert("namespace.backend.raft.initial-conf".into(), members.join(","));
    }
    let dirs = b.tiers.levels.iter().flat_map(|level| level.dirs());
    let (paths, quotas): (Vec<_>, Vec<_>) = dirs.map(|(path, bytes)| (tier_dir(b, &path), bytes.to_string())).unzip();
    let (high, low) = b.tiers.levels.first().map_or((1_000_000, 1_000_000), |level| level.watermarks());
    let workers = Properties::from([
        pair("storage.rpc.port", b.ports.worker_rpc.to_string()),
        pair("storage.data-dirs", paths.join(",")),
        pair("storage.data-dirs.capacities", quotas.join(",")),
        pair("storage.watermark.high.ratio", ratio(high)),
        pair("storage.watermark.low.ratio", ratio(low)),
        pair("storage.namespaces", namespaces.clone()),
    ]);
    let clients = Properties::from([pair("fs.jindofsx.namespace.rpc.address", namespaces)]);
    [
        section("jindofsx-namespace", masters, &b.master),
        section("jindofsx-storage", workers, &b.worker),
        section("jindofsx-client", clients, &b.fuse),
    ]
    .concat()
}

/// Where a JindoFS master keeps its metadata unless the user says else: on the first tier, so on the cache's own medium.
fn meta_dir(b: &Blueprint) -> String {
    let first = b.tiers.levels.first().and_then(|level| level.dirs().into_iter().next());
    let (path, _) = first.unwrap_or_default();
    format!("{}/server", tier_dir(b, &path))
}

fn addresses(b: &Blueprint, port: u16) -> String {
    b.master_pods().iter().map(|pod| format!("{pod}:{port}")).collect::<Vec<_>>().join(",")
}

const fn medium(medium: MediumType) -> &'static str {
    match medium {
        MediumType::Mem => "MEM",
        MediumType::Ssd => "SSD",
        MediumType::Hdd => "HDD",
    }
}

/// `950000` millionths as `0.95`.
fn ratio(millionths: u32) -> String {
    let digits = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    digits.trim_end_matches('0').trim_end_matches('.').into()
}
