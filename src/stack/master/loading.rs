//! Fills directories from their under-store when somebody first looks into them.
//!
//! The leader lists, journals what it found, and only then answers, so that all masters know the same files. One directory
//! is listed by one request at a time; the others wait and find it loaded.

use super::service::Service;
use super::state::{Command, PERSISTENCE_DIR, UfsEntry, UfsListing, Unloaded};
use super::term::Term;
use crate::rt::time::timeout;
use crate::stack::ufs;
use crate::stack::wire::rpc::FRAME_MAX;
use crate::stack::wire::{FsError, FsResult, UfsRef};

/// Directories on one path that are loaded for one request, at most.
const DEPTH_MAX: usize = 256;
/// A listing longer than this in the journal, in bytes, is refused: a journal entry must fit a frame.
const LISTING_MAX: usize = FRAME_MAX / 2;

impl Service {
    /// Loads what has to be known before `path` (or, if `listing`, its entries) can be judged. After it a read of the
    /// state may be answered; it will find again what is wrong with the path, and tell it with the index.
    pub(super) async fn loaded(&self, term: &Term, path: &str, listing: bool) -> FsResult<()> {
        for _ in 0..DEPTH_MAX {
            self.confirm(term).await?;
            match self.replica.read(|state, _| state.unloaded(path, listing)) {
                Ok(None) | Err(_) => return Ok(()),
                Ok(Some(unloaded)) => self.load(term, path, listing, unloaded).await?,
            }
        }
        Err(FsError::Invalid(format!("{path} is too deep")))
    }

    async fn load(&self, term: &Term, path: &str, listing: bool, unloaded: Unloaded) -> FsResult<()> {
        let turn = term.load_lock(&unloaded.dir);
        let _turn = turn.lock().await;
        if self.replica.read(|state, _| state.unloaded(path, listing))?.as_ref() != Some(&unloaded) {
            return Ok(());
        }
        let found = match timeout(self.config.ufs_timeout, self.ufs.list(&unloaded.url)).await {
            Ok(found) => found?,
            Err(_) => return Err(FsError::Unavailable(format!("{} does not answer", unloaded.url))),
        };
        let listing = self.listing(unloaded, found)?;
        self.journal(term, Command::LoadUfs(listing)).await?.result.map(|_| ())
    }

    fn listing(&self, unloaded: Unloaded, found: Vec<ufs::UfsEntry>) -> FsResult<UfsListing> {
        let found = found.into_iter().filter(|entry| entry.name != PERSISTENCE_DIR);
        let entries = found.map(|entry| {
            let ufs::UfsEntry { name, dir, length, fingerprint } = entry;
            let url = ufs::child_url(&unloaded.url, &name, dir)?;
            Ok(UfsEntry { name, dir, length, ufs: UfsRef { url, fingerprint }, mtime_ms: None })
        });
        let entries: Vec<UfsEntry> = entries.collect::<FsResult<_>>()?;
        let bytes: usize = entries.iter().map(|e| e.name.len() + e.ufs.url.len() + e.ufs.fingerprint.len() + 32).sum();
        if bytes > LISTING_MAX {
            return Err(FsError::Invalid(format!("{} has too many entries: {}", unloaded.url, entries.len())));
        }
        let Unloaded { dir, url } = unloaded;
        Ok(UfsListing { dir, url, wall_ms: super::service::wall_ms(), block_size: self.config.ufs_block_size, entries })
    }
}
