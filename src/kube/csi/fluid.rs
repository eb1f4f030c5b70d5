//! Fluid's node plugin, `fuse.csi.fluid.io`: the fuse pod's mount, bound into application pods.
//!
//! Follows fluid-cloudnative/fluid (`pkg/csi/plugins`, `pkg/csi/recover`): NodeStage labels the node so that the fuse
//! DaemonSet runs there; NodePublish waits until the fuse is mounted and binds it; NodeUnstage takes the label back only
//! with clean policy `OnDemand`; recovery looks every 5 s for binds whose fuse has died and binds the new fuse over them.
//! Rule: recovery and unpublish hold the same lock of the target, so that nothing is mounted after an unpublish (F-08).
//! What the node's labels are is told through [`NodeLabels`], since the plugin talks to the API server and this file not.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::disk::{is_mounted, unmount_all};
use super::driver::{CsiDriver, CsiError, CsiVolume, Done, Publish, Stage, TargetLocks, Unpublish, Unstage};
use super::host::Host;
use super::mount::{Mount, MountError, is_within};
use crate::base::lock;
use crate::base::planted::{Bug, planted};
use crate::rt::time::{Duration, Instant, sleep};

/// The plugin's name.
pub const FLUID_DRIVER: &str = "fuse.csi.fluid.io";

/// Attribute with the path of the fuse on the node: `{mountRoot}/{namespace}/{name}/alluxio-fuse`.
pub const FLUID_PATH: &str = "fluid_path";

/// Attribute with the type of the mount, `fuse.alluxio-fuse`.
pub const MOUNT_TYPE: &str = "mount_type";

/// The plugin's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluidPluginConfig {
    /// Between two looks at the fuse while NodePublish waits: 1 s (`check_mount.sh`).
    pub poll: Duration,
    /// How long NodePublish waits for the fuse: 30 s (`check_mount.sh`, 10 tries of 3 s).
    pub publish_timeout: Duration,
    /// Feature gate `FuseRecovery`: off.
    pub recovery: bool,
    /// Between two looks for broken mounts: 5 s (`RECOVER_FUSE_PERIOD`).
    pub recovery_period: Duration,
    /// Above this depth a target's stack of binds is cut to one: 50 (`RECOVER_WARNING_THRESHOLD`).
    pub stack_most: usize,
    /// Where pods' volumes are mounted.
    pub kubelet_root: String,
    /// Where fuse pods mount: `/runtime-mnt`.
    pub mount_root: String,
}

impl Default for FluidPluginConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            publish_timeout: Duration::from_secs(30),
            recovery: false,
            recovery_period: Duration::from_secs(5),
            stack_most: 50,
            kubelet_root: "/var/lib/kubelet".into(),
            mount_root: "/runtime-mnt".into(),
        }
    }
}

/// What the label call gives.
pub type Labelled<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Sets (`Some`) or removes a label of the plugin's own node.
pub trait NodeLabels: Send + Sync {
    /// One patch of the node.
    fn set(&self, key: String, value: Option<String>) -> Labelled<'_>;
}

/// A staged volume, as the plugin remembers it until it is unstaged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FuseVolume {
    label: String,
    on_demand: bool,
}

/// The plugin on one node. Clones share their state.
#[derive(Clone)]
pub struct FluidPlugin {
    config: FluidPluginConfig,
    host: Host,
    labels: Arc<dyn NodeLabels>,
    locks: TargetLocks,
    volumes: Arc<std::sync::Mutex<BTreeMap<String, FuseVolume>>>,
}

fn rpc(code: &'static str, message: impl Into<String>) -> CsiError {
    CsiError::Rpc { code, message: message.into() }
}

fn fluid_path(volume: &CsiVolume) -> Result<String, CsiError> {
    let path = volume.attributes.get(FLUID_PATH).cloned();
    path.ok_or_else(|| rpc("InvalidArgument", format!("volume {} has no {FLUID_PATH}", volume.handle)))
}

/// The node label that makes a fuse pod run: `fluid.io/f-{namespace}-{name}`, unless the volume names another.
pub fn fuse_label(volume: &CsiVolume) -> String {
    let given = volume.attributes.get("fuse_node_selector_key").cloned();
    given.unwrap_or_else(|| {
        let part = |key: &str| volume.attributes.get(key).cloned().unwrap_or_default();
        match (part("runtime_namespace"), part("runtime_name")) {
            (namespace, name) if !name.is_empty() => format!("fluid.io/f-{namespace}-{name}"),
            _ => format!("fluid.io/f-{}", volume.handle),
        }
    })
}

impl FluidPlugin {
    /// A plugin that has just started: it remembers nothing.
    pub fn new(config: FluidPluginConfig, host: Host, labels: Arc<dyn NodeLabels>) -> Self {
        Self { config, host, labels, locks: TargetLocks::default(), volumes: Arc::default() }
    }

    /// The recovery loop; returns at once if the feature gate is off.
    pub async fn run_recovery(self) {
        if !self.config.recovery {
            return;
        }
        loop {
            sleep(self.config.recovery_period).await;
            if let Err(error) = self.recover().await {
                tracing::warn!(%error, "fuse recovery");
            }
        }
    }

    /// One look at the mount table and what it calls for.
    ///
    /// # Errors
    /// The table cannot be read. Errors of single mounts are only logged, as upstream swallows them.
    pub async fn recover(&self) -> Result<(), MountError> {
        let plan = plan_recovery(&self.host.mounts().await?, &self.config);
        for step in plan {
            let unlocked = planted(Bug::RecoveryWithoutLock);
            let guard = self.locks.try_lock(step.target());
            if guard.is_none() && !unlocked {
                continue;
            }
            // Between the look and the lock an unpublish may have come and gone.
            if !unlocked && !is_mounted(&*self.host, step.target()).await? {
                continue;
            }
            let done = match &step {
                Recovery::Bind { source, target, read_only } => {
                    self.host.bind(source.clone(), target.clone(), *read_only).await
                }
                Recovery::Unmount { target } => self.host.unmount(target.clone()).await,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "fuse recovery of one mount");
            }
        }
        Ok(())
    }

    async fn wait_for_fuse(&self, path: &str) -> Result<(), CsiError> {
        let deadline = Instant::now() + self.config.publish_timeout;
        loop {
            let mounts = self.host.mounts().await?;
            if mounts.iter().rfind(|(m, _)| m.target == path).is_some_and(|(_, answers)| *answers) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message = format!("time out waiting for {path} to be mounted: fuse is not ready");
                return Err(rpc("DeadlineExceeded", message));
            }
            sleep(self.config.poll).await;
        }
    }
}

/// One step of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Bind the living fuse over the broken mount.
    Bind {
        /// The fuse's path, or the directory below it that was bound before.
        source: String,
        /// The pod's mount.
        target: String,
        /// As it was.
        read_only: bool,
    },
    /// Take one of too many mounts away.
    Unmount {
        /// The pod's mount.
        target: String,
    },
}

impl Recovery {
    fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. } | Self::Unmount { target } => target,
        }
    }
}

/// The fuses below the mount root, by the name of the PersistentVolume that shows them: the topmost mount of each, and
/// whether it answers. `{mountRoot}/{type}/{namespace}/{name}/{type}-fuse` is volume `{namespace}-{name}`.
fn fuses<'a>(mounts: &'a [(Mount, bool)], mount_root: &str) -> BTreeMap<String, &'a (Mount, bool)> {
    let named = |entry: &'a (Mount, bool)| {
        let mut parts = is_within(&entry.0.target, mount_root).then(|| entry.0.target.rsplit('/').skip(1))?;
        let (name, namespace) = (parts.next()?, parts.next()?);
        Some((format!("{namespace}-{name}"), entry))
    };
    mounts.iter().filter_map(named).collect()
}

/// What a mount table calls for: each pod mount that shares no peer group with the living mount of its fuse is bound
/// again; without a living fuse nothing is done; a stack deeper than `stack_most` is cut to one.
pub fn plan_recovery(mounts: &[(Mount, bool)], config: &FluidPluginConfig) -> Vec<Recovery> {
    let mut plan = Vec::new();
    let pods = format!("{}/pods", config.kubelet_root);
    for (pv, (global, _)) in fuses(mounts, &config.mount_root).into_iter().filter(|(_, (_, answers))| *answers) {
        let end = format!("/kubernetes.io~csi/{pv}/mount");
        let mut targets: BTreeMap<&str, Vec<&Mount>> = BTreeMap::new();
        for (mount, _) in mounts.iter().filter(|(m, _)| is_within(&m.target, &pods) && m.target.ends_with(&end)) {
            targets.entry(&mount.target).or_default().push(mount);
        }
        for (target, stack) in targets {
            let Some(top) = stack.last() else { continue };
            if top.peer_group != global.peer_group || planted(Bug::RecoveryEndless) {
                let source = format!("{}{}", global.target, top.place.path.trim_end_matches('/'));
                plan.push(Recovery::Bind { source, target: target.into(), read_only: top.place.read_only });
            } else if stack.len() > config.stack_most {
                plan.extend((1..stack.len()).map(|_| Recovery::Unmount { target: target.into() }));
            }
        }
    }
    plan
}

impl CsiDriver for FluidPlugin {
    fn name(&self) -> &str {
        FLUID_DRIVER
    }

    fn attach_required(&self) -> bool {
        false
    }

    fn stage(&self, request: Stage) -> Done<'_> {
        Box::pin(async move {
            let path = fluid_path(&request.volume)?;
            // A mount that a dead fuse left behind would hide the new one's.
            while self.host.mounts().await?.iter().rfind(|(m, _)| m.target == path).is_some_and(|(_, lives)| !lives) {
                self.host.unmount(path.clone()).await?;
            }
            let label = fuse_label(&request.volume);
            let on_demand = request.volume.attributes.get("fuse_clean_policy").is_some_and(|p| p == "OnDemand");
            let volume = FuseVolume { label: label.clone(), on_demand };
            lock(&self.volumes).insert(request.volume.handle, volume);
            self.labels.set(label, Some("true".into())).await.map_err(|message| rpc("Internal", message))
        })
    }

    fn publish(&self, request: Publish) -> Done<'_> {
        Box::pin(async move {
            let path = fluid_path(&request.volume)?;
            let aborted = || rpc("Aborted", format!("an operation on {} is under way", request.target));
            let _guard = self.locks.try_lock(&request.target).ok_or_else(aborted)?;
            self.wait_for_fuse(&path).await?;
            if is_mounted(&*self.host, &request.target).await? {
                return Ok(());
            }
            let sub = request.volume.attributes.get("fluid_sub_path").map(|sub| format!("{path}/{sub}"));
            Ok(self.host.bind(sub.unwrap_or(path), request.target, request.volume.read_only).await?)
        })
    }

    fn unpublish(&self, request: Unpublish) -> Done<'_> {
        Box::pin(async move {
            let aborted = || rpc("Aborted", format!("an operation on {} is under way", request.target));
            let _guard = self.locks.try_lock(&request.target).ok_or_else(aborted)?;
            if planted(Bug::UnpublishNeedsFuse) {
                let mounts = self.host.mounts().await?;
                if mounts.iter().any(|(mount, answers)| mount.target == request.target && !answers) {
                    return Err(MountError::NotConnected(request.target).into());
                }
            }
            Ok(unmount_all(&*self.host, &request.target).await?)
        })
    }

    fn unstage(&self, request: Unstage) -> Done<'_> {
        Box::pin(async move {
            let Some(volume) = lock(&self.volumes).get(&request.handle).cloned() else { return Ok(()) };
            if volume.on_demand {
                self.labels.set(volume.label, None).await.map_err(|message| rpc("Internal", message))?;
                lock(&self.volumes).remove(&request.handle);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::mount::MountTable;
    use super::*;

    const FUSE: &str = "/runtime-mnt/alluxio/default/hbase/alluxio-fuse";
    const POD: &str = "/var/lib/kubelet/pods/u1/volumes/kubernetes.io~csi/default-hbase/mount";

    fn plan(table: &MountTable, most: usize) -> Vec<Recovery> {
        let mounts: Vec<_> = table.mounts().iter().map(|m| (m.clone(), table.answers(&m.place.fs))).collect();
        plan_recovery(&mounts, &FluidPluginConfig { stack_most: most, ..FluidPluginConfig::default() })
    }

    #[test]
    fn a_broken_bind_waits_for_the_new_fuse_and_is_then_bound_again() {
        let mut table = MountTable::default();
        let first = table.mount_fuse(FUSE, "fuse-0");
        table.bind(&format!("{FUSE}/sub"), POD, true).unwrap();
        assert_eq!(plan(&table, 50), [], "all is well");
        table.fuse_died(first);
        assert_eq!(plan(&table, 50), [], "there is no living fuse to bind");
        table.mount_fuse(FUSE, "fuse-1");
        let bind = Recovery::Bind { source: format!("{FUSE}/sub"), target: POD.into(), read_only: true };
        assert_eq!(plan(&table, 50), [bind]);
        table.bind(&format!("{FUSE}/sub"), POD, true).unwrap();
        assert_eq!(plan(&table, 50), []);
        assert!(table.resolve(POD).is_ok());
        assert_eq!(plan(&table, 1).len(), 1, "a stack of two is cut to one");
        table.bind(FUSE, "/var/lib/kubelet/pods/u2/volumes/kubernetes.io~csi/default-spark/mount", true).unwrap();
        assert_eq!(plan(&table, 50), [], "another's volume is left alone");
    }

    #[test]
    fn the_planted_recovery_binds_what_is_well() {
        use crate::base::planted::plant;
        let mut table = MountTable::default();
        table.mount_fuse(FUSE, "fuse-0");
        table.bind(FUSE, POD, true).unwrap();
        assert_eq!(plan(&table, 50), []);
        let Ok(_plant) = plant(&[Bug::RecoveryEndless]) else { return };
        assert_eq!(plan(&table, 50).len(), 1);
        table.bind(FUSE, POD, true).unwrap();
        assert_eq!(plan(&table, 1).len(), 1, "the stack is never cut");
    }

    #[test]
    fn the_label_is_the_runtimes() {
        let mut volume = CsiVolume {
            driver: FLUID_DRIVER.into(),
            handle: "default-hbase".into(),
            pv: "default-hbase".into(),
            attributes: BTreeMap::new(),
            read_only: true,
        };
        assert_eq!(fuse_label(&volume), "fluid.io/f-default-hbase");
        volume.attributes.insert("runtime_namespace".into(), "x".into());
        volume.attributes.insert("runtime_name".into(), "hbase".into());
        assert_eq!(fuse_label(&volume), "fluid.io/f-x-hbase");
    }
}
