//! The machine as a kubelet's container runtime: sandboxes are names, containers are processes of the node's host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::{Container, Lived, Log, Machine, State, http};
use crate::base::lock;
use crate::kube::csi::mount::FileSystem;
use crate::kube::runtime::{
    Answer, ContainerId, ContainerRecord, ContainerRuntime, ContainerSpec, ExecOutput, Exit, HttpGet, Image,
    RuntimeError, Sandbox, SandboxId, SandboxSpec, SandboxStatus, Signal,
};
use crate::rt::backend::world_now;
use crate::rt::chan::oneshot;
use crate::rt::net::TcpStream;
use crate::rt::time::{sleep, wall};
use crate::rt::{Either, select2};
use crate::sim::kubernetes::desk::{KillOnDrop, Order};
use crate::sim::kubernetes::images::Launch;

/// Bytes that every image is said to have.
const IMAGE_BYTES: u64 = 256 << 20;

fn not_found(id: &ContainerId) -> RuntimeError {
    RuntimeError::NotFound(id.0.clone())
}

impl State {
    fn container(&mut self, id: &ContainerId) -> Option<&mut Container> {
        self.containers.iter_mut().find(|container| container.record.id == *id)
    }
}

impl Machine {
    /// The address of the `n`-th pod with a network of its own: `172.16.{node}.{n}`, as the Alluxio document shows.
    fn pod_ip(&self, n: u32) -> IpAddr {
        let [_, _, high, low] = n.to_be_bytes();
        Ipv4Addr::new(172, 16 + (high % 16), self.id.number, low).into()
    }

    /// What a program in the container sees, for a container that is there.
    fn launch_of(&self, id: &ContainerId) -> Option<Launch> {
        let mut state = lock(&self.state);
        let container = state.container(id)?;
        let (spec, log, own_mounts) = (container.spec.clone(), container.log.clone(), container.own_mounts.clone());
        Some(Launch { machine: self.clone(), id: id.clone(), spec, log, own_mounts })
    }

    /// Ends what runs in the sandboxes that `of` picks.
    fn stop(&self, of: impl Fn(&SandboxId) -> bool) {
        let mut state = lock(&self.state);
        state.sandboxes.iter_mut().filter(|s| of(&s.sandbox.id)).for_each(|s| s.ready = false);
        let running = state.containers.iter().filter(|c| c.runs() && of(&c.spec.sandbox));
        running.filter_map(|c| c.process).for_each(|process| self.desk.leave(Order::Kill(process)));
    }

    /// Puts the container on the list and leaves the order to start it; gives where the answer will be.
    fn enlist(&self, spec: ContainerSpec) -> Result<(ContainerId, oneshot::Receiver<bool>), RuntimeError> {
        let mut state = lock(&self.state);
        if !state.sandboxes.iter().any(|s| s.sandbox.id == spec.sandbox && s.ready) {
            return Err(RuntimeError::NotFound(spec.sandbox.0));
        }
        state.next += 1;
        let id = ContainerId(format!("containerd://{}-{}", self.id.node, state.next));
        let own_mounts = state.table.clone();
        let launch = Launch {
            machine: self.clone(),
            id: id.clone(),
            spec: spec.clone(),
            log: Log::default(),
            own_mounts: own_mounts.clone(),
        };
        let launched = self.images.launch(&launch).map_err(RuntimeError::Start)?;
        let code: Arc<Mutex<Option<i32>>> = Arc::default();
        let (kept, main) = (code.clone(), launched.program);
        let program = Box::pin(async move {
            let ended = main.await;
            *lock(&kept) = Some(ended);
        });
        let record = ContainerRecord {
            id: id.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            started: wall(),
            exit: None,
        };
        let (log, since, part) = (launch.log, world_now(), launched.part);
        let name = format!("{}/{}", spec.pod.name, spec.name);
        let places = spec.mounts.iter().filter_map(|mount| state.table.resolve(&mount.source).ok());
        let volumes = places.filter_map(|place| match place.fs {
            FileSystem::Device(handle) => Some(handle),
            _ => None,
        });
        let volumes = volumes.collect();
        let container = Container {
            record,
            spec,
            process: None,
            part,
            code,
            log,
            own_mounts,
            since,
            until: None,
            oom: false,
            volumes,
        };
        state.containers.push(container);
        drop(state);
        let (tell, told) = oneshot::channel();
        let (machine, own) = (self.clone(), id.clone());
        let started = Box::new(move |process| {
            if let Some(container) = lock(&machine.state).container(&own) {
                container.process = process;
                if process.is_none() {
                    container.ended(world_now());
                }
            }
            machine.bump();
            let _ = tell.send(process.is_some());
        });
        self.desk.leave(Order::Start { host: self.id.host, name, program, started });
        Ok((id, told))
    }
}

impl ContainerRuntime for Machine {
    fn list(&self) -> Answer<'_, Vec<SandboxStatus>> {
        Box::pin(async {
            let state = lock(&self.state);
            let records = |sandbox: &SandboxStatus| {
                let own = state.containers.iter().filter(|c| c.spec.sandbox == sandbox.sandbox.id);
                SandboxStatus { containers: own.map(|c| c.record.clone()).collect(), ..sandbox.clone() }
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
            let ip = if spec.host_network { self.id.ip.into() } else { self.pod_ip(state.next) };
            let id = SandboxId(format!("sandbox-{}", state.next));
            let sandbox = Sandbox { id, pod: spec.pod, attempt: spec.attempt, ip };
            state.sandboxes.push(SandboxStatus { sandbox: sandbox.clone(), ready: true, containers: Vec::new() });
            Ok(sandbox)
        })
    }

    fn stop_sandbox(&self, id: SandboxId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.stop(|sandbox| *sandbox == id);
            Ok(())
        })
    }

    fn remove_sandbox(&self, id: SandboxId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.stop(|sandbox| *sandbox == id);
            // What still runs is forgotten only once it has ended: nothing may run that is not listed.
            let mut changes = self.changes();
            while lock(&self.state).containers.iter().any(|c| c.spec.sandbox == id && c.runs()) {
                let _ = changes.changed().await;
            }
            let mut state = lock(&self.state);
            state.sandboxes.retain(|s| s.sandbox.id != id);
            let (gone, kept) = std::mem::take(&mut state.containers).into_iter().partition(|c| c.spec.sandbox == id);
            state.containers = kept;
            let gone: Vec<Container> = gone;
            state.past.extend(gone.iter().filter(|c| c.process.is_some()).map(Lived::of));
            drop(state);
            self.bump();
            Ok(())
        })
    }

    fn images(&self) -> Answer<'_, Vec<Image>> {
        Box::pin(async {
            let state = lock(&self.state);
            Ok(state.images.iter().map(|name| Image { name: name.clone(), size: IMAGE_BYTES }).collect())
        })
    }

    fn pull_image(&self, name: String) -> Answer<'_, Image> {
        Box::pin(async move {
            if !lock(&self.state).images.contains(&name) {
                sleep(self.times.pull).await;
                if !self.images.known(&name) {
                    let why = format!("failed to resolve reference \"{name}\": {name}: not found");
                    return Err(RuntimeError::Pull(why));
                }
                lock(&self.state).images.insert(name.clone());
            }
            Ok(Image { name, size: IMAGE_BYTES })
        })
    }

    fn start_container(&self, spec: ContainerSpec) -> Answer<'_, ContainerId> {
        Box::pin(async move {
            sleep(self.times.start).await;
            let (id, told) = self.enlist(spec)?;
            match told.await {
                Ok(true) => Ok(id),
                _ => Err(RuntimeError::Unavailable("the machine is going down".into())),
            }
        })
    }

    fn wait(&self, id: ContainerId) -> Answer<'_, Exit> {
        Box::pin(async move {
            let mut changes = self.changes();
            loop {
                if let Some(exit) = lock(&self.state).container(&id).ok_or_else(|| not_found(&id))?.record.exit.clone()
                {
                    return Ok(exit);
                }
                if changes.changed().await.is_err() {
                    return Err(not_found(&id));
                }
            }
        })
    }

    fn signal(&self, id: ContainerId, signal: Signal) -> Answer<'_, ()> {
        Box::pin(async move {
            let process = lock(&self.state).container(&id).filter(|c| c.runs()).and_then(|c| c.process);
            if let Some(process) = process {
                self.desk.leave(match signal {
                    Signal::Term => Order::Terminate(process),
                    Signal::Kill => Order::Kill(process),
                });
            }
            Ok(())
        })
    }

    fn exec(&self, id: ContainerId, command: Vec<String>) -> Answer<'_, ExecOutput> {
        Box::pin(async move {
            let alive = lock(&self.state).container(&id).is_some_and(|c| c.runs() && c.process.is_some());
            let launch = self.launch_of(&id).filter(|_| alive).ok_or_else(|| not_found(&id))?;
            let (tell, told) = oneshot::channel();
            let run = self.images.exec(launch, command);
            let program = Box::pin(async move {
                let output = run.await;
                let _ = tell.send(output);
            });
            let process = self.desk.start(self.id.host, "exec", program).await;
            let process = process.ok_or_else(|| RuntimeError::Unavailable("the machine is going down".into()))?;
            let guard = KillOnDrop::new(&self.desk, process);
            // With the container all that was started in it ends.
            let mut changes = self.changes();
            let gone = async {
                while lock(&self.state).container(&id).is_some_and(|c| c.runs()) {
                    let _ = changes.changed().await;
                }
            };
            match select2(told, gone).await {
                Either::Left(Ok(output)) => {
                    guard.release();
                    Ok(output)
                }
                _ => Ok(ExecOutput { code: 137, stdout: String::new(), stderr: String::new() }),
            }
        })
    }

    fn http_get(&self, request: HttpGet) -> Answer<'_, u16> {
        Box::pin(async move { http::get(&request).await.map_err(RuntimeError::Connect) })
    }

    fn tcp_connect(&self, ip: IpAddr, port: u16) -> Answer<'_, ()> {
        Box::pin(async move {
            let connected = TcpStream::connect(SocketAddr::new(ip, port)).await;
            connected.map(drop).map_err(|error| RuntimeError::Connect(format!("connect: {error}")))
        })
    }

    fn logs(&self, id: ContainerId, last: Option<usize>) -> Answer<'_, String> {
        Box::pin(async move {
            let mut state = lock(&self.state);
            let container = state.container(&id).ok_or_else(|| not_found(&id))?;
            Ok(container.log.read(last))
        })
    }
}
