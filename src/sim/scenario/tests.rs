//! Scenario files good and bad: what is accepted, and what exactly is said about what is not.

use std::fmt::Write;

use super::load::{LoadError, parse};
use super::yaml::MAX_BYTES;
use super::*;

const DATASET: &str = include_str!("../../../scenarios/manifests/goosefs/dataset.yaml");
const RUNTIME: &str = include_str!("../../../scenarios/manifests/goosefs/runtime.yaml");
const GOOD: &str = "\
name: story
about: Something happens.
nodes: [n1, n2, n3]
manifests:
  - dataset.yaml
  - runtime.yaml
under_stores:
  - url: https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/
    files: [{path: CHANGES.md, size: 1Mi}]
steps:
  - wait: 30s
  - kill: leader
  - expect: {leader: changed, within: 40s}
";

/// Loads with `dataset.yaml` and `runtime.yaml` beside the scenario.
fn try_load(bytes: Vec<u8>, runtime: &str) -> Result<Scenario, LoadError> {
    let read = |path: &str| match path {
        "dir/story.yaml" => Ok(bytes.clone()),
        "dir/dataset.yaml" => Ok(DATASET.into()),
        "dir/runtime.yaml" => Ok(runtime.into()),
        _ => Err("no such file".into()),
    };
    load("dir/story.yaml", &read)
}

fn good() -> Scenario {
    try_load(GOOD.into(), RUNTIME).expect("the good scenario")
}

/// The good scenario with one text replaced.
fn with(from: &str, to: &str) -> Vec<u8> {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1).into()
}

#[test]
fn the_document_s_manifests_form_its_cluster() {
    let scenario = good();
    let names: Vec<String> = scenario.hosts().into_iter().map(|host| host.name).collect();
    assert_eq!(names[..4], ["hbase-master-0", "hbase-master-1", "hbase-master-2", "hbase-worker-0"]);
    assert_eq!((names[8].as_str(), names[9].as_str()), ("hbase-fuse-2", "mirrors.tuna.tsinghua.edu.cn"));
    assert_eq!(scenario.runtime.tieredstore().levels[0].dirs(), [("/mnt/disk1".to_string(), 2_000_000_000)]);
    assert_eq!(scenario.runtime.tieredstore().levels[0].watermarks(), (800_000, 700_000));
    assert_eq!(scenario.dataset.spec.mounts[0].path(), "/hbase");
}

#[test]
fn a_bucket_has_a_host_and_its_key_is_shown_to_nobody() {
    let bucket = "under_stores:\n  - url: oss://data/d/\n    endpoint: oss.aliyuncs.com:8080\n    credentials: {keys: {id: i, \
                  secret: hunter2}}\n    files: []\n";
    let scenario = try_load(with("under_stores:\n", bucket), RUNTIME).expect("a good scenario");
    let hosts = scenario.hosts();
    assert_eq!(hosts[9].name, "oss.aliyuncs.com");
    assert!(!format!("{scenario:?}").contains("hunter2"));
    // What is written out can be read again.
    let written = serde_json::to_value(&scenario.spec.under_stores[0]).expect("plain data");
    let again: UnderStore = serde_json::from_value(written).expect("the same again");
    assert_eq!(again, scenario.spec.under_stores[0]);
}

/// (what is wrong, the scenario, the runtime)
fn bad() -> Vec<(&'static str, Vec<u8>, String)> {
    let runtime = |from: &str, to: &str| {
        assert!(RUNTIME.contains(from), "{from}");
        RUNTIME.replacen(from, to, 1)
    };
    let scenario = |what, from: &str, to: &str| (what, with(from, to), RUNTIME.to_string());
    vec![
        scenario("unknown field", "nodes:", "noodes:"),
        scenario("unknown field in a part", "steps:", "parameters:\n  raft:\n    electionTimeout: 10s\nsteps:"),
        scenario("missing field", "about: Something happens.\n", ""),
        scenario("wrong type", "nodes: [n1, n2, n3]", "nodes: 3"),
        scenario("wrong number", "steps:", "workload: {clients: many}\nsteps:"),
        scenario("negative number", "steps:", "workload: {clients: -1}\nsteps:"),
        scenario("bad quantity in the scenario", "size: 1Mi", "size: 1Zi"),
        scenario("duration without unit", "wait: 30s", "wait: 30"),
        scenario("no duration", "within: 40s", "within: soon"),
        scenario("unknown fault", "kill: leader", "powerLoss: leader"),
        scenario("two keys in a step", "  - kill: leader", "  - kill: leader\n    wait: 3s"),
        scenario("unknown host", "kill: leader", "kill: hbase-mastr-1"),
        scenario("unknown host in a long form", "kill: leader", "freeze: {target: [leader, worker/7], for: 25s}"),
        scenario("unknown field of a fault", "kill: leader", "freeze: {target: leader, during: 25s}"),
        scenario("unknown command", "wait: 30s", "run: goosefs fs masterinfo"),
        scenario("unknown planted bug", "steps:", "planted: leap-second\nsteps:"),
        scenario("planted and not declared", "steps:", "planted: standby-reads\nsteps:"),
        scenario("command of another program", "wait: 30s", "run: hdfs dfs -ls"),
        scenario("missing manifest", "runtime.yaml", "runtimes.yaml"),
        scenario("no such under-store", "hbase/stable/", "hbase/2.4/"),
        scenario(
            "buckets of nobody and nowhere",
            "under_stores:\n",
            "under_stores:\n  - url: oss://data/d\n    endpoint: \"a b\"\n    files: []\n  - url: oss://Data/\n    \
             credentials: {keys: {id: i, secret: s}}\n    files: []\n",
        ),
        scenario("half a key", "    files:", "    credentials: {keys: {id: i}}\n    files:"),
        scenario("a key for a web location", "    files:", "    endpoint: mirror\n    files:"),
        scenario(
            "several mistakes of sense",
            "steps:",
            "verdict: {violation: [LostWrite]}\nlimits: {time: 10s}\nsteps:",
        ),
        ("even masters", GOOD.into(), runtime("master:\n    replicas: 3", "master:\n    replicas: 4")),
        ("no masters", GOOD.into(), runtime("master:\n    replicas: 3", "master:\n    replicas: 0")),
        ("bad quantity", GOOD.into(), runtime("2G", "2Gb")),
        ("bad fraction", GOOD.into(), runtime("\"0.8\"", "80%")),
        ("low above high", GOOD.into(), runtime("\"0.7\"", "\"0.9\"")),
        ("unknown field in a manifest", GOOD.into(), runtime("mediumtype", "mediumType")),
        ("unknown kind", GOOD.into(), runtime("GooseFSRuntime", "GoosefsRuntime")),
        ("unknown API", GOOD.into(), runtime("v1alpha1", "v1")),
        (
            "a field for Fluid's controllers",
            GOOD.into(),
            runtime(
                "master:\n    replicas: 3",
                "master:\n    properties:\n      goosefs.user.rpc.retry.max.duration: 1min",
            ),
        ),
        ("another name", GOOD.into(), runtime("name: hbase", "name: spark")),
        ("too few nodes", with("[n1, n2, n3]", "[n1]"), RUNTIME.into()),
        (
            "mistake in an inline manifest",
            with(
                "  - runtime.yaml",
                &format!("  - inline: |\n      {}", RUNTIME.replace('\n', "\n      ").replace("2G", "2Q")),
            ),
            RUNTIME.into(),
        ),
        ("no indentation", with("    files:", "files:"), RUNTIME.into()),
        ("tabs", with("  - wait", "\t- wait"), RUNTIME.into()),
        ("cut off", GOOD.as_bytes()[..GOOD.len() - 10].into(), RUNTIME.into()),
        ("empty", b"\n\n".to_vec(), RUNTIME.into()),
        ("binary", [b"\x7fELF\x02\x01\x01\0".to_vec(), vec![0xff; 64]].concat(), RUNTIME.into()),
        ("huge", vec![b'#'; MAX_BYTES + 1], RUNTIME.into()),
        ("nested too deep", [b"name: ".to_vec(), vec![b'['; 5000]].concat(), RUNTIME.into()),
        ("alias bomb", bomb().into(), RUNTIME.into()),
        ("key given twice", with("nodes:", "name: again\nnodes:"), RUNTIME.into()),
        ("escape codes", with("kill: leader", "\"\\e[2J\": leader"), RUNTIME.into()),
    ]
}

/// Ten levels of ten aliases each.
fn bomb() -> String {
    let mut text = String::from("name: story\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let before = format!("*a{}", i - 1);
        let _ = writeln!(text, "a{i}: &a{i} [{}]", [before.as_str(); 10].join(", "));
    }
    text + "nodes: *a9\n"
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_write() {
    let mut all = String::new();
    for (what, bytes, runtime) in bad() {
        let error = try_load(bytes, &runtime).expect_err(what);
        let _ = write!(all, "## {what}\n{error}\n\n");
    }
    insta::with_settings!({ snapshot_path => "../../../snapshots/scenario", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("diagnostics", all);
    });
}

#[test]
fn kubectl_needs_a_kubernetes_and_the_users_host() {
    let error = try_load(with("wait: 30s", "run: kubectl get pod"), RUNTIME).expect_err("no cluster").to_string();
    assert!(error.contains("kubectl without Kubernetes") && error.contains("story.yaml:11"), "{error}");
    let text = GOOD.replacen("wait: 30s", "run: {command: kubectl get pod, on: leader}", 1);
    let text = text.replacen("steps:", "kubernetes: {}\nsteps:", 1);
    let error = try_load(text.into(), RUNTIME).expect_err("on a host").to_string();
    assert!(error.contains("kubectl is typed on the user's host"), "{error}");
}

#[test]
fn a_manifest_written_inline_is_the_same_as_one_in_a_file() {
    let indented = format!("{DATASET}---\n{RUNTIME}").replace('\n', "\n      ");
    let text = GOOD.replace("  - dataset.yaml\n  - runtime.yaml", &format!("  - inline: |\n      {indented}"));
    let inline = try_load(text.into(), "").expect("inline");
    assert_eq!((inline.dataset, inline.runtime), (good().dataset, good().runtime));
}

#[test]
fn what_is_written_out_reads_back_as_it_was() {
    let mut spec = good().spec;
    spec.steps = [
        "wait: 1m30s",
        "run: goosefs fsadmin report",
        "run: {command: goosefs fs masterInfo, on: master/1, name: x}",
        r#"run: "x=$(kubectl get pod -o wide | awk '/a  b/ {print $7}') && kubectl taint node $x a=b:NoSchedule""#,
        "expect: {leader: present, service: available, live_workers: 2, output: {contains: [a], lacks: [b]}, within: 1s}",
        "expect: {snapshots_installed: 1}",
        "kill: leader",
        "kill: {target: [leader, worker/0], restart_after: 3s}",
        "power_loss: all",
        "terminate: {target: worker, grace: 1s}",
        "freeze: {target: leader, for: 25s}",
        "thaw: victim",
        "restart: [victim]",
        "partition: {from: leader, to: masters, direction: in, for: 5s}",
        "degrade: {from: leader, latency: {exponential: {min: 1ms, mean: 2ms, max: 1s}}, loss: 1/100}",
        "degrade: {from: leader, latency: {lognormal: {median: 1ms, sigma_milli: 900, max: 1s}}}",
        "degrade: {from: all, latency: {pareto: {min: 1ms, shape_milli: 1500, max: 1s}}, burst: {enter: 1/500, exit: 1/4}}",
        "reset_connections: {from: fuses, to: leader}",
        "connect_fails: {from: workers, to: leader, direction: out, how: refused, for: 8s}",
        "dns: {target: fuses, answers: stale, latency: {const: 1s}, for: 5s}",
        "disk_full: follower",
        "disk_error: {target: follower, on: sync, odds: 1/2}",
        "disk_stall: {target: worker, for: 3s}",
        "bit_rot: {target: workers, blocks: 3}",
        "clock_jump: {target: leader, by: 1h, back: true}",
        "heal: all",
        "delete_pod: leader",
        "out_of_memory: worker",
        "snapshot_volumes: {target: masters, name: hourly}",
        "restore_volumes: {target: masters, name: hourly}",
    ]
    .iter()
    .map(|text| serde_saphyr::from_str(text).expect(text))
    .collect();
    spec.manifests.push(ManifestSource::Inline("a: b\nc: d\n".into()));
    spec.planted = Some(Planted(crate::base::planted::Bug::StandbyReads));
    spec.verdict = ExpectedVerdict::Violation(vec!["StaleRead".into()]);
    let text = serde_saphyr::to_string(&spec).expect("YAML");
    let again: Spec = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again, spec, "{text}");
    let json = serde_json::to_string(&spec).expect("JSON");
    assert_eq!(serde_json::from_str::<Spec>(&json).expect("JSON"), spec);
}

#[test]
fn every_fault_and_action_is_in_the_list_of_step_names() {
    for name in Step::NAMES {
        let error = serde_saphyr::from_str::<Step>(&format!("{name}: {{nonsense: 1}}")).expect_err(name).to_string();
        assert!(!error.contains("variant"), "{name}: {error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// Whatever the bytes, there is an answer and no panic.
    #[test]
    fn damaged_files_are_refused_or_read(at in 0..GOOD.len(), junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..8)) {
        let mut bytes = GOOD.as_bytes().to_vec();
        let end = (at + junk.len()).min(bytes.len());
        bytes.splice(at..end, junk);
        if let Err(error) = try_load(bytes, RUNTIME) {
            proptest::prop_assert!(!error.0.is_empty());
            proptest::prop_assert!(error.to_string().len() < 20_000);
        }
    }
}

#[test]
fn a_scenario_can_be_made_without_files() {
    let read = |path: &str| Err(format!("no {path}"));
    let text = GOOD.replace(
        "  - dataset.yaml\n  - runtime.yaml",
        &format!("  - inline: |\n      {}", format!("{DATASET}---\n{RUNTIME}").replace('\n', "\n      ")),
    );
    assert!(parse("story.yaml", text, &read).is_ok());
}
