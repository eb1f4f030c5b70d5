//! What a kubelet that has just started makes of a pod that ran before.
//!
//! Rule: a container that runs is taken over as it is, never started a second time; one that ended is judged by its end;
//! one that the runtime does not know but the API server does was lost with the node and counts as ended. Back-offs were
//! in memory and begin anew. A pod whose phase is final stays so.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodStatus};

use super::container::{ContainerMachine, State, terminated};
use super::status::wall;
use super::{Life, Moment, Net, PodMachine, Volumes};
use crate::base::planted::{Bug, planted};
use crate::kube::runtime::{ContainerRecord, SandboxStatus};
use crate::rt::time::Duration;

impl PodMachine {
    /// Takes over what the runtime holds for the pod, oldest sandbox first. Give the plan's watches to the worker.
    pub fn adopt(mut self, found: &[SandboxStatus], now: Moment) -> (Self, super::Plan) {
        let mut plan = super::Plan::default();
        let found = if planted(Bug::KubeletForgetsContainers) { &[] } else { found };
        let before = self.pod.status.clone().unwrap_or_default();
        self.sandboxes = found.iter().map(|s| s.sandbox.attempt.saturating_add(1)).max().unwrap_or(0);
        if let Some(live) = found.iter().rfind(|s| s.ready) {
            self.net = Net::Up(live.sandbox.clone());
        }
        for (slot, container) in self.containers.iter_mut().enumerate() {
            let of_name = |r: &&ContainerRecord| r.name == container.spec.name;
            let mut records: Vec<&ContainerRecord> = found.iter().flat_map(|s| &s.containers).filter(of_name).collect();
            records.sort_by_key(|r| r.attempt);
            let row = row(&before, &container.spec.name);
            match records.split_last() {
                Some((latest, earlier)) => take_record(container, latest, earlier.last().copied(), row, now),
                None => take_row(container, row, now),
            }
            if let Some(id) = container.id() {
                plan.push(super::Action::Watch(slot, id.clone()));
            }
        }
        let final_phase = before.phase.as_deref().and_then(|p| ["Succeeded", "Failed"].into_iter().find(|f| *f == p));
        if let Some(phase) = final_phase {
            self.fixed = Some((phase, before.reason.clone(), before.message.clone()));
            if self.life == Life::Active {
                self.end(now, self.grace());
            }
        }
        // Whatever the kubelet before had mounted: mounting again is harmless, and unmounting must not be forgotten.
        if self.life != Life::Active {
            self.volumes = Volumes::Mounted;
        }
        (self, plan)
    }
}

fn row<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let rows = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    rows.into_iter().find(|row| row.name == name)
}

/// The monotonic reading at a moment of the wall clock, as well as can be told.
fn mono(at: Duration, now: Moment) -> Duration {
    now.mono.saturating_sub(now.wall.saturating_sub(at))
}

fn take_record(
    container: &mut ContainerMachine,
    latest: &ContainerRecord,
    earlier: Option<&ContainerRecord>,
    row: Option<&ContainerStatus>,
    now: Moment,
) {
    container.attempt = Some(latest.attempt);
    container.last = earlier.and_then(|r| r.exit.as_ref().map(|exit| terminated(&r.id, r.started, exit)));
    match &latest.exit {
        Some(exit) => {
            let end = terminated(&latest.id, latest.started, exit);
            container.state = State::Ended { at: mono(exit.finished, now), end, told: false };
        }
        None => {
            let same = |row: &&ContainerStatus| row.container_id.as_deref() == Some(&latest.id.0);
            let row = row.filter(|row| same(row) || planted(Bug::InheritedReadiness));
            let started = Moment { mono: mono(latest.started, now), wall: latest.started };
            container.runs(latest.id.clone(), started, row.map(|row| row.ready));
        }
    }
}

/// Only the API server knows of it: it ended with the node's power, or long ago.
fn take_row(container: &mut ContainerMachine, row: Option<&ContainerStatus>, now: Moment) {
    let Some(row) = row else { return };
    let Some(state) = &row.state else { return };
    let last = row.last_state.as_ref().and_then(|s| s.terminated.clone());
    let end = match (&state.running, &state.terminated, &last) {
        (Some(running), ..) => ContainerStateTerminated {
            container_id: row.container_id.clone(),
            exit_code: 255,
            reason: Some("Unknown".into()),
            started_at: running.started_at.clone(),
            finished_at: Some(super::status::time(now.wall)),
            ..ContainerStateTerminated::default()
        },
        (None, Some(end), _) => end.clone(),
        // CrashLoopBackOff and the like.
        (None, None, Some(last)) => last.clone(),
        (None, None, None) => return,
    };
    let at = end.finished_at.as_ref().map_or(now.mono, |at| mono(wall(at), now));
    container.attempt = u32::try_from(row.restart_count).ok();
    container.last = last;
    container.state = State::Ended { at, end, told: false };
}
