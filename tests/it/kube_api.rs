//! The API server, its client and informers, on machines of their own in a world.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::core::WatchEvent;
use kube::core::params::{DeleteParams, ListParams, WatchParams};
use serde_json::json;
use stormglass::base::{HostId, Seed, lock};
use stormglass::kube::apiserver::{ApiServer, ApiServerConfig};
use stormglass::kube::client::{Client, Election, ElectionConfig, Informer, InformerEvent, MutationCache, Patch};
use stormglass::kube::kind::{Kinds, ObjectKey};
use stormglass::kube::kubectl::Kubectl;
use stormglass::kube::store::{Part, Patch as StorePatch, Validation};
use stormglass::rt::time::{Instant, sleep, timeout};
use stormglass::world::engine::SynPolicy;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

const API: &str = "apiserver:6443";

struct Bench {
    lab: Lab,
    server: Arc<ApiServer>,
    master: HostId,
    node: HostId,
}

fn bench(seed: u64, config: ApiServerConfig) -> Bench {
    let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
    let master = lab.world.add_host("apiserver", [10, 0, 0, 9].into());
    let node = lab.world.add_host("node", [10, 0, 0, 1].into());
    let server = ApiServer::new(Kinds::builtin(), config, Seed(seed));
    let bench = Bench { lab, server, master, node };
    bench.start_server();
    bench
}

impl Bench {
    fn start_server(&self) {
        let program = self.server.clone().run(SocketAddr::from(([10, 0, 0, 9], 6443)));
        self.lab.world.start(self.master, "kube-apiserver", Box::pin(async move { program.await.unwrap() })).unwrap();
    }

    /// Runs a program on the node to its end.
    fn run<T: Send + 'static>(&self, program: impl Future<Output = T> + Send + 'static) -> T {
        let out = self.start(program);
        self.lab.world.run_until(self.lab.world.world_now() + Duration::from_secs(900));
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
        lock(&out).take().expect("the program came to an end")
    }

    fn start<T: Send + 'static>(&self, program: impl Future<Output = T> + Send + 'static) -> Arc<Mutex<Option<T>>> {
        let result = Arc::new(Mutex::new(None));
        let out = result.clone();
        let body = async move {
            let got = program.await;
            *lock(&out) = Some(got);
        };
        self.lab.world.start(self.node, "client", Box::pin(body)).unwrap();
        result
    }
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}]},
    }))
    .unwrap()
}

#[test]
fn objects_are_made_read_changed_watched_and_deleted() {
    let bench = bench(1, ApiServerConfig::default());
    bench.run(async {
        let client = Client::new(API);
        let informer = Informer::<Pod>::all(&client);
        informer.synced().await;
        let mut changes = informer.changes();
        let mut gone = informer.subscribe_to(|event| matches!(event, InformerEvent::Deleted(_)));

        let made = client.create(&pod("a")).await.unwrap();
        assert_eq!(made.metadata.generation, Some(1));
        let spec = made.spec.as_ref().unwrap();
        assert_eq!(spec.termination_grace_period_seconds, Some(30));
        assert_eq!(spec.tolerations.as_ref().map(Vec::len), Some(2));
        assert_eq!(made.status.as_ref().unwrap().phase.as_deref(), Some("Pending"));
        changes.changed().await;
        assert_eq!(informer.get("default", "a").unwrap(), made);

        let error = client.create(&pod("a")).await.unwrap_err();
        assert_eq!((error.is_already_exists(), error.to_string().as_str()), (true, "pods \"a\" already exists"));
        let error = client.get::<Pod>("default", "b").await.unwrap_err();
        assert_eq!((error.is_not_found(), error.to_string().as_str()), (true, "pods \"b\" not found"));

        let label = Patch::Strategic(json!({"metadata": {"labels": {"tier": "x"}}}));
        let patched = client.patch::<Pod>("default", "a", &label).await.unwrap();
        assert_eq!(patched.metadata.labels.as_ref().unwrap().len(), 2);
        let stale = client.replace(&*made).await.unwrap_err();
        assert!(stale.is_conflict(), "{stale}");
        assert!(stale.to_string().contains("the object has been modified"), "{stale}");

        let listed = client.list::<Pod>("", &ListParams::default().labels("tier in (x)")).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        let none = client.list::<Pod>("", &ListParams::default().fields("spec.nodeName=n1")).await.unwrap();
        assert!(none.items.is_empty());

        let binding = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default"}, "target": {"kind": "Node", "name": "n1"},
        }))
        .unwrap();
        client.bind(&binding).await.unwrap();
        assert!(client.bind(&binding).await.unwrap_err().is_conflict());

        // It has a node: it goes when its kubelet says so.
        client.delete::<Pod>("default", "a", &DeleteParams::default()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let leaving = informer.get("default", "a").unwrap();
        assert_eq!(leaving.metadata.deletion_grace_period_seconds, Some(30));
        let now = DeleteParams::default().grace_period(0);
        client.delete::<Pod>("default", "a", &now).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(informer.get("default", "a").is_none());
        assert!(gone.try_recv().is_ok_and(|event| event.key() == ObjectKey::new("default", "a")));
        assert!(gone.try_recv().is_err(), "nothing else was asked for");
    });
    assert_eq!(bench.server.watches(), 0, "the client is gone, and so is its watch");
}

#[test]
fn an_informer_outlives_its_server() {
    let config = ApiServerConfig::default();
    let bench = bench(2, config);
    let out = bench.start(async {
        let client = Client::new(API);
        let informer = Informer::<ConfigMap>::all(&client);
        informer.synced().await;
        // Long enough for the harness to kill the server, and for it to come back.
        sleep(Duration::from_secs(120)).await;
        informer.list().iter().map(|map| map.metadata.name.clone().unwrap()).collect::<Vec<_>>()
    });
    let after = |seconds| bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_secs(seconds));
    let make = |name: &str| {
        bench.server.with_store(|store| {
            let kind = store.kinds().by_word("cm").unwrap();
            let value = json!({"metadata": {"name": name}});
            store.create(kind, "default", value, Default::default(), stormglass::kube::clock::now()).unwrap();
        });
    };
    after(5);
    make("before");
    after(5);
    bench.lab.world.power_loss(bench.master);
    after(20);
    // Nobody could be told of this one, and of these events the server then knows nothing any more.
    make("meanwhile");
    bench.server.with_store(|store| store.compact());
    make("later");
    bench.lab.world.power_on(bench.master);
    bench.start_server();
    after(120);
    assert!(bench.lab.world.panics().is_empty(), "{:?}", bench.lab.world.panics());
    assert_eq!(lock(&out).take().unwrap(), ["before", "later", "meanwhile"]);
}

#[test]
fn an_informer_asks_once_and_leaves_its_connection_to_the_next_request() {
    let bench = bench(5, ApiServerConfig::default());
    let out = bench.start(async {
        let client = Client::new(API);
        client.create(&pod("a")).await.unwrap();
        client.create(&pod("b")).await.unwrap();
        // A watch of its own, so that nothing but its end gives a connection back.
        let watching = Client::new(API);
        let params =
            WatchParams { timeout: Some(2), send_initial_events: true, bookmarks: true, ..WatchParams::default() };
        let mut watch = watching.watch::<Pod>("", &params, "").await.unwrap();
        let mut told = Vec::new();
        while let Some(event) = watch.next().await.unwrap() {
            told.push(match event {
                WatchEvent::Added(pod) => pod.metadata.name.clone().unwrap(),
                WatchEvent::Bookmark(mark) => format!("{:?}", mark.metadata.annotations),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(told, ["a", "b", r#"{"k8s.io/initial-events-end": "true"}"#]);
        let found = watching.get::<Pod>("default", "a").await.map(|pod| pod.metadata.name);
        let informer = Informer::<Pod>::all(&client);
        informer.synced().await;
        (found.unwrap(), informer.list().len())
    });
    bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_secs(1));
    assert_eq!(bench.server.counters().requests, 3);
    bench.lab.world.set_syn_policy(bench.node, bench.master, SynPolicy::Refuse);
    bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_secs(10));
    assert_eq!(lock(&out).take(), Some((Some("a".into()), 2)));
    assert_eq!(bench.server.counters().requests, 5, "the cache was filled by one");
}

#[test]
fn the_server_is_asked_only_for_what_a_cache_and_its_own_writes_do_not_tell() {
    let bench = bench(6, ApiServerConfig::default());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (told, server) = (requests.clone(), bench.server.clone());
    bench.run(async move {
        let client = Client::new(API);
        let made = client.create(&pod("a")).await.unwrap();
        let informer = Informer::<Pod>::all(&client);
        informer.synced().await;
        let (cache, key) = (MutationCache::new(&client, informer), ObjectKey::new("default", "a"));
        let asked = async || {
            let before = server.counters().requests;
            let found = cache.find(&key).await.unwrap().unwrap();
            let is_newest = *found == client.get::<Pod>("default", "a").await.unwrap();
            lock(&told).push((server.counters().requests - before - 1, is_newest));
        };
        let labelled = |n: u64| {
            let mut pod = Pod::clone(&made);
            pod.metadata.resource_version = None;
            pod.metadata.labels = Some([("n".into(), n.to_string())].into());
            pod
        };
        asked().await;
        for n in 0..20 {
            cache.write(&key, client.replace(&labelled(n))).await.unwrap();
            asked().await;
        }
        // The answer is lost: the request is given up when it has arrived.
        let pod = labelled(20);
        let given_up = timeout(Duration::from_micros(300), cache.write(&key, client.replace(&pod))).await;
        assert!(given_up.is_err());
        asked().await;
        asked().await;
        // The version is an old one.
        cache.write(&key, client.replace(&*made)).await.unwrap_err();
        asked().await;
        asked().await;
    });
    let requests = lock(&requests).clone();
    let (ahead, doubtful) = requests.split_at(21);
    assert_eq!(ahead, [(0, true); 21]);
    assert_eq!(doubtful, [(1, true), (0, true), (1, true), (0, true)]);
}

#[test]
fn a_request_without_an_answer_is_given_up() {
    let bench = bench(3, ApiServerConfig::default());
    let out = bench.start(async {
        let client = Client::new(API);
        client.list::<Node>("", &ListParams::default()).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let began = Instant::now();
        let error = client.list::<Node>("", &ListParams::default()).await.unwrap_err();
        (began.elapsed(), error.is_transport(), error.to_string())
    });
    bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_secs(5));
    bench.lab.world.power_loss(bench.master);
    bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_secs(60));
    let (took, transport, message) = lock(&out).take().unwrap();
    assert!(transport, "{message}");
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(40), "{took:?}: {message}");
}

#[test]
fn a_leader_renews_by_one_request_and_looks_again_when_somebody_else_wrote() {
    let bench = bench(4, ApiServerConfig::default());
    let out = bench.start(async {
        let election = Election::new(&Client::new(API), "kube-system", "manager", "a", ElectionConfig::default());
        election.lead(|| sleep(Duration::from_secs(40))).await.is_ok()
    });
    let requests_in = |seconds| {
        let before = bench.server.counters().requests;
        bench.lab.world.run_until(bench.lab.world.world_now() + Duration::from_secs(seconds));
        bench.server.counters().requests - before
    };
    assert_eq!(requests_in(1), 3, "it looks, takes the lease, and renews at once, as upstream");
    assert_eq!(requests_in(20), 10, "every 2 s");
    bench.server.with_store(|store| {
        let kind = store.kinds().by_kind("coordination.k8s.io/v1", "Lease").unwrap();
        let label = StorePatch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}}));
        let key = ObjectKey::new("kube-system", "manager");
        store.patch(kind, &key, &label, Part::Whole, Validation::Strict).unwrap();
    });
    assert_eq!(requests_in(10), 5 + 2, "refused once, it looks and writes again");
    requests_in(60);
    assert_eq!(*lock(&out), Some(true), "it led to the end");
}

/// The session of the second document's failover, as far as it needs no controller.
#[test]
fn kubectl_prints_what_users_know() {
    const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  a: b\n---\napiVersion: v1\n\
        kind: Secret\nmetadata:\n  name: keys\nstringData:\n  id: swordfish\n";
    let session = [
        ("get pods", "No resources found in default namespace.\n"),
        ("create -f all.yaml", "configmap/settings created\nsecret/keys created\n"),
        ("apply -f all.yaml", "configmap/settings unchanged\nsecret/keys unchanged\n"),
        (
            "get cm,secret",
            "NAME                 DATA   AGE\nconfigmap/settings   1      0s\nNAME          TYPE     DATA   AGE\nsecret/keys   Opaque   1      0s\n",
        ),
        ("get secret keys -o jsonpath={.data.id}", "<hidden>"),
        ("get nodes", "NAME   STATUS    ROLES    AGE   VERSION\nn1     Unknown   <none>   0s    \n"),
        ("taint nodes n1 disk=slow:NoSchedule", "node/n1 tainted\n"),
        (
            "taint nodes n1 disk=slow:NoSchedule",
            "! error: node n1 already has disk taint(s) with same effect(s) and --overwrite is false",
        ),
        ("get node n1 -o jsonpath={.spec.taints[*].key}", "disk"),
        ("taint nodes n1 disk-", "node/n1 untainted\n"),
        ("label node n1 zone=a", "node/n1 labeled\n"),
        ("get nodes -l zone=a -o name", "node/n1\n"),
        ("cordon n1", "node/n1 cordoned\n"),
        ("cordon n1", "node/n1 already cordoned\n"),
        ("uncordon n1", "node/n1 uncordoned\n"),
        (
            "get pod a -o wide",
            "NAME   READY   STATUS    RESTARTS   AGE   IP       NODE   NOMINATED NODE   READINESS GATES\na      0/1     Pending   0          0s    <none>   n1     <none>           <none>\n",
        ),
        (
            "drain n1",
            "node/n1 cordoned\n! error: unable to drain node \"n1\" due to error: [cannot delete Pods that declare no controller (use --force to override): default/a]",
        ),
        ("delete pod a --wait=false", "pod \"a\" deleted\n"),
        ("get pod a --no-headers", "a     0/1   Terminating   0     0s\n"),
        ("delete pod a --force --grace-period=0", "pod \"a\" force deleted\n"),
        ("wait pod/a --for=delete --timeout=5s", "pod/a condition met\n"),
        ("get pod a", "! Error from server (NotFound): pods \"a\" not found"),
        ("get gateways", "! error: the server doesn't have a resource type \"gateways\""),
        ("wait node/n1 --for=condition=Ready --timeout=2s", "! error: timed out waiting for the condition on nodes/n1"),
    ];
    let bench = bench(4, ApiServerConfig::default());
    let kinds = bench.server.with_store(|store| store.kinds().clone());
    let printed = bench.run(async move {
        let client = Client::new(API);
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
        let kubectl = Kubectl::new(client.clone(), kinds);
        let mut printed = Vec::new();
        for (line, _) in session {
            if line == "get nodes" {
                client.create(&node).await.unwrap();
            }
            if line.starts_with("get pod a -o wide") {
                client.create(&pod("a")).await.unwrap();
                let binding = json!({"metadata": {"name": "a", "namespace": "default"}, "target": {"name": "n1"}});
                client.bind(&serde_json::from_value(binding).unwrap()).await.unwrap();
            }
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let out = Mutex::new(String::new());
            let files = |name: &str| (name == "all.yaml").then(|| MANIFEST.to_owned());
            let done = kubectl.run(&words, &files, &|text: &str| lock(&out).push_str(text)).await;
            let mut text = lock(&out).clone();
            if let Err(error) = done {
                text.push_str(&format!("! {error}"));
            }
            printed.push(text);
        }
        for line in ["get pods --frobnicate", "explode", "get pods -o table", "create -f nowhere.yaml"] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(kubectl.run(&words, &|_: &str| None, &|_: &str| {}).await.is_err(), "{line}");
        }
        printed
    });
    for ((line, want), got) in session.iter().zip(&printed) {
        assert_eq!(trimmed(got), trimmed(want), "{line}");
    }
    assert!(!printed.concat().contains("swordfish") && !printed.concat().contains("c3dvcmRmaXNo"));
}

/// Without spaces at lines' ends.
fn trimmed(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}
