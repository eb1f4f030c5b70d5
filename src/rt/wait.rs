//! Tells the engine what a task waits for, so that a deadlock report can say it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::backend::with_engine;

pin_project! {
    /// `future`, which notes `what` each time it is not ready.
    pub(super) struct Waiting<F> {
        what: &'static str,
        #[pin]
        future: F,
    }
}

/// Notes `what` as the reason whenever `future` is pending.
pub(super) fn waiting<F: Future>(what: &'static str, future: F) -> Waiting<F> {
    Waiting { what, future }
}

/// Notes `what` as the reason for which the running task is about to wait.
pub(super) fn note(what: &'static str) {
    with_engine(|e| e.waiting_for(what));
}

impl<F: Future> Future for Waiting<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            note(this.what);
        }
        polled
    }
}
