//! File bodies, made while they are sent: a file of any size costs one chunk of memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::answer::AnswerBody;
use crate::base::Content;

/// Where the bytes of a file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileBytes {
    /// From its path and version.
    Seeded(Content),
    /// Somebody wrote them.
    Written(Bytes),
}

impl FileBytes {
    /// A range that lies in the file.
    pub fn range(&self, offset: u64, length: u64) -> Bytes {
        match self {
            Self::Seeded(content) => content.bytes(offset, length as usize).into(),
            Self::Written(bytes) => bytes.slice(offset as usize..(offset + length) as usize),
        }
    }
}

const CHUNK_BYTES: u64 = 64 * 1024;

/// A body on its way.
pub(in crate::world) enum WebBody {
    Text(Option<Bytes>),
    Part {
        content: FileBytes,
        offset: u64,
        left: u64,
        /// The connection breaks when so many bytes are left.
        break_at: Option<u64>,
    },
}

impl WebBody {
    /// `sent`: break the connection after so many bytes.
    pub(in crate::world) fn new(body: AnswerBody, sent: Option<u64>) -> Self {
        match body {
            AnswerBody::Text(text) => Self::Text((!text.is_empty()).then(|| Bytes::from(text))),
            AnswerBody::Part { content, offset, length } => {
                let break_at = sent.map(|sent| length.saturating_sub(sent));
                Self::Part { content, offset, left: length, break_at }
            }
        }
    }
}

impl Body for WebBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match &mut *self {
            Self::Text(text) => text.take().map(|text| Ok(Frame::data(text))),
            Self::Part { left: 0, .. } => None,
            Self::Part { left, break_at: Some(at), .. } if *left <= *at => {
                Some(Err(io::Error::other("the fault plan cuts this body")))
            }
            Self::Part { content, offset, left, break_at } => {
                let length = CHUNK_BYTES.min(*left - break_at.unwrap_or(0));
                let chunk = content.range(*offset, length);
                *offset += length;
                *left -= length;
                Some(Ok(Frame::data(chunk)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Text(None) | Self::Part { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Part { left, .. } => SizeHint::with_exact(*left),
        }
    }
}
