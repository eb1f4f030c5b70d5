//! The one signal that a program waits for: being asked to end.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use super::backend::{simulated, with_engine};
use super::wait::note;

/// Waits until the process is asked to end (SIGTERM).
///
/// # Errors
/// When the handler cannot be installed; live only.
pub async fn terminated() -> io::Result<()> {
    if !simulated() {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())?.recv().await;
        return Ok(());
    }
    poll_fn(|cx| {
        let polled = with_engine(|e| e.poll_terminated(cx)).unwrap_or(Poll::Pending);
        if polled.is_pending() {
            note("SIGTERM");
        }
        polled
    })
    .await;
    Ok(())
}
