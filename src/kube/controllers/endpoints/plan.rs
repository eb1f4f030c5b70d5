//! Which addresses stand behind a Service: a pure function of the service and the pods.
//!
//! Follows `endpoints_controller.go`, `endpointslice/reconciler.go` and `podutil.ShouldPodBeInEndpoints`. Rule: only what is ready
//! counts as ready, unless the service publishes not-ready addresses; a pod that ended is in neither. Differs: one slice per
//! service, of any size.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort as SlicePort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kube::controllers::meta::{controller_ref, name, namespace, terminating, uid};
use crate::kube::controllers::pod::{is_finished, is_ready, node_name, set_label};

/// Label of a slice: its service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label: the service has no virtual address.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether the service has no virtual address.
pub fn headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The two objects that say who stands behind `service`; none if it selects nothing by itself.
pub fn plan(service: &Service, pods: &[Arc<Pod>]) -> Option<(Endpoints, EndpointSlice)> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    let publish = spec.publish_not_ready_addresses == Some(true);
    let mut chosen: Vec<&Arc<Pod>> = pods.iter().filter(|pod| selected(selector, pod, service)).collect();
    chosen.sort_by_key(|pod| name(&pod.metadata));
    let ports = ports(spec, chosen.first().map(|pod| &***pod));
    let rows = chosen.into_iter().filter(|pod| !is_finished(pod) && ip(pod).is_some());
    let (mut ready, mut not_ready, mut slice) = (Vec::new(), Vec::new(), Vec::new());
    for pod in rows {
        slice.push(slice_endpoint(service, pod, publish));
        if terminating(&pod.metadata) && !publish {
            continue;
        }
        if publish || is_ready(pod) { ready.push(address(service, pod)) } else { not_ready.push(address(service, pod)) }
    }
    let some = |list: Vec<EndpointAddress>| Some(list).filter(|list| !list.is_empty());
    let subset = EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(not_ready),
        ports: Some(ports.clone()).filter(|ports| !ports.is_empty()),
    };
    let filled = subset.addresses.is_some() || subset.not_ready_addresses.is_some();
    let endpoints =
        Endpoints { metadata: meta(service, name(&service.metadata).into()), subsets: filled.then(|| vec![subset]) };
    let mut metadata = meta(service, format!("{}-1", name(&service.metadata)));
    metadata.owner_references = Some(vec![controller_ref(service)]);
    set_label(&mut metadata, SERVICE_NAME, name(&service.metadata));
    set_label(&mut metadata, "endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io");
    let slice = EndpointSlice {
        metadata,
        address_type: "IPv4".into(),
        endpoints: Some(slice).filter(|slice| !slice.is_empty()),
        ports: Some(ports.into_iter().map(slice_port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
    };
    Some((endpoints, slice))
}

fn selected(selector: &BTreeMap<String, String>, pod: &Pod, service: &Service) -> bool {
    let labels = pod.metadata.labels.as_ref();
    pod.metadata.namespace == service.metadata.namespace
        && selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

fn meta(service: &Service, name: String) -> ObjectMeta {
    let mut meta = ObjectMeta {
        name: Some(name),
        namespace: Some(namespace(&service.metadata).into()),
        labels: service.metadata.labels.clone(),
        ..ObjectMeta::default()
    };
    if headless(service) {
        set_label(&mut meta, HEADLESS, "");
    }
    meta
}

fn ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())
}

/// The pod's name in the service's domain: only if the pod asks for that subdomain.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let host = spec.hostname.as_ref().filter(|host| !host.is_empty())?;
    (spec.subdomain.as_deref() == Some(name(&service.metadata))).then(|| host.clone())
}

fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: Some(namespace(&pod.metadata).into()),
        name: Some(name(&pod.metadata).into()),
        uid: Some(uid(&pod.metadata).into()),
        ..ObjectReference::default()
    }
}

fn address(service: &Service, pod: &Pod) -> EndpointAddress {
    EndpointAddress {
        ip: ip(pod).unwrap_or_default().into(),
        hostname: hostname(service, pod),
        node_name: node_name(pod).map(Into::into),
        target_ref: Some(target(pod)),
    }
}

fn slice_endpoint(service: &Service, pod: &Pod, publish: bool) -> Endpoint {
    let (serving, leaving) = (publish || is_ready(pod), terminating(&pod.metadata));
    Endpoint {
        addresses: vec![ip(pod).unwrap_or_default().into()],
        conditions: Some(EndpointConditions {
            ready: Some(publish || serving && !leaving),
            serving: Some(serving),
            terminating: Some(leaving),
        }),
        hostname: hostname(service, pod),
        node_name: node_name(pod).map(Into::into),
        target_ref: Some(target(pod)),
        ..Endpoint::default()
    }
}

/// The service's ports as the pods know them; named target ports are looked up in the first pod.
fn ports(spec: &ServiceSpec, pod: Option<&Pod>) -> Vec<EndpointPort> {
    let named = |wanted: &str| {
        let containers = pod?.spec.as_ref()?.containers.iter();
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        ports.find(|port| port.name.as_deref() == Some(wanted)).map(|port| port.container_port)
    };
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let number = match &port.target_port {
            None => port.port,
            Some(IntOrString::Int(0)) => port.port,
            Some(IntOrString::Int(number)) => *number,
            Some(IntOrString::String(wanted)) => named(wanted)?,
        };
        Some(EndpointPort {
            name: port.name.clone(),
            port: number,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    spec.ports.iter().flatten().filter_map(port).collect()
}

fn slice_port(port: EndpointPort) -> SlicePort {
    SlicePort { name: port.name, port: Some(port.port), protocol: port.protocol, app_protocol: port.app_protocol }
}
