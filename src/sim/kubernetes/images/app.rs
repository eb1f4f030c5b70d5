//! Images of applications: a shell with the usual small programs, or a server that waits to be told to end.

use std::sync::Arc;

use super::{Images, Launch, Launched, cache, until_terminated};
use crate::kube::runtime::ExecOutput;
use crate::sim::kubernetes::machine::Part;
use crate::stack::client::{FileSystemClient, run_line};

/// Images that every registry has, by the last part of their name.
const KNOWN: [&str; 7] = ["nginx", "busybox", "alpine", "ubuntu", "centos", "debian", "pause"];

/// Whether it is one of them.
pub fn known(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    KNOWN.contains(&name.split([':', '@']).next().unwrap_or(name))
}

/// Starts a container of an application.
pub fn launch(images: &Arc<Images>, launch: &Launch) -> Launched {
    let words = launch.words();
    if words.is_empty() {
        return Launched { part: Part::Other, program: Box::pin(until_terminated()) };
    }
    let (images, launch) = (images.clone(), launch.clone());
    let program = async move {
        let log = launch.log.clone();
        let output = exec(images, launch, words).await;
        log.write(&output.stdout);
        log.write(&output.stderr);
        output.code
    };
    Launched { part: Part::Other, program: Box::pin(program) }
}

/// Runs a command in a container.
pub async fn exec(images: Arc<Images>, launch: Launch, command: Vec<String>) -> ExecOutput {
    let fails = |stderr: String, code| ExecOutput { code, stdout: String::new(), stderr };
    let Some(flavor) = cache::flavor(&launch.spec.image) else {
        return fails(format!("sh: {}: not found\n", command.join(" ")), 127);
    };
    match cache::client_of(&images, flavor, &launch).await {
        Ok(options) => {
            let printed = run_line(&command.join(" "), &FileSystemClient::new(options)).await;
            ExecOutput { code: printed.status.into(), stdout: printed.text, stderr: String::new() }
        }
        Err(why) => fails(format!("{why}\n"), 1),
    }
}
