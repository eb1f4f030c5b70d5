//! Waits for the first of two futures, always looking at them in argument order.
//!
//! Biased on purpose: a fair choice would need chance, and which future is ready first is for the engine to decide.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// One of two outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future was ready.
    Left(A),
    /// The second was ready and the first was not.
    Right(B),
}

pin_project! {
    /// Waits for the first of two; see [`select2`]. Not an `async fn`, which would keep room for both twice.
    #[must_use = "futures do nothing unless awaited"]
    pub struct Select2<A, B> {
        // In the order in which they are dropped.
        #[pin]
        b: B,
        #[pin]
        a: A,
    }
}

/// The output of whichever is ready first; the other goes when this future does.
pub fn select2<A: Future, B: Future>(a: A, b: B) -> Select2<A, B> {
    Select2 { b, a }
}

impl<A: Future, B: Future> Future for Select2<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(out) = this.a.poll(cx) {
            return Poll::Ready(Either::Left(out));
        }
        this.b.poll(cx).map(Either::Right)
    }
}
