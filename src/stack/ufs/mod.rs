//! Under-stores: where files come from when no worker has them.
//!
//! | file | what it is |
//! |---|---|
//! | `location.rs` | URLs of web servers |
//! | `bucket.rs` | URLs of object stores |
//! | `access.rs` | how an object store is reached, from a mount's options |
//! | `index.rs` | reads the index pages of Apache and its kind |
//! | `http.rs` | HTTP/1.1 requests over [`crate::rt::net`] |
//! | `sign.rs` | signs requests for object stores |
//! | `fence.rs` | refuses an answer that is not of the version or range asked for |
//! | `retry.rs` | tries again, with back-off and a budget |
//! | `web.rs` | the `http://` and `https://` under-store |
//! | `object.rs` | the `oss://`, `cosn://` and `s3://` under-stores |
//! | `stores.rs` | all of them, by the URL's scheme |
//! | `mounted.rs` | brings the keys of mounts from who knows them |
//!
//! Rule: a read gives bytes of exactly one version of a file, or an error. A key of a mount is in no error and no log.

pub mod access;
pub mod bucket;
pub mod fence;
pub mod http;
pub mod index;
pub mod location;
pub mod mounted;
pub mod object;
pub mod retry;
mod sign;
pub mod stores;
pub mod web;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::wire::{FsError, MountInfo};
pub use mounted::{MountSource, Mounted};
pub use object::ObjectStore;
pub use stores::{Stores, child_url};
pub use web::{WebOptions, WebStore};

/// What an under-store call gives, later.
pub type UfsFuture<'a, T> = Pin<Box<dyn Future<Output = UfsResult<T>> + Send + 'a>>;

/// Result of an under-store call.
pub type UfsResult<T> = Result<T, UfsError>;

/// Something outside that holds files.
pub trait UnderStore: Send + Sync {
    /// The entries of a directory, by name.
    fn list<'a>(&'a self, dir: &'a str) -> UfsFuture<'a, Vec<UfsEntry>>;

    /// One file.
    fn stat<'a>(&'a self, url: &'a str) -> UfsFuture<'a, UfsEntry>;

    /// Exactly the `length` bytes at `offset` of the version named by `fingerprint`.
    ///
    /// # Errors
    /// [`UfsError::Changed`] if the file is of another version by now.
    fn read<'a>(&'a self, url: &'a str, fingerprint: &'a str, offset: u64, length: u64) -> UfsFuture<'a, Bytes>;

    /// Begins to make a file, or to replace one. Nobody sees anything of it before its writer is closed.
    fn create<'a>(&'a self, url: &'a str) -> UfsFuture<'a, Box<dyn UfsWriter>> {
        Box::pin(async move { Err(UfsError::read_only(url)) })
    }

    /// Removes a file, or with `dir` a directory and all below. One that is not there is removed already.
    fn delete<'a>(&'a self, url: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        let _ = dir;
        Box::pin(async move { Err(UfsError::read_only(url)) })
    }

    /// Renames a file, replacing what has the name, or with `dir` a directory and all below.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        let _ = (to, dir);
        Box::pin(async move { Err(UfsError::read_only(from)) })
    }

    /// Whether it can be asked about `url`: it needs no mount's options for that, or was told them.
    fn knows(&self, url: &str) -> bool {
        let _ = url;
        true
    }

    /// Whether it needs a mount's options to be asked about `url`.
    fn needs_mounts(&self, url: &str) -> bool {
        let _ = url;
        false
    }

    /// These are all mounts now. Gives whether it learnt anything.
    fn learn(&self, mounts: &[MountInfo]) -> bool {
        let _ = mounts;
        false
    }
}

/// A file being written to an under-store; dropped before it was closed, it never was.
pub trait UfsWriter: Send {
    /// Appends.
    fn write(&mut self, bytes: Bytes) -> UfsFuture<'_, ()>;

    /// The file is whole: gives what is there now.
    fn close(&mut self) -> UfsFuture<'_, UfsEntry>;
}

/// One file or directory of an under-store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UfsEntry {
    /// Last part of its path, decoded.
    pub name: String,
    /// Whether it is a directory.
    pub dir: bool,
    /// Bytes; 0 for a directory.
    pub length: u64,
    /// Names one version of the content; empty for a directory.
    pub fingerprint: String,
}

/// Why an under-store call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UfsError {
    /// There is no such file or directory.
    #[error("{0} does not exist in the under-store")]
    NotFound(String),
    /// The file is of another version than asked for.
    #[error("{0} changed in the under-store")]
    Changed(String),
    /// The under-store refuses, and will again.
    #[error("under-store refused {url}: {reason}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Its answer.
        reason: String,
    },
    /// The answer breaks the protocol or is not what was asked for.
    #[error("under-store answered nonsense for {url}: {reason}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// It did not answer in time, or said that it cannot now; retries are used up.
    #[error("under-store is unavailable for {url}: {reason}")]
    Unavailable {
        /// What was asked for.
        url: String,
        /// The last failure.
        reason: String,
    },
    /// A URL, or a kind of under-store, that this program does not speak.
    #[error("{0}")]
    Unsupported(String),
}

impl UfsError {
    /// Of an under-store that only gives.
    fn read_only(url: &str) -> Self {
        Self::Unsupported(format!("{url} lies on an under-store that cannot be written"))
    }

    /// Whether the same call may succeed a little later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<UfsError> for FsError {
    fn from(error: UfsError) -> Self {
        match error {
            UfsError::NotFound(url) => Self::NotFound(url),
            UfsError::Unsupported(why) => Self::Invalid(why),
            UfsError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            UfsError::Changed(_) | UfsError::Refused { .. } | UfsError::Malformed { .. } => Self::Io(error.to_string()),
        }
    }
}
