//! The Job controller: pods until enough of them succeeded, and the clean-up of jobs that ended long ago.
//!
//! The loop around [`plan`]. The status is written before pods are released or made, so that no end is counted twice or lost.

pub mod plan;

use std::convert::Infallible;
use std::sync::Mutex;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::core::params::{DeleteParams, PropagationPolicy};
use serde_json::json;

use self::plan::{BackOff, Plan, Step, TRACKING, View, failures};
use super::expectations::Expectations;
use super::meta::{controlled_by, name, namespace, owner_key, uid, without_finalizer};
use super::shared::{Seen, Shared, absent_is_fine, feed, only, work};
use crate::base::lock;
use crate::kube::client::{ApiError, EventRecorder, EventType, Patch, QueueConfig, WorkQueue};
use crate::kube::clock;
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant};

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobConfig {
    /// Delays after errors.
    pub delays: QueueConfig,
    /// Delays after failed pods.
    pub back_off: BackOff,
}

struct Controller {
    shared: Shared,
    events: EventRecorder,
    config: JobConfig,
    seen: Seen,
    expectations: Mutex<Expectations>,
}

/// Runs the controller.
pub async fn run(shared: Shared, config: JobConfig) -> Infallible {
    let (queue, scope, seen) = (WorkQueue::new(config.delays), Scope::new(), Seen::default());
    feed(&scope, &shared.jobs, &queue, |event| vec![event.key()]);
    let noted = seen.clone();
    feed(&scope, &shared.pods, &queue, move |event| {
        noted.note(event);
        owner_key(&event.object().metadata, "Job").into_iter().collect()
    });
    let events = EventRecorder::new(&shared.client, "job-controller", "");
    let controller = Controller { shared, events, config, seen, expectations: Mutex::default() };
    work("job", &queue, |key| controller.sync(key)).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, ApiError> {
        let Some(job) = self.shared.jobs.get_key(&key) else {
            lock(&self.expectations).forget(&key);
            return Ok(None);
        };
        let seen = self.seen.version();
        let pods = self.shared.pods_in(&key.namespace, |pod| controlled_by(&pod.metadata, &job.metadata));
        let pending = lock(&self.expectations).pending(&key, seen, pods.iter().map(|pod| &**pod), Instant::now());
        if let Some(wait) = pending {
            return Ok(Some(wait));
        }
        let view = View {
            job: &job,
            pods: &pods,
            failures: failures(&pods),
            now: clock::now(),
            back_off: self.config.back_off,
        };
        let Plan { status, steps, recheck } = plan::plan(&view);
        if job.status.as_ref() != Some(&status) {
            let mut written = Job::clone(&job);
            written.status = Some(status);
            self.shared.client.replace_status(&written).await?;
            self.tell_end(&job, &written);
        }
        for step in steps {
            self.carry_out(&key, &job, step).await?;
        }
        Ok(recheck)
    }

    /// The event of a job that has just ended.
    fn tell_end(&self, before: &Job, after: &Job) {
        let last = |job: &Job| job.status.as_ref()?.conditions.as_ref()?.last().cloned();
        let (None, Some(end)) = (last(before), last(after)) else { return };
        match end.type_.as_str() {
            "Complete" => self.events.event(after, EventType::Normal, "Completed", "Job completed"),
            _ => {
                let reason = end.reason.unwrap_or_default();
                self.events.event(after, EventType::Warning, &reason, end.message.unwrap_or_default());
            }
        }
    }

    async fn carry_out(&self, key: &ObjectKey, job: &Job, step: Step) -> Result<(), ApiError> {
        let client = &self.shared.client;
        match step {
            Step::Create(pod) => {
                let made = client.create(&*pod).await?;
                let said = format!("Created pod: {}", name(&made.metadata));
                self.events.event(job, EventType::Normal, "SuccessfulCreate", said);
                lock(&self.expectations).created(key, &made, Instant::now());
                Ok(())
            }
            Step::Delete(pod) => {
                self.shared.delete_pod(&pod).await?;
                let said = format!("Deleted pod: {}", name(&pod.metadata));
                self.events.event(job, EventType::Normal, "SuccessfulDelete", said);
                lock(&self.expectations).deleted(key, &pod, Instant::now());
                Ok(())
            }
            Step::Release(pod) => {
                let left = without_finalizer(&pod.metadata, TRACKING);
                let patch = Patch::Merge(json!({
                    "metadata": { "uid": uid(&pod.metadata), "resourceVersion": pod.metadata.resource_version, "finalizers": left }
                }));
                absent_is_fine(client.patch::<Pod>(&key.namespace, name(&pod.metadata), &patch).await)
            }
            Step::Expire => {
                let params = DeleteParams {
                    preconditions: only(uid(&job.metadata)),
                    propagation_policy: Some(PropagationPolicy::Foreground),
                    ..DeleteParams::default()
                };
                absent_is_fine(client.delete::<Job>(namespace(&job.metadata), name(&job.metadata), &params).await)
            }
        }
    }
}
