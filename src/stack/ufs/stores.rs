//! Every kind of under-store behind one door, chosen by the scheme of the URL.

use bytes::Bytes;

use super::bucket::{BucketUrl, Scheme};
use super::location::Location;
use super::object::ObjectStore;
use super::web::{WebOptions, WebStore};
use super::{UfsEntry, UfsFuture, UfsResult, UfsWriter, UnderStore};
use crate::stack::wire::MountInfo;

/// Web servers and object stores.
pub struct Stores {
    web: WebStore,
    objects: ObjectStore,
}

impl Stores {
    /// Without open connections, and without keys.
    pub fn new(options: WebOptions) -> Self {
        Self { web: WebStore::new(options), objects: ObjectStore::new(options) }
    }

    fn store(&self, url: &str) -> &dyn UnderStore {
        match Scheme::of(url) {
            Some(_) => &self.objects,
            None => &self.web,
        }
    }
}

/// The URL of an entry of the directory at `url`.
///
/// # Errors
/// [`super::UfsError::Unsupported`] if `url` is of no known kind.
pub fn child_url(url: &str, name: &str, dir: bool) -> UfsResult<String> {
    match Scheme::of(url) {
        Some(_) => url.parse::<BucketUrl>().map(|place| place.child(name, dir).to_string()),
        None => url.parse::<Location>().map(|place| place.child(name, dir).to_string()),
    }
}

impl UnderStore for Stores {
    fn list<'a>(&'a self, dir: &'a str) -> UfsFuture<'a, Vec<UfsEntry>> {
        self.store(dir).list(dir)
    }

    fn stat<'a>(&'a self, url: &'a str) -> UfsFuture<'a, UfsEntry> {
        self.store(url).stat(url)
    }

    fn read<'a>(&'a self, url: &'a str, fingerprint: &'a str, offset: u64, length: u64) -> UfsFuture<'a, Bytes> {
        self.store(url).read(url, fingerprint, offset, length)
    }

    fn create<'a>(&'a self, url: &'a str) -> UfsFuture<'a, Box<dyn UfsWriter>> {
        self.store(url).create(url)
    }

    fn delete<'a>(&'a self, url: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        self.store(url).delete(url, dir)
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        self.store(from).rename(from, to, dir)
    }

    fn knows(&self, url: &str) -> bool {
        self.store(url).knows(url)
    }

    fn needs_mounts(&self, url: &str) -> bool {
        self.store(url).needs_mounts(url)
    }

    fn learn(&self, mounts: &[MountInfo]) -> bool {
        self.objects.learn(mounts)
    }
}
