//! The commands and flags that are understood; any other is an error by clap, never ignored.

use clap::{Args, Parser, Subcommand};

/// `kubectl` and what follows.
#[derive(Debug, Parser)]
#[command(name = "kubectl", no_binary_name = true, disable_help_subcommand = true)]
pub(super) struct Command {
    /// Namespace.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Display one or many resources.
    Get(Get),
    /// Create from a file.
    Create(File),
    /// Apply a file.
    Apply(File),
    /// Delete resources.
    Delete(Delete),
    /// Update the taints on nodes.
    Taint(Marks),
    /// Update labels.
    Label(Marks),
    /// Mark a node as unschedulable.
    Cordon { node: String },
    /// Mark a node as schedulable.
    Uncordon { node: String },
    /// Evict a node's pods.
    Drain(Drain),
    /// Set a new size.
    Scale(Scale),
    /// Wait for a condition.
    Wait(Wait),
    /// Show an object and its events.
    Describe(Which),
    /// What nodes and pods use; there is no source of it.
    Top { words: Vec<String> },
    /// Run a command in a container.
    Exec(Exec),
    /// What a container wrote.
    Logs(Logs),
}

/// Which objects.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// `TYPE [NAME…]` or `TYPE/NAME…`.
    pub words: Vec<String>,
    /// Label selector.
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Field selector.
    #[arg(long)]
    pub field_selector: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    pub which: Which,
    /// `wide`, `yaml`, `json`, `name`, `jsonpath=…`.
    #[arg(short, long)]
    pub output: Option<String>,
    /// Goes on with changes.
    #[arg(short, long)]
    pub watch: bool,
    #[arg(long)]
    pub no_headers: bool,
    #[arg(long)]
    pub show_labels: bool,
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// Manifests.
    #[arg(short, long, required = true)]
    pub filename: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    pub which: Which,
    #[arg(short, long)]
    pub filename: Vec<String>,
    #[arg(long)]
    pub all: bool,
    #[arg(long)]
    pub force: bool,
    #[arg(long)]
    pub grace_period: Option<i64>,
    #[arg(long, default_value = "background")]
    pub cascade: String,
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub wait: bool,
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(Debug, Args)]
pub(super) struct Marks {
    /// Type, names, and `key=value[:effect]` or `key-`.
    #[arg(required = true)]
    pub words: Vec<String>,
    #[arg(long)]
    pub all: bool,
    #[arg(long)]
    pub overwrite: bool,
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Drain {
    pub node: String,
    #[arg(long)]
    pub ignore_daemonsets: bool,
    #[arg(long)]
    pub delete_emptydir_data: bool,
    #[arg(long)]
    pub force: bool,
    #[arg(long)]
    pub grace_period: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct Scale {
    #[arg(required = true)]
    pub words: Vec<String>,
    #[arg(long)]
    pub replicas: u32,
}

#[derive(Debug, Args)]
pub(super) struct Wait {
    #[command(flatten)]
    pub which: Which,
    /// `condition=…`, `delete`, `jsonpath={…}=value`.
    #[arg(long = "for")]
    pub condition: String,
    /// Such as `30s`, `2m`.
    #[arg(long, default_value = "30s")]
    pub timeout: String,
}

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Pass standard input: there is none, it is at its end.
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// On a terminal: standard error is shown with the output.
    #[arg(short = 't', long)]
    pub tty: bool,
    #[arg(short = 'c', long)]
    pub container: Option<String>,
    /// `NAME` or `pod/NAME`; then the command, in the old form.
    #[arg(required = true)]
    pub words: Vec<String>,
    /// What follows `--`.
    #[arg(last = true)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// `NAME` or `pod/NAME`, then the container.
    #[arg(required = true)]
    pub words: Vec<String>,
    #[arg(short = 'c', long)]
    pub container: Option<String>,
    /// Not supported.
    #[arg(short, long)]
    pub follow: bool,
    /// The container before the last restart.
    #[arg(short, long)]
    pub previous: bool,
    /// Lines from the end; -1 for all.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i64,
}
