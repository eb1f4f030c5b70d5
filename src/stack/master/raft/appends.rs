//! What is sent to a follower: entries at once, a commit along with the next entries or the next heartbeat.
//!
//! openraft sends a commit in a request of its own if no entry is there to take it along, which is up to half of all that
//! masters say to each other. A follower serves nobody, so that it may learn of a commit late. Ratis and TiKV do the same
//! (`LogAppender#shouldSendAppendEntries`, `skip_bcast_commit`).

use futures_util::stream::{Stream, StreamExt, unfold};
use openraft::raft::AppendEntriesRequest;

use super::types::TypeConfig;
use crate::rt::time::{Duration, Instant, timeout_at};

type Request = AppendEntriesRequest<TypeConfig>;

/// Leaves a request without entries out if another comes within `wait`, for that one tells at least as much; an answer to it
/// answers both. One that ends the stream is not left out: nothing else was to be sent.
pub fn commits_along<S>(input: S, wait: Duration) -> impl Stream<Item = Request> + Send + Unpin + 'static
where
    S: Stream<Item = Request> + Send + Unpin + 'static,
{
    Box::pin(unfold(input.fuse(), move |mut input| async move {
        let mut request = input.next().await?;
        if request.entries.is_empty() {
            let until = Instant::now() + wait;
            while request.entries.is_empty()
                && let Ok(Some(next)) = timeout_at(until, input.next()).await
            {
                request = next;
            }
        }
        Some((request, input))
    }))
}
