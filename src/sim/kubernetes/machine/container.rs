//! One container on a machine: what it was made from, how it runs, how it ended, what it wrote.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::base::{ProcessId, SimTime, lock};
use crate::kube::csi::mount::MountTable;
use crate::kube::runtime::{ContainerMount, ContainerRecord, ContainerSpec, Exit, ExitReason, PodId};
use crate::stack::observe::Observer;

/// Bytes of output that are kept; what is older goes.
const LOG_BYTES_MAX: usize = 256 << 10;

/// What a container's processes wrote. Clones write to the same place.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// Adds text.
    pub fn write(&self, text: &str) {
        let mut kept = lock(&self.0);
        kept.push_str(text);
        if kept.len() > LOG_BYTES_MAX {
            let from = kept.len() - LOG_BYTES_MAX / 2;
            let line = kept[kept.ceil_char_boundary(from)..].find('\n').map_or(0, |at| at + 1);
            *kept = kept[kept.ceil_char_boundary(from) + line..].to_owned();
        }
    }

    /// All of it, or its last lines.
    pub fn read(&self, last: Option<usize>) -> String {
        let kept = lock(&self.0);
        let Some(last) = last else { return kept.clone() };
        let lines = kept.lines().count();
        kept.lines().skip(lines.saturating_sub(last)).map(|line| format!("{line}\n")).collect()
    }
}

/// What a container's first process is to the cache.
#[derive(Clone)]
pub enum Part {
    /// A master, and what it tells of itself.
    Master(Arc<Observer>),
    /// A worker, and the directories of its store on the node, once it knows them.
    Worker(Arc<OnceLock<Vec<String>>>),
    /// A fuse.
    Fuse,
    /// Fluid's plugin of the node.
    CsiPlugin,
    /// Anything else.
    Other,
}

/// How the first process of a container ended by itself: its exit code. Empty as long as it runs, or if it was killed.
pub type ExitCode = Arc<Mutex<Option<i32>>>;

/// A container.
pub struct Container {
    /// As the runtime lists it.
    pub record: ContainerRecord,
    /// As it was asked for.
    pub spec: ContainerSpec,
    /// Its first process, once the harness has started it.
    pub process: Option<ProcessId>,
    /// What that is.
    pub part: Part,
    /// The code that it returned.
    pub code: ExitCode,
    /// What it wrote.
    pub log: Log,
    /// The node's mounts when it started.
    pub own_mounts: MountTable,
    /// World time of its start.
    pub since: SimTime,
    /// World time of its end.
    pub until: Option<SimTime>,
    /// The kernel has killed it for want of memory.
    pub oom: bool,
    /// Volumes of the cloud that it mounts, by handle.
    pub volumes: Vec<String>,
}

/// The life of one process of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lived {
    /// Whose.
    pub pod: PodId,
    /// Which container.
    pub container: String,
    /// Since when.
    pub from: SimTime,
    /// Until when, if it has ended.
    pub until: Option<SimTime>,
}

impl Lived {
    /// That of a container.
    pub fn of(container: &Container) -> Self {
        let spec = &container.spec;
        Self { pod: spec.pod.clone(), container: spec.name.clone(), from: container.since, until: container.until }
    }
}

impl Container {
    /// Whether it has not ended.
    pub fn runs(&self) -> bool {
        self.record.exit.is_none()
    }

    /// Its process is gone.
    pub fn ended(&mut self, now: SimTime) {
        let code = lock(&self.code).unwrap_or(137);
        let reason = match code {
            0 => ExitReason::Completed,
            _ if self.oom => ExitReason::OomKilled,
            _ => ExitReason::Error,
        };
        self.until = Some(now);
        let lived = Duration::from_nanos(u64::try_from(now.since(self.since).as_nanos()).unwrap_or(u64::MAX));
        self.record.exit = Some(Exit { code, reason, finished: self.record.started + lived, message: String::new() });
    }
}

/// The mount that holds a container's path: the deepest.
pub fn mount_of<'a>(mounts: &'a [ContainerMount], path: &str) -> Option<&'a ContainerMount> {
    let inside = |mount: &&ContainerMount| crate::kube::csi::mount::is_within(path, &mount.target);
    mounts.iter().filter(inside).max_by_key(|mount| mount.target.len())
}

/// The node's path of a container's path: of the mounts that hold it the deepest, or else the container's own files.
pub fn on_node(mounts: &[ContainerMount], root: &str, path: &str) -> (String, bool) {
    match mount_of(mounts, path) {
        Some(mount) => {
            let rest = path[mount.target.trim_end_matches('/').len()..].trim_start_matches('/');
            let source = mount.source.trim_end_matches('/');
            (if rest.is_empty() { source.to_owned() } else { format!("{source}/{rest}") }, mount.read_only)
        }
        None => (format!("{root}{path}"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::runtime::{MountKind, Propagation};

    fn mount(source: &str, target: &str) -> ContainerMount {
        ContainerMount {
            volume: "v".into(),
            kind: MountKind::HostPath,
            source: source.into(),
            target: target.into(),
            read_only: target == "/ro",
            propagation: Propagation::Private,
        }
    }

    #[test]
    fn the_deepest_mount_holds_a_path() {
        let mounts = [mount("/node/data", "/data"), mount("/node/deep/", "/data/deep/"), mount("/x", "/ro")];
        for (path, want) in [
            ("/data", ("/node/data", false)),
            ("/data/a/b", ("/node/data/a/b", false)),
            ("/data/deep", ("/node/deep", false)),
            ("/data/deep/c", ("/node/deep/c", false)),
            ("/database", ("/root/database", false)),
            ("/ro/f", ("/x/f", true)),
        ] {
            let (got, read_only) = on_node(&mounts, "/root", path);
            assert_eq!((got.as_str(), read_only), want, "{path}");
        }
    }

    #[test]
    fn a_log_keeps_its_end() {
        let log = Log::default();
        for n in 0..40_000 {
            log.write(&format!("line {n}\n"));
        }
        assert!(log.read(None).len() <= LOG_BYTES_MAX);
        assert!(log.read(None).starts_with("line "));
        assert_eq!(log.read(Some(2)), "line 39998\nline 39999\n");
    }
}
