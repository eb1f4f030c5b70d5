//! The programs of the operations' pods: upstream's `dataload.sh` and `databackup.sh`.
//!
//! They read their orders from the environment and speak to the cache through [`CacheTool`]. What they return is the container's
//! exit: an error is exit code 1, with its text as the last line of the log.

use std::collections::BTreeMap;

use super::chart::{BACKUP_PATH, BACKUP_PVC, DATA_PATH, DATASET_NAME, DATASET_NAMESPACE, NEED_METADATA, PATH_REPLICAS};
use crate::kube::fluid::backup::{BackupLocation, Place, info};
use crate::kube::fluid::probe::ProbeError;
use crate::kube::fluid::tool::CacheTool;
use crate::rt::time::{Duration, timeout};

/// How long the look for a path may take: upstream's 30 s.
pub const EXISTS_MAX: Duration = Duration::from_secs(30);

/// Why a program ended with exit code 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A variable of the environment is missing or makes no sense.
    #[error("the variable {0} is missing or wrong")]
    Variable(&'static str),
    /// There is no such path.
    #[error("the path {0} does not exist")]
    NoPath(String),
    /// No answer in time.
    #[error("no answer about {0} within 30 s")]
    Silent(String),
    /// The cache refused.
    #[error(transparent)]
    Cache(#[from] ProbeError),
}

/// A container's environment by name.
pub type Environment = BTreeMap<String, String>;

fn variable<'e>(environment: &'e Environment, name: &'static str) -> Result<&'e str, Failure> {
    environment.get(name).map(String::as_str).ok_or(Failure::Variable(name))
}

/// The paths to load and their copies.
fn targets(environment: &Environment) -> Result<Vec<(&str, u32)>, Failure> {
    let paths: Vec<&str> = variable(environment, DATA_PATH)?.split(':').collect();
    let copies: Result<Vec<u32>, _> = variable(environment, PATH_REPLICAS)?.split(':').map(str::parse).collect();
    let copies = copies.map_err(|_| Failure::Variable(PATH_REPLICAS))?;
    if paths.len() != copies.len() {
        return Err(Failure::Variable(PATH_REPLICAS));
    }
    Ok(paths.into_iter().zip(copies).collect())
}

/// Loads paths into the cache, one after the other.
///
/// # Errors
/// The first that fails; those before stay loaded.
pub async fn load(environment: &Environment, tool: &dyn CacheTool) -> Result<(), Failure> {
    let metadata = variable(environment, NEED_METADATA)? == "true";
    for (path, copies) in targets(environment)? {
        let exists = timeout(EXISTS_MAX, tool.exists(path)).await.map_err(|_| Failure::Silent(path.into()))??;
        if !exists {
            return Err(Failure::NoPath(path.into()));
        }
        tool.set_replication(path, copies).await?;
        if metadata {
            // distributedLoad takes no notice of the sync interval: what is new in the under-store would be missed (Alluxio #17827).
            tool.load_metadata(path).await?;
        }
        tool.load(path, copies).await?;
    }
    Ok(())
}

/// Makes a backup and writes beside it how much there was.
///
/// # Errors
/// Any of its steps; a backup without its info file is none.
pub async fn back_up(environment: &Environment, tool: &dyn CacheTool) -> Result<(), Failure> {
    let name = variable(environment, DATASET_NAME)?;
    let namespace = variable(environment, DATASET_NAMESPACE)?;
    let path = variable(environment, BACKUP_PATH)?.to_string();
    let place = environment.get(BACKUP_PVC).map_or(Place::Node, |claim| Place::Claim(claim.clone()));
    let location = BackupLocation { place, path };
    tool.backup(&location.metadata_file(namespace, name)).await?;
    let content = tool.count().await?;
    tool.write(&location.info_file(namespace, name), &info(namespace, name, content.bytes, content.files)).await?;
    Ok(())
}
