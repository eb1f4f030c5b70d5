//! The commands of kubectl that documents and scenarios use, run through the client against the world's API server.
//!
//! Parsed by clap; columns, messages and errors are upstream's. An unsupported command, flag, resource or format is a clear
//! error. Nothing is printed here: the text goes to whoever runs the command. Differs: no source of metrics, so `top` is
//! refused.

mod args;
mod change;
mod columns;
mod container;
mod describe;
mod event;
mod get;
pub mod jsonpath;
mod pod;
pub mod table;
mod target;
mod wait;

use std::sync::Arc;

use clap::Parser;

use super::client::{ApiError, Client};
use super::kind::Kinds;
use args::{Command, Verb};

/// Why a command failed. Shown as kubectl shows it, on its error output; the exit code is 1.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KubectlError {
    /// The command itself is wrong.
    #[error("error: {0}")]
    Usage(String),
    /// The server refused, or did not answer.
    #[error("{}", from_server(.0))]
    Server(#[from] ApiError),
    /// The server refused some of what was asked.
    #[error("{}", .0.iter().map(from_server).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ApiError>),
    /// The request itself is refused.
    #[error("Error from server (BadRequest): {0}")]
    BadRequest(String),
    /// The server does not reach a node.
    #[error("Error from server: {0}")]
    Backend(String),
    /// What a command in a container wrote to its standard error, and its exit code.
    #[error("{}", terminated(.stderr, *.code))]
    Command {
        /// As written.
        stderr: String,
        /// 0 if it only wrote something.
        code: u8,
    },
}

fn terminated(stderr: &str, code: u8) -> String {
    let end = if stderr.is_empty() || stderr.ends_with('\n') { "" } else { "\n" };
    match code {
        0 => stderr.trim_end_matches('\n').to_owned(),
        code => format!("{stderr}{end}command terminated with exit code {code}"),
    }
}

impl KubectlError {
    /// What the shell sees.
    pub const fn exit_code(&self) -> u8 {
        if let Self::Command { code, .. } = self { *code } else { 1 }
    }
}

fn from_server(error: &ApiError) -> String {
    match error {
        ApiError::Status(status) if status.reason.is_empty() => format!("Error from server: {}", status.message),
        ApiError::Status(status) if status.reason == "Invalid" => status.message.clone(),
        ApiError::Status(status) => format!("Error from server ({}): {}", status.reason, status.message),
        other => format!("Unable to connect to the server: {other}"),
    }
}

/// Where output goes, piece by piece.
pub type Print<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// The text of a file that a command names; nothing if there is none.
pub type Files<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

/// Whether a command could run at all: the words after `kubectl`.
///
/// # Errors
/// As kubectl would print it.
pub fn check(words: &[String]) -> Result<(), KubectlError> {
    parse(words).map(|_| ())
}

fn parse(words: &[String]) -> Result<Command, KubectlError> {
    let command = Command::try_parse_from(words).map_err(|error| {
        let text = error.render().to_string();
        KubectlError::Usage(text.trim_start_matches("error: ").trim_end().to_owned())
    })?;
    match &command.verb {
        Verb::Logs(logs) if logs.follow => {
            Err(KubectlError::Usage("logs -f is not supported: it would never end; leave -f out".into()))
        }
        Verb::Top { .. } => Err(KubectlError::Usage("Metrics API not available".into())),
        _ => Ok(command),
    }
}

/// A user's kubectl.
#[derive(Clone)]
pub struct Kubectl {
    client: Client,
    kinds: Arc<Kinds>,
}

impl Kubectl {
    /// Speaks to the client's server, which knows `kinds`.
    pub fn new(client: Client, kinds: Arc<Kinds>) -> Self {
        Self { client, kinds }
    }

    /// Runs a command: the words after `kubectl`. With `-w` only dropping the future ends it.
    ///
    /// # Errors
    /// As kubectl would print them; what was printed before stays.
    pub async fn run(&self, words: &[String], files: Files<'_>, print: Print<'_>) -> Result<(), KubectlError> {
        let command = parse(words)?;
        let namespace = command.namespace.as_deref().unwrap_or("default");
        match &command.verb {
            Verb::Get(get) => self.get(get, namespace, print).await,
            Verb::Create(file) => self.create(file, namespace, files, print).await,
            Verb::Apply(file) => self.apply(file, namespace, files, print).await,
            Verb::Delete(delete) => self.delete(delete, namespace, files, print).await,
            Verb::Taint(marks) => self.taint(marks, print).await,
            Verb::Label(marks) => self.label(marks, namespace, print).await,
            Verb::Cordon { node } => self.cordon(node, true, print).await,
            Verb::Uncordon { node } => self.cordon(node, false, print).await,
            Verb::Drain(drain) => self.drain(drain, print).await,
            Verb::Scale(scale) => self.scale(scale, namespace, print).await,
            Verb::Wait(wait) => self.wait(wait, namespace, print).await,
            Verb::Describe(which) => self.describe(which, namespace, print).await,
            Verb::Exec(exec) => self.exec(exec, namespace, print).await,
            // Refused when it is parsed.
            Verb::Top { .. } => Err(KubectlError::Usage("Metrics API not available".into())),
            Verb::Logs(logs) => self.logs(logs, namespace, print).await,
        }
    }
}
