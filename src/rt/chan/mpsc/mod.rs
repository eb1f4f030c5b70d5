//! Many senders, one receiver, with tokio's signatures and order.
//!
//! Ours for speed: openraft's core looks at four channels each time it is woken, and where one thread runs everything a
//! queue behind an uncontended lock costs a fraction of tokio's lock-free one. It behaves as tokio's, wakes included; a test
//! plays both side by side. It knows no budget: on threads, a task whose channel never runs dry does not yield of itself.

mod receiver;
mod sending;
mod sender;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use receiver::{Receiver, UnboundedReceiver};
pub use sender::{Sender, UnboundedSender, WeakSender};
use shared::Shared;
pub use tokio::sync::mpsc::error::{SendError, TryRecvError, TrySendError};

/// A channel that holds up to `buffer` messages; `buffer` must not be 0.
pub fn channel<T>(buffer: usize) -> (Sender<T>, Receiver<T>) {
    assert!(buffer > 0, "a channel holds at least one message");
    let shared = Arc::new(Shared::new(buffer));
    (Sender(shared.clone()), Receiver::new(shared))
}

/// A channel without a bound.
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let shared = Arc::new(Shared::new(usize::MAX));
    (UnboundedSender(shared.clone()), UnboundedReceiver::new(shared))
}
