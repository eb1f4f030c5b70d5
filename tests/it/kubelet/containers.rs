//! `kubectl exec`, `logs` and `describe` against kubelets.

use serde_json::json;
use stormglass::base::lock;
use stormglass::kube::client::Client;
use stormglass::kube::kind::Kinds;
use stormglass::kube::kubectl::Kubectl;
use stormglass::rt::time::Duration;

use std::sync::{Arc, Mutex};

use super::double::Play;
use super::{API, Stage, steady};

/// What a user sees, and the exit code.
fn typed(stage: &Stage, line: &str) -> (String, u8) {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let result = Arc::new(Mutex::new(None));
    let out = result.clone();
    let program = async move {
        let kubectl = Kubectl::new(Client::new(API), Arc::new(Kinds::builtin()));
        let text = Mutex::new(String::new());
        let ended = kubectl.run(&words, &|_: &str| None, &|piece: &str| lock(&text).push_str(piece)).await;
        let mut text = lock(&text).clone();
        let code = ended.as_ref().map_or_else(|error| error.exit_code(), |()| 0);
        if let Err(error) = ended {
            text.push_str(&format!("! {error}"));
        }
        *lock(&out) = Some((text, code));
    };
    stage.lab.world.start(stage.user, "kubectl", Box::pin(program)).unwrap();
    stage.lab.world.run_until(stage.lab.world.world_now() + Duration::from_secs(40));
    lock(&result).take().unwrap()
}

#[test]
fn commands_reach_their_container_and_their_output_comes_back() {
    let sick = Play { sick: Some((Duration::ZERO, Duration::from_secs(100_000))), ..steady() };
    let stage = Stage::new(9, &[("app:1", steady()), ("sick:1", sick)]);
    stage.create("nginx", 0, "app:1", json!({}), json!({}));
    stage.create("bad", 1, "sick:1", json!({}), json!({}));
    stage.create("missing", 1, "none:1", json!({}), json!({}));
    stage.run_until(20);
    let old = "kubectl exec [POD] [COMMAND] is DEPRECATED and will be removed in a future version. Use kubectl exec \
        [POD] -- [COMMAND] instead.";
    let table = [
        ("exec -it nginx -- ls -l /data", "ls|-l|/data\nwarned\n".to_owned(), 0),
        ("exec nginx -c nginx -- ls", "ls\n! warned".to_owned(), 0),
        ("exec -ti nginx bash", format!("bash\nwarned\n! {old}"), 0),
        ("exec -it bad -- ls", "ls\nwarned\n! command terminated with exit code 1".to_owned(), 1),
        ("exec nginx", "! error: you must specify at least one command for the container".to_owned(), 1),
        ("exec none -- ls", "! Error from server (NotFound): pods \"none\" not found".to_owned(), 1),
        (
            "exec nginx -c app -- ls",
            "! Error from server (BadRequest): container app is not valid for pod nginx".to_owned(),
            1,
        ),
        (
            "exec missing -- ls",
            "! error: unable to upgrade connection: container not found (\"missing\")".to_owned(),
            1,
        ),
        (
            "logs nginx --previous",
            "! Error from server (BadRequest): previous terminated container \"nginx\" in pod \"nginx\" not found"
                .to_owned(),
            1,
        ),
    ];
    for (line, text, code) in table {
        assert_eq!(typed(&stage, line), (text, code), "{line}");
    }
    let (logs, code) = typed(&stage, "logs nginx --tail=2");
    assert_eq!((logs.lines().count(), code), (2, 0), "{logs}");
    assert!(logs.ends_with("line 3\n"), "{logs}");
    let (logs, _) = typed(&stage, "logs missing");
    assert!(logs.contains("in pod \"missing\" is waiting to start: "), "{logs}");

    let (page, code) = typed(&stage, "describe pod missing");
    assert_eq!(code, 0, "{page}");
    for part in ["Name:", "Node:", "Containers:\n  missing:\n", "Waiting", "Events:\n  Type", "Failed"] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    let (page, _) = typed(&stage, "describe node node-0");
    assert!(page.contains("Conditions:\n  Type") && page.contains("nginx"), "{page}");
    let (events, _) = typed(&stage, "get events");
    let head: Vec<&str> = events.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], "{events}");
    assert!(events.contains("pod/nginx"), "{events}");

    // The node answers, its kubelet does not.
    stage.lab.world.kill(stage.kubelets[0]);
    let (text, code) = typed(&stage, "exec -it nginx -- ls");
    let refused = "! Error from server: error dialing backend: dial tcp 10.0.0.0:10250: connect: connection refused";
    assert_eq!((text.as_str(), code), (refused, 1));
}
