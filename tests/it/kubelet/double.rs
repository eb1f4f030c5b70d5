//! A machine without containers: a runtime and a mount table that do what images are told to play.
//!
//! Everything follows from the host's clocks and from what was asked, so that containers go on, end and are found again
//! while no kubelet runs. A container's fate is computed when it is looked at; no task stands behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use stormglass::base::lock;
use stormglass::kube::csi::host::{FileBytes, Mounted, VolumeHost};
use stormglass::kube::csi::mount::{Mount, MountError, MountTable};
use stormglass::kube::runtime::*;
use stormglass::kube::volume::cloud::MemoryCloud;
use stormglass::oracle::cluster::Running as Process;
use stormglass::rt::chan::watch;
use stormglass::rt::time::{Duration, Instant, sleep, timeout, wall};

/// What the containers of an image do.
#[derive(Debug, Clone, Default)]
pub struct Play {
    /// Time to pull it.
    pub pull: Duration,
    /// Pulls that fail first.
    pub pull_fails: u32,
    /// Ends by itself after that, with the code.
    pub exits: Option<(Duration, i32)>,
    /// SIGTERM ends it after that; `None` ignores SIGTERM.
    pub term: Option<Duration>,
    /// Probes fail from then to then, counted from its start.
    pub sick: Option<(Duration, Duration)>,
    /// Bytes of memory that it takes each second.
    pub eats: u64,
}

struct Running {
    record: ContainerRecord,
    spec: ContainerSpec,
    since: Instant,
    play: Play,
    /// When and how it ends, if nothing else happens.
    fate: Option<(Instant, i32, ExitReason)>,
}

#[derive(Default)]
struct State {
    plays: BTreeMap<String, Play>,
    images: BTreeSet<String>,
    fails: BTreeMap<String, u32>,
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<Running>,
    /// Seconds of the host's clock and what was done.
    log: Vec<(u64, String)>,
    table: MountTable,
    devices: BTreeSet<String>,
    /// Where disks are attached, if not by hand: the cloud, and what it calls this machine.
    cloud: Option<(Arc<MemoryCloud>, String)>,
    files: BTreeMap<String, BTreeMap<String, FileBytes>>,
    dirs: BTreeSet<String>,
    /// Is unmounted right after the next look at the table.
    race: Option<String>,
    next: u32,
}

/// The machine of one node. Clones are the same machine.
#[derive(Clone)]
pub struct Double {
    node: u8,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u32>,
}

fn origin() -> Instant {
    Instant::now() - Duration::MAX
}

impl Double {
    pub fn new(node: u8, plays: &[(&str, Play)]) -> Self {
        let plays = plays.iter().map(|(image, play)| ((*image).to_owned(), play.clone())).collect();
        let state = State { plays, ..State::default() };
        Self { node, state: Arc::new(Mutex::new(state)), changed: watch::channel(0).0 }
    }

    /// What was done, with seconds of the host's clock.
    pub fn log(&self) -> Vec<(u64, String)> {
        lock(&self.state).log.clone()
    }

    /// Seconds at which containers called `name` were started.
    pub fn starts(&self, name: &str) -> Vec<u64> {
        self.log().iter().filter(|(_, what)| *what == format!("start {name}")).map(|(at, _)| *at).collect()
    }

    /// Containers that were started and have no fate: they run until somebody ends them.
    pub fn immortal(&self) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let alive = state.containers.iter().filter(|r| r.fate.is_none());
        alive.map(|r| (r.spec.pod.uid.clone(), r.spec.name.clone())).collect()
    }

    /// The processes that nobody has ended yet.
    pub fn processes(&self) -> Vec<Process> {
        let state = lock(&self.state);
        let alive = state.containers.iter().filter(|r| r.fate.is_none());
        let process = |r: &Running| Process {
            id: r.record.id.0.clone(),
            pod: r.spec.pod.to_string(),
            uid: r.spec.pod.uid.clone(),
            container: r.spec.name.clone(),
            node: format!("node-{}", self.node),
        };
        alive.map(process).collect()
    }

    pub fn attach(&self, device: &str, there: bool) {
        let mut state = lock(&self.state);
        if there {
            state.devices.insert(device.into())
        } else {
            state.devices.remove(device)
        };
    }

    /// Devices are those that the cloud has attached to `machine`.
    pub fn in_cloud(&self, cloud: Arc<MemoryCloud>, machine: &str) {
        lock(&self.state).cloud = Some((cloud, machine.into()));
    }

    /// Changes the mount table, as the kernel or another program would.
    pub fn kernel<R>(&self, change: impl FnOnce(&mut MountTable) -> R) -> R {
        change(&mut lock(&self.state).table)
    }

    /// Unmounts `target` as soon as somebody has looked at the mount table.
    pub fn unmount_after_a_look(&self, target: &str) {
        lock(&self.state).race = Some(target.into());
    }

    pub fn table(&self) -> MountTable {
        lock(&self.state).table.clone()
    }

    pub fn spec(&self, name: &str) -> Option<ContainerSpec> {
        lock(&self.state).containers.iter().rfind(|r| r.spec.name == name).map(|r| r.spec.clone())
    }

    fn say(&self, what: String) {
        let at = Instant::now().duration_since(origin()).as_secs();
        lock(&self.state).log.push((at, what));
    }

    fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Writes down the ends that have come.
    fn settle(state: &mut State) {
        let now = Instant::now();
        for running in state.containers.iter_mut().filter(|r| r.record.exit.is_none()) {
            if let Some((at, code, reason)) = running.fate.filter(|(at, ..)| *at <= now) {
                let finished = wall().saturating_sub(now.duration_since(at));
                running.record.exit = Some(Exit { code, reason, finished, message: String::new() });
            }
        }
    }

    /// Whether the latest container at this address or id is well.
    fn is_sick(state: &State, want: impl Fn(&Running) -> bool) -> Option<bool> {
        let running = state.containers.iter().rfind(|r| r.record.exit.is_none() && want(r))?;
        let up = running.since.elapsed();
        Some(running.play.sick.is_some_and(|(from, to)| (from..to).contains(&up)))
    }
}

fn end(fate: &mut Option<(Instant, i32, ExitReason)>, at: Instant, code: i32) {
    let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
    if fate.as_ref().is_none_or(|(before, ..)| at < *before) {
        *fate = Some((at, code, reason));
    }
}

impl ContainerRuntime for Double {
    fn list(&self) -> Answer<'_, Vec<SandboxStatus>> {
        Box::pin(async {
            let mut state = lock(&self.state);
            Self::settle(&mut state);
            let records = |s: &SandboxStatus| {
                let of = state.containers.iter().filter(|r| r.spec.sandbox == s.sandbox.id);
                SandboxStatus { containers: of.map(|r| r.record.clone()).collect(), ..s.clone() }
            };
            Ok(state.sandboxes.iter().map(records).collect())
        })
    }

    fn run_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Sandbox> {
        Box::pin(async move {
            let mut state = lock(&self.state);
            let same = |s: &&SandboxStatus| s.ready && s.sandbox.pod == spec.pod && s.sandbox.attempt == spec.attempt;
            if let Some(there) = state.sandboxes.iter().find(same) {
                return Ok(there.sandbox.clone());
            }
            state.next += 1;
            let ip = if spec.host_network { [10, 0, 0, self.node] } else { [10, 1, self.node, state.next as u8] };
            let id = SandboxId(format!("sandbox-{}", state.next));
            let sandbox = Sandbox { id, pod: spec.pod, attempt: spec.attempt, ip: IpAddr::from(Ipv4Addr::from(ip)) };
            state.sandboxes.push(SandboxStatus { sandbox: sandbox.clone(), ready: true, containers: Vec::new() });
            Ok(sandbox)
        })
    }

    fn stop_sandbox(&self, id: SandboxId) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut state = lock(&self.state);
            let now = Instant::now();
            state.sandboxes.iter_mut().filter(|s| s.sandbox.id == id).for_each(|s| s.ready = false);
            state.containers.iter_mut().filter(|r| r.spec.sandbox == id).for_each(|r| end(&mut r.fate, now, 137));
            drop(state);
            self.bump();
            Ok(())
        })
    }

    fn remove_sandbox(&self, id: SandboxId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.stop_sandbox(id.clone()).await?;
            let mut state = lock(&self.state);
            state.sandboxes.retain(|s| s.sandbox.id != id);
            state.containers.retain(|r| r.spec.sandbox != id);
            Ok(())
        })
    }

    fn images(&self) -> Answer<'_, Vec<Image>> {
        Box::pin(async {
            let state = lock(&self.state);
            Ok(state.images.iter().map(|name| Image { name: name.clone(), size: 1 << 20 }).collect())
        })
    }

    fn pull_image(&self, name: String) -> Answer<'_, Image> {
        Box::pin(async move {
            let play = lock(&self.state).plays.get(&name).cloned();
            let Some(play) = play else {
                return Err(RuntimeError::Pull(format!("failed to resolve reference \"{name}\": not found")));
            };
            if !lock(&self.state).images.contains(&name) {
                sleep(play.pull).await;
                let mut state = lock(&self.state);
                let failed = state.fails.entry(name.clone()).or_default();
                if *failed < play.pull_fails {
                    *failed += 1;
                    return Err(RuntimeError::Pull("registry: i/o timeout".into()));
                }
                state.images.insert(name.clone());
            }
            Ok(Image { name, size: 1 << 20 })
        })
    }

    fn start_container(&self, spec: ContainerSpec) -> Answer<'_, ContainerId> {
        Box::pin(async move {
            sleep(Duration::from_millis(50)).await;
            self.say(format!("start {}", spec.name));
            let mut state = lock(&self.state);
            if !state.sandboxes.iter().any(|s| s.sandbox.id == spec.sandbox && s.ready) {
                return Err(RuntimeError::NotFound(spec.sandbox.0));
            }
            state.next += 1;
            let id = ContainerId(format!("containerd://{}-{}", self.node, state.next));
            let play = state.plays.get(&spec.image).cloned().unwrap_or_default();
            let now = Instant::now();
            let mut fate = None;
            if let Some((after, code)) = play.exits {
                end(&mut fate, now + after, code);
            }
            if let Some(limit) = spec.resources.memory_limit.filter(|_| play.eats > 0) {
                let at = now + Duration::from_secs(limit / play.eats);
                if fate.is_none_or(|(before, ..)| at < before) {
                    fate = Some((at, 137, ExitReason::OomKilled));
                }
            }
            let record = ContainerRecord {
                id: id.clone(),
                name: spec.name.clone(),
                attempt: spec.attempt,
                image: spec.image.clone(),
                started: wall(),
                exit: None,
            };
            state.containers.push(Running { record, spec, since: now, play, fate });
            Ok(id)
        })
    }

    fn wait(&self, id: ContainerId) -> Answer<'_, Exit> {
        Box::pin(async move {
            let mut changed = self.changed.subscribe();
            loop {
                let pause = {
                    let mut state = lock(&self.state);
                    Self::settle(&mut state);
                    let found = state.containers.iter().find(|r| r.record.id == id);
                    let running = found.ok_or_else(|| RuntimeError::NotFound(id.0.clone()))?;
                    if let Some(exit) = &running.record.exit {
                        return Ok(exit.clone());
                    }
                    running.fate.map(|(at, ..)| at.duration_since(Instant::now()))
                };
                let _ = timeout(pause.unwrap_or(Duration::from_secs(3600)), changed.changed()).await;
            }
        })
    }

    fn signal(&self, id: ContainerId, signal: Signal) -> Answer<'_, ()> {
        Box::pin(async move {
            let found = {
                let mut state = lock(&self.state);
                Self::settle(&mut state);
                let running = state.containers.iter_mut().find(|r| r.record.id == id && r.record.exit.is_none());
                running.map(|running| {
                    let now = Instant::now();
                    match (signal, running.play.term) {
                        (Signal::Kill, _) => end(&mut running.fate, now, 137),
                        (Signal::Term, Some(after)) => end(&mut running.fate, now + after, 143),
                        (Signal::Term, None) => {}
                    }
                    running.spec.name.clone()
                })
            };
            if let Some(name) = found {
                self.say(format!("{signal:?} {name}"));
            }
            self.bump();
            Ok(())
        })
    }

    fn exec(&self, id: ContainerId, command: Vec<String>) -> Answer<'_, ExecOutput> {
        Box::pin(async move {
            let sick = Self::is_sick(&lock(&self.state), |r| r.record.id == id);
            let sick = sick.ok_or_else(|| RuntimeError::NotFound(id.0.clone()))?;
            Ok(ExecOutput { code: i32::from(sick), stdout: command.join("|") + "\n", stderr: "warned\n".into() })
        })
    }

    fn http_get(&self, request: HttpGet) -> Answer<'_, u16> {
        Box::pin(async move {
            let state = lock(&self.state);
            let at = |s: &&SandboxStatus| s.sandbox.ip == request.ip;
            let sandbox = state.sandboxes.iter().find(at).map(|s| s.sandbox.id.clone());
            match Self::is_sick(&state, |r| Some(&r.spec.sandbox) == sandbox.as_ref()) {
                Some(false) => Ok(200),
                Some(true) => Ok(503),
                None => Err(RuntimeError::Connect("connect: connection refused".into())),
            }
        })
    }

    fn tcp_connect(&self, ip: IpAddr, port: u16) -> Answer<'_, ()> {
        Box::pin(async move {
            let request = HttpGet { ip, port, path: "/".into(), headers: Vec::new() };
            self.http_get(request).await.map(drop)
        })
    }

    /// Three lines, the container's name on the node in each.
    fn logs(&self, id: ContainerId, last: Option<usize>) -> Answer<'_, String> {
        let first = 4 - last.unwrap_or(3).min(3);
        Box::pin(async move { Ok((first..4).map(|n| format!("{id} line {n}\n")).collect()) })
    }
}

impl VolumeHost for Double {
    fn mounts(&self) -> Mounted<'_, Vec<(Mount, bool)>> {
        Box::pin(async {
            let mut state = lock(&self.state);
            let table = &state.table;
            let seen = table.mounts().iter().map(|m| (m.clone(), table.answers(&m.place.fs))).collect();
            if let Some(target) = state.race.take() {
                state.table.unmount(&target)?;
            }
            Ok(seen)
        })
    }

    fn mount_device(&self, device: String, target: String, read_only: bool) -> Mounted<'_, ()> {
        Box::pin(async move {
            let mut state = lock(&self.state);
            let attached = state.cloud.as_ref().is_some_and(|(cloud, machine)| {
                cloud.with(|d, now| d.disks(now).get(&device).is_some_and(|d| d.attached.as_ref() == Some(machine)))
            });
            if !attached && !state.devices.contains(&device) {
                return Err(MountError::NotFound(device));
            }
            let fs = stormglass::kube::csi::mount::FileSystem::Device(device);
            state.table.mount(fs, &target, read_only);
            Ok(())
        })
    }

    fn mount_tmpfs(&self, target: String, limit: Option<u64>) -> Mounted<'_, ()> {
        Box::pin(async move {
            lock(&self.state).table.mount_tmpfs(&target, limit);
            Ok(())
        })
    }

    fn bind(&self, source: String, target: String, read_only: bool) -> Mounted<'_, ()> {
        Box::pin(async move { lock(&self.state).table.bind(&source, &target, read_only).map(drop) })
    }

    fn unmount(&self, target: String) -> Mounted<'_, ()> {
        Box::pin(async move { lock(&self.state).table.unmount(&target) })
    }

    fn make_dir(&self, path: String) -> Mounted<'_, ()> {
        Box::pin(async move {
            let parents = path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_owned());
            lock(&self.state).dirs.extend(parents.chain([path.clone()]));
            Ok(())
        })
    }

    fn exists(&self, path: String) -> Mounted<'_, bool> {
        Box::pin(async move { Ok(lock(&self.state).dirs.contains(&path)) })
    }

    fn remove_tree(&self, path: String) -> Mounted<'_, ()> {
        Box::pin(async move {
            let mut state = lock(&self.state);
            let within = |other: &str| stormglass::kube::csi::mount::is_within(other, &path);
            if state.table.mounts().iter().any(|m| within(&m.target)) {
                return Err(MountError::Busy(path));
            }
            state.dirs.retain(|dir| !within(dir));
            state.files.retain(|dir, _| !within(dir));
            Ok(())
        })
    }

    fn write_files(&self, dir: String, files: BTreeMap<String, FileBytes>) -> Mounted<'_, ()> {
        Box::pin(async move {
            lock(&self.state).files.insert(dir, files);
            Ok(())
        })
    }
}
