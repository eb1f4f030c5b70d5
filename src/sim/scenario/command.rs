//! Command lines that a `run` step types, as an operator would.
//!
//! Rule: a line is parsed when the file is read, so that a typing error is found there and not in the middle of a run.
//! Lines with `kubectl` are typed on the user's host, others on a member of the cluster.

use std::fmt;
use std::str::FromStr;

use super::diagnostic::closest;
use crate::kube::kubectl;
use crate::kube::quantity::text_value;
use crate::sim::shell::{Call, Line};
use crate::stack::client::{CommandError, OperatorCommand};

/// What is suggested for a line that is almost one of these.
const EXAMPLES: [&str; 3] = ["goosefs fs masterInfo", "goosefs fsadmin journal quorum info", "goosefs fsadmin report"];

/// The programs that can be typed. `echo` is the shell's own.
const PROGRAMS: [&str; 4] = ["kubectl", "goosefs", "alluxio", "echo"];

/// What kubectl can do here.
const KUBECTL: &str =
    "get, describe, create, apply, delete, exec, logs, taint, label, cordon, uncordon, drain, scale, wait";

/// A command line as it was typed and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    text: String,
    line: Line,
    kubectl: bool,
}

impl CommandLine {
    /// What it means.
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// As it was typed; with single spaces unless something is quoted.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is typed on the user's host.
    pub const fn uses_kubectl(&self) -> bool {
        self.kubectl
    }
}

impl FromStr for CommandLine {
    type Err = String;

    /// The error says what is wrong, and after a semicolon what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(CommandError::Empty.to_string());
        }
        let plain = !text.contains(['\'', '"', '\\', '\n']);
        let text = if plain { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text.trim().to_owned() };
        let line: Line = text.parse().map_err(|error: crate::sim::shell::LineError| error.to_string())?;
        let calls = line.calls();
        for call in &calls {
            check(call)?;
        }
        let runs = |names: &[&str]| calls.iter().any(|call| names.contains(&call.program.as_str()));
        let inside = runs(&["goosefs", "alluxio"]);
        if inside && runs(&["kubectl"]) {
            return Err("the cache's programs are not where kubectl is; write two steps".into());
        }
        Ok(Self { text, line, kubectl: !inside })
    }
}

/// Refuses what could never run.
fn check(call: &Call) -> Result<(), String> {
    let program = call.program.as_str();
    match (program, &call.words) {
        ("echo", _) | (_, None) if PROGRAMS.contains(&program) => Ok(()),
        ("kubectl", Some(words)) => kubectl::check(words).map_err(|error| {
            let text = error.to_string();
            let line = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("kubectl: {line}; known are {KUBECTL}")
        }),
        ("goosefs" | "alluxio", Some(words)) => operator(&format!("{program} {}", words.join(" "))),
        ("sleep", _) => Err("sleep: command not found; write a step `wait: 10s`".into()),
        ("cd" | "mkdir" | "cat", _) => Err(format!(
            "{program}: command not found; leave it out: files are those of `manifests` and `kubernetes.files`"
        )),
        _ => Err(match closest(program, PROGRAMS) {
            Some(known) => format!("{program}: command not found; did you mean `{known}`?"),
            None => format!("{program}: command not found; write `kubectl`, `goosefs` or `alluxio`"),
        }),
    }
}

fn operator(text: &str) -> Result<(), String> {
    let text = text.trim_end();
    let error = match text.parse::<OperatorCommand>() {
        Ok(_) => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(match closest(text, EXAMPLES) {
        Some(known) => {
            let wrong = error.split("; ").next().unwrap_or("no such command");
            format!("{wrong}; did you mean `{known}`?")
        }
        None => error,
    })
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text_value!(
    CommandLine,
    "CommandLine",
    "a command such as `kubectl get pod` or `goosefs fs masterInfo`",
    r"(kubectl|goosefs|alluxio|echo) ",
    "A command line, of `kubectl` (on the user's host) or of the cache: `goosefs fs masterInfo`, `goosefs fsadmin journal quorum info`, `goosefs fsadmin report`. With `&&`, `||`, `;`, variables, `$(…)`, quotes, and `| awk`, `grep`, `head`, `tail` or `wc`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_do_not_matter_and_slips_are_mended() {
        let line: CommandLine = "  goosefs  fs masterInfo ".parse().expect("legal");
        assert_eq!((line.text(), line.uses_kubectl()), ("goosefs fs masterInfo", false));
        let error = "goosefs fs masterinfo".parse::<CommandLine>().expect_err("a slip");
        assert_eq!(error, "fs masterinfo is an unknown command; did you mean `goosefs fs masterInfo`?");
        for text in ["", "goosefs", "goosefs fs masterInfo; rm -rf /", "kubectl", "kubectl fly", "kubectl get -q"] {
            assert!(text.parse::<CommandLine>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_documents_lines_are_typed_on_the_users_host() {
        for text in [
            "master_node=$(kubectl get pod -o wide | awk '/demo-jindofs-master-0/ {print $7}')",
            "kubectl taint node $master_node test-jindofs-master=reschedule:NoSchedule",
            "kubectl taint node $master_node test-jindofs-master-",
            "kubectl delete -f pod.yaml && kubectl create -f pod.yaml",
            "kubectl exec -it nginx -- ls /data",
            "kubectl exec -ti hbase-master-0 bash",
            "kubectl logs fluid-copy-test-b7fbq",
            "kubectl get pod -n fluid-system",
            "kubectl delete -f .",
            "echo $master_node",
        ] {
            let line: CommandLine = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(line.uses_kubectl(), "{text}");
            assert_eq!(line.to_string(), text);
        }
    }

    #[test]
    fn other_programs_are_refused_by_name() {
        for (text, error) in [
            ("kubctl get pod", "kubctl: command not found; did you mean `kubectl`?"),
            ("kubectl get pod && rm -rf /", "rm: command not found; write `kubectl`, `goosefs` or `alluxio`"),
            ("x=$(jindo fs ls)", "jindo: command not found; write `kubectl`, `goosefs` or `alluxio`"),
            ("sleep 5", "sleep: command not found; write a step `wait: 10s`"),
            (
                "kubectl get pod && goosefs fs masterInfo",
                "the cache's programs are not where kubectl is; write two steps",
            ),
            ("kubectl get 'pod", "column 13: this quote is not closed; write `'` at its end"),
        ] {
            assert_eq!(text.parse::<CommandLine>().expect_err(text), error, "{text}");
        }
    }
}
