//! A message on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::SendError;
use super::shared::Shared;
use crate::rt::wait::note;

/// Sends `message` once there is room for it. Dropped before, it leaves its place to the next.
pub(super) struct Sending<'a, T> {
    shared: &'a Shared<T>,
    message: Option<T>,
    ticket: Option<u64>,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, message: T) -> Self {
        Self { shared, message: Some(message), ticket: None }
    }
}

/// The message is moved out, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let polled = this.shared.poll_send(cx, &mut this.ticket, &mut this.message);
        if polled.is_pending() {
            note("room in a channel");
        }
        Poll::Ready(ready!(polled).map_err(SendError))
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.shared.forget(ticket);
        }
    }
}
