//! What a directory of the store holds after a restart.
//!
//! Whole blocks have their final name; everything under `tmp/` was being written and goes. A block whose header or
//! checksum table is damaged goes too; its chunks are checked when they are read.

use std::io;

use super::format::{HEADER_BYTES, Header, chunk_count, decode_table};
use super::{Meta, block_named, blocks_dir, temp_dir};
use crate::rt::fs::{self, File, FileKind};
use crate::stack::wire::BlockId;

/// The whole blocks below `root`, by id.
///
/// # Errors
/// The disk's. A block that is damaged is none.
pub(super) async fn scan(root: &str) -> io::Result<Vec<(BlockId, Meta)>> {
    for dir in [blocks_dir(root), temp_dir(root)] {
        fs::create_dir_all(&dir).await?;
    }
    sync_names(root).await?;
    for (name, kind) in fs::read_dir(&temp_dir(root)).await? {
        if kind == FileKind::File {
            fs::remove_file(&format!("{}/{name}", temp_dir(root))).await?;
        }
    }
    let mut blocks = Vec::new();
    for (name, kind) in fs::read_dir(&blocks_dir(root)).await? {
        let path = format!("{}/{name}", blocks_dir(root));
        let Some(block) = block_named(&name).filter(|_| kind == FileKind::File) else {
            tracing::warn!(%path, "not a block, left alone");
            continue;
        };
        match load(&path, block).await {
            Ok(meta) => blocks.push((block, meta)),
            // What cannot be read now may be the only copy: whoever starts the worker again may find it readable.
            Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%path, %error, "dropping a block that cannot be used");
                fs::remove_file(&path).await?;
            }
        }
    }
    Ok(blocks)
}

/// Makes the names on the way to `dir` and in it durable: a block is no safer than the directory that it lies in. What lies
/// above a mount cannot be synced and need not be.
async fn sync_names(dir: &str) -> io::Result<()> {
    let mut at = dir;
    loop {
        // The root itself may be the disk on which the names were made.
        match fs::sync_dir(if at.is_empty() { "/" } else { at }).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            done => done?,
        }
        let Some((above, _)) = at.rsplit_once('/') else { break };
        at = above;
    }
    Ok(())
}

async fn load(path: &str, block: BlockId) -> io::Result<Meta> {
    let corrupt = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let file = File::open(path).await?;
    let mut head = vec![0; HEADER_BYTES];
    file.read_exact_at(0, &mut head).await?;
    let header = Header::decode(block, &head).map_err(corrupt)?;
    // The header is checksummed, but it is the file that must be as long as it says.
    let table_at = (HEADER_BYTES as u64).saturating_add(header.length);
    if file.len().await? < table_at {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sums = vec![0; (chunk_count(header.length) * 4) as usize];
    file.read_exact_at(table_at, &mut sums).await?;
    let table = decode_table(&header, &sums).map_err(corrupt)?;
    Ok(Meta { length: header.length, origin: header.origin, table })
}
