//! Images of applications: a shell with the usual small programs, or a server that waits to be told to end.

use std::sync::Arc;

use super::{Images, Launch, Launched, cache, until_terminated};
use crate::kube::runtime::ExecOutput;
use crate::rt::{Either, select2, signal};
use crate::sim::kubernetes::app::{Captured, Io, NodeTree, Out, Shell};
use crate::sim::kubernetes::machine::Part;
use crate::stack::client::{FileSystemClient, run_line};

/// Images that every registry has, by the last part of their name.
const KNOWN: [&str; 7] = ["nginx", "busybox", "alpine", "ubuntu", "centos", "debian", "pause"];

/// Exit code of a process that SIGTERM has ended.
const TERMINATED: i32 = 128 + libc::SIGTERM;

/// An image's name without its registry and its tag.
fn short(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split([':', '@']).next().unwrap_or(name)
}

/// Whether it is one of them.
pub fn known(image: &str) -> bool {
    KNOWN.contains(&short(image))
}

/// Whether the words are those of a server, which ends well when it is told to.
fn waits(image: &str, words: &[String]) -> bool {
    match words.first() {
        Some(program) => matches!(short(program), "nginx" | "pause"),
        None => matches!(short(image), "nginx" | "pause"),
    }
}

/// Starts a container of an application.
pub fn launch(launch: &Launch) -> Launched {
    let words = launch.words();
    if waits(&launch.spec.image, &words) {
        return Launched { part: Part::Other, program: Box::pin(until_terminated()) };
    }
    let launch = launch.clone();
    let program = async move {
        let io = Io::log(&launch.log);
        // A shell without a terminal: what an image of a distribution runs by itself.
        let words = if words.is_empty() { vec!["sh".to_owned()] } else { words };
        match select2(run(&launch, &words, &io), signal::terminated()).await {
            Either::Left(code) => code,
            Either::Right(_) => TERMINATED,
        }
    };
    Launched { part: Part::Other, program: Box::pin(program) }
}

async fn run(launch: &Launch, words: &[String], io: &Io) -> i32 {
    match NodeTree::new(launch.clone()).await {
        Ok(tree) => {
            let env = launch.spec.env.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
            let mut shell = Shell::new(Arc::new(tree), env);
            if let Some(dir) = &launch.spec.working_dir {
                shell.cwd = shell.path(dir);
            }
            shell.run(words, io).await
        }
        Err(errno) => {
            io.complain(&format!("OCI runtime exec failed: {errno}")).await;
            126
        }
    }
}

/// Runs a command in a container: the cache's own program in the cache's images, and any other in all.
pub async fn exec(images: Arc<Images>, launch: Launch, command: Vec<String>) -> ExecOutput {
    let program = command.first().map_or("", |word| short(word));
    let flavor = cache::flavor(&launch.spec.image).filter(|_| matches!(program, "goosefs" | "alluxio" | "jindo"));
    let Some(flavor) = flavor else {
        let (out, err) = (Captured::default(), Captured::default());
        let io = Io { out: Out::Captured(out.clone()), err: Out::Captured(err.clone()) };
        let code = run(&launch, &command, &io).await;
        return ExecOutput { code, stdout: out.text(), stderr: err.text() };
    };
    match cache::client_of(&images, flavor, &launch).await {
        Ok(options) => {
            let printed = run_line(&command.join(" "), &FileSystemClient::new(options)).await;
            ExecOutput { code: printed.status.into(), stdout: printed.text, stderr: String::new() }
        }
        Err(why) => ExecOutput { code: 1, stdout: String::new(), stderr: format!("{why}\n") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_waits_and_a_shell_does_not() {
        for (image, words, want) in [
            ("nginx", &[][..], true),
            ("registry.example/org/nginx:1.14.1-8.6", &[], true),
            ("busybox", &[], false),
            ("nginx", &["/usr/sbin/nginx", "-g"], true),
            ("nginx", &["sh", "-c", "nginx"], false),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(waits(image, &words), want, "{image} {words:?}");
        }
    }
}
