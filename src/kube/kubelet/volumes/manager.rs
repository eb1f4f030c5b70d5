//! Mounts and unmounts the volumes of pods.
//!
//! Each pod's volumes are one task of its worker; what concerns the whole node is in the [`VolumeBook`]. A failed operation
//! is repeated with back-off, 500 ms to about two minutes, and told as an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::{
    AttachedVolume, ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Volume,
};

use super::book::{Next, VolumeBook};
use super::resolve::{Found, Needs, VolumeKind, kind, needs};
use crate::base::lock;
use crate::kube::client::{ApiError, Client};
use crate::kube::csi::disk::{is_mounted, unmount_all};
use crate::kube::csi::driver::{CsiDrivers, CsiVolume, Publish, Stage, Unpublish, Unstage};
use crate::kube::csi::host::Host;
use crate::kube::csi::mount::{MountError, is_within};
use crate::kube::kubelet::config::BackoffConfig;
use crate::kube::kubelet::pod::pod_id;
use crate::kube::runtime::MountKind;
use crate::rt::chan::watch;
use crate::rt::time::{Duration, timeout};

/// A volume as a pod's containers mount it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// What kind it is.
    pub kind: MountKind,
    /// Path on the node.
    pub path: String,
    /// No writes, whatever the container asks for.
    pub read_only: bool,
}

#[derive(Default)]
struct State {
    book: VolumeBook,
    /// By pod and volume name.
    mounted: BTreeMap<String, BTreeMap<String, Mounted>>,
    wanted: BTreeMap<String, Vec<String>>,
}

/// The volumes of one node's pods. Clones share them.
#[derive(Clone)]
pub struct VolumeManager {
    client: Client,
    host: Host,
    drivers: CsiDrivers,
    root: String,
    retry: BackoffConfig,
    state: Arc<Mutex<State>>,
    /// Counts what may let a waiting volume go on.
    changed: watch::Sender<u64>,
    /// One staging or unstaging at a time.
    staging: Arc<crate::rt::chan::Mutex<()>>,
}

/// Why a volume is not mounted yet.
enum NotYet {
    /// The node's status must say something first.
    Waits,
    /// It failed: message of the event.
    Failed(String),
}

impl From<MountError> for NotYet {
    fn from(error: MountError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl VolumeManager {
    /// A manager that has mounted nothing.
    pub fn new(client: Client, host: Host, drivers: CsiDrivers, root: String, retry: BackoffConfig) -> Self {
        let (changed, _) = watch::channel(0);
        let staging = Arc::new(crate::rt::chan::Mutex::new(()));
        Self { client, host, drivers, root, retry, state: Arc::default(), changed, staging }
    }

    /// Makes the kubelet's own directories, which pods may mount, as upstream's `setupDataDirs`, and finds what a kubelet before
    /// has staged.
    ///
    /// # Errors
    /// The disk cannot be written, or the mount table not be read.
    pub async fn restore(&self) -> Result<(), MountError> {
        for dir in ["plugins", "pods"] {
            self.host.make_dir(format!("{}/{dir}", self.root)).await?;
        }
        let mounts = self.host.mounts().await?;
        let plugins = format!("{}/plugins/kubernetes.io/csi/", self.root);
        for (staged, _) in &mounts {
            let Some((driver, handle)) = staged
                .target
                .strip_prefix(&plugins)
                .and_then(|rest| rest.strip_suffix("/globalmount"))
                .and_then(|rest| rest.split_once('/'))
            else {
                continue;
            };
            let (mut users, mut pv) = (BTreeSet::new(), String::new());
            for (mount, _) in mounts.iter().filter(|(m, _)| m.place.fs == staged.place.fs) {
                if let Some((pod, name)) = self.parse_target(&mount.target) {
                    users.insert(pod.to_owned());
                    name.clone_into(&mut pv);
                }
            }
            let handle = handle.replace('~', "/");
            let volume = CsiVolume { driver: driver.into(), handle, pv, attributes: BTreeMap::new(), read_only: false };
            lock(&self.state).book.found(&volume, true, users);
        }
        Ok(())
    }

    /// Uids of the pods that have anything mounted.
    ///
    /// # Errors
    /// The mount table cannot be read.
    pub async fn pods_with_mounts(&self) -> Result<BTreeSet<String>, MountError> {
        let pods = format!("{}/pods/", self.root);
        let uid = |target: &str| target.strip_prefix(&pods)?.split('/').next().map(str::to_owned);
        Ok(self.host.mounts().await?.iter().filter_map(|(m, _)| uid(&m.target)).collect())
    }

    /// `volumesInUse`, sorted.
    pub fn in_use(&self) -> Vec<String> {
        lock(&self.state).book.in_use()
    }

    /// The API server has taken a status with these `volumesInUse`.
    pub fn reported(&self, names: &[String]) {
        lock(&self.state).book.reported(names);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The node's object changed.
    pub fn node_changed(&self, node: &Node) {
        let list = node.status.iter().flat_map(|s| s.volumes_attached.iter().flatten());
        // The attacher of a CSI volume gives no path: the driver finds the device by the volume's handle.
        let device = |v: &AttachedVolume| match v.name.rsplit_once('^') {
            Some((_, handle)) if v.device_path.is_empty() => handle.to_owned(),
            _ => v.device_path.clone(),
        };
        let attached = list.map(|v| (v.name.clone(), device(v))).collect();
        lock(&self.state).book.attached(attached);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// A mounted volume of a pod.
    pub fn mounted(&self, uid: &str, volume: &str) -> Option<Mounted> {
        lock(&self.state).mounted.get(uid).and_then(|pod| pod.get(volume)).cloned()
    }

    /// Names of a pod's volumes that are not mounted yet.
    pub fn unmounted(&self, uid: &str) -> Vec<String> {
        let state = lock(&self.state);
        let mounted = state.mounted.get(uid);
        let wanted = state.wanted.get(uid).into_iter().flatten();
        wanted.filter(|name| !mounted.is_some_and(|m| m.contains_key(*name))).cloned().collect()
    }

    /// Mounts all volumes of a pod, however long it takes. `tell` gets the messages of FailedMount events.
    pub async fn mount_all(&self, pod: &Pod, tell: impl Fn(String)) {
        let id = pod_id(pod);
        let volumes: Vec<&Volume> = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).collect();
        let names = volumes.iter().map(|v| v.name.clone()).collect();
        lock(&self.state).wanted.insert(id.uid.clone(), names);
        let mut waits: BTreeMap<&str, Duration> = BTreeMap::new();
        loop {
            let mut changed = self.changed.subscribe();
            let mut pause: Option<Duration> = None;
            let mut open = false;
            for volume in &volumes {
                if self.mounted(&id.uid, &volume.name).is_some() {
                    continue;
                }
                match self.mount(&id.namespace, &id.uid, volume).await {
                    Ok(mounted) => {
                        let mut state = lock(&self.state);
                        state.mounted.entry(id.uid.clone()).or_default().insert(volume.name.clone(), mounted);
                        continue;
                    }
                    Err(NotYet::Waits) => open = true,
                    Err(NotYet::Failed(message)) => {
                        open = true;
                        tell(message);
                        let wait = waits.get(volume.name.as_str()).map_or(self.retry.first, |w| *w * 2);
                        let wait = wait.min(self.retry.most);
                        waits.insert(&volume.name, wait);
                        pause = Some(pause.map_or(wait, |p| p.min(wait)));
                    }
                }
            }
            match (open, pause) {
                (false, _) => return,
                // The back-off is not cut short: a change elsewhere mends nothing that failed.
                (true, Some(pause)) => crate::rt::time::sleep(pause).await,
                // The poll is a net under missed changes; nothing should depend on it.
                (true, None) => drop(timeout(self.retry.most, changed.changed()).await),
            }
        }
    }

    async fn mount(&self, namespace: &str, uid: &str, volume: &Volume) -> Result<Mounted, NotYet> {
        let setup = |name: &str, why: &dyn std::fmt::Display| {
            NotYet::Failed(format!("MountVolume.SetUp failed for volume \"{name}\" : {why}"))
        };
        let found = self.find(namespace, &needs(volume)).await.map_err(|why| setup(&volume.name, &why))?;
        let kind = kind(volume, namespace, &found).map_err(|why| setup(&volume.name, &why))?;
        let dir = |plugin: &str| format!("{}/pods/{uid}/volumes/kubernetes.io~{plugin}/{}", self.root, volume.name);
        let host = &*self.host;
        match kind {
            VolumeKind::EmptyDir { memory, limit } => {
                let path = dir("empty-dir");
                host.make_dir(path.clone()).await?;
                if memory && !is_mounted(host, &path).await? {
                    host.mount_tmpfs(path.clone(), limit).await?;
                }
                Ok(Mounted { kind: MountKind::EmptyDir, path, read_only: false })
            }
            VolumeKind::HostPath { path, check } => {
                match check.as_str() {
                    "DirectoryOrCreate" => host.make_dir(path.clone()).await?,
                    "" | "FileOrCreate" => {}
                    what if !host.exists(path.clone()).await? => {
                        return Err(setup(
                            &volume.name,
                            &format!("hostPath type check failed: {path} is not a {what}"),
                        ));
                    }
                    _ => {}
                }
                Ok(Mounted { kind: MountKind::HostPath, path, read_only: false })
            }
            VolumeKind::Files { files, secret } => {
                let path = dir(if secret { "secret" } else { "configmap" });
                host.make_dir(path.clone()).await?;
                if secret && !is_mounted(host, &path).await? {
                    host.mount_tmpfs(path.clone(), None).await?;
                }
                host.write_files(path.clone(), files).await?;
                Ok(Mounted { kind: MountKind::Files, path, read_only: true })
            }
            VolumeKind::Csi(csi) => self.mount_csi(uid, csi).await,
        }
    }

    async fn mount_csi(&self, uid: &str, volume: CsiVolume) -> Result<Mounted, NotYet> {
        let failed = |step: &str, why: &dyn std::fmt::Display| {
            NotYet::Failed(format!("MountVolume.{step} failed for volume \"{}\" : {why}", volume.pv))
        };
        let driver = self.drivers.get(&volume.driver).map_err(|why| failed("MountDevice", &why))?;
        let (name, staging) = (volume.unique_name(), self.staging_path(&volume));
        lock(&self.state).book.want(uid, &volume, driver.attach_required());
        {
            let _one = self.staging.lock().await;
            let next = lock(&self.state).book.next(&name);
            match next {
                Some(Next::Stage(device)) => {
                    let request = Stage { volume: volume.clone(), staging: staging.clone(), device };
                    driver.stage(request).await.map_err(|why| failed("MountDevice", &why))?;
                    lock(&self.state).book.staged(&name);
                }
                Some(Next::Publish) => {}
                Some(Next::Report | Next::Attach) | None => return Err(NotYet::Waits),
            }
        }
        let target = self.target_path(uid, &volume.pv);
        let kind = if driver.attach_required() { MountKind::Device } else { MountKind::Csi };
        let read_only = volume.read_only;
        let request = Publish { volume: volume.clone(), staging, target: target.clone() };
        driver.publish(request).await.map_err(|why| failed("SetUp", &why))?;
        Ok(Mounted { kind, path: target, read_only })
    }

    /// Unmounts all volumes of a pod and removes its directory, however long it takes.
    pub async fn unmount_all(&self, uid: &str, tell: impl Fn(String)) {
        let mut wait = self.retry.first;
        while let Err(message) = self.unmount(uid).await {
            tell(message);
            crate::rt::time::sleep(wait).await;
            wait = (wait * 2).min(self.retry.most);
        }
        let mut state = lock(&self.state);
        state.mounted.remove(uid);
        state.wanted.remove(uid);
    }

    async fn unmount(&self, uid: &str) -> Result<(), String> {
        let dir = format!("{}/pods/{uid}", self.root);
        let volumes = lock(&self.state).book.of(uid);
        for volume in &volumes {
            let failed = |step: &str, why: &dyn std::fmt::Display| {
                format!("UnmountVolume.{step} failed for volume \"{}\" : {why}", volume.pv)
            };
            let driver = self.drivers.get(&volume.driver).map_err(|why| failed("NewUnmounter", &why))?;
            let target = self.target_path(uid, &volume.pv);
            driver.unpublish(Unpublish { target }).await.map_err(|why| failed("TearDown", &why))?;
            let _one = self.staging.lock().await;
            let name = volume.unique_name();
            let last = lock(&self.state).book.release(uid, &name);
            let Some((volume, staged)) = last else { continue };
            if staged {
                let request = Unstage { handle: volume.handle.clone(), staging: self.staging_path(&volume) };
                let done = driver.unstage(request).await;
                if let Err(why) = done {
                    // Still wanted by this pod, so that the next try comes here again.
                    lock(&self.state).book.want(uid, &volume, driver.attach_required());
                    return Err(failed("UnmountDevice", &why));
                }
            }
            lock(&self.state).book.unstaged(&name);
        }
        // Whatever else is there: tmpfs, and binds of volumes that nobody remembers.
        let mounts = self.host.mounts().await.map_err(|why| why.to_string())?;
        for (mount, _) in mounts.iter().rev().filter(|(m, _)| is_within(&m.target, &dir)) {
            unmount_all(&*self.host, &mount.target).await.map_err(|why| why.to_string())?;
        }
        self.host.remove_tree(dir).await.map_err(|why| why.to_string())
    }

    fn staging_path(&self, volume: &CsiVolume) -> String {
        let handle = volume.handle.replace('/', "~");
        format!("{}/plugins/kubernetes.io/csi/{}/{handle}/globalmount", self.root, volume.driver)
    }

    fn target_path(&self, uid: &str, pv: &str) -> String {
        format!("{}/pods/{uid}/volumes/kubernetes.io~csi/{pv}/mount", self.root)
    }

    /// The pod and the volume of a target path.
    fn parse_target<'a>(&self, target: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = target.strip_prefix(&self.root)?.strip_prefix("/pods/")?.strip_suffix("/mount")?;
        rest.split_once("/volumes/kubernetes.io~csi/")
    }

    async fn find(&self, namespace: &str, needs: &Needs) -> Result<Found, ApiError> {
        let mut found = Found::default();
        for name in &needs.config_maps {
            let map: Option<ConfigMap> = self.client.find(namespace, name).await?;
            found.config_maps.extend(map.map(|map| (name.clone(), map)));
        }
        for name in &needs.secrets {
            let secret: Option<Secret> = self.client.find(namespace, name).await?;
            found.secrets.extend(secret.map(|secret| (name.clone(), secret)));
        }
        if let Some(claim) = &needs.claim {
            let claim: Option<PersistentVolumeClaim> = self.client.find(namespace, claim).await?;
            let bound = claim.filter(|c| c.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound"));
            if let Some(name) = bound.and_then(|c| c.spec).and_then(|s| s.volume_name) {
                found.volume = self.client.find::<PersistentVolume>("", &name).await?;
            }
        }
        Ok(found)
    }
}
