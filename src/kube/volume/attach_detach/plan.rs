//! What the controller does next: a state machine over [`View`]s and a handed-in time.
//!
//! Differs: upstream looks every 100 ms; this is asked after each change and when [`AttachDetach::due`] says so, which keeps
//! the same bounds without the polling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::AttachDetachConfig;
use super::view::{Needed, Place, View, attachment_name, multi_attach, unique_name};
use crate::base::SimTime;
use crate::base::planted::{Bug, planted};

/// What the controller does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Ask the driver to attach: make the attachment.
    Attach {
        /// Its name.
        name: String,
        /// The driver.
        driver: String,
        /// The volume.
        volume: String,
        /// The node.
        node: String,
    },
    /// Ask the driver to detach: delete the attachment.
    Detach {
        /// Its name.
        name: String,
        /// The volume.
        volume: String,
        /// The node.
        node: String,
        /// The volume as the node's status would call it.
        unique: String,
        /// Against the node's word. Otherwise the node is asked once more, at the API server, before it is done.
        forced: bool,
    },
    /// Write the node's `status.volumesAttached`.
    Report {
        /// The node.
        node: String,
        /// Unique names, sorted.
        volumes: Vec<String>,
    },
    /// Tell the owner of a pod.
    Tell {
        /// The pod.
        pod: Arc<Pod>,
        /// `Warning`, otherwise `Normal`.
        warning: bool,
        /// Upstream's reason.
        reason: &'static str,
        /// Upstream's words.
        message: String,
    },
}

/// After a failure: not before `until`.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    wait: Duration,
    until: SimTime,
}

/// What the controller remembers.
#[derive(Debug)]
pub struct AttachDetach {
    config: AttachDetachConfig,
    /// Since when nobody needs the volume there.
    unneeded: BTreeMap<Place, SimTime>,
    /// Attaches and detaches that were asked for and that the API does not show to be done.
    open: BTreeMap<Place, SimTime>,
    backoffs: BTreeMap<Place, Backoff>,
    /// Multi-attach errors that were told already.
    told: BTreeSet<Place>,
    /// What each node said last that it uses; it outlives the node.
    in_use: BTreeMap<String, BTreeSet<String>>,
    /// What the driver said last about a failed attach, so that it is told once.
    errors: BTreeMap<Place, String>,
    due: SimTime,
}

impl AttachDetach {
    /// A controller that has just started.
    pub fn new(config: AttachDetachConfig) -> Self {
        Self {
            config,
            unneeded: BTreeMap::new(),
            open: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            told: BTreeSet::new(),
            in_use: BTreeMap::new(),
            errors: BTreeMap::new(),
            due: SimTime::NEVER,
        }
    }

    /// When time alone may change what is to be done; `NEVER` if it does not.
    pub fn due(&self) -> SimTime {
        self.due
    }

    /// An attach or a detach could not be asked for.
    pub fn failed(&mut self, volume: &str, node: &str, now: SimTime) {
        let place = (volume.to_string(), node.to_string());
        self.open.remove(&place);
        self.back_off(place, now);
    }

    /// What is to be done now. Detaches come first, so that a volume can move.
    pub fn plan(&mut self, now: SimTime, view: &View) -> Vec<Action> {
        self.due = SimTime::NEVER;
        for node in view.nodes.keys() {
            self.in_use.insert(node.clone(), view.in_use(node).unwrap_or_default());
        }
        let (needed, attached) = (view.needed(), view.attached());
        self.forget(&needed, &attached);
        let mut actions = Vec::new();
        let mut leaving = BTreeSet::new();
        for (place, attachment) in attached.iter().filter(|(place, _)| !needed.contains_key(*place)) {
            self.detach(now, view, place, attachment, &mut leaving, &mut actions);
        }
        for (place, pods) in &needed {
            self.unneeded.remove(place);
            if let Some(volume) = view.volumes.get(&place.0) {
                self.attach(now, volume, place, pods, &attached, &mut actions, &needed);
            }
        }
        report(view, &attached, &leaving, &mut actions);
        actions
    }

    fn wake_at(&mut self, at: SimTime) {
        self.due = self.due.min(at);
    }

    /// What is about nothing any more.
    fn forget(&mut self, needed: &Needed, attached: &BTreeMap<Place, &Arc<VolumeAttachment>>) {
        let known = |place: &Place| needed.contains_key(place) || attached.contains_key(place);
        self.unneeded.retain(|place, _| attached.contains_key(place));
        self.backoffs.retain(|place, _| known(place));
        self.open.retain(|place, _| known(place));
        self.errors.retain(|place, _| known(place));
        self.told.retain(|place| needed.contains_key(place));
    }

    fn back_off(&mut self, place: Place, now: SimTime) {
        let (initial, most) = (self.config.backoff_initial, self.config.backoff_max);
        let wait = self.backoffs.get(&place).map_or(initial, |last| last.wait.saturating_mul(2).min(most));
        self.backoffs.insert(place, Backoff { wait, until: now + wait });
        self.wake_at(now + wait);
    }

    /// Whether a new operation has to wait: for an open one, or for its back-off.
    fn busy(&mut self, place: &Place, now: SimTime) -> bool {
        if let Some(since) = self.open.get(place).copied() {
            let end = since + self.config.operation_timeout;
            if now < end {
                self.wake_at(end);
                return true;
            }
            self.open.remove(place);
            self.back_off(place.clone(), now);
        }
        let until = self.backoffs.get(place).map_or(SimTime::ZERO, |backoff| backoff.until);
        if now < until {
            self.wake_at(until);
        }
        now < until
    }

    /// Nobody needs `place`: detach, as soon as the node lets go of it or may be overruled.
    fn detach(
        &mut self,
        now: SimTime,
        view: &View,
        place: &Place,
        attachment: &VolumeAttachment,
        leaving: &mut BTreeSet<Place>,
        actions: &mut Vec<Action>,
    ) {
        let node = &place.1;
        let unique = view.volumes.get(&place.0).map(|volume| unique_name(volume)).unwrap_or_default();
        let since = *self.unneeded.entry(place.clone()).or_insert(now);
        if attachment.metadata.deletion_timestamp.is_some() {
            leaving.insert(place.clone());
            return;
        }
        let late = since + self.config.unmount_wait_max;
        let may_force = !view.is_healthy(node) || self.config.force_detach_healthy;
        let timed_out = now >= late && may_force && !self.config.force_detach_disabled;
        let forced = timed_out || view.is_out_of_service(node) || planted(Bug::DetachIgnoresUse);
        let in_use = self.in_use.get(node).is_some_and(|used| used.contains(&unique));
        if in_use && !forced {
            if now < late {
                self.wake_at(late);
            }
            return;
        }
        if self.busy(place, now) {
            leaving.insert(place.clone());
            return;
        }
        leaving.insert(place.clone());
        // First the node is told that it is not attached any more, then it is detached.
        if reported(view, node).contains(&unique) {
            return;
        }
        self.open.insert(place.clone(), now);
        let name = attachment.metadata.name.clone().unwrap_or_default();
        let (volume, node) = place.clone();
        actions.push(Action::Detach { name, volume, node, unique, forced: forced && in_use });
    }

    /// Pods need `place`: attach, unless another node has what is for one node.
    #[expect(clippy::too_many_arguments, reason = "one decision of the plan above, on all that the plan knows")]
    fn attach(
        &mut self,
        now: SimTime,
        volume: &PersistentVolume,
        place: &Place,
        pods: &[Arc<Pod>],
        attached: &BTreeMap<Place, &Arc<VolumeAttachment>>,
        actions: &mut Vec<Action>,
        needed: &Needed,
    ) {
        if let Some(attachment) = attached.get(place) {
            self.progress(now, attachment, place, pods, actions);
            return;
        }
        if !multi_attach(volume) {
            let is_elsewhere = |other: &&Place| other.0 == place.0 && other.1 != place.1;
            let asked = self.open.keys().filter(|other| !attached.contains_key(*other));
            let others: Vec<Place> = attached.keys().chain(asked).filter(is_elsewhere).cloned().collect();
            if !others.is_empty() {
                if self.told.insert(place.clone()) {
                    multi_attach_errors(&place.0, pods, &others, needed, actions);
                }
                return;
            }
        }
        if self.busy(place, now) {
            return;
        }
        let Some(csi) = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref()) else { return };
        self.open.insert(place.clone(), now);
        self.wake_at(now + self.config.operation_timeout);
        let name = attachment_name(&csi.volume_handle, &csi.driver, &place.1);
        let (volume, node) = place.clone();
        actions.push(Action::Attach { name, driver: csi.driver.clone(), volume, node });
    }

    /// An attachment that is wanted: done, failed, or under way.
    fn progress(
        &mut self,
        now: SimTime,
        attachment: &VolumeAttachment,
        place: &Place,
        pods: &[Arc<Pod>],
        actions: &mut Vec<Action>,
    ) {
        if attachment.metadata.deletion_timestamp.is_some() {
            // It is being detached; only when it is gone can it be attached again.
            return;
        }
        let status = attachment.status.as_ref();
        if status.is_some_and(|status| status.attached) {
            self.backoffs.remove(place);
            self.errors.remove(place);
            if self.open.remove(place).is_some() {
                let message = format!("AttachVolume.Attach succeeded for volume \"{}\" ", place.0);
                tell(pods, false, "SuccessfulAttachVolume", &message, actions);
            }
            return;
        }
        let error = status.and_then(|status| status.attach_error.as_ref()?.message.clone());
        self.open.entry(place.clone()).or_insert(now);
        if let Some(error) = error
            && self.errors.get(place) != Some(&error)
        {
            let message = format!("AttachVolume.Attach failed for volume \"{}\" : {error}", place.0);
            tell(pods, true, "FailedAttachVolume", &message, actions);
            self.errors.insert(place.clone(), error);
        }
    }
}

fn tell(pods: &[Arc<Pod>], warning: bool, reason: &'static str, message: &str, actions: &mut Vec<Action>) {
    let one = |pod: &Arc<Pod>| Action::Tell { pod: pod.clone(), warning, reason, message: message.into() };
    actions.extend(pods.iter().map(one));
}

/// Upstream's `reportMultiAttachError`: each pod hears of the pods of its own namespace by name, of others by number.
fn multi_attach_errors(volume: &str, pods: &[Arc<Pod>], others: &[Place], needed: &Needed, actions: &mut Vec<Action>) {
    let users: Vec<&Arc<Pod>> = others.iter().filter_map(|place| needed.get(place)).flatten().collect();
    for pod in pods {
        let (local, foreign): (Vec<&&Arc<Pod>>, Vec<_>) =
            users.iter().partition(|user| user.metadata.namespace == pod.metadata.namespace);
        let names: Vec<&str> = local.iter().filter_map(|user| user.metadata.name.as_deref()).collect();
        let why = match (names.is_empty(), foreign.len()) {
            (true, 0) => {
                "Volume is already exclusively attached to one node and can't be attached to another".to_string()
            }
            (true, count) => format!("Volume is already used by {count} pod(s) in different namespaces"),
            (false, 0) => format!("Volume is already used by pod(s) {}", names.join(", ")),
            (false, count) => format!(
                "Volume is already used by pod(s) {} and {count} pod(s) in different namespaces",
                names.join(", ")
            ),
        };
        let message = format!("Multi-Attach error for volume \"{volume}\" {why}");
        tell(std::slice::from_ref(pod), true, "FailedAttachVolume", &message, actions);
    }
}

/// What the node's status says is attached.
fn reported(view: &View, node: &str) -> Vec<String> {
    let status = view.nodes.get(node).and_then(|node| node.status.as_ref());
    let listed = status.and_then(|status| status.volumes_attached.as_ref()).into_iter().flatten();
    listed.map(|volume| volume.name.clone()).collect()
}

/// Keeps every node's `volumesAttached` to what is attached and not about to leave.
fn report(
    view: &View,
    attached: &BTreeMap<Place, &Arc<VolumeAttachment>>,
    leaving: &BTreeSet<Place>,
    actions: &mut Vec<Action>,
) {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> =
        view.nodes.keys().map(|node| (node.as_str(), BTreeSet::new())).collect();
    let done = |attachment: &VolumeAttachment| {
        attachment.status.as_ref().is_some_and(|status| status.attached)
            && attachment.metadata.deletion_timestamp.is_none()
    };
    for (place, _) in attached.iter().filter(|(place, attachment)| done(attachment) && !leaving.contains(*place)) {
        if let Some(volume) = view.volumes.get(&place.0) {
            wanted.entry(&place.1).or_default().insert(unique_name(volume));
        }
    }
    for (node, volumes) in wanted {
        let before: BTreeSet<String> = reported(view, node).into_iter().collect();
        if before != volumes && view.nodes.contains_key(node) {
            actions.push(Action::Report { node: node.into(), volumes: volumes.into_iter().collect() });
        }
    }
}
