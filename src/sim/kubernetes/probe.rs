//! What Fluid's controllers learn of the cache: its own commands, run in the pod of a master.
//!
//! As upstream, everything is asked in the pod that the controller names, always that of master 0: if it is not there,
//! nobody answers although the quorum may be well. The commands are the stack's own client, run on that pod's node.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use super::desk::{Desk, KillOnDrop};
use super::images::{Images, Launch, cache};
use super::machine::{Machine, Part};
use crate::base::Secret;
use crate::base::lock;
use crate::kube::fluid::backup;
use crate::kube::fluid::probe::{Answer, CacheProbe, Capacity, Content, PodRef, ProbeError, UnderStoreMount};
use crate::rt::chan::oneshot;
use crate::rt::fs;
use crate::rt::time::{Duration, timeout};
use crate::rt::{Either, select2};
use crate::stack::client::FileSystemClient;
use crate::stack::ufs::bucket::Scheme;
use crate::stack::wire::master::{Change, MasterAnswer, MasterRequest};
use crate::stack::wire::{FsError, MountOptions, TierUsage};

/// A command is given up after this: Fluid's own limit for most is 30 s to 5 minutes.
const COMMAND_MAX: Duration = Duration::from_secs(300);

/// Whether the cluster serves must be known sooner: upstream's `fsadmin report` gets 30 s.
const READY_MAX: Duration = Duration::from_secs(30);

/// Runs commands in pods.
pub struct ExecProbe {
    desk: Desk,
    images: Arc<Images>,
    machines: Arc<Mutex<BTreeMap<String, Machine>>>,
}

impl ExecProbe {
    /// Over the machines of a cluster.
    pub fn new(desk: Desk, images: Arc<Images>, machines: Arc<Mutex<BTreeMap<String, Machine>>>) -> Self {
        Self { desk, images, machines }
    }

    fn find(&self, pod: &PodRef) -> Option<Launch> {
        let machines = lock(&self.machines);
        machines.values().find_map(|machine| {
            machine.containers(|all| {
                let same = all.iter().find(|c| {
                    let spec = &c.spec;
                    c.runs()
                        && spec.pod.name == pod.name
                        && spec.pod.namespace == pod.namespace
                        && (spec.name == pod.container || matches!(c.part, Part::Master(_)))
                })?;
                Some(Launch {
                    machine: machine.clone(),
                    id: same.record.id.clone(),
                    spec: same.spec.clone(),
                    log: same.log.clone(),
                    own_mounts: same.own_mounts.clone(),
                })
            })
        })
    }

    /// Runs `command` of the cache's own command line in the pod, for `most` at the longest.
    async fn run<T, F>(
        &self,
        pod: &PodRef,
        name: &'static str,
        most: Duration,
        command: impl FnOnce(FileSystemClient) -> F + Send + 'static,
    ) -> Result<T, ProbeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, FsError>> + Send,
    {
        let images = self.images.clone();
        self.exec(pod, name, most, |launch| async move {
            let flavor = cache::flavor(&launch.spec.image).ok_or("no image of the cache")?;
            let options = cache::client_of(&images, flavor, &launch).await?;
            command(FileSystemClient::new(options)).await.map_err(|error| error.to_string())
        })
        .await
    }

    /// Runs `program` in the pod's container, for `most` at the longest.
    async fn exec<T, F>(
        &self,
        pod: &PodRef,
        name: &'static str,
        most: Duration,
        program: impl FnOnce(Launch) -> F + Send + 'static,
    ) -> Result<T, ProbeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, String>> + Send,
    {
        let unreachable = || ProbeError::Unreachable(pod.name.clone());
        let launch = self.find(pod).ok_or_else(unreachable)?;
        let failed = |message: String| ProbeError::Failed { command: name.into(), message };
        let (tell, told) = oneshot::channel();
        let (machine, id) = (launch.machine.clone(), launch.id.clone());
        let host = machine.id.host;
        let program = async move {
            let _ = tell.send(program(launch).await);
        };
        let process = self.desk.start(host, name, Box::pin(program)).await.ok_or_else(unreachable)?;
        let guard = KillOnDrop::new(&self.desk, process);
        // A command that was executed in a container ends with it.
        let mut changes = machine.changes();
        let gone = async {
            while machine.containers(|all| all.iter().any(|c| c.record.id == id && c.runs())) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        match timeout(most, select2(told, gone)).await {
            Ok(Either::Left(Ok(answer))) => {
                guard.release();
                answer.map_err(failed)
            }
            Ok(_) => Err(unreachable()),
            Err(_) => Err(failed(format!("timed out after {}s", most.as_secs()))),
        }
    }
}

async fn change(client: &FileSystemClient, change: Change) -> Result<(), FsError> {
    client.change(change, client.deadline()).await.answer().map(drop)
}

/// Everything below the root, level by level.
pub async fn count(client: &FileSystemClient) -> Result<Content, FsError> {
    let mut total = Content::default();
    let mut dirs = vec!["/".to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in client.list(&dir, client.deadline()).await? {
            if entry.dir {
                dirs.push(format!("{}/{}", dir.trim_end_matches('/'), entry.name));
            } else {
                total.files += 1;
                total.bytes += entry.length;
            }
        }
    }
    Ok(total)
}

impl CacheProbe for ExecProbe {
    fn ready<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()> {
        Box::pin(
            self.run(
                master,
                "report",
                READY_MAX,
                |client| async move { client.report(client.deadline()).await.map(drop) },
            ),
        )
    }

    fn mounts<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Vec<String>> {
        Box::pin(self.run(master, "mount", COMMAND_MAX, |client| async move {
            match client.call(MasterRequest::Mounts { secrets: false }, client.deadline()).await.answer()? {
                MasterAnswer::Mounts(mounts) => Ok(mounts.into_iter().map(|mount| mount.path).collect()),
                other => Err(FsError::Io(format!("an answer to something else: {other:?}"))),
            }
        }))
    }

    fn mount<'a>(&'a self, master: &'a PodRef, mount: &'a UnderStoreMount) -> Answer<'a, ()> {
        let UnderStoreMount { path, location, read_only, options, secrets, .. } = mount.clone();
        let secrets = secrets.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        let options = MountOptions { options, secrets };
        // A web under-store cannot be written, whatever the dataset says.
        let read_only = read_only || Scheme::of(&location).is_none();
        Box::pin(self.run(master, "mount", COMMAND_MAX, move |client| async move {
            change(&client, Change::Mount { path, url: location, read_only, options }).await
        }))
    }

    fn unmount<'a>(&'a self, master: &'a PodRef, path: &'a str) -> Answer<'a, ()> {
        let path = path.to_owned();
        Box::pin(self.run(master, "unmount", COMMAND_MAX, move |client| async move {
            change(&client, Change::Unmount { path }).await
        }))
    }

    fn count<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Content> {
        Box::pin(self.run(master, "count", COMMAND_MAX, |client| async move { count(&client).await }))
    }

    fn capacity<'a>(&'a self, master: &'a PodRef) -> Answer<'a, Capacity> {
        Box::pin(self.run(master, "report", READY_MAX, |client| async move {
            let workers = client.workers(client.deadline()).await?;
            let tiers = workers.iter().flat_map(|worker| &worker.tiers);
            let add = |sum: Capacity, tier: &TierUsage| Capacity {
                total: sum.total + tier.capacity,
                used: sum.used + tier.used,
            };
            Ok(tiers.fold(Capacity::default(), add))
        }))
    }

    fn leader<'a>(&'a self, master: &'a PodRef) -> Answer<'a, String> {
        Box::pin(self.run(master, "report", READY_MAX, |client| async move {
            let leader = client.leader(client.deadline()).await?;
            Ok(leader.address.split(':').next().unwrap_or_default().to_owned())
        }))
    }

    fn backup_info<'a>(&'a self, master: &'a PodRef, file: &'a str) -> Answer<'a, Content> {
        let file = file.to_owned();
        Box::pin(self.exec(master, "cat", READY_MAX, |launch| async move {
            let bytes = fs::read(&launch.real(&file)?).await.map_err(|error| format!("{file}: {error}"))?;
            let info = backup::read_info(&String::from_utf8_lossy(&bytes));
            info.ok_or_else(|| format!("{file} tells neither ufstotal nor filenum"))
        }))
    }

    fn free<'a>(&'a self, master: &'a PodRef) -> Answer<'a, ()> {
        // The blocks go with the workers, which the controller removes next.
        self.ready(master)
    }
}
