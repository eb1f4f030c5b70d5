//! Endpoints and DNS: who stands behind a Service, and which names lead there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::json;
use stormglass::base::lock;
use stormglass::kube::controllers::endpoints::plan::plan;
use stormglass::kube::controllers::endpoints::records::{DnsSink, Records, publish, records};

use super::states::{object, on, pod};

fn service(publish: bool) -> Service {
    object(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "svc" },
        "spec": {
            "clusterIP": "None", "selector": { "app": "web" }, "publishNotReadyAddresses": publish,
            "ports": [{ "name": "rpc", "port": 26000 }, { "name": "http", "port": 80, "targetPort": "admin" }]
        }
    }))
}

fn member(n: u8, state: char) -> Arc<Pod> {
    let mut pod = Pod::clone(&on(pod(&format!("web-{n}"), state), "n"));
    pod.metadata.labels = Some([("app".to_string(), "web".to_string())].into());
    let spec = pod.spec.as_mut().unwrap();
    (spec.hostname, spec.subdomain) = (Some(format!("web-{n}")), Some("web".into()));
    spec.containers = object(json!([{ "name": "main", "ports": [{ "name": "admin", "containerPort": 8080 }] }]));
    pod.status.get_or_insert_default().pod_ip = Some(format!("10.1.0.{n}"));
    Arc::new(pod)
}

fn last(ip: &str) -> &str {
    ip.rsplit('.').next().unwrap()
}

#[test]
fn who_stands_behind_a_service() {
    // Upstream rule, publishNotReadyAddresses, states of web-1, web-2 …; ready, not ready, resolved by name.
    let rows = [
        ("ready pods are ready", false, "RR", "1 2", "", "1 2"),
        ("others are not ready", false, "RU", "1", "2", "1"),
        ("ShouldPodBeInEndpoints: ended ones are left out", false, "RFS", "1", "", "1"),
        ("ShouldPodBeInEndpoints: so are those on their way out", false, "Rr", "1", "", "1"),
        ("publishNotReadyAddresses: all are ready", true, "RU", "1 2", "", "1 2"),
        ("publishNotReadyAddresses: even on their way out", true, "Ru", "1 2", "", "1 2"),
        ("publishNotReadyAddresses: ended is ended", true, "RF", "1", "", "1"),
        ("nobody", false, "", "", "", ""),
    ];
    for (rule, publish, states, ready, not_ready, resolved) in rows {
        let pods: Vec<_> = (1..).zip(states.chars()).map(|(n, state)| member(n, state)).collect();
        let (endpoints, slice) = plan(&service(publish), &pods).unwrap();
        let subset = endpoints.subsets.unwrap_or_default().into_iter().next().unwrap_or_default();
        let ips = |list: Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
            list.iter().flatten().map(|address| last(&address.ip)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (ips(subset.addresses).as_str(), ips(subset.not_ready_addresses).as_str()),
            (ready, not_ready),
            "{rule}"
        );
        let records = records([Arc::new(slice)].iter(), "cluster.local");
        let named = |name: &str| {
            let found: Vec<IpAddr> = records.get(name).cloned().unwrap_or_default();
            found.iter().map(|ip| last(&ip.to_string()).to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named("web.default.svc"), resolved, "{rule}");
        assert_eq!(named("web.default.svc.cluster.local"), resolved, "{rule}");
        assert_eq!(named("web-1.web.default.svc"), if resolved.starts_with('1') { "1" } else { "" }, "{rule}");
    }
}

#[test]
fn what_is_selected_and_under_which_name() {
    let other = |change: &dyn Fn(&mut Pod)| {
        let mut pod = Pod::clone(&member(1, 'R'));
        change(&mut pod);
        plan(&service(false), &[Arc::new(pod)]).unwrap().1.endpoints.unwrap_or_default()
    };
    assert_eq!(other(&|_| {})[0].hostname.as_deref(), Some("web-1"));
    assert_eq!(other(&|pod| pod.metadata.labels = None), []);
    assert_eq!(other(&|pod| pod.metadata.namespace = Some("else".into())), []);
    assert_eq!(other(&|pod| pod.status.as_mut().unwrap().pod_ip = None), [], "no address yet");
    let elsewhere = other(&|pod| pod.spec.as_mut().unwrap().subdomain = Some("api".into()));
    assert_eq!(elsewhere[0].hostname, None, "a pod of another subdomain has no name here");

    let (endpoints, _) = plan(&service(false), &[member(1, 'R')]).unwrap();
    let ports = endpoints.subsets.unwrap()[0].ports.clone().unwrap();
    assert_eq!(
        ports.iter().map(|port| port.port).collect::<Vec<_>>(),
        [26000, 8080],
        "named target ports are looked up"
    );
    let mut manual = service(false);
    manual.spec.as_mut().unwrap().selector = None;
    assert_eq!(plan(&manual, &[]), None, "without a selector somebody else writes the endpoints");
}

#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl DnsSink for Said {
    fn publish(&self, name: &str, addresses: &[IpAddr], ttl: Duration) {
        lock(&self.0).push(format!("{name} {addresses:?} {}", ttl.as_secs()));
    }

    fn withdraw(&self, name: &str) {
        lock(&self.0).push(format!("{name} gone"));
    }
}

#[test]
fn only_changes_are_told() {
    let of = |text: &str| -> Records {
        let pairs = text.split_whitespace().map(|word| word.split_once('=').unwrap());
        pairs.map(|(name, ip)| (name.to_string(), vec![ip.parse().unwrap()])).collect::<BTreeMap<_, _>>()
    };
    let said = Said::default();
    publish(
        &of("a=10.0.0.1 b=10.0.0.2 c=10.0.0.3"),
        &of("a=10.0.0.1 b=10.0.0.9 d=10.0.0.4"),
        Duration::from_secs(30),
        &said,
    );
    assert_eq!(*lock(&said.0), ["b [10.0.0.9] 30", "d [10.0.0.4] 30", "c gone"]);
}
