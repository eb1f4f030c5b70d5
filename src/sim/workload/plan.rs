//! Which operation a client tries next: drawn from its own stream by the weights of the scenario. Pure.
//!
//! All clients share one small pool of paths, so that they contend: the same few names in the root and in each of its
//! directories, one directory within another, and now and then a directory where others put files.

use std::time::Duration;

use crate::base::Stream;
use crate::sim::scenario::workload::{Mix, SizeRange, Workload};

/// Longest file that is written and longest read, in bytes, whatever the scenario says: a client holds a read in memory.
const SIZE_MAX: u64 = 256 << 20;

/// What the clients do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSpec {
    /// Shortest and longest pause between two operations.
    pub think: (Duration, Duration),
    /// Operations of all clients together.
    pub operations: Option<u64>,
    /// Weights.
    pub mix: Mix,
    /// Shared directories, parents before children; the first is the root of the work.
    pub dirs: Vec<String>,
    /// Shared file paths.
    pub files: Vec<String>,
    /// Sizes of files, bytes.
    pub file_size: (u64, u64),
    /// Sizes of reads, bytes.
    pub read_size: (u64, u64),
}

impl LoadSpec {
    /// What the scenario says.
    pub fn new(workload: &Workload) -> Self {
        let (dirs, files) = pool(workload.root.trim_end_matches('/'), workload.paths);
        Self {
            think: (workload.think_time.min.get(), workload.think_time.max.get()),
            operations: workload.operations,
            mix: workload.mix.clone(),
            dirs,
            files,
            file_size: sizes(&workload.file_size),
            read_size: sizes(&workload.read_size),
        }
    }
}

fn sizes(range: &SizeRange) -> (u64, u64) {
    (range.min.get().min(SIZE_MAX), range.max.get().min(SIZE_MAX))
}

/// `paths` names under `root`: a quarter directories, the second of them within the first, and files in all of them.
fn pool(root: &str, paths: u32) -> (Vec<String>, Vec<String>) {
    let paths = paths.max(2);
    let count = (paths / 4).max(1);
    let mut dirs = vec![if root.is_empty() { "/".to_owned() } else { root.to_owned() }];
    dirs.extend((0..count).map(|n| if n == 1 { format!("{root}/d0/d1") } else { format!("{root}/d{n}") }));
    let file = |n: usize| format!("{}/f{}", dirs[n % dirs.len()].trim_end_matches('/'), n / dirs.len());
    let files = (0..(paths - count) as usize).map(file).collect();
    (dirs, files)
}

/// One operation to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a directory.
    Mkdir(String),
    /// Make, write and close a file.
    Write {
        /// Where.
        path: String,
        /// Bytes.
        size: u64,
    },
    /// Rename.
    Rename {
        /// Old path.
        from: String,
        /// New path.
        to: String,
    },
    /// Remove a file or a directory; with `tree` all below.
    Delete {
        /// What.
        path: String,
        /// Whether all below goes too.
        tree: bool,
    },
    /// List a directory.
    List(String),
    /// Attributes.
    Stat(String),
    /// Read a piece of a file.
    Read {
        /// Which.
        path: String,
        /// Where in the file, as a fraction of 2^64.
        at: u64,
        /// Bytes.
        size: u64,
    },
}

/// The next operation; none if all weights are 0. `recent`: paths where files were completed lately; `outside`: files of
/// the under-store.
pub fn next(spec: &LoadSpec, stream: &mut Stream, recent: &[String], outside: &[String]) -> Option<Step> {
    let mut ticket = stream.below(spec.mix.total());
    let kind = spec.mix.weights().into_iter().find_map(|(name, weight)| {
        let hit = ticket < u64::from(weight);
        ticket = ticket.saturating_sub(u64::from(weight));
        hit.then_some(name)
    })?;
    Some(match kind {
        "mkdir" => Step::Mkdir(mostly_dir(spec, stream)),
        "create" => {
            let path = mostly_file(spec, stream);
            Step::Write { path, size: stream.range(spec.file_size.0..=spec.file_size.1) }
        }
        "rename" if stream.ratio(1, 4) => Step::Rename { from: mostly_dir(spec, stream), to: mostly_dir(spec, stream) },
        "rename" => Step::Rename { from: known_file(spec, stream, recent), to: mostly_file(spec, stream) },
        "delete" => {
            let dir = stream.ratio(1, 3);
            let path = if dir { mostly_dir(spec, stream) } else { known_file(spec, stream, recent) };
            Step::Delete { path, tree: stream.ratio(1, 4) }
        }
        "list" => Step::List(any_dir(spec, stream)),
        "stat" if stream.ratio(1, 3) => Step::Stat(any_dir(spec, stream)),
        "stat" => Step::Stat(mostly_file(spec, stream)),
        _ => {
            let path = match stream.pick(outside) {
                Some(path) if stream.ratio(1, 2) => path.clone(),
                _ => known_file(spec, stream, recent),
            };
            Step::Read { path, at: stream.bits(), size: stream.range(spec.read_size.0..=spec.read_size.1) }
        }
    })
}

fn any_dir(spec: &LoadSpec, stream: &mut Stream) -> String {
    stream.pick(&spec.dirs).cloned().unwrap_or_default()
}

/// A directory other than the root of the work; now and then a path where others put files.
fn mostly_dir(spec: &LoadSpec, stream: &mut Stream) -> String {
    let pool = if stream.ratio(1, 12) { &spec.files } else { spec.dirs.get(1..).unwrap_or_default() };
    stream.pick(pool).cloned().unwrap_or_default()
}

/// A file; now and then a path where others make directories.
fn mostly_file(spec: &LoadSpec, stream: &mut Stream) -> String {
    let pool = if stream.ratio(1, 12) { spec.dirs.get(1..).unwrap_or_default() } else { &spec.files };
    stream.pick(pool).cloned().unwrap_or_default()
}

/// Mostly a file that was there lately.
fn known_file(spec: &LoadSpec, stream: &mut Stream, recent: &[String]) -> String {
    match stream.pick(recent) {
        Some(path) if stream.ratio(3, 4) => path.clone(),
        _ => mostly_file(spec, stream),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::base::Seed;

    #[test]
    fn the_pool_has_the_asked_size_and_makes_clients_contend() {
        for paths in [2, 3, 4, 12, 100] {
            let spec = LoadSpec::new(&Workload { paths, ..Workload::default() });
            let all: BTreeSet<&String> = spec.dirs.iter().chain(&spec.files).collect();
            assert_eq!(all.len(), paths as usize + 1, "{paths} and the root: {all:?}");
            assert!(all.iter().all(|path| path.starts_with("/work")));
        }
        let spec = LoadSpec::new(&Workload::default());
        assert_eq!(spec.dirs, ["/work", "/work/d0", "/work/d0/d1", "/work/d2"]);
        assert!(spec.files.contains(&"/work/f0".to_owned()) && spec.files.contains(&"/work/d0/d1/f0".to_owned()));
    }

    #[test]
    fn kinds_come_by_weight_and_a_weight_of_zero_never() {
        let mix = Mix { mkdir: 0, create: 30, rename: 20, delete: 10, list: 0, stat: 10, read: 30 };
        let spec = LoadSpec::new(&Workload { mix, ..Workload::default() });
        let mut stream = Seed(1).stream("workload", 0);
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let outside = ["/hbase/CHANGES.md".to_owned()];
        let (mut renames, mut across) = (0, 0);
        for _ in 0..5000 {
            let step = next(&spec, &mut stream, &[], &outside).expect("weights are not 0");
            if let Step::Rename { from, to } = &step {
                renames += 1;
                across += u32::from(from.rsplit_once('/').map(|p| p.0) != to.rsplit_once('/').map(|p| p.0));
            }
            let name = match step {
                Step::Mkdir(_) | Step::List(_) => "never",
                Step::Write { path, size } => {
                    assert!(size <= 64 << 10 && path.starts_with("/work/"));
                    "write"
                }
                Step::Rename { .. } => "rename",
                Step::Delete { .. } => "delete",
                Step::Stat(_) => "stat",
                Step::Read { path, .. } if path.starts_with("/hbase") => "outside",
                Step::Read { .. } => "read",
            };
            *counts.entry(name).or_default() += 1;
        }
        for (name, want) in [("never", 0), ("write", 1500), ("rename", 1000), ("delete", 500), ("outside", 750)] {
            let got = counts.get(name).copied().unwrap_or_default();
            assert!(got.abs_diff(want) <= want / 5, "{name}: {got} of about {want}");
        }
        assert!(across * 2 > renames, "{across} of {renames} renames cross directories");
        let nothing = Mix { create: 0, rename: 0, delete: 0, stat: 0, read: 0, ..spec.mix.clone() };
        assert_eq!(next(&LoadSpec { mix: nothing, ..spec }, &mut stream, &[], &outside), None);
    }
}
