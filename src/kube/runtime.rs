//! The container launch trait: what a kubelet asks of the machine it runs on.
//!
//! Upstream's Container Runtime Interface, cut to what a cluster needs. The kubelet knows nothing of how a container comes
//! to run; `sim` starts a stack role, a shell-like application or a stand-in on a simulated machine, a test uses a double.
//!
//! Rules for whoever implements it:
//! - Sandboxes, containers and pulled images belong to the node, not to the kubelet: they go on while the kubelet is dead
//!   and are found again by [`ContainerRuntime::list`]. Power loss of the node ends all containers and sandboxes; images
//!   stay.
//! - A call may take simulated time, and the caller may be gone before it ends: what was begun is then still done or not
//!   done, never half.
//! - Nothing here decides. Restarts, grace periods and back-offs are the kubelet's; an implementation refuses only what
//!   the machine cannot do. Two containers of one pod and name with different attempts are both started if asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::rt::time::Duration;

/// What every call gives.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RuntimeError>> + Send + 'a>>;

/// The runtime as a kubelet and its tasks share it.
pub type Runtime = Arc<dyn ContainerRuntime>;

/// Runs the containers of one node. See the module's rules.
pub trait ContainerRuntime: Send + Sync {
    /// All sandboxes of the node, ended ones too, each with its containers (the latest attempt last).
    fn list(&self) -> Answer<'_, Vec<SandboxStatus>>;
    /// Makes the pod's network: an address of its own, or the node's with `host_network`. Asking again for the same pod
    /// and attempt gives the sandbox that is there.
    fn run_sandbox(&self, spec: SandboxSpec) -> Answer<'_, Sandbox>;
    /// Kills what still runs in the sandbox and frees its address. Its containers can still be listed and their logs
    /// read. One that is not there is no error.
    fn stop_sandbox(&self, sandbox: SandboxId) -> Answer<'_, ()>;
    /// Stops the sandbox and forgets it with its containers and their logs. One that is not there is no error.
    fn remove_sandbox(&self, sandbox: SandboxId) -> Answer<'_, ()>;
    /// Images on the node, sorted by name.
    fn images(&self) -> Answer<'_, Vec<Image>>;
    /// Fetches an image unless the node has it, and takes the time that this takes.
    ///
    /// # Errors
    /// [`RuntimeError::Pull`].
    fn pull_image(&self, image: String) -> Answer<'_, Image>;
    /// Makes a container and starts it. The answer comes when its first process runs.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] if its command cannot be started; [`RuntimeError::NotFound`] without its sandbox.
    fn start_container(&self, spec: ContainerSpec) -> Answer<'_, ContainerId>;
    /// Waits for the container's end; at once if it has ended. May be asked any number of times.
    fn wait(&self, container: ContainerId) -> Answer<'_, Exit>;
    /// Sends a signal to the container's first process; nothing if it has ended.
    fn signal(&self, container: ContainerId, signal: Signal) -> Answer<'_, ()>;
    /// Runs a command in the container and waits for its end. Dropping the answer kills the command.
    fn exec(&self, container: ContainerId, command: Vec<String>) -> Answer<'_, ExecOutput>;
    /// One HTTP GET from the node, as a probe makes it. The status code, whatever it is.
    ///
    /// # Errors
    /// [`RuntimeError::Connect`] without an answer. There is no time limit; drop the answer.
    fn http_get(&self, request: HttpGet) -> Answer<'_, u16>;
    /// Opens a TCP connection from the node and closes it.
    ///
    /// # Errors
    /// [`RuntimeError::Connect`].
    fn tcp_connect(&self, to: IpAddr, port: u16) -> Answer<'_, ()>;
    /// What the container wrote so far; `last` lines only if given.
    fn logs(&self, container: ContainerId, last: Option<usize>) -> Answer<'_, String>;
}

/// Names a pod's sandbox on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxId(pub String);

/// Names a container on its node, `containerd://…` in a pod's status. Never given twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One pod object: a pod that comes back under its name has another uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The object's uid.
    pub uid: String,
}

impl fmt::Display for PodId {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a sandbox is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Whose it is.
    pub pod: PodId,
    /// How many sandboxes the pod had before on this node.
    pub attempt: u32,
    /// The pod's host name (`spec.hostname`, else its name).
    pub hostname: String,
    /// The node's network instead of an own address.
    pub host_network: bool,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A pod's network on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its name.
    pub id: SandboxId,
    /// Whose it is.
    pub pod: PodId,
    /// As in its spec.
    pub attempt: u32,
    /// The pod's address; the node's with the host's network.
    pub ip: IpAddr,
}

/// A sandbox and what is in it, as [`ContainerRuntime::list`] finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxStatus {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// False once its network is gone: nothing can be started in it.
    pub ready: bool,
    /// Its containers in order of starting.
    pub containers: Vec<ContainerRecord>,
}

/// A container, running or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its name on the node.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: String,
    /// As in its spec.
    pub attempt: u32,
    /// Image it was made from.
    pub image: String,
    /// When it was started: time since the Unix epoch by the node's wall clock.
    pub started: Duration,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

/// What a container is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Where it runs.
    pub sandbox: SandboxId,
    /// Whose it is.
    pub pod: PodId,
    /// Name in the pod.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
    /// Image.
    pub image: String,
    /// Replaces the image's entry point, unless empty. `$(NAME)` is expanded already.
    pub command: Vec<String>,
    /// Replaces the image's arguments, unless empty.
    pub args: Vec<String>,
    /// Environment in order; a later name wins.
    pub env: Vec<EnvValue>,
    /// Working directory, if not the image's.
    pub working_dir: Option<String>,
    /// Mounts in order.
    pub mounts: Vec<ContainerMount>,
    /// Limits and requests.
    pub resources: Resources,
    /// Named ports.
    pub ports: BTreeMap<String, u16>,
    /// May mount on the node.
    pub privileged: bool,
}

/// One variable of the environment. A secret's value is left out of `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvValue {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Whether it came from a Secret.
    pub secret: bool,
}

impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, if self.secret { "<secret>" } else { &self.value })
    }
}

/// What a container may use. `None` is no limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core reserved.
    pub cpu_milli_request: Option<u64>,
    /// Thousandths of a core at most.
    pub cpu_milli_limit: Option<u64>,
    /// Bytes reserved.
    pub memory_request: Option<u64>,
    /// Bytes; above them the kernel kills the container ([`ExitReason::OomKilled`]).
    pub memory_limit: Option<u64>,
}

/// A directory or file of the node as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMount {
    /// The volume's name in the pod.
    pub volume: String,
    /// What kind of volume it is.
    pub kind: MountKind,
    /// Path on the node (its mount table tells what is mounted there).
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// No writes.
    pub read_only: bool,
    /// Which later mounts are seen on the other side.
    pub propagation: Propagation,
}

/// What kind of volume a mount shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// A directory of the node that outlives the pod.
    HostPath,
    /// A directory that lives as long as the pod, on disk or in memory.
    EmptyDir,
    /// An attached device (a cloud disk).
    Device,
    /// What another CSI plugin mounted, such as a fuse.
    Csi,
    /// Files of a ConfigMap or Secret.
    Files,
}

/// Upstream's `mountPropagation`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// What is mounted later stays unseen (`None`).
    #[default]
    Private,
    /// What the node mounts later below the source is seen (`HostToContainer`).
    HostToContainer,
    /// And what the container mounts is seen by the node (`Bidirectional`; privileged containers only).
    Bidirectional,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + signal after a signal.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// When, by the node's wall clock since the Unix epoch.
    pub finished: Duration,
    /// Last words (upstream's termination message); may be empty.
    pub message: String,
}

/// `reason` of a terminated container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// Exit code 0.
    Completed,
    /// Any other exit.
    Error,
    /// Killed by the kernel at its memory limit.
    OomKilled,
}

impl ExitReason {
    /// As `kubectl describe` prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
        }
    }
}

/// The two signals a kubelet sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: the container is asked to end.
    Term,
    /// SIGKILL.
    Kill,
}

/// What a command in a container gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGet {
    /// Where to.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
    /// Path with query.
    pub path: String,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
}

/// An image on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Name with tag.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
}

/// Why the machine did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The registry has no such image, or does not answer.
    #[error("{0}")]
    Pull(String),
    /// The container's command cannot be started.
    #[error("{0}")]
    Start(String),
    /// No such sandbox or container.
    #[error("{0} not found")]
    NotFound(String),
    /// No connection, or no answer on it.
    #[error("{0}")]
    Connect(String),
    /// The runtime itself is down or out of its means; asking again later may help.
    #[error("container runtime is not ready: {0}")]
    Unavailable(String),
}
