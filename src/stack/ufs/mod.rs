//! Under-stores: where files come from when no worker has them.
//!
//! | file | what it is |
//! |---|---|
//! | `location.rs` | under-store URLs |
//! | `index.rs` | reads the index pages of Apache and its kind |
//! | `http.rs` | HTTP/1.1 requests over [`crate::rt::net`] |
//! | `fence.rs` | refuses an answer that is not of the version or range asked for |
//! | `retry.rs` | tries again, with back-off and a budget |
//! | `web.rs` | the `http://` and `https://` under-store |
//!
//! Rule: a read gives bytes of exactly one version of a file, or an error.

pub mod fence;
pub mod http;
pub mod index;
pub mod location;
pub mod retry;
pub mod web;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::wire::FsError;
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
