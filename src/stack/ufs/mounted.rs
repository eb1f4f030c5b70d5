//! An under-store whose keys come from the mounts of the namespace.
//!
//! The masters hold the options of mounts; whoever needs them asks when a URL is met that no known mount covers, and once
//! more when a known one fails, for its keys may have been changed. Nobody is asked for under-stores that need no keys.

use std::sync::Arc;

use bytes::Bytes;

use super::{UfsEntry, UfsError, UfsFuture, UfsResult, UfsWriter, UnderStore};
use crate::stack::wire::MountInfo;

/// Knows the mounts, secret options included.
pub trait MountSource: Send + Sync {
    /// All of them, as they are now.
    fn mounts(&self) -> UfsFuture<'_, Vec<MountInfo>>;
}

/// An under-store and who knows its keys.
pub struct Mounted {
    store: Arc<dyn UnderStore>,
    source: Arc<dyn MountSource>,
}

impl Mounted {
    /// `store`, with the mounts of `source`.
    pub fn new(store: Arc<dyn UnderStore>, source: Arc<dyn MountSource>) -> Self {
        Self { store, source }
    }

    /// Gives whether something is known now that was not.
    async fn refresh(&self) -> UfsResult<bool> {
        let mounts = self.source.mounts().await?;
        Ok(self.store.learn(&mounts))
    }

    /// Calls the store, with the mounts known; once more if it fails and the mounts are others by now.
    async fn call<'a, T>(&'a self, url: &'a str, call: impl Fn() -> UfsFuture<'a, T>) -> UfsResult<T> {
        if !self.store.knows(url) {
            self.refresh().await?;
            return call().await;
        }
        match call().await {
            Err(error) if self.store.needs_mounts(url) && may_be_keys(&error) && self.refresh().await? => call().await,
            done => done,
        }
    }
}

/// Whether other options of the mount may help.
fn may_be_keys(error: &UfsError) -> bool {
    !matches!(error, UfsError::NotFound(_) | UfsError::Changed(_))
}

impl UnderStore for Mounted {
    fn list<'a>(&'a self, dir: &'a str) -> UfsFuture<'a, Vec<UfsEntry>> {
        Box::pin(self.call(dir, move || self.store.list(dir)))
    }

    fn stat<'a>(&'a self, url: &'a str) -> UfsFuture<'a, UfsEntry> {
        Box::pin(self.call(url, move || self.store.stat(url)))
    }

    fn read<'a>(&'a self, url: &'a str, fingerprint: &'a str, offset: u64, length: u64) -> UfsFuture<'a, Bytes> {
        Box::pin(self.call(url, move || self.store.read(url, fingerprint, offset, length)))
    }

    fn create<'a>(&'a self, url: &'a str) -> UfsFuture<'a, Box<dyn UfsWriter>> {
        Box::pin(self.call(url, move || self.store.create(url)))
    }

    fn delete<'a>(&'a self, url: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        Box::pin(self.call(url, move || self.store.delete(url, dir)))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        Box::pin(self.call(to, move || self.store.rename(from, to, dir)))
    }
}
