//! The files of a simulated web server, as data.
//!
//! A file has no bytes here: its content is [`Content`], a function of path and version. Replacing a file is a new version
//! with a new length and time. Directories are the prefixes of file paths.

use std::collections::BTreeMap;

use crate::base::Content;

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebFile {
    /// Bytes.
    pub length: u64,
    /// Names the content together with the path.
    pub version: u64,
    /// Modification time, seconds since the Unix epoch.
    pub mtime_s: u64,
}

/// Entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebEntry {
    /// A file.
    File(WebFile),
    /// A directory.
    Dir,
}

/// All files, by absolute decoded path.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WebTree {
    files: BTreeMap<String, WebFile>,
}

/// The directory `hbase/stable/` as the documents list it. Sizes are theirs, as exact as `du -h` tells, and add up to the
/// 550.82MiB of their Dataset row.
const HBASE_STABLE: [(&str, u64); 6] = [
    ("CHANGES.md", 1_120_000),
    ("RELEASENOTES.md", 667_000),
    ("api_compare_2.3.4_to_2.3.5RC1.html", 29_300),
    ("hbase-2.3.5-bin.tar.gz", 275_200_000),
    ("hbase-2.3.5-client-bin.tar.gz", 263_400_000),
    ("hbase-2.3.5-src.tar.gz", 37_160_332),
];

/// 2021-04-19 20:33 UTC.
const HBASE_MTIME_S: u64 = 1_618_864_380;

impl WebTree {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A mirror with the documents' directory under `dir` (absolute, without a trailing slash).
    pub fn hbase_stable(dir: &str) -> Self {
        Self::listing(dir, HBASE_STABLE)
    }

    /// A mirror with these files, name and length, in one directory.
    pub fn listing<'a>(dir: &str, files: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut tree = Self::new();
        for (name, length) in files {
            tree.put(&format!("{dir}/{name}"), length);
        }
        tree
    }

    /// Makes or replaces a file: a new version, a minute newer than the one before.
    pub fn put(&mut self, path: &str, length: u64) -> WebFile {
        let file = match self.files.get(path) {
            Some(old) => WebFile { length, version: old.version + 1, mtime_s: old.mtime_s + 60 },
            None => WebFile { length, version: 1, mtime_s: HBASE_MTIME_S },
        };
        self.files.insert(path.to_owned(), file);
        file
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &str) -> Option<WebFile> {
        self.files.remove(path)
    }

    /// One file.
    pub fn file(&self, path: &str) -> Option<WebFile> {
        self.files.get(path).copied()
    }

    /// All files, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, WebFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), *file))
    }

    /// The bytes of the current version of a file.
    pub fn content(&self, path: &str) -> Option<Content> {
        self.file(path).map(|file| Content::of(path, file.version))
    }

    /// Bytes of all files.
    pub fn total(&self) -> u64 {
        self.files.values().map(|file| file.length).sum()
    }

    /// The entries of a directory (`dir` ends with a slash) by name; none if there is no such directory. The root is always
    /// there.
    pub fn entries(&self, dir: &str) -> Option<BTreeMap<&str, WebEntry>> {
        let below = self.files.range(dir.to_owned()..).take_while(|(path, _)| path.starts_with(dir));
        let mut entries = BTreeMap::new();
        for (path, file) in below {
            match path[dir.len()..].split_once('/') {
                Some((sub, _)) => entries.insert(sub, WebEntry::Dir),
                None => entries.insert(&path[dir.len()..], WebEntry::File(*file)),
            };
        }
        (dir == "/" || !entries.is_empty()).then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ByteSize;

    #[test]
    fn the_documents_directory_has_the_documents_size() {
        let tree = WebTree::hbase_stable("/apache/hbase/stable");
        assert_eq!(ByteSize(tree.total()).to_string(), "550.82MiB");
        let bin = tree.file("/apache/hbase/stable/hbase-2.3.5-bin.tar.gz").unwrap();
        // `du -h` rounds up to whole MiB.
        assert_eq!(bin.length.div_ceil(1 << 20), 263);
    }

    #[test]
    fn directories_are_prefixes() {
        let mut tree = WebTree::listing("/a/b", [("x", 1), ("y", 2)]);
        tree.put("/a/z", 3);
        tree.put("/ab", 4);
        let names = |dir| tree.entries(dir).map(|e| e.into_keys().collect::<Vec<_>>());
        assert_eq!(names("/"), Some(vec!["a", "ab"]));
        assert_eq!(names("/a/"), Some(vec!["b", "z"]));
        assert_eq!(names("/a/b/"), Some(vec!["x", "y"]));
        assert_eq!(names("/b/"), None);
        assert_eq!(WebTree::new().entries("/").map(|e| e.len()), Some(0));
    }

    #[test]
    fn replacing_makes_a_new_version() {
        let mut tree = WebTree::new();
        let first = tree.put("/f", 10);
        let second = tree.put("/f", 12);
        assert!(second.version > first.version && second.mtime_s > first.mtime_s);
    }
}
