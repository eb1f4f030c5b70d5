//! The cache's own images: what `alluxio/alluxio`, `goosefs/goosefs` and `jindofs/smartdata` run, told by their arguments.
//!
//! The stack is one; a flavor is a dialect of its configuration. A container reads what its chart gave it, environment or
//! file, and starts the same masters, workers and fuses that run for real. Everything that no chart sets comes from the
//! scenario's parameters, which stand for the defaults of the image.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::properties::Properties;
use super::{Images, Launch, Launched};
use crate::kube::fluid::chart::JOURNAL_BACKUP;
use crate::kube::fluid::flavor::Flavor;
use crate::rt::fs;
use crate::rt::{Either, select2, signal};
use crate::sim::cluster::{client_options, master_config, web_options, worker_tuning};
use crate::sim::kubernetes::fuse_server;
use crate::sim::kubernetes::machine::{Part, Spot};
use crate::stack::client::ClientOptions;
use crate::stack::fuse::FuseOptions;
use crate::stack::master::raft::{NodeId, Peer};
use crate::stack::master::{Master, MasterConfig};
use crate::stack::observe::Observer;
use crate::stack::ufs::Stores;
use crate::stack::wire::{Medium, WorkerAddress};
use crate::stack::worker::Worker;
use crate::stack::worker::config::WorkerConfig;
use crate::stack::worker::store::plan::Level;
use crate::stack::worker::store::{LevelConfig, blocks_dir};

/// Election timeout of a master that is alone: Alluxio overrides its defaults with 500 ms to 1 s.
const ALONE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(1));

/// Which cache an image is of.
pub fn flavor(image: &str) -> Option<Flavor> {
    let name = image.rsplit('/').next()?.split([':', '@']).next()?;
    match name {
        "alluxio" => Some(Flavor::Alluxio),
        "goosefs" => Some(Flavor::GooseFs),
        "smartdata" => Some(Flavor::Jindo),
        _ => None,
    }
}

/// A role of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Master,
    Worker,
    Fuse,
    /// Alluxio's job service, which has nothing to do here.
    Job,
}

fn role(args: &[String]) -> Option<Role> {
    match args.first()?.as_str() {
        "master-only" | "master" | "namespace" => Some(Role::Master),
        "worker-only" | "worker" | "storage" => Some(Role::Worker),
        "fuse" => Some(Role::Fuse),
        "job-master" | "job-worker" => Some(Role::Job),
        _ => None,
    }
}

/// Starts a container of the cache.
///
/// # Errors
/// It has no such role, or needs the node's network.
pub fn launch(images: &Arc<Images>, flavor: Flavor, launch: &Launch) -> Result<Launched, String> {
    let words = launch.words();
    let role = role(&words).ok_or_else(|| format!("exec: {:?}: no such role of the cache", words.first()))?;
    let (images, launch) = (images.clone(), launch.clone());
    Ok(match role {
        Role::Master => {
            let observer = Arc::new(Observer::default());
            let seen = observer.clone();
            let program = async move { told(&launch.clone(), master(images, flavor, launch, seen).await) };
            Launched { part: Part::Master(observer), program: Box::pin(program) }
        }
        Role::Worker => {
            let store = Arc::new(OnceLock::new());
            let seen = store.clone();
            let program = async move { told(&launch.clone(), worker(images, flavor, launch, seen).await) };
            Launched { part: Part::Worker(store), program: Box::pin(program) }
        }
        Role::Fuse => Launched {
            part: Part::Fuse,
            program: Box::pin(async move { told(&launch.clone(), fuse(images, flavor, launch).await) }),
        },
        Role::Job => Launched { part: Part::Other, program: Box::pin(super::until_terminated()) },
    })
}

fn told(launch: &Launch, ended: Result<(), String>) -> i32 {
    match ended {
        Ok(()) => 0,
        Err(why) => {
            launch.log.write(&format!("{why}\n"));
            tracing::error!(%why, "the program ends");
            1
        }
    }
}

impl Launch {
    /// The properties of a role.
    async fn properties(&self, flavor: Flavor, role: &str, section: &str) -> Result<Properties, String> {
        if flavor != Flavor::Jindo {
            return Ok(Properties::from_java(&self.spec.env, flavor.word(), role));
        }
        let path = self.real("/etc/jindofs/jindofsx.cfg")?;
        let bytes = fs::read(&path).await.map_err(|error| format!("/etc/jindofs/jindofsx.cfg: {error}"))?;
        Properties::from_jindo(&String::from_utf8_lossy(&bytes), section)
    }

    /// The path of the node's disk behind a path of the container.
    pub(in crate::sim::kubernetes) fn real(&self, path: &str) -> Result<String, String> {
        match self.machine.find(&self.on_node(path)) {
            Ok(Spot::Disk(path)) => Ok(path),
            Ok(Spot::Fuse(..)) => Err(format!("{path} is a fuse")),
            Err(errno) => Err(format!("{path}: {errno}")),
        }
    }

    fn listen(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.machine.id.ip.into(), port)
    }

    /// The masters' rpc addresses, for the programs that are no masters.
    pub(super) async fn masters(&self, flavor: Flavor) -> Result<Vec<String>, String> {
        let properties = self.properties(flavor, "fuse", "jindofsx-client").await?;
        let name = if flavor == Flavor::Jindo { "fs.jindofsx.namespace.rpc.address" } else { "master.rpc.addresses" };
        let masters = properties.list(name);
        if !masters.is_empty() {
            return Ok(masters);
        }
        // One master is named by its host and port.
        match (properties.get("master.hostname"), properties.get("master.rpc.port")) {
            (Some(host), Some(port)) => Ok(vec![format!("{host}:{port}")]),
            _ => Err(format!("property {name} is not set")),
        }
    }
}

/// What a master's configuration comes to.
struct Seat {
    id: NodeId,
    members: BTreeMap<NodeId, Peer>,
    rpc: u16,
    journal: u16,
    dir: String,
}

/// The place of the master on `host` (its pod's name) among `rpcs`, whose journals are at `journals`; alone without those.
fn seat(host: &str, rpc: u16, rpcs: &[String], journals: &[String], dir: String) -> Result<Seat, String> {
    let host_of = |address: &str| address.split(':').next().unwrap_or_default().to_owned();
    let port_of = |address: &str| address.split(':').nth(1).and_then(|port| port.parse().ok());
    let peer = |rpc: &String, journal: &str| Peer { rpc: rpc.as_str().into(), journal: journal.into() };
    if journals.is_empty() {
        let own = rpcs.first().ok_or("no address of a master is set")?;
        // Nobody else is in the group: whatever port is free will do.
        let members = BTreeMap::from([(1, peer(own, &format!("{}:0", host_of(own))))]);
        return Ok(Seat { id: 1, members, rpc, journal: 0, dir });
    }
    let own = journals.iter().position(|address| host_of(address) == host);
    let own = own.ok_or_else(|| format!("{host} is none of the masters {}", journals.join(",")))?;
    let journal = port_of(&journals[own]).ok_or_else(|| format!("{} has no port", journals[own]))?;
    let pair = |(i, (rpc, journal)): (usize, (&String, &String))| {
        let journal = journal.split(':').take(2).collect::<Vec<_>>().join(":");
        (i as NodeId + 1, peer(rpc, &journal))
    };
    let members = rpcs.iter().zip(journals).enumerate().map(pair).collect();
    Ok(Seat { id: own as NodeId + 1, members, rpc, journal, dir })
}

async fn seat_of(launch: &Launch, flavor: Flavor) -> Result<Seat, String> {
    let own = &launch.spec.pod.name;
    let properties = launch.properties(flavor, "master", "jindofsx-namespace").await?;
    if flavor == Flavor::Jindo {
        let rpcs = launch.masters(flavor).await?;
        let journals = properties.list("namespace.backend.raft.initial-conf");
        let dir = properties.need("namespace.meta-dir")?.to_owned();
        return seat(own, properties.parse("namespace.rpc.port")?, &rpcs, &journals, dir);
    }
    let rpcs = properties.list("master.rpc.addresses");
    let embedded = properties.get("master.journal.type") == Some("EMBEDDED");
    let journals = if embedded { properties.list("master.embedded.journal.addresses") } else { Vec::new() };
    let dir = properties.need("master.journal.folder")?.to_owned();
    seat(own, properties.parse("master.rpc.port")?, &rpcs, &journals, dir)
}

async fn master(images: Arc<Images>, flavor: Flavor, launch: Launch, observer: Arc<Observer>) -> Result<(), String> {
    let seat = seat_of(&launch, flavor).await?;
    let dir = launch.real(&seat.dir)?;
    let alone = seat.members.len() == 1;
    let bind = (launch.listen(seat.rpc), launch.listen(seat.journal));
    let mut config = master_config(&images.parameters, MasterConfig::new(seat.id, seat.members, bind, dir));
    if alone {
        config.raft.heartbeat = ALONE.0 / 4;
        (config.raft.election_min, config.raft.election_max) = ALONE;
    }
    if let Some(file) = launch.spec.env.iter().find(|env| env.name == JOURNAL_BACKUP) {
        config.init_from_backup = Some(launch.real(&file.value)?);
    }
    let stop = async {
        if signal::terminated().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    launch.log.write(&format!("{} master starts on {}\n", flavor.word(), bind.0));
    let master = Master::new(config, Arc::new(Stores::new(web_options())), observer);
    master.run(stop).await.map_err(|error| error.to_string())
}

fn java_levels(properties: &Properties) -> Result<Vec<(Level, Vec<String>)>, String> {
    let count: usize = properties.parse("worker.tieredstore.levels")?;
    let level = |i: usize| {
        let name = |rest: &str| format!("worker.tieredstore.level{i}.{rest}");
        let medium = match properties.need(&name("alias"))? {
            "MEM" => Medium::Mem,
            "SSD" => Medium::Ssd,
            "HDD" => Medium::Hdd,
            other => return Err(format!("`{other}` is no medium")),
        };
        let level = Level {
            medium,
            high_permille: properties.permille(&name("watermark.high.ratio"))?,
            low_permille: properties.permille(&name("watermark.low.ratio"))?,
            quotas: quotas(&properties.list(&name("dirs.quota")))?,
        };
        Ok((level, properties.list(&name("dirs.path"))))
    };
    (0..count).map(level).collect()
}

fn quotas(words: &[String]) -> Result<Vec<u64>, String> {
    words.iter().map(|word| word.parse().map_err(|_| format!("`{word}` is no number of bytes"))).collect()
}

/// JindoFS's file does not say what medium a directory is on; the path does.
fn jindo_levels(properties: &Properties) -> Result<Vec<(Level, Vec<String>)>, String> {
    let paths = properties.list("storage.data-dirs");
    let memory = paths.iter().any(|path| path.starts_with("/dev/shm"));
    let level = Level {
        medium: if memory { Medium::Mem } else { Medium::Ssd },
        high_permille: properties.permille("storage.watermark.high.ratio")?,
        low_permille: properties.permille("storage.watermark.low.ratio")?,
        quotas: quotas(&properties.list("storage.data-dirs.capacities"))?,
    };
    Ok(vec![(level, paths)])
}

async fn worker(
    images: Arc<Images>,
    flavor: Flavor,
    launch: Launch,
    store: Arc<OnceLock<Vec<String>>>,
) -> Result<(), String> {
    let properties = launch.properties(flavor, "worker", "jindofsx-storage").await?;
    let (port, levels) = match flavor {
        Flavor::Jindo => (properties.parse("storage.rpc.port")?, jindo_levels(&properties)?),
        Flavor::Alluxio | Flavor::GooseFs => (properties.parse("worker.rpc.port")?, java_levels(&properties)?),
    };
    let mut config_levels = Vec::new();
    for (level, paths) in levels {
        let paths = paths.iter().map(|path| launch.real(path)).collect::<Result<_, _>>()?;
        config_levels.push(LevelConfig { level, paths });
    }
    let dirs = config_levels.iter().flat_map(|level: &LevelConfig| &level.paths);
    let _ = store.set(dirs.map(|dir| blocks_dir(dir)).collect());
    let listen = launch.listen(port);
    let config = WorkerConfig {
        address: WorkerAddress(listen.to_string()),
        listen,
        masters: launch.masters(flavor).await?,
        levels: config_levels,
        tuning: worker_tuning(&images.parameters),
        web: web_options(),
    };
    launch.log.write(&format!("{} worker starts on {listen}\n", flavor.word()));
    let run = async { Worker::run(config).await.map_err(|error| error.to_string()) };
    match select2(run, signal::terminated()).await {
        Either::Left(ended) => ended.map(drop),
        Either::Right(_) => Ok(()),
    }
}

/// How programs of this container reach the masters.
///
/// # Errors
/// The container does not know them.
pub async fn client_of(images: &Images, flavor: Flavor, launch: &Launch) -> Result<ClientOptions, String> {
    Ok(client_options(&images.parameters, launch.masters(flavor).await?))
}

async fn fuse(images: Arc<Images>, flavor: Flavor, launch: Launch) -> Result<(), String> {
    let client = client_of(&images, flavor, &launch).await?;
    let words = launch.words();
    let point = words.get(1).ok_or("no mount point is given")?;
    let parameters = &images.parameters;
    let options = FuseOptions {
        block_size: parameters.master.block_size.get(),
        local_host: Some(launch.machine.id.ip.to_string()),
        attr_bound: parameters.client.attribute_cache.0,
        ..FuseOptions::default()
    };
    let target = launch.on_node(point);
    launch.log.write(&format!("{} fuse mounts {point}\n", flavor.word()));
    fuse_server::serve(&images, &launch, &target, client, options).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_master_knows_its_place_by_its_name() {
        let rpcs = words(&["h-master-0:26000", "h-master-1:26000", "h-master-2:26000"]);
        let journals = words(&["h-master-0:26002:0", "h-master-1:26002:0", "h-master-2:26002:0"]);
        let seat = seat("h-master-1", 26000, &rpcs, &journals, "/journal".into()).expect("it is one of them");
        assert_eq!((seat.id, seat.journal, seat.members.len()), (2, 26002, 3));
        assert_eq!(&*seat.members[&3].journal, "h-master-2:26002");
        let error = super::seat("other", 1, &rpcs, &journals, String::new()).err().expect("a stranger");
        assert!(error.starts_with("other is none of the masters"), "{error}");
    }

    #[test]
    fn a_master_without_others_is_a_group_of_one() {
        let seat = seat("d-0", 8101, &words(&["d-0:8101"]), &[], "/meta".into()).expect("alone");
        assert_eq!((seat.id, seat.journal, seat.members.len()), (1, 0, 1));
    }

    #[test]
    fn images_of_the_charts_are_known_whatever_their_registry() {
        for (image, want) in [
            ("alluxio/alluxio", Some(Flavor::Alluxio)),
            ("registry.example:5000/goosefs/goosefs:v1", Some(Flavor::GooseFs)),
            ("jindofs/smartdata@sha256:0", Some(Flavor::Jindo)),
            ("nginx", None),
        ] {
            assert_eq!(flavor(image), want, "{image}");
        }
    }
}
