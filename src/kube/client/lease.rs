//! Leader election by a Lease: of several replicas of a controller one works.
//!
//! Follows client-go's `leaderelection`. A candidate judges a lease by its own clock, from when it first saw the present
//! record, never by the times written in it: clocks of hosts may differ. There is no fence: a leader that stood still for
//! longer than the lease goes on for a moment beside the next, as upstream's does.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::{ApiError, Client};
use crate::base::Stream;
use crate::kube::clock;
use crate::rt::chance;
use crate::rt::time::{Duration, Instant, sleep, timeout_at};
use crate::rt::{Either, select2};

/// The election's numbers: the flags of kube-controller-manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionConfig {
    /// For so long others leave a lease alone that does not change: 15 s.
    pub lease_duration: Duration,
    /// A leader that could not renew for so long gives up: 10 s.
    pub renew_deadline: Duration,
    /// Between two tries: 2 s, for candidates up to 2.2 times that.
    pub retry_period: Duration,
}

impl Default for ElectionConfig {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// The lease could not be renewed in time: somebody else may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leader election lost")]
pub struct LostLease;

/// A candidate.
pub struct Election {
    client: Client,
    namespace: String,
    name: String,
    identity: String,
    config: ElectionConfig,
    chance: Stream,
    seen: Option<(LeaseSpec, Instant)>,
    /// The lease as this candidate wrote it last.
    held: Option<Arc<Lease>>,
}

impl Election {
    /// For the lease `namespace/name`. `identity` tells the candidates apart.
    pub fn new(client: &Client, namespace: &str, name: &str, identity: &str, config: ElectionConfig) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            config,
            chance: chance::stream("election"),
            seen: None,
            held: None,
        }
    }

    /// Waits to become the leader, then does `work` for as long as it is.
    ///
    /// # Errors
    /// When the lease is lost; `work` is dropped. Upstream's components end their process then.
    pub async fn lead<F: Future>(mut self, work: impl FnOnce() -> F) -> Result<F::Output, LostLease> {
        while !self.attempt().await {
            let period = self.config.retry_period;
            sleep(self.chance.duration(period, period.saturating_mul(11) / 5)).await;
        }
        match select2(work(), self.renew()).await {
            Either::Left(done) => Ok(done),
            Either::Right(LostLease) => Err(LostLease),
        }
    }

    async fn renew(&mut self) -> LostLease {
        loop {
            let deadline = Instant::now() + self.config.renew_deadline;
            let period = self.config.retry_period;
            let renewed = async {
                while !self.attempt().await {
                    sleep(period).await;
                }
            };
            if timeout_at(deadline, renewed).await.is_err() {
                return LostLease;
            }
            sleep(period).await;
        }
    }

    /// One try. True if this candidate holds the lease now.
    async fn attempt(&mut self) -> bool {
        match self.try_acquire_or_renew().await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(%error, lease = self.name, "leader election");
                false
            }
        }
    }

    async fn try_acquire_or_renew(&mut self) -> Result<bool, ApiError> {
        // As client-go: one that leads writes without looking first, and looks if somebody else has written.
        if let Some(held) = self.held.take().filter(|_| self.age() < self.config.lease_duration)
            && self.write(&held).await.is_ok()
        {
            return Ok(true);
        }
        let found: Option<Lease> = self.client.find(&self.namespace, &self.name).await?;
        let Some(lease) = found else {
            let meta = ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            };
            let spec = next(&LeaseSpec::default(), &self.identity, &self.config, clock::micro_time_now());
            let made = self.client.create(&Lease { metadata: meta, spec: Some(spec) }).await?;
            self.hold(made);
            return Ok(true);
        };
        let unset = LeaseSpec::default();
        let spec = lease.spec.as_ref().unwrap_or(&unset);
        self.observe(spec);
        if !free(spec, &self.identity, self.age(), &self.config) {
            return Ok(false);
        }
        self.write(&lease).await?;
        Ok(true)
    }

    /// Takes or keeps a lease that looks like this.
    async fn write(&mut self, lease: &Lease) -> Result<(), ApiError> {
        let unset = LeaseSpec::default();
        let spec = lease.spec.as_ref().unwrap_or(&unset);
        let spec = next(spec, &self.identity, &self.config, clock::micro_time_now());
        let held = self.client.replace(&Lease { metadata: lease.metadata.clone(), spec: Some(spec) }).await?;
        self.hold(held);
        Ok(())
    }

    fn hold(&mut self, lease: Arc<Lease>) {
        if let Some(spec) = &lease.spec {
            self.observe(spec);
        }
        self.held = Some(lease);
    }

    fn observe(&mut self, spec: &LeaseSpec) {
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != spec) {
            self.seen = Some((spec.clone(), Instant::now()));
        }
    }

    fn age(&self) -> Duration {
        self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

/// Whether a candidate may take a lease that has looked the same for `age`.
fn free(spec: &LeaseSpec, identity: &str, age: Duration, config: &ElectionConfig) -> bool {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    holder.is_empty() || holder == identity || age >= config.lease_duration
}

/// The record of a leader that takes or keeps a lease.
fn next(spec: &LeaseSpec, identity: &str, config: &ElectionConfig, now: MicroTime) -> LeaseSpec {
    let kept = spec.holder_identity.as_deref() == Some(identity);
    let transitions = spec.lease_transitions.unwrap_or(0);
    let first = spec.holder_identity.is_none();
    LeaseSpec {
        holder_identity: Some(identity.into()),
        lease_duration_seconds: i32::try_from(config.lease_duration.as_secs()).ok(),
        acquire_time: if kept { spec.acquire_time.clone() } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: Some(if kept || first { transitions } else { transitions.saturating_add(1) }),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_stood_still_for_long_enough() {
        let config = ElectionConfig::default();
        let now = clock::micro_time_now();
        let held = next(&LeaseSpec::default(), "a", &config, now.clone());
        assert_eq!(held.lease_transitions, Some(0));
        let rows = [("a", 0, true), ("b", 0, false), ("b", 14, false), ("b", 15, true)];
        for (who, seconds, want) in rows {
            assert_eq!(free(&held, who, Duration::from_secs(seconds), &config), want, "{who} after {seconds} s");
        }
        let released = LeaseSpec { holder_identity: Some(String::new()), ..held.clone() };
        assert!(free(&released, "b", Duration::ZERO, &config));
        let taken = next(&held, "b", &config, now.clone());
        assert_eq!((taken.lease_transitions, next(&taken, "b", &config, now).lease_transitions), (Some(1), Some(1)));
    }
}
