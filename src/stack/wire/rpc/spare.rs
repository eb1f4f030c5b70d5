//! Memory of handlers that have answered, for the handlers after them.
//!
//! A handler is a future of some KiB, one a request, and most live for a round trip. Blocks of that size are what an
//! allocator is slowest with. All connections of a server share them, so that the next block is the one that the processor
//! has just had in its caches.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::base::lock;

/// Blocks that are kept.
const KEPT: usize = 16;

type Slot<F> = Pin<Box<Option<F>>>;

/// Blocks for futures of one type, empty ones; clones share them.
pub(super) struct Spare<F>(Arc<Mutex<Vec<Slot<F>>>>);

impl<F> Clone for Spare<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> Spare<F> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Puts `future` into a block that is free, or a new one.
    pub(super) fn hold(&self, future: F) -> Held<F> {
        let mut slot = lock(&self.0).pop().unwrap_or_else(|| Box::pin(None));
        slot.set(Some(future));
        Held { slot: Some(slot), home: Arc::clone(&self.0) }
    }
}

/// A future in a block that goes back when it is dropped.
pub(super) struct Held<F> {
    /// `Some` until the drop.
    slot: Option<Slot<F>>,
    home: Arc<Mutex<Vec<Slot<F>>>>,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.slot.as_mut().and_then(|slot| slot.as_mut().as_pin_mut()) {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Held<F> {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        // Not under the lock: what the future holds may do anything when it is dropped.
        slot.set(None);
        let mut home = lock(&self.home);
        if home.len() < KEPT {
            home.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_block_is_used_again_and_what_it_held_is_gone() {
        let (spare, token) = (Spare::new(), Arc::new(()));
        let future = |token: &Arc<()>| {
            let token = Arc::clone(token);
            async move { Arc::strong_count(&token) }
        };
        let poll = |held: &mut Held<_>| Pin::new(held).poll(&mut Context::from_waker(Waker::noop()));
        let mut first = spare.hold(future(&token));
        let at = &raw const **first.slot.as_ref().unwrap();
        assert_eq!(poll(&mut first), Poll::Ready(2));
        let second = spare.hold(future(&token));
        drop((first, second));
        assert_eq!((Arc::strong_count(&token), lock(&spare.0).len()), (1, 2), "both blocks are back, and empty");

        let (mut third, mut fourth) = (spare.hold(future(&token)), spare.hold(future(&token)));
        let used = [&third, &fourth].map(|held| &raw const **held.slot.as_ref().unwrap());
        assert!(used.contains(&at), "no new block");
        assert_eq!((poll(&mut third), poll(&mut fourth)), (Poll::Ready(3), Poll::Ready(2)));
    }

    #[test]
    fn only_some_are_kept() {
        let spare = Spare::new();
        drop((0..2 * KEPT).map(|n| spare.hold(ready(n))).collect::<Vec<_>>());
        assert_eq!(lock(&spare.0).len(), KEPT);
    }
}
