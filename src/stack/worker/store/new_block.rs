//! A block being written: into a file of its own, durable before anybody can read it.
//!
//! Written, synced, renamed into place, directory synced: after [`NewBlock::seal`] the block survives power loss; before,
//! a restart drops it. Dropping a `NewBlock` gives its space back.

use std::sync::Arc;

use super::format::{HEADER_BYTES, Header, Origin, Summer, encode_table};
use super::plan::Dir;
use super::{Meta, Store, StoreError, block_path, blocks_dir, temp_path};
use crate::base::lock;
use crate::base::planted::{Bug, planted};
use crate::rt::fs::{self, File, OpenOptions};
use crate::stack::wire::BlockId;

/// A block that is not whole yet.
pub struct NewBlock {
    claim: Claim,
    file: File,
    summer: Summer,
    /// Bytes set aside.
    room: u64,
}

/// The place of a block in the plan; given back when dropped unsealed.
struct Claim {
    store: Arc<Store>,
    block: BlockId,
    dir: Dir,
    sealed: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.sealed {
            self.store.drop_block(self.block);
        }
    }
}

impl NewBlock {
    pub(super) async fn create(store: Arc<Store>, block: BlockId, dir: Dir, room: u64) -> Result<Self, StoreError> {
        let claim = Claim { store, block, dir, sealed: false };
        let path = temp_path(&claim.store.paths[dir], block);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).await?;
        Ok(Self { claim, file, summer: Summer::new(block), room })
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.summer.length()
    }

    /// Adds bytes at the end. If the future is dropped or fails, the block is as long as before.
    ///
    /// # Errors
    /// No room to grow, or the disk's.
    pub async fn append(&mut self, data: &[u8]) -> Result<(), StoreError> {
        let length = self.length() + data.len() as u64;
        if length > self.room {
            self.claim.store.grow(self.claim.block, length - self.room).await?;
            self.room = length;
        }
        self.file.write_all_at(HEADER_BYTES as u64 + self.length(), data).await?;
        self.summer.append(data);
        Ok(())
    }

    /// Whether the bytes at `offset` are `data`, all of them written already. No bytes are there always.
    ///
    /// # Errors
    /// The disk's.
    pub async fn has(&self, offset: u64, data: &[u8]) -> Result<bool, StoreError> {
        if data.is_empty() || offset.saturating_add(data.len() as u64) > self.length() {
            return Ok(data.is_empty());
        }
        let mut written = vec![0; data.len()];
        self.file.read_exact_at(HEADER_BYTES as u64 + offset, &mut written).await?;
        Ok(written == data)
    }

    /// Makes the block durable, then readable. Blocks that clients wrote are pinned: there may be no other copy.
    /// Not safe to drop half-way: the block may then be found after a restart.
    ///
    /// # Errors
    /// The disk's; the block is dropped then.
    pub async fn seal(mut self, origin: Origin) -> Result<(), StoreError> {
        let (block, length) = (self.claim.block, self.length());
        let root = self.claim.store.paths[self.claim.dir].clone();
        let table = self.summer.into_table();
        let sums = encode_table(&table);
        let header = Header { block, length, origin, table_crc: crc32c::crc32c(&sums) };
        let head = header.encode().ok_or(StoreError::Fingerprint)?;
        self.file.write_all_at(HEADER_BYTES as u64 + length, &sums).await?;
        self.file.write_all_at(0, &head).await?;
        let durable = !planted(Bug::UnsyncedBlock);
        if durable {
            self.file.sync_all().await?;
        }
        fs::rename(&temp_path(&root, block), &block_path(&root, block)).await?;
        if durable {
            fs::sync_dir(&blocks_dir(&root)).await?;
        }
        let mut inner = lock(&self.claim.store.inner);
        let pinned = header.origin == Origin::Written && !planted(Bug::LatePin);
        if !inner.plan.seal(block, pinned) {
            return Err(StoreError::Gone);
        }
        self.claim.sealed = true;
        inner.metas.insert(block, Arc::new(Meta { length, origin: header.origin, table }));
        drop(inner);
        self.claim.store.sweep.notify_one();
        Ok(())
    }
}
