//! Waits for the first of two futures, always looking at them in argument order.
//!
//! Biased on purpose: a fair choice would need chance, and which future is ready first is for the engine to decide.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// One of two outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future was ready.
    Left(A),
    /// The second was ready and the first was not.
    Right(B),
}

/// The output of whichever is ready first; the other is dropped.
pub async fn select2<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if let Poll::Ready(out) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(out));
        }
        b.as_mut().poll(cx).map(Either::Right)
    })
    .await
}
