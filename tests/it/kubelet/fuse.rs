//! Fluid's node plugin on a machine: recoveries that race unpublishes, and unpublishes of mounts whose fuse is dead.

use std::future::{Future, ready};
use std::sync::{Arc, Mutex};

use stormglass::base::planted::{Bug, plant};
use stormglass::base::{Seed, lock};
use stormglass::kube::csi::driver::{CsiDriver, CsiError, Unpublish};
use stormglass::kube::csi::fluid::{FluidPlugin, FluidPluginConfig, Labelled, NodeLabels};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

use super::double::Double;

const FUSE: &str = "/runtime-mnt/alluxio/default/hbase/alluxio-fuse";
const POD: &str = "/var/lib/kubelet/pods/u1/volumes/kubernetes.io~csi/default-hbase/mount";

struct NoLabels;

impl NodeLabels for NoLabels {
    fn set(&self, _: String, _: Option<String>) -> Labelled<'_> {
        Box::pin(ready(Ok(())))
    }
}

/// What `story` gives of a machine with a fuse that died and came back, and with a bind of the dead one.
fn with<T, F>(bugs: &[Bug], story: impl FnOnce(Double, FluidPlugin) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let _plant = plant(bugs).unwrap();
    let machine = Double::new(1, &[]);
    machine.kernel(|table| {
        let dead = table.mount_fuse(FUSE, "fuse-0");
        table.bind(FUSE, POD, true).unwrap();
        table.fuse_died(dead);
        table.mount_fuse(FUSE, "fuse-1");
    });
    let plugin = FluidPlugin::new(FluidPluginConfig::default(), Arc::new(machine.clone()), Arc::new(NoLabels));
    let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
    let host = lab.world.add_host("node", [10, 0, 0, 1].into());
    let out = Arc::new(Mutex::new(None));
    let (told, story) = (out.clone(), story(machine, plugin));
    let program = async move {
        let end = story.await;
        *lock(&told) = Some(end);
    };
    lab.world.start(host, "plugin", Box::pin(program)).unwrap();
    lab.world.run_until(lab.world.world_now() + stormglass::rt::time::Duration::from_secs(1));
    assert!(lab.world.panics().is_empty(), "{:?}", lab.world.panics());
    lock(&out).take().unwrap()
}

#[test]
fn a_recovery_mounts_nothing_after_an_unpublish() {
    let story = |machine: Double, plugin: FluidPlugin| async move {
        machine.unmount_after_a_look(POD);
        plugin.recover().await.unwrap();
        machine.table().at(POD).len()
    };
    assert_eq!(with(&[], story), 0);
    assert_eq!(with(&[Bug::RecoveryWithoutLock], story), 1, "F-08");
}

#[test]
fn a_broken_bind_is_mended() {
    let answers = with(&[], |machine, plugin| async move {
        let before = machine.table().resolve(POD).is_ok();
        plugin.recover().await.unwrap();
        (before, machine.table().resolve(POD).is_ok())
    });
    assert_eq!(answers, (false, true));
}

#[test]
fn what_a_dead_fuse_left_behind_can_be_unpublished() {
    let story = |machine: Double, plugin: FluidPlugin| async move {
        let done: Result<(), CsiError> = plugin.unpublish(Unpublish { target: POD.into() }).await;
        (done.is_ok(), machine.table().at(POD).len())
    };
    assert_eq!(with(&[], story), (true, 0));
    assert_eq!(with(&[Bug::UnpublishNeedsFuse], story), (false, 1), "F-10");
}
