//! Backups: what `fsadmin backup` writes, and how masters without metadata begin from one
//! (`alluxio.master.journal.init.from.backup`).
//!
//! A file is a magic, the CRC-32C of what follows, and an image of the state. It holds what the journal holds: keep it as safe.

use std::io;

use super::service::Service;
use super::state::{Command, State};
use super::writes::propose;
use crate::rt::fs;
use crate::stack::wire::rpc::FRAME_MAX;
use crate::stack::wire::{FsError, HiddenBytes};

const MAGIC: [u8; 4] = *b"SGbk";
/// A backup travels in one message, and one entry of the journal takes it over.
const IMAGE_MAX: usize = FRAME_MAX / 2;

/// Why there is no beginning from a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("cannot read the backup {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is none, or damaged.
    #[error("{path} is no whole backup of a master's metadata; name another one, or start without")]
    Damaged {
        /// The file.
        path: String,
    },
    /// The masters did not take it over.
    #[error("the backup was not taken over: {0}")]
    Refused(#[from] FsError),
}

/// The content of a file for an image.
fn seal(image: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &crc32c::crc32c(image).to_le_bytes(), image].concat()
}

/// The image that a file holds, if it is whole.
fn open(file: &[u8]) -> Option<&[u8]> {
    let (crc, image) = file.strip_prefix(&MAGIC)?.split_first_chunk()?;
    (crc32c::crc32c(image) == u32::from_le_bytes(*crc) && State::decode(image).is_ok()).then_some(image)
}

/// All metadata as the content of a file.
///
/// # Errors
/// `NoSpace` if there is more than a message holds.
pub(super) fn of(state: &State) -> Result<HiddenBytes, FsError> {
    let image = state.encode();
    if image.len() > IMAGE_MAX {
        return Err(FsError::NoSpace(format!("the metadata is {} bytes, a backup at most {IMAGE_MAX}", image.len())));
    }
    Ok(HiddenBytes(seal(&image)))
}

/// Takes over the backup that the configuration names, if there is no metadata yet; else it is left alone, as in Alluxio.
/// The master must lead.
///
/// # Errors
/// [`BackupError`]. The master should end: to serve without would look like a loss.
pub(super) async fn take_over(service: &Service) -> Result<(), BackupError> {
    let Some(path) = &service.config.init_from_backup else { return Ok(()) };
    if !service.replica.read(|state, _| state.is_fresh()) {
        tracing::info!(path, "there is metadata here already: the backup is left alone");
        return Ok(());
    }
    let file = fs::read(path).await.map_err(|error| BackupError::Unreadable { path: path.clone(), error })?;
    let image = open(&file).ok_or_else(|| BackupError::Damaged { path: path.clone() })?.to_vec();
    propose(&service.raft, Command::Restore { image: HiddenBytes(image) }).await?.result?;
    tracing::info!(path, "begins from the backup");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_refused() {
        let image = State::new(3).encode();
        let file = of(&State::new(3)).unwrap().0;
        assert_eq!(open(&file), Some(&image[..]));
        for cut in 0..file.len() {
            assert_eq!(open(&file[..cut]), None, "cut at {cut}");
        }
        for at in 0..file.len() {
            let mut other = file.clone();
            other[at] ^= 0x10;
            assert_eq!(open(&other), None, "byte {at}");
        }
        assert_eq!(open(&seal(b"no state")), None);
    }
}
