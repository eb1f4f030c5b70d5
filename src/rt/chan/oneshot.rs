//! One message, once; tokio's, with the receiver's wait named.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
pub use tokio::sync::oneshot::Sender;
pub use tokio::sync::oneshot::error::{RecvError, TryRecvError};

use crate::rt::wait::note;

/// The receiving side.
#[derive(Debug)]
pub struct Receiver<T>(oneshot::Receiver<T>);

/// A channel for one message.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = oneshot::channel();
    (tx, Receiver(rx))
}

impl<T> Receiver<T> {
    /// The message, if it is there.
    ///
    /// # Errors
    /// `Empty`, or `Closed` once the sender is gone without sending.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// Refuses the message; one already sent can still be received.
    pub fn close(&mut self) {
        self.0.close();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.0).poll(cx);
        if polled.is_pending() {
            note("an answer");
        }
        polled
    }
}
