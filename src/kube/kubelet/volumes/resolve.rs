//! What a volume of a pod is, from the API's objects. Pure.
//!
//! Kinds: `emptyDir`, `hostPath`, `configMap`, `secret`, `projected` of the last two, `persistentVolumeClaim` (CSI, `hostPath`
//! and `local` volumes). Others are refused by name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, PersistentVolume, Secret, Volume};

use crate::kube::csi::driver::CsiVolume;
use crate::kube::csi::host::FileBytes;
use crate::kube::matching::whole;

/// What a volume is.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeKind {
    /// A directory that lives as long as the pod.
    EmptyDir {
        /// In memory instead of on the node's disk.
        memory: bool,
        /// `sizeLimit` in bytes.
        limit: Option<u64>,
    },
    /// A path of the node.
    HostPath {
        /// The path.
        path: String,
        /// `type`: empty is no check.
        check: String,
    },
    /// Files of ConfigMaps and Secrets.
    Files {
        /// By relative path.
        files: BTreeMap<String, FileBytes>,
        /// Any of it is a Secret's: kept in memory.
        secret: bool,
    },
    /// A volume of a CSI driver.
    Csi(CsiVolume),
}

/// Names that must be looked up before [`kind`] can tell.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Needs {
    /// ConfigMaps of the pod's namespace.
    pub config_maps: Vec<String>,
    /// Secrets of the pod's namespace.
    pub secrets: Vec<String>,
    /// The claim of the pod's namespace.
    pub claim: Option<String>,
}

/// What was found of the [`Needs`].
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Found {
    /// By name.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// By name.
    pub secrets: BTreeMap<String, Secret>,
    /// The volume that the claim is bound to.
    pub volume: Option<PersistentVolume>,
}

/// What a volume needs looked up.
pub fn needs(volume: &Volume) -> Needs {
    let mut needs = Needs::default();
    needs.config_maps.extend(volume.config_map.as_ref().map(|c| c.name.clone()));
    needs.secrets.extend(volume.secret.as_ref().and_then(|s| s.secret_name.clone()));
    for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        needs.config_maps.extend(source.config_map.as_ref().map(|c| c.name.clone()));
        needs.secrets.extend(source.secret.as_ref().map(|s| s.name.clone()));
    }
    needs.claim = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
    needs
}

/// What the volume is.
///
/// # Errors
/// The message of the FailedMount event.
pub fn kind(volume: &Volume, namespace: &str, found: &Found) -> Result<VolumeKind, String> {
    if let Some(dir) = &volume.empty_dir {
        let limit = dir.size_limit.as_ref().and_then(whole).and_then(|n| u64::try_from(n).ok());
        return Ok(VolumeKind::EmptyDir { memory: dir.medium.as_deref() == Some("Memory"), limit });
    }
    if let Some(host) = &volume.host_path {
        return Ok(VolumeKind::HostPath { path: host.path.clone(), check: host.type_.clone().unwrap_or_default() });
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return claimed(volume, claim.read_only == Some(true), found);
    }
    let mut files = BTreeMap::new();
    let mut secret = false;
    if let Some(map) = &volume.config_map {
        let given = found.config_maps.get(&map.name).map(map_files);
        add(&mut files, given, map.items.as_deref(), map.optional, &format!("configmap \"{}\"", map.name), namespace)?;
    } else if let Some(of) = &volume.secret {
        let name = of.secret_name.clone().unwrap_or_default();
        let given = found.secrets.get(&name).map(secret_files);
        add(&mut files, given, of.items.as_deref(), of.optional, &format!("secret \"{name}\""), namespace)?;
        secret = true;
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let given = found.config_maps.get(&map.name).map(map_files);
                let what = format!("configmap \"{}\"", map.name);
                add(&mut files, given, map.items.as_deref(), map.optional, &what, namespace)?;
            } else if let Some(of) = &source.secret {
                let given = found.secrets.get(&of.name).map(secret_files);
                add(
                    &mut files,
                    given,
                    of.items.as_deref(),
                    of.optional,
                    &format!("secret \"{}\"", of.name),
                    namespace,
                )?;
                secret = true;
            } else {
                return Err(format!("projected volume {} has a source that is not simulated", volume.name));
            }
        }
    } else {
        return Err(format!("no volume plugin matched: volume {} is of a kind that is not simulated", volume.name));
    }
    Ok(VolumeKind::Files { files, secret })
}

fn claimed(volume: &Volume, read_only: bool, found: &Found) -> Result<VolumeKind, String> {
    let Some(pv) = &found.volume else { return Err("PVC is not bound".into()) };
    let name = pv.metadata.name.clone().unwrap_or_default();
    let Some(spec) = &pv.spec else { return Err(format!("PersistentVolume {name} has no spec")) };
    let only_read = |modes: &[String]| !modes.is_empty() && modes.iter().all(|m| m == "ReadOnlyMany");
    let read_only = read_only || spec.access_modes.as_deref().is_some_and(only_read);
    if let Some(csi) = &spec.csi {
        return Ok(VolumeKind::Csi(CsiVolume {
            driver: csi.driver.clone(),
            handle: csi.volume_handle.clone(),
            pv: name,
            attributes: csi.volume_attributes.clone().unwrap_or_default(),
            read_only: read_only || csi.read_only == Some(true),
        }));
    }
    if let Some(host) = &spec.host_path {
        return Ok(VolumeKind::HostPath { path: host.path.clone(), check: host.type_.clone().unwrap_or_default() });
    }
    if let Some(local) = &spec.local {
        return Ok(VolumeKind::HostPath { path: local.path.clone(), check: "Directory".into() });
    }
    Err(format!("no volume plugin matched: volume {} is bound to {name}, of a kind that is not simulated", volume.name))
}

type Given = BTreeMap<String, FileBytes>;

fn map_files(map: &ConfigMap) -> Given {
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), FileBytes(v.clone().into_bytes())));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), FileBytes(v.0.clone())));
    text.chain(binary).collect()
}

fn secret_files(secret: &Secret) -> Given {
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), FileBytes(v.0.clone()))).collect()
}

fn add(
    files: &mut Given,
    given: Option<Given>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    what: &str,
    namespace: &str,
) -> Result<(), String> {
    let optional = optional == Some(true);
    let Some(mut given) = given else {
        return if optional { Ok(()) } else { Err(format!("{what} not found")) };
    };
    let Some(items) = items else {
        files.append(&mut given);
        return Ok(());
    };
    for item in items {
        match given.get(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), bytes.clone());
            }
            None if optional => {}
            None => return Err(format!("{what} in namespace {namespace} references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::*;

    use super::*;

    #[test]
    fn kinds_are_known_or_refused_by_name() {
        let mut volume = Volume { name: "v".into(), ..Volume::default() };
        let refused = kind(&volume, "ns", &Found::default()).unwrap_err();
        assert!(refused.contains("volume v"), "{refused}");
        volume.empty_dir = Some(EmptyDirVolumeSource { medium: Some("Memory".into()), ..Default::default() });
        assert_eq!(kind(&volume, "ns", &Found::default()), Ok(VolumeKind::EmptyDir { memory: true, limit: None }));
    }

    #[test]
    fn config_maps_and_secrets_become_files_or_say_what_is_missing() {
        let item = |key: &str| KeyToPath { key: key.into(), path: "dir/file".into(), ..KeyToPath::default() };
        let source = |optional, items| ConfigMapVolumeSource {
            name: "m".into(),
            optional,
            items,
            ..ConfigMapVolumeSource::default()
        };
        let volume = |source| Volume { name: "v".into(), config_map: Some(source), ..Volume::default() };
        let mut found = Found::default();
        let missing = kind(&volume(source(None, None)), "ns", &found);
        assert_eq!(missing, Err("configmap \"m\" not found".into()));
        let none = VolumeKind::Files { files: BTreeMap::new(), secret: false };
        assert_eq!(kind(&volume(source(Some(true), None)), "ns", &found), Ok(none));
        let data = Some([("k".to_owned(), "text".to_owned())].into());
        found.config_maps.insert("m".into(), ConfigMap { data, ..ConfigMap::default() });
        let bytes = FileBytes(b"text".to_vec());
        let all = VolumeKind::Files { files: [("k".to_owned(), bytes.clone())].into(), secret: false };
        assert_eq!(kind(&volume(source(None, None)), "ns", &found), Ok(all));
        let one = VolumeKind::Files { files: [("dir/file".to_owned(), bytes)].into(), secret: false };
        assert_eq!(kind(&volume(source(None, Some(vec![item("k")]))), "ns", &found), Ok(one));
        let gone = kind(&volume(source(None, Some(vec![item("x")]))), "ns", &found).unwrap_err();
        assert_eq!(gone, "configmap \"m\" in namespace ns references non-existent key: x");
    }

    #[test]
    fn a_claim_is_its_volume_and_only_for_reading_if_either_says_so() {
        let claim = |read_only| Volume {
            name: "v".into(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name: "c".into(), read_only }),
            ..Volume::default()
        };
        assert_eq!(kind(&claim(None), "ns", &Found::default()), Err("PVC is not bound".into()));
        let csi = CSIPersistentVolumeSource { driver: "d".into(), volume_handle: "h".into(), ..Default::default() };
        for (claimed, modes, want) in
            [(None, ["ReadWriteOnce"], false), (Some(true), ["ReadWriteOnce"], true), (None, ["ReadOnlyMany"], true)]
        {
            let spec = PersistentVolumeSpec {
                csi: Some(csi.clone()),
                access_modes: Some(modes.map(Into::into).to_vec()),
                ..PersistentVolumeSpec::default()
            };
            let volume = PersistentVolume { spec: Some(spec), ..PersistentVolume::default() };
            let found = Found { volume: Some(volume), ..Found::default() };
            let Ok(VolumeKind::Csi(got)) = kind(&claim(claimed), "ns", &found) else { unreachable!("it is CSI") };
            assert_eq!((got.read_only, got.unique_name().as_str()), (want, "kubernetes.io/csi/d^h"));
        }
    }
}
