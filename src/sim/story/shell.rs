//! Who runs the simple commands of a line: the user's shell with `kubectl`, or a member's with the cache's programs.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::kube::client::Client;
use crate::kube::fluid;
use crate::kube::kind::Kinds;
use crate::kube::kubectl::Kubectl;
use crate::sim::kubernetes::API;
use crate::sim::shell::{Output, Runner, Stream};
use crate::stack::client::{FileSystemClient, run_line};

/// What bash gives for a program that is not there.
const NO_PROGRAM: u8 = 127;

type Status<'a> = Pin<Box<dyn Future<Output = u8> + Send + 'a>>;

/// The files that `kubectl -f` finds.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(pub Arc<BTreeMap<String, String>>);

impl Files {
    /// By the path as listed, or by base name; `.` is all files.
    fn text(&self, path: &str) -> Option<String> {
        let all = &self.0;
        if path == "." || path == "./" {
            return (!all.is_empty()).then(|| all.values().map(String::as_str).collect::<Vec<_>>().join("\n---\n"));
        }
        let path = path.strip_prefix("./").unwrap_or(path);
        let base = |name: &&String| name.rsplit('/').next() == Some(path);
        let found = all.get(path).or_else(|| all.get(all.keys().find(base)?));
        found.cloned()
    }
}

/// The shell of the user's host.
pub(super) struct UserShell {
    kubectl: Kubectl,
    files: Files,
}

impl UserShell {
    pub(super) fn new(files: Files) -> Self {
        Self { kubectl: Kubectl::new(Client::new(API), Arc::new(fluid::kinds(Kinds::builtin()))), files }
    }

    async fn kubectl(&self, words: &[String], output: Output<'_>) -> u8 {
        let files = |path: &str| self.files.text(path);
        match self.kubectl.run(words, &files, &|text| output(Stream::Out, text)).await {
            Ok(()) => 0,
            Err(error) => {
                output(Stream::Err, &format!("{error}\n"));
                error.exit_code()
            }
        }
    }
}

impl Runner for UserShell {
    fn run<'a>(&'a self, words: Vec<String>, output: Output<'a>) -> Status<'a> {
        Box::pin(async move {
            match words[0].as_str() {
                "kubectl" => self.kubectl(&words[1..], output).await,
                _ => other(&words, output),
            }
        })
    }
}

/// The shell of a host of the cluster.
pub(super) struct MemberShell(pub FileSystemClient);

impl Runner for MemberShell {
    fn run<'a>(&'a self, words: Vec<String>, output: Output<'a>) -> Status<'a> {
        Box::pin(async move {
            match words[0].as_str() {
                "goosefs" | "alluxio" => {
                    let printed = run_line(&words.join(" "), &self.0).await;
                    output(Stream::Out, &printed.text);
                    printed.status
                }
                _ => other(&words, output),
            }
        })
    }
}

fn other(words: &[String], output: Output<'_>) -> u8 {
    if words[0] == "echo" {
        output(Stream::Out, &format!("{}\n", words[1..].join(" ")));
        return 0;
    }
    output(Stream::Err, &format!("bash: {}: command not found\n", words[0]));
    NO_PROGRAM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_path_and_by_name() {
        let files = [("a/pod.yaml", "a"), ("b/pod.yaml", "b"), ("c.yaml", "c")];
        let files = Files(Arc::new(files.map(|(name, text)| (name.to_owned(), text.to_owned())).into()));
        for (path, text) in [
            ("b/pod.yaml", Some("b")),
            ("pod.yaml", Some("a")),
            ("./c.yaml", Some("c")),
            (".", Some("a\n---\nb\n---\nc")),
            ("d.yaml", None),
            ("yaml", None),
        ] {
            assert_eq!(files.text(path).as_deref(), text, "{path}");
        }
        assert_eq!(Files::default().text("."), None);
    }
}
