//! Many senders, one receiver; tokio's, with the receiver's wait named.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
pub use tokio::sync::mpsc::error::{SendError, TryRecvError, TrySendError};
pub use tokio::sync::mpsc::{Sender, UnboundedSender, WeakSender};

use crate::rt::wait::note;

/// The receiving side of [`channel`].
#[derive(Debug)]
pub struct Receiver<T>(mpsc::Receiver<T>);

/// The receiving side of [`unbounded_channel`].
#[derive(Debug)]
pub struct UnboundedReceiver<T>(mpsc::UnboundedReceiver<T>);

/// A channel that holds up to `buffer` messages; `buffer` must not be 0.
pub fn channel<T>(buffer: usize) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = mpsc::channel(buffer);
    (tx, Receiver(rx))
}

/// A channel without a bound.
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let (tx, rx) = mpsc::unbounded_channel();
    (tx, UnboundedReceiver(rx))
}

macro_rules! receiver {
    ($name:ident) => {
        impl<T> $name<T> {
            /// The next message; none once every sender is gone and the buffer is empty.
            pub fn recv(&mut self) -> impl Future<Output = Option<T>> {
                poll_fn(|cx| self.poll_recv(cx))
            }

            /// As [`Self::recv`], for hand-written futures.
            pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
                let polled = self.0.poll_recv(cx);
                if polled.is_pending() {
                    note("a message");
                }
                polled
            }

            /// A message that is there already.
            ///
            /// # Errors
            /// `Empty`, or `Disconnected` once every sender is gone.
            pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                self.0.try_recv()
            }

            /// Refuses further messages; those buffered can still be received.
            pub fn close(&mut self) {
                self.0.close();
            }
        }
    };
}

receiver!(Receiver);
receiver!(UnboundedReceiver);
