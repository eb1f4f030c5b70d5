//! The DNS records of a Service: a pure function of the service and its slices.
//!
//! Follows the Kubernetes DNS specification 1.1 as CoreDNS's `kubernetes` plugin answers it: a headless service's name has the
//! address of every ready endpoint, `<hostname>.<service>` that of one. Differs: no virtual addresses, so the name of a service
//! that is not headless has the ready endpoints too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::plan::SERVICE_NAME;
use crate::kube::controllers::meta::{label, namespace};

/// Names and what they resolve to, addresses in order.
pub type Records = BTreeMap<String, Vec<IpAddr>>;

/// Where records go: the resolver of the world. Called from the DNS server's task; must not wait.
pub trait DnsSink: Send + Sync {
    /// From now on `name` resolves to `addresses`, and an answer may be kept for `ttl`.
    fn publish(&self, name: &str, addresses: &[IpAddr], ttl: Duration);
    /// From now on `name` does not resolve.
    fn withdraw(&self, name: &str);
}

/// The endings under which a name of the namespace can be asked for; search domains are not modelled.
fn spellings(service: &str, namespace: &str, domain: &str) -> [String; 3] {
    [
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.{domain}"),
    ]
}

/// All records of the cluster whose domain is `domain`.
pub fn records<'a>(slices: impl Iterator<Item = &'a Arc<EndpointSlice>>, domain: &str) -> Records {
    let mut sets: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for slice in slices {
        let Some(service) = label(&slice.metadata, SERVICE_NAME) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            // An unknown readiness counts as ready, as the API says.
            if endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(false) {
                continue;
            }
            let addresses = || endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
            for name in spellings(service, namespace(&slice.metadata), domain) {
                if let Some(host) = &endpoint.hostname {
                    sets.entry(format!("{host}.{name}")).or_default().extend(addresses());
                }
                sets.entry(name).or_default().extend(addresses());
            }
        }
    }
    sets.into_iter().map(|(name, addresses)| (name, addresses.into_iter().collect())).collect()
}

/// Tells `sink` what changed from `old` to `new`.
pub fn publish(old: &Records, new: &Records, ttl: Duration, sink: &dyn DnsSink) {
    for (name, addresses) in new.iter().filter(|(name, addresses)| old.get(*name) != Some(*addresses)) {
        sink.publish(name, addresses, ttl);
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        sink.withdraw(name);
    }
}
