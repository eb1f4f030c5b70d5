//! Which volumes the node's pods want, and how far each has come.
//!
//! Upstream's desired and actual state of the world for CSI volumes. Rules: a volume that must be attached is staged only
//! after the node's status has told that it is in use and that it is attached; it is in use from when a pod wants it until
//! it is unstaged. Pure; [`manager`](super::manager) does what it says.

use std::collections::{BTreeMap, BTreeSet};

use crate::kube::csi::driver::CsiVolume;

/// What a volume waits for before it can be staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The node's status must name it in `volumesInUse`.
    Report,
    /// The node's status must name it in `volumesAttached`.
    Attach,
    /// Stage it, from this device if it has one.
    Stage(Option<String>),
    /// It is staged.
    Publish,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    volume: CsiVolume,
    attach: bool,
    staged: bool,
    users: BTreeSet<String>,
}

/// The CSI volumes of one node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct VolumeBook {
    entries: BTreeMap<String, Entry>,
    attached: BTreeMap<String, String>,
    reported: BTreeSet<String>,
}

impl VolumeBook {
    /// A pod wants a volume.
    pub fn want(&mut self, pod: &str, volume: &CsiVolume, attach: bool) {
        let new = || Entry { volume: volume.clone(), attach, staged: false, users: BTreeSet::new() };
        self.entries.entry(volume.unique_name()).or_insert_with(new).users.insert(pod.to_owned());
    }

    /// A kubelet that starts has found a staged volume and the pods that it is mounted in.
    pub fn found(&mut self, volume: &CsiVolume, attach: bool, pods: BTreeSet<String>) {
        let name = volume.unique_name();
        // Its predecessor has told, or it would not be staged.
        self.reported.insert(name.clone());
        self.entries.insert(name, Entry { volume: volume.clone(), attach, staged: true, users: pods });
    }

    /// What comes next for a wanted volume.
    pub fn next(&self, name: &str) -> Option<Next> {
        let entry = self.entries.get(name)?;
        Some(match () {
            () if entry.staged => Next::Publish,
            () if !entry.attach => Next::Stage(None),
            () if !self.reported.contains(name) => Next::Report,
            () => self.attached.get(name).map_or(Next::Attach, |device| Next::Stage(Some(device.clone()))),
        })
    }

    /// It was staged.
    pub fn staged(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.staged = true;
        }
    }

    /// What the API server has of the node's `volumesAttached`: name and device.
    pub fn attached(&mut self, attached: BTreeMap<String, String>) {
        self.attached = attached;
    }

    /// What the API server has taken of the node's `volumesInUse`.
    pub fn reported(&mut self, names: &[String]) {
        self.reported = names.iter().cloned().collect();
    }

    /// `volumesInUse`, sorted.
    pub fn in_use(&self) -> Vec<String> {
        self.entries.iter().filter(|(_, entry)| entry.attach).map(|(name, _)| name.clone()).collect()
    }

    /// The CSI volumes of a pod.
    pub fn of(&self, pod: &str) -> Vec<CsiVolume> {
        self.entries.values().filter(|entry| entry.users.contains(pod)).map(|entry| entry.volume.clone()).collect()
    }

    /// A pod is done with a volume. The volume and whether it was staged, if the pod was the last to use it: unstage it,
    /// then [`Self::unstaged`].
    pub fn release(&mut self, pod: &str, name: &str) -> Option<(CsiVolume, bool)> {
        let entry = self.entries.get_mut(name)?;
        entry.users.remove(pod);
        entry.users.is_empty().then(|| (entry.volume.clone(), entry.staged))
    }

    /// It was unstaged. If a pod has come to want it meanwhile it must be staged anew.
    pub fn unstaged(&mut self, name: &str) {
        match self.entries.get_mut(name) {
            Some(entry) if !entry.users.is_empty() => entry.staged = false,
            _ => {
                self.entries.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn volume(handle: &str) -> CsiVolume {
        CsiVolume {
            driver: "disk".into(),
            handle: handle.into(),
            pv: format!("pv-{handle}"),
            attributes: BTreeMap::new(),
            read_only: false,
        }
    }

    #[test]
    fn a_disk_is_reported_then_attached_then_staged() {
        let (mut book, disk) = (VolumeBook::default(), volume("d"));
        let name = disk.unique_name();
        assert_eq!(book.next(&name), None);
        book.want("a", &disk, true);
        assert_eq!(book.next(&name), Some(Next::Report));
        book.attached([(name.clone(), "/dev/vdb".to_owned())].into());
        assert_eq!(book.next(&name), Some(Next::Report), "attached but not told to be in use: it may be detached yet");
        book.reported(&book.in_use());
        assert_eq!(book.next(&name), Some(Next::Stage(Some("/dev/vdb".into()))));
        book.attached(BTreeMap::new());
        assert_eq!(book.next(&name), Some(Next::Attach));
        book.staged(&name);
        assert_eq!(book.next(&name), Some(Next::Publish));
        book.want("b", &disk, true);
        assert_eq!(book.release("a", &name), None);
        assert_eq!(book.release("b", &name), Some((disk.clone(), true)));
        assert_eq!(book.in_use(), std::slice::from_ref(&name), "in use until it is unstaged");
        book.want("c", &disk, true);
        book.unstaged(&name);
        assert_eq!(book.next(&name), Some(Next::Attach), "staged anew, once it is attached");
    }

    #[test]
    fn a_fuse_needs_no_attaching_and_is_never_in_use() {
        let (mut book, fuse) = (VolumeBook::default(), volume("f"));
        book.want("a", &fuse, false);
        assert_eq!(book.next(&fuse.unique_name()), Some(Next::Stage(None)));
        assert_eq!(book.in_use(), [""; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// In use is what some pod wants or what is still staged, against sets kept by hand.
        #[test]
        fn in_use_is_wanted_or_staged(steps in prop::collection::vec((0u8..4, 0usize..3, 0usize..2), 1..60)) {
            let mut book = VolumeBook::default();
            let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            let mut held: BTreeSet<String> = BTreeSet::new();
            for (what, pod, disk) in steps {
                let (pod, disk) = (format!("p{pod}"), volume(&format!("d{disk}")));
                let name = disk.unique_name();
                let users = wanted.entry(name.clone()).or_default();
                match what {
                    0 => {
                        book.want(&pod, &disk, true);
                        users.insert(pod);
                        held.insert(name);
                    }
                    1 => {
                        let was = users.remove(&pod);
                        let last = book.release(&pod, &name).is_some();
                        prop_assert!(!was || last == users.is_empty());
                    }
                    2 => book.staged(&name),
                    _ if users.is_empty() => {
                        book.unstaged(&name);
                        held.remove(&name);
                    }
                    _ => {}
                }
                prop_assert_eq!(book.in_use(), held.iter().cloned().collect::<Vec<_>>());
            }
        }
    }
}
