//! Lets hyper's core speak HTTP over the seam's streams.
//!
//! hyper has its own read and write traits, so that it depends on no runtime. Bytes are copied once through a buffer,
//! which keeps this file free of unsafe code. All streams of a thread share it: nothing stays in it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const BUFFER_BYTES: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A stream as hyper wants it.
pub struct HyperIo<T> {
    stream: T,
}

impl<T> HyperIo<T> {
    /// Wraps a stream, usually [`super::net::TcpStream`].
    pub fn new(stream: T) -> Self {
        Self { stream }
    }
}

impl<T: AsyncRead + Unpin> hyper::rt::Read for HyperIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(BUFFER_BYTES);
        BUFFER.with_borrow_mut(|bytes| {
            if bytes.is_empty() {
                bytes.resize(BUFFER_BYTES, 0);
            }
            let mut read = ReadBuf::new(&mut bytes[..room]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            buf.put_slice(read.filled());
            Poll::Ready(Ok(()))
        })
    }
}

impl<T: AsyncWrite + Unpin> hyper::rt::Write for HyperIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
