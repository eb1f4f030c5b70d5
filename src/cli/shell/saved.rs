//! The scenario of a session, for a file in another folder.

use std::path::{Component, Path, PathBuf};

use crate::sim::scenario::{ManifestSource, Spec};

/// The spec for a file in the folder `to`, with the files that it names found from there. Both folders are absolute.
pub fn moved(spec: &Spec, from: &Path, to: &Path) -> Spec {
    let mut spec = spec.clone();
    if from == to {
        return spec;
    }
    let name = |name: &str| relative(to, &from.join(name)).to_string_lossy().into_owned();
    for source in &mut spec.manifests {
        if let ManifestSource::File(path) = source {
            *path = name(path);
        }
    }
    for path in spec.kubernetes.iter_mut().flat_map(|kubernetes| &mut kubernetes.files) {
        *path = name(path);
    }
    spec
}

/// The way from the folder `from` to `to`; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to) = (plain(from), plain(to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    up.chain(to[shared..].iter().copied()).collect()
}

/// The parts of a path, without detours.
fn plain(path: &Path) -> Vec<Component<'_>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_leads_there() {
        for (from, to, way) in [
            ("/a/b", "/a/b/c.yaml", "c.yaml"),
            ("/a/b", "/a/c/d.yaml", "../c/d.yaml"),
            ("/tmp", "/a/c/d.yaml", "../a/c/d.yaml"),
            ("/", "/a/d.yaml", "a/d.yaml"),
            ("/a/./x/../b", "/a/b/../c.yaml", "../c.yaml"),
            ("/a/b", "/ab/c", "../../ab/c"),
        ] {
            assert_eq!(relative(from.as_ref(), to.as_ref()), Path::new(way), "{from} {to}");
        }
    }
}
