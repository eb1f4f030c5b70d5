//! The state as bytes, for snapshots.
//!
//! A magic, a version, then postcard. Directory entries are not written: inodes name their parents. The journal adds the
//! checksum; decoding still doubts every byte and ends with the state's own check.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blocks::BlockMap;
use super::mounts::{Mount, MountTable};
use super::offices::{Office, Offices};
use super::path::FsPath;
use super::retry::{Recorded, RetryCache};
use super::through::WantedFiles;
use super::tree::{Inode, Kind, Tree};
use super::{Broken, State};
use crate::stack::wire::{BlockId, InodeId, OpId, UfsRef};

const MAGIC: [u8; 4] = *b"SGst";
const VERSION: u16 = 2;

/// Why bytes are not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They do not start as a state does.
    #[error("not a snapshot of a master's state")]
    Foreign,
    /// Written by another version of this program.
    #[error("snapshot version {0}, this program reads {VERSION}")]
    Version(u16),
    /// Cut short, or not what they should be.
    #[error("snapshot is damaged: {0}")]
    Malformed(String),
    /// Readable, but no state that commands could have made.
    #[error("snapshot holds an impossible state: {0}")]
    Impossible(#[from] Broken),
}

/// Written and read as one; borrowed both ways.
#[derive(Serialize, Deserialize)]
struct Image<'a> {
    retries_max: u64,
    applied: u64,
    next: u64,
    #[serde(borrow)]
    inodes: Vec<InodeImage<'a>>,
    mounts: Vec<(&'a str, Cow<'a, Mount>)>,
    blocks: Vec<(BlockId, u64)>,
    retries: Vec<(OpId, Cow<'a, Recorded>)>,
    offices: OfficesImage,
    wanted: Vec<InodeId>,
}

#[derive(Serialize, Deserialize)]
struct OfficesImage {
    cluster: Option<u64>,
    list: Vec<Office>,
    forgot: bool,
}

#[derive(Serialize, Deserialize)]
struct InodeImage<'a> {
    id: InodeId,
    parent: InodeId,
    name: &'a str,
    version: u64,
    mtime_ms: u64,
    ufs: Option<Cow<'a, UfsRef>>,
    kind: KindImage,
}

#[derive(Serialize, Deserialize)]
enum KindImage {
    Dir { loaded: bool },
    File { length: u64, block_size: u64, completed: bool },
}

impl State {
    /// The whole state. Equal states give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let image = Image {
            retries_max: self.retries.capacity() as u64,
            applied: self.applied,
            next: self.tree.next(),
            inodes: self.tree.iter().map(InodeImage::of).collect(),
            mounts: self.mounts.iter().map(|(path, mount)| (path, Cow::Borrowed(mount))).collect(),
            blocks: self.blocks.iter().collect(),
            retries: self.retries.iter().map(|(op, recorded)| (op, Cow::Borrowed(recorded))).collect(),
            offices: OfficesImage {
                cluster: self.offices.cluster(),
                list: self.offices.list().to_vec(),
                forgot: self.offices.forgot(),
            },
            wanted: self.wanted.iter().collect(),
        };
        match postcard::to_stdvec(&(MAGIC, VERSION.to_le_bytes(), image)) {
            Ok(bytes) => bytes,
            Err(e) => unreachable!("plain data into memory cannot fail: {e}"),
        }
    }

    /// The state that [`State::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::Foreign)?;
        let (version, body) = body.split_first_chunk().ok_or(DecodeError::Foreign)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let malformed = |what: &str| DecodeError::Malformed(what.into());
        let (image, rest) = postcard::take_from_bytes::<Image<'_>>(body).map_err(|e| malformed(&e.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow its end"));
        }
        let mut tree = Tree::bare(image.next);
        if !image.inodes.into_iter().all(|inode| tree.put(inode.into())) || !tree.link_all() {
            return Err(malformed("its inodes make no tree"));
        }
        let mut mounts = MountTable::default();
        for (path, mount) in image.mounts {
            mounts.insert(FsPath::parse(path).map_err(|e| malformed(&e.to_string()))?, mount.into_owned());
        }
        let mut blocks = BlockMap::default();
        image.blocks.into_iter().for_each(|(block, length)| blocks.insert(block, length));
        let mut retries = RetryCache::new(usize::try_from(image.retries_max).map_err(|_| malformed("retry cache"))?);
        image.retries.into_iter().for_each(|(op, recorded)| retries.record(op, recorded.into_owned()));
        let OfficesImage { cluster, list, forgot } = image.offices;
        let offices = Offices::of(cluster, list, forgot);
        let mut wanted = WantedFiles::default();
        image.wanted.into_iter().for_each(|file| wanted.insert(file));
        let state = Self { tree, mounts, blocks, retries, offices, wanted, applied: image.applied };
        state.check()?;
        Ok(state)
    }
}

impl<'a> InodeImage<'a> {
    fn of(inode: &'a Inode) -> Self {
        let kind = match inode.kind {
            Kind::Dir { loaded, .. } => KindImage::Dir { loaded },
            Kind::File { length, block_size, completed } => KindImage::File { length, block_size, completed },
        };
        let ufs = inode.ufs.as_deref().map(Cow::Borrowed);
        let Inode { id, parent, version, mtime_ms, .. } = *inode;
        Self { id, parent, name: &inode.name, version, mtime_ms, ufs, kind }
    }
}

impl From<InodeImage<'_>> for Inode {
    fn from(image: InodeImage<'_>) -> Self {
        let kind = match image.kind {
            KindImage::Dir { loaded } => Kind::dir(loaded),
            KindImage::File { length, block_size, completed } => Kind::File { length, block_size, completed },
        };
        let InodeImage { id, parent, name, version, mtime_ms, ufs, .. } = image;
        Self {
            id,
            parent,
            name: Arc::from(name),
            version,
            mtime_ms,
            ufs: ufs.map(|ufs| Box::new(ufs.into_owned())),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::master::state::Command;
    use crate::stack::wire::master::Change;
    use crate::stack::wire::{FsError, MountOptions};

    fn forged(forge: impl Fn(&mut Image<'_>)) -> Result<State, DecodeError> {
        let bytes = State::new(1).encode();
        let mut image: Image<'_> = postcard::from_bytes(&bytes[6..]).unwrap();
        forge(&mut image);
        State::decode(&postcard::to_extend(&image, bytes[..6].to_vec()).unwrap())
    }

    fn inode(id: u64, parent: u64, name: &str) -> InodeImage<'_> {
        let kind = KindImage::Dir { loaded: true };
        InodeImage { id: InodeId(id), parent: InodeId(parent), name, version: 0, mtime_ms: 0, ufs: None, kind }
    }

    #[test]
    fn impossible_states_are_refused() {
        assert!(forged(|_| ()).is_ok());
        assert!(forged(|image| image.inodes.clear()).is_err(), "no root");
        assert!(forged(|image| image.inodes.push(inode(0, 0, ""))).is_err(), "an id twice");
        assert!(forged(|image| image.inodes.push(inode(5, 0, "a"))).is_err(), "an id beyond the next");
        let push = |image: &mut Image<'_>, pairs: [(u64, u64, &'static str); 2]| {
            image.next = 9;
            image.inodes.extend(pairs.map(|(id, parent, name)| inode(id, parent, name)));
        };
        assert!(forged(|image| push(image, [(1, 2, "a"), (2, 0, "b")])).is_ok());
        assert!(forged(|image| push(image, [(1, 2, "a"), (2, 1, "b")])).is_err(), "a ring");
        assert!(forged(|image| push(image, [(1, 0, "a"), (2, 0, "a")])).is_err(), "a name twice");
        assert!(forged(|image| push(image, [(1, 0, "a"), (2, 7, "b")])).is_err(), "an orphan");
        assert!(forged(|image| image.blocks.push((BlockId(1), 1))).is_err(), "a block of a directory");
        assert!(
            forged(|image| {
                let mount = Mount { url: "x".into(), read_only: true, options: MountOptions::default() };
                image.mounts.push(("/", Cow::Owned(mount)));
            })
            .is_err()
        );
    }

    #[test]
    fn ids_run_out_with_an_error() {
        let mut state = forged(|image| image.next = BlockId::FILE_MAX - 2).unwrap();
        let mut mkdir = |index, path: &str| {
            let change = Change::Mkdir { path: path.into(), recursive: true };
            state.apply(index, &Command::Change { op: OpId { client: 0, seq: index }, wall_ms: 0, change }).result
        };
        assert!(matches!(mkdir(1, "/a/b/c"), Err(FsError::NoSpace(_))));
        assert!(mkdir(2, "/a/b").is_ok());
        assert!(matches!(mkdir(3, "/c"), Err(FsError::NoSpace(_))));
        assert_eq!(state.check(), Ok(()));
    }
}
