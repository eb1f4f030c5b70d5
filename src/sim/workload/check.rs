//! Reads whose bytes are compared, on the spot, with what they must be.

use super::record::Recorder;
use crate::base::{self, SimTime};
use crate::oracle::history::{BytesSeen, Call, Content};
use crate::stack::fuse::{Errno, Fuse, HandleId, Piece, Source};
use crate::stack::wire::FileInfo;

/// How many bytes of a difference are kept.
const SHOWN: usize = 16;

/// What an open file is: enough to go on with it in another call.
#[derive(Debug, Clone)]
pub struct OpenFile {
    path: String,
    opened: SimTime,
    /// Names it to the fuse.
    pub handle: HandleId,
    /// The file as it was when it was opened.
    pub info: FileInfo,
}

/// An open file whose reads go into the history.
pub struct CheckedFile<'a> {
    fuse: &'a Fuse,
    recorder: &'a Recorder,
    client: u32,
    /// The file.
    pub file: OpenFile,
}

impl<'a> CheckedFile<'a> {
    /// Opens for reading.
    pub async fn open(fuse: &'a Fuse, recorder: &'a Recorder, client: u32, path: &str) -> Result<Self, Errno> {
        let opened = recorder.now();
        let node = fuse.node(path)?;
        let open = fuse.open(node, libc::O_RDONLY).await?;
        let file = OpenFile { path: path.into(), opened, handle: open.handle, info: open.info };
        Ok(Self::again(fuse, recorder, client, file))
    }

    /// Goes on with a file that is open.
    pub fn again(fuse: &'a Fuse, recorder: &'a Recorder, client: u32, file: OpenFile) -> Self {
        Self { fuse, recorder, client, file }
    }

    /// Reads, compares, and gives what came. A file whose content nobody knows is read, and noted as failed.
    pub async fn read(&self, offset: u64, size: u64) -> Result<Vec<Piece>, Errno> {
        let OpenFile { path, opened, handle, info } = &self.file;
        let invoked = self.recorder.now();
        let op = self.fuse.client().next_op();
        let read = self.fuse.read_pieces(*handle, offset, size).await;
        let length = size.min(info.length.saturating_sub(offset));
        for piece in read.iter().flatten() {
            let from = match &piece.source {
                Source::Worker { cached: true, .. } => "cached",
                Source::Worker { .. } => "read_through",
                Source::UnderStore => "under_store",
            };
            self.recorder.came(from, piece.data.len() as u64);
        }
        let seen = match &read {
            Ok(pieces) => compare(&self.recorder.candidates(info.id, path), offset, length, pieces),
            Err(errno) => BytesSeen::Failed(errno.to_string()),
        };
        if let BytesSeen::Mismatch { offset, worker, .. } = &seen {
            tracing::error!(%path, offset, worker = ?worker, "wrong bytes");
        }
        let call = Call::Read { path: path.clone(), file: info.id, opened: *opened, offset, length };
        self.recorder.read(self.client, op, call, invoked, seen);
        read
    }

    /// Closes it.
    pub async fn close(self) {
        if let Err(errno) = self.fuse.release(self.file.handle).await {
            tracing::warn!(path = %self.file.path, %errno, "release failed");
        }
    }
}

/// Which of the contents the bytes are. The first candidate is the likeliest.
fn compare(candidates: &[Content], offset: u64, length: u64, pieces: &[Piece]) -> BytesSeen {
    let came = pieces.iter().fold(0, |sum, piece| sum + piece.data.len() as u64);
    let generator = |content: &Content| base::Content::of(&content.key, content.version);
    let bad = |content: &Content| {
        let generator = generator(content);
        let differs = pieces.iter().find_map(|piece| generator.first_difference(piece.offset, &piece.data));
        differs.or((came != length).then(|| offset + length.min(came)))
    };
    let Some(likeliest) = candidates.first() else {
        return BytesSeen::Failed("nobody knows the content of this file".into());
    };
    if let Some(content) = candidates.iter().find(|content| bad(content).is_none()) {
        return BytesSeen::Matches(content.clone());
    }
    let at = bad(likeliest).unwrap_or(offset);
    let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect();
    let got = data.get((at - offset) as usize..).unwrap_or_default();
    let expected = (offset + length).saturating_sub(at).min(SHOWN as u64);
    let piece = pieces.iter().find(|piece| at < piece.offset + piece.data.len() as u64).or(pieces.last());
    BytesSeen::Mismatch {
        offset: at,
        expected: generator(likeliest).bytes(at, expected as usize),
        got: got[..got.len().min(SHOWN)].to_vec(),
        zeros: !got.is_empty() && got.iter().all(|byte| *byte == 0),
        worker: piece.and_then(|piece| match &piece.source {
            Source::Worker { address, .. } => Some(host(&address.0).to_owned()),
            Source::UnderStore => None,
        }),
    }
}

/// An address without its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stack::wire::WorkerAddress;

    fn content(version: u64) -> Content {
        Content { key: "/f".into(), version }
    }

    /// Bytes 10..30 in two pieces, the second from worker 1, each byte changed by `change`.
    fn pieces(version: u64, change: impl Fn(usize, u8) -> u8) -> Vec<Piece> {
        let mut bytes = base::Content::of("/f", version).bytes(10, 20);
        bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = change(i, *byte));
        let worker = Source::Worker { address: WorkerAddress("w1:26003".into()), cached: true };
        [(10, 0..12, Source::UnderStore), (22, 12..20, worker)]
            .map(|(offset, range, source)| Piece { offset, data: Bytes::copy_from_slice(&bytes[range]), source })
            .into()
    }

    #[test]
    fn the_right_version_is_named() {
        let same = |_, byte| byte;
        for version in [1, 2] {
            let got = compare(&[content(2), content(1)], 10, 20, &pieces(version, same));
            assert_eq!(got, BytesSeen::Matches(content(version)));
        }
        assert_eq!(compare(&[content(1)], 30, 0, &[]), BytesSeen::Matches(content(1)));
        assert!(matches!(compare(&[], 10, 20, &pieces(1, same)), BytesSeen::Failed(_)));
    }

    #[test]
    fn a_wrong_byte_is_shown_with_its_worker() {
        let got = compare(&[content(1)], 10, 20, &pieces(1, |i, byte| if i >= 15 { 0 } else { byte }));
        let expected = base::Content::of("/f", 1).bytes(25, 5);
        let worker = Some("w1".to_owned());
        assert_eq!(got, BytesSeen::Mismatch { offset: 25, expected, got: vec![0; 5], zeros: true, worker });
        let got = compare(&[content(1)], 10, 20, &pieces(1, |i, byte| byte ^ u8::from(i == 3)));
        assert!(matches!(got, BytesSeen::Mismatch { offset: 13, zeros: false, worker: None, .. }));
    }

    /// Each byte is of a legal version, but not of the same one.
    #[test]
    fn a_mixture_and_a_missing_byte_are_wrong() {
        let mut mixed = pieces(1, |_, byte| byte);
        mixed[1] = pieces(2, |_, byte| byte)[1].clone();
        assert!(matches!(compare(&[content(1), content(2)], 10, 20, &mixed), BytesSeen::Mismatch { offset: 22, .. }));
        let got = compare(&[content(1)], 10, 20, &pieces(1, |_, byte| byte)[..1]);
        assert!(matches!(&got, BytesSeen::Mismatch { offset: 22, got, .. } if got.is_empty()), "{got:?}");
    }
}
