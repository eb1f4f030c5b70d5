//! Three masters and a worker as real processes on loopback, with their files below one temporary directory.
//!
//! Each process is the test's own binary, started again with its part in the environment, so that killing it is real. Ports
//! lie below the range from which kernels pick ports for outgoing connections: a port stays free while its owner is dead.

use std::collections::BTreeMap;
use std::io::{Read, stdin};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use stormglass::rt::net::TcpListener;
use stormglass::rt::signal::terminated;
use stormglass::rt::time::Duration;
use stormglass::stack::client::{ClientOptions, FileSystemClient, LeaderTimes};
use stormglass::stack::fuse::{Fuse, FuseOptions};
use stormglass::stack::master::raft::{NodeId, Peer};
use stormglass::stack::master::{Master, MasterConfig, RaftTimes};
use stormglass::stack::ufs::{WebOptions, WebStore};
use stormglass::stack::wire::{Medium, WorkerAddress};
use stormglass::stack::worker::Worker;
use stormglass::stack::worker::config::{Tuning, WorkerConfig};
use stormglass::stack::worker::store::LevelConfig;
use stormglass::stack::worker::store::plan::Level;
use tempfile::TempDir;

/// Masters of a group, numbered from 1.
pub const MASTERS: Range<NodeId> = 1..4;
/// Block size of new files, small enough for a file to have several.
pub const BLOCK: u64 = 256 << 10;
/// The longest that one call of a client may take on a busy machine; a good one takes milliseconds.
pub const BUDGET: Duration = Duration::from_secs(60);

const PART: &str = "STORMGLASS_LIVE_PART";
const DIR: &str = "STORMGLASS_LIVE_DIR";
const FIRST_PORT: &str = "STORMGLASS_LIVE_PORT";
/// Where ports are looked for, and how many a group needs: two for each master, one for the worker.
const PORTS: Range<u16> = 20_000..30_000;
const GROUP_PORTS: u16 = 7;

/// Where everything is.
#[derive(Debug, Clone)]
struct Places {
    dir: String,
    first_port: u16,
}

impl Places {
    fn at(&self, nth: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.first_port + nth))
    }

    fn rpc(&self, id: NodeId) -> SocketAddr {
        self.at(id as u16 * 2 - 2)
    }

    fn journal(&self, id: NodeId) -> SocketAddr {
        self.at(id as u16 * 2 - 1)
    }

    fn masters(&self) -> Vec<String> {
        MASTERS.map(|id| self.rpc(id).to_string()).collect()
    }

    fn master(&self, id: NodeId) -> MasterConfig {
        let peer = |id| Peer { rpc: self.rpc(id).to_string().into(), journal: self.journal(id).to_string().into() };
        let members: BTreeMap<NodeId, Peer> = MASTERS.map(|id| (id, peer(id))).collect();
        let bind = (self.rpc(id), self.journal(id));
        let mut config = MasterConfig::new(id, members, bind, format!("{}/master-{id}", self.dir));
        config.raft = RaftTimes {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            ..config.raft
        };
        config.safe_mode = Duration::from_millis(200);
        config
    }

    fn worker(&self) -> WorkerConfig {
        let level = Level { medium: Medium::Ssd, high_permille: 950, low_permille: 700, quotas: vec![64 * BLOCK] };
        let listen = self.at(GROUP_PORTS - 1);
        WorkerConfig {
            address: WorkerAddress(listen.to_string()),
            listen,
            masters: self.masters(),
            levels: vec![LevelConfig { level, paths: vec![format!("{}/worker", self.dir)] }],
            tuning: Tuning { heartbeat: Duration::from_millis(100), leader: quick(), ..Tuning::default() },
            web: WebOptions::default(),
        }
    }
}

/// Looks for leaders at the pace of short elections.
fn quick() -> LeaderTimes {
    LeaderTimes { wait_cap: Duration::from_millis(200), ..LeaderTimes::default() }
}

/// A process of the group; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processes. Dropping it kills them all and removes their files.
pub struct Group {
    test: &'static str,
    places: Places,
    masters: BTreeMap<NodeId, Process>,
    _worker: Process,
    _dir: TempDir,
}

impl Group {
    /// Starts all processes. `test` is the full name of the calling test, which must begin with [`play_part`].
    pub async fn start(test: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { dir: utf8(dir.path()), first_port: free_ports().await };
        let masters = MASTERS.map(|id| (id, start(test, &places, &format!("master {id}"))));
        Self { test, masters: masters.collect(), _worker: start(test, &places, "worker"), places, _dir: dir }
    }

    /// A mount that has seen nothing yet.
    pub fn mount(&self) -> Fuse {
        let mut options = ClientOptions::new(self.places.masters());
        options.leader = quick();
        options.attempt = Duration::from_secs(5);
        options.budget = BUDGET;
        options.wait_cap = Duration::from_millis(200);
        let client = Arc::new(FileSystemClient::new(options));
        let options = FuseOptions { block_size: BLOCK, ..FuseOptions::default() };
        Fuse::new(client, Arc::new(WebStore::new(WebOptions::default())), options)
    }

    /// Rpc address of a master.
    pub fn address(&self, id: NodeId) -> String {
        self.places.rpc(id).to_string()
    }

    /// The master with this rpc address.
    pub fn id(&self, address: &str) -> NodeId {
        MASTERS.clone().find(|id| self.address(*id) == address).unwrap()
    }

    /// SIGKILL. Its files stay.
    pub fn kill(&mut self, id: NodeId) {
        drop(self.masters.remove(&id).unwrap());
    }

    /// Starts a killed master again, on the files that it left.
    pub fn restart(&mut self, id: NodeId) {
        let process = start(self.test, &self.places, &format!("master {id}"));
        assert!(self.masters.insert(id, process).is_none(), "master {id} runs already");
    }

    /// SIGTERM, and how the process then ends.
    #[expect(clippy::disallowed_methods, reason = "std has no call that sends a signal other than SIGKILL")]
    pub fn terminate(&mut self, id: NodeId) -> ExitStatus {
        let mut process = self.masters.remove(&id).unwrap();
        let sent = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
        // `wait` would close it, and the process would take the test for gone.
        let _held = process.0.stdin.take();
        process.0.wait().unwrap()
    }
}

fn utf8(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The first of as many free ports as a group needs. Test processes that run side by side begin at different places.
async fn free_ports() -> u16 {
    let all = PORTS.step_by(usize::from(GROUP_PORTS)).filter(|first| PORTS.contains(&(first + GROUP_PORTS)));
    let all: Vec<u16> = all.collect();
    let begin = std::process::id() as usize % all.len();
    for first in all[begin..].iter().chain(&all[..begin]) {
        let mut bound = Vec::new();
        for port in *first..first + GROUP_PORTS {
            bound.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port).into()).await);
        }
        if bound.len() == usize::from(GROUP_PORTS) {
            return *first;
        }
    }
    panic!("no {GROUP_PORTS} free ports in a row in {PORTS:?}");
}

#[expect(clippy::disallowed_methods, reason = "a real master that can be killed is a real process")]
fn start(test: &str, places: &Places, part: &str) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact"])
        .env(PART, part)
        .env(DIR, &places.dir)
        .env(FIRST_PORT, places.first_port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

/// Runs a master or a worker to its end if this process was started as one.
#[expect(clippy::disallowed_methods, reason = "a process of the group learns its part from its environment")]
pub fn plays_part() -> bool {
    let (Ok(part), Ok(dir), Ok(port)) = (std::env::var(PART), std::env::var(DIR), std::env::var(FIRST_PORT)) else {
        return false;
    };
    // The test holds the other end of standard input: when it goes, however it goes, nobody is left behind.
    std::thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let places = Places { dir, first_port: port.parse().unwrap() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match part.strip_prefix("master ") {
        Some(id) => {
            let config = places.master(id.parse().unwrap());
            let ufs = Arc::new(WebStore::new(WebOptions::default()));
            let master = Master::new(config, ufs, Arc::default());
            runtime.block_on(master.run(async { terminated().await.unwrap() })).unwrap();
        }
        None => runtime.block_on(Worker::run(places.worker())).unwrap(),
    }
    true
}
