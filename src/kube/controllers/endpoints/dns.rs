//! The cluster's DNS server, as far as the world's resolver needs one: it watches slices and publishes records.
//!
//! Takes the place of CoreDNS's `kubernetes` plugin. Rule: while the API server cannot be reached it goes on answering with
//! what it knew, as CoreDNS does; who asked lately keeps the answer for the time to live.

use std::convert::Infallible;
use std::sync::Arc;

use super::records::{DnsSink, Records, publish, records};
use crate::kube::client::{Client, Informer};
use crate::rt::time::{Duration, sleep};

/// Numbers of the DNS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// The cluster's domain: kubelet's `--cluster-domain`.
    pub domain: String,
    /// From a changed slice to a changed answer.
    pub delay: Duration,
    /// How long an answer may be kept: the `ttl 30` of the usual Corefile.
    pub ttl: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { domain: "cluster.local".into(), delay: Duration::from_millis(100), ttl: Duration::from_secs(30) }
    }
}

/// Runs the DNS server.
pub async fn run(client: Client, config: DnsConfig, sink: Arc<dyn DnsSink>) -> Infallible {
    let slices = Informer::all(&client);
    let mut changes = slices.changes();
    slices.synced().await;
    let mut told = Records::new();
    loop {
        let known = slices.with(|all| records(all.values(), &config.domain));
        publish(&told, &known, config.ttl, &*sink);
        told = known;
        changes.changed().await;
        sleep(config.delay).await;
    }
}
