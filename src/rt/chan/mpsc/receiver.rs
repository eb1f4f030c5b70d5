//! The receiving sides.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::TryRecvError;
use super::shared::{Left, Shared};
use crate::rt::wait::note;

/// The receiving side of [`channel`](super::channel).
pub struct Receiver<T>(Arc<Shared<T>>, Left);

/// The receiving side of [`unbounded_channel`](super::unbounded_channel).
pub struct UnboundedReceiver<T>(Arc<Shared<T>>, Left);

macro_rules! receiver {
    ($name:ident) => {
        impl<T> $name<T> {
            pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
                Self(shared, Left::default())
            }

            /// The next message; none once every sender is gone, or the channel closed, and the buffer is empty.
            pub fn recv(&mut self) -> impl Future<Output = Option<T>> {
                poll_fn(|cx| self.poll_recv(cx))
            }

            /// As [`Self::recv`], for hand-written futures.
            pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
                let polled = self.0.poll_recv(cx, &mut self.1);
                if polled.is_pending() {
                    note("a message");
                }
                polled
            }

            /// A message that is there already.
            ///
            /// # Errors
            /// `Empty`, or `Disconnected` once every sender is gone or the channel closed.
            pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                self.0.try_recv()
            }

            /// Refuses further messages; those buffered can still be received.
            pub fn close(&mut self) {
                self.0.close();
            }
        }

        impl<T> Drop for $name<T> {
            fn drop(&mut self) {
                self.0.abandon();
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

receiver!(Receiver);
receiver!(UnboundedReceiver);
