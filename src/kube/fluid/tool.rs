//! What the container of an operation asks of the cache: its command line, run as a client in a pod of its own.
//!
//! Beside [`CacheProbe`](super::probe::CacheProbe), which is asked by controllers in the container of master 0: a tool finds the
//! masters by its configuration, as any client does, and survives the loss of one. The harness implements it on the real client.

use super::probe::{Answer, Content};

/// The cache's command line. A path is one of the cache.
pub trait CacheTool: Send + Sync {
    /// Whether there is a file or directory: `fs stat`.
    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, bool>;
    /// Looks the under-store up again for all that lies below: `fs ls -R` with a sync interval of 0.
    fn load_metadata<'a>(&'a self, path: &'a str) -> Answer<'a, ()>;
    /// Allows so many copies of the blocks below: `fs setReplication --max -R`.
    fn set_replication<'a>(&'a self, path: &'a str, max: u32) -> Answer<'a, ()>;
    /// Caches all files below, so many copies of each: `fs distributedLoad --replication`.
    ///
    /// # Errors
    /// If a file could not be loaded.
    fn load<'a>(&'a self, path: &'a str, replication: u32) -> Answer<'a, ()>;
    /// Has the configured master write a backup and puts it into a file of the container: `fsadmin backup`, then `mv`.
    ///
    /// # Errors
    /// If that master does not lead, among others.
    fn backup<'a>(&'a self, file: &'a str) -> Answer<'a, ()>;
    /// Counts what lies below the root: `fs count /`.
    fn count(&self) -> Answer<'_, Content>;
    /// Writes a file of the container.
    fn write<'a>(&'a self, file: &'a str, text: &'a str) -> Answer<'a, ()>;
}
