//! Where a backup of the masters' metadata lies: `pvc://claim/sub/` or `local:///path/`, and the names of its two files.
//!
//! Follows `pkg/utils/databackup.go` (`ParseBackupRestorePath`) of fluid-cloudnative/fluid and the chart `fluid-databackup`.

use serde_json::{Value, json};

use super::probe::Content;

/// What stands behind a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A claim of the dataset's namespace.
    Claim(String),
    /// A directory of a node.
    Node,
}

/// A directory with a backup, or for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLocation {
    /// What it is a directory of.
    pub place: Place,
    /// The directory, with a slash at both ends.
    pub path: String,
}

/// It begins with neither `pvc://` nor `local://`, names no claim, or leads out of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only pvc://claim/path and local:///path are supported")]
pub struct NoLocation;

impl BackupLocation {
    /// Reads `pvc://claim/sub` or `local:///path`.
    ///
    /// # Errors
    /// [`NoLocation`].
    pub fn parse(text: &str) -> Result<Self, NoLocation> {
        let slashed = |path: &str| {
            let path = path.trim_matches('/');
            if path.split('/').any(|part| part == "..") {
                return Err(NoLocation);
            }
            Ok(if path.is_empty() { "/".to_string() } else { format!("/{path}/") })
        };
        if let Some(rest) = text.strip_prefix("pvc://") {
            let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
            if claim.is_empty() {
                return Err(NoLocation);
            }
            return Ok(Self { place: Place::Claim(claim.into()), path: slashed(path)? });
        }
        let path = text.strip_prefix("local://").filter(|path| path.starts_with('/')).ok_or(NoLocation)?;
        Ok(Self { place: Place::Node, path: slashed(path)? })
    }

    /// The directory as a container sees it that mounts [`BackupLocation::volume`].
    pub fn directory(&self) -> String {
        match self.place {
            Place::Claim(_) => format!("/pvc{}", self.path),
            Place::Node => "/host/".into(),
        }
    }

    /// The file with the metadata of a dataset.
    pub fn metadata_file(&self, namespace: &str, name: &str) -> String {
        format!("{}metadata-backup-{name}-{namespace}.gz", self.directory())
    }

    /// The file that tells how much there was.
    pub fn info_file(&self, namespace: &str, name: &str) -> String {
        format!("{}{name}-{namespace}.yaml", self.directory())
    }

    /// The volume and its mount.
    pub fn volume(&self) -> (Value, Value) {
        match &self.place {
            Place::Claim(claim) => (
                json!({ "name": "pvc", "persistentVolumeClaim": { "claimName": claim } }),
                json!({ "name": "pvc", "mountPath": "/pvc" }),
            ),
            Place::Node => (
                json!({ "name": "host", "hostPath": { "path": self.path, "type": "" } }),
                json!({ "name": "host", "mountPath": "/host" }),
            ),
        }
    }
}

/// The text of the info file.
pub fn info(namespace: &str, name: &str, bytes: u64, files: u64) -> String {
    format!("dataset: {name}\nnamespace: {namespace}\nufstotal: {bytes}\nfilenum: {files}\n")
}

/// What an info file tells.
pub fn read_info(text: &str) -> Option<Content> {
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(Content { bytes: number("ufstotal:")?, files: number("filenum:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_as_upstream_reads_them() {
        let rows = [
            ("pvc://backup/sub/dir/", Some(("/pvc/sub/dir/", Some("backup")))),
            ("pvc://backup/sub", Some(("/pvc/sub/", Some("backup")))),
            ("pvc://backup", Some(("/pvc/", Some("backup")))),
            ("local:///var/backup", Some(("/host/", None))),
            ("local://var", None),
            ("pvc:///sub", None),
            ("pvc://backup/../other", None),
            ("oss://bucket/dir", None),
            ("", None),
        ];
        for (text, want) in rows {
            let got = BackupLocation::parse(text).ok();
            let got = got.as_ref().map(|location| {
                let claim = if let Place::Claim(claim) = &location.place { Some(claim.as_str()) } else { None };
                (location.directory(), claim)
            });
            assert_eq!(got.as_ref().map(|(directory, claim)| (directory.as_str(), *claim)), want, "{text}");
        }
    }

    #[test]
    fn a_backup_has_the_files_of_upstream() {
        let location = BackupLocation::parse("pvc://backup/sub").unwrap();
        assert_eq!(location.metadata_file("default", "hbase"), "/pvc/sub/metadata-backup-hbase-default.gz");
        assert_eq!(location.info_file("default", "hbase"), "/pvc/sub/hbase-default.yaml");
        let written = info("default", "hbase", 577_000_000, 6);
        assert_eq!(read_info(&written), Some(Content { bytes: 577_000_000, files: 6 }));
        assert_eq!(read_info("ufstotal: many\nfilenum: 6\n"), None);
        let local = BackupLocation::parse("local:///var/backup").unwrap();
        assert_eq!(local.volume().0["hostPath"]["path"], "/var/backup/");
    }
}
