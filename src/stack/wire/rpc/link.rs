//! The write side of a connection, shared by the task that owns it and by everybody who sends through it.
//!
//! A sender appends its frame and tries the socket at once, in its own task: the usual request costs no wake-up of the
//! connection's task. What the socket does not take stays in the buffer and the connection's task carries on with it.
//! Lock order: this lock is a leaf; nothing is called under it but the socket and wakers.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::RpcError;
use crate::base::lock;
use crate::rt::net::OwnedWriteHalf;

/// Buffers that grew beyond this are given back once they are empty.
const KEEP_BYTES: usize = 64 << 10;

pub(super) struct Link {
    state: Mutex<State>,
}

struct State {
    /// `None` once the connection is closed.
    socket: Option<OwnedWriteHalf>,
    out: BytesMut,
    /// Wakes the connection's task.
    owner: Option<Waker>,
    /// Why it was closed.
    closed: Option<RpcError>,
    /// Whether the owner's task waits for the socket to take more; senders then only append.
    blocked: bool,
    /// Requests being answered (server side).
    busy: usize,
    /// Whether the owner waits for one of those to end before it reads on.
    starved: bool,
}

impl Link {
    pub(super) fn new(socket: OwnedWriteHalf) -> Self {
        Self {
            state: Mutex::new(State {
                socket: Some(socket),
                out: BytesMut::new(),
                owner: None,
                closed: None,
                blocked: false,
                busy: 0,
                starved: false,
            }),
        }
    }

    /// Appends a frame and sends what the socket takes now. The inner error is `append`'s.
    pub(super) fn send<E>(
        &self,
        append: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<Result<(), E>, RpcError> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.closed {
            return Err(why.clone());
        }
        if let Err(error) = append(&mut state.out) {
            return Ok(Err(error));
        }
        if !state.blocked && (state.write(&mut Context::from_waker(Waker::noop())).is_err() || !state.out.is_empty()) {
            // The owner registers its own waker with the socket, or finds its error.
            state.blocked = true;
            state.wake();
        }
        Ok(Ok(()))
    }

    /// Appends without sending; the owner flushes at the end of its turn.
    pub(super) fn append<R>(&self, append: impl FnOnce(&mut BytesMut) -> R) -> R {
        append(&mut lock(&self.state).out)
    }

    /// The owner's turn to send. Ready when all is sent, with the error that ended the connection otherwise.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), RpcError>> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.closed {
            return Poll::Ready(Err(why.clone()));
        }
        state.blocked = false;
        if let Err(error) = state.write(cx) {
            return Poll::Ready(Err(RpcError::Closed(error.to_string())));
        }
        state.blocked = !state.out.is_empty();
        if state.blocked { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Notes the owner's waker; later senders and finishers wake it.
    pub(super) fn owner_waits(&self, cx: &Context<'_>) {
        let mut state = lock(&self.state);
        if !state.owner.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            state.owner = Some(cx.waker().clone());
        }
    }

    /// Wakes the connection's task.
    pub(super) fn wake_owner(&self) {
        lock(&self.state).wake();
    }

    /// Lets go of the socket. The first reason stays.
    pub(super) fn close(&self, why: RpcError) {
        let mut state = lock(&self.state);
        if state.closed.is_none() {
            state.closed = Some(why);
            state.socket = None;
            state.out = BytesMut::new();
            state.wake();
        }
    }

    /// Why it is closed, if it is.
    pub(super) fn closed(&self) -> Option<RpcError> {
        lock(&self.state).closed.clone()
    }

    /// Whether the owner may take another request: fewer than `busy` being answered, fewer than `bytes` unsent. If not,
    /// it is woken when that may have changed.
    pub(super) fn has_room(&self, busy: usize, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        state.starved = state.busy >= busy;
        !state.starved && state.out.len() < bytes
    }

    /// A request is being answered from now on, until the guard goes.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        lock(&self.state).busy += 1;
        Busy(Arc::clone(self))
    }
}

impl State {
    fn write(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while !self.out.is_empty() {
            match Pin::new(&mut *socket).poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.out.advance(n),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if self.out.capacity() > KEEP_BYTES {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    fn wake(&self) {
        if let Some(owner) = &self.owner {
            owner.wake_by_ref();
        }
    }
}

/// Counts a request as being answered.
pub(super) struct Busy(Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.busy -= 1;
        if std::mem::take(&mut state.starved) {
            state.wake();
        }
    }
}
