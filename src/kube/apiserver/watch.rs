//! Watches: who is told of which events, and the stream that tells them.
//!
//! Follows apiserver's `cacher`: an event is written out once for all who see it the same way; a watch that does not keep
//! up is ended, and its client resumes from the last version it saw. Differs: HTTP/2's ping, by which clients find out that
//! a connection is dead, is an empty line.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::ApiServer;
use crate::base::lock;
use crate::kube::kind::{Kind, KindId};
use crate::kube::store::{Change, Event, Object, Selection};
use crate::rt::time::{Duration, Instant, Sleep, sleep_until};

/// The lines that one watch has yet to send.
#[derive(Default)]
struct Queue {
    lines: VecDeque<Bytes>,
    over: bool,
    waker: Option<Waker>,
}

/// One watch.
pub(super) struct Watcher {
    selection: Selection,
    queue: Mutex<Queue>,
}

impl Watcher {
    pub(super) fn new(selection: Selection) -> Arc<Self> {
        Arc::new(Self { selection, queue: Mutex::default() })
    }

    /// Adds a line; ends the watch if it is too far behind.
    pub(super) fn push(&self, line: Bytes, max: usize) {
        let mut queue = lock(&self.queue);
        if queue.lines.len() >= max {
            queue.over = true;
        } else if !queue.over {
            queue.lines.push_back(line);
        }
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ends the watch after what it has to send.
    pub(super) fn end(&self) {
        let mut queue = lock(&self.queue);
        queue.over = true;
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Everything that is waiting, in one piece.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut queue = lock(&self.queue);
        match queue.lines.len() {
            0 if queue.over => Poll::Ready(None),
            0 => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            1 => Poll::Ready(queue.lines.pop_front()),
            _ => {
                let mut all = BytesMut::with_capacity(queue.lines.iter().map(Bytes::len).sum());
                queue.lines.drain(..).for_each(|line| all.extend_from_slice(&line));
                Poll::Ready(Some(all.freeze()))
            }
        }
    }
}

/// All watches.
#[derive(Default)]
pub(super) struct Hub {
    watchers: BTreeMap<(KindId, u64), Arc<Watcher>>,
    next: u64,
}

impl Hub {
    pub(super) fn add(&mut self, kind: KindId, watcher: Arc<Watcher>) -> (KindId, u64) {
        self.next += 1;
        self.watchers.insert((kind, self.next), watcher);
        (kind, self.next)
    }

    pub(super) fn remove(&mut self, id: (KindId, u64)) {
        self.watchers.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Ends all watches: the server's process is another one.
    pub(super) fn clear(&mut self) {
        std::mem::take(&mut self.watchers).values().for_each(|watcher| watcher.end());
    }

    /// Tells those who see it. Gives how many did.
    pub(super) fn publish(&self, kind: KindId, event: &Event, max: usize) -> u64 {
        let mut lines: [Option<Bytes>; 3] = [None, None, None];
        let mut told = 0;
        for (_, watcher) in self.watchers.range((kind, 0)..=(kind, u64::MAX)) {
            let Some(change) = watcher.selection.sees(event) else { continue };
            let line = lines[change as usize].get_or_insert_with(|| line_of(event, change));
            watcher.push(line.clone(), max);
            told += 1;
        }
        told
    }
}

/// An event as a watch says it. An object that no longer matches is told of as it was, with the event's version.
pub(super) fn line_of(event: &Event, change: Change) -> Bytes {
    match (&event.previous, change, event.change) {
        (Some(previous), Change::Deleted, Change::Modified | Change::Added) => {
            line(change, &Object::at_version(previous, event.version))
        }
        _ => line(change, &event.object),
    }
}

/// `{"type":…,"object":…}` and a line's end.
pub(super) fn line(change: Change, object: &Object) -> Bytes {
    let json = object.json();
    let mut line = BytesMut::with_capacity(json.len() + 32);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(change.word().as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(json);
    line.extend_from_slice(b"}\n");
    line.freeze()
}

/// A bookmark: everything up to `version` has been told.
pub(super) fn bookmark(kind: &Kind, version: u64, initial_end: bool) -> Bytes {
    let annotations = if initial_end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\
         \"{version}\"{annotations}}}}}}}\n",
        kind.kind,
        kind.api_version()
    )
    .into()
}

/// An error in the middle of a watch.
pub(super) fn error(status: &[u8]) -> Bytes {
    [b"{\"type\":\"ERROR\",\"object\":", status, b"}\n"].concat().into()
}

/// When a quiet watch has something to say.
pub(super) struct Pace {
    /// When the server ends it.
    pub ends: Instant,
    /// After so much silence an empty line goes out.
    pub ping_period: Duration,
    /// So often a bookmark, if asked for.
    pub bookmark_period: Option<Duration>,
}

/// The body of a watch's answer.
pub(super) struct WatchBody {
    server: Arc<ApiServer>,
    watcher: Arc<Watcher>,
    id: (KindId, u64),
    pace: Pace,
    ping_at: Instant,
    bookmark_at: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl WatchBody {
    pub(super) fn new(server: Arc<ApiServer>, watcher: Arc<Watcher>, id: (KindId, u64), pace: Pace) -> Self {
        let now = Instant::now();
        let ping_at = now + pace.ping_period;
        let bookmark_at = pace.bookmark_period.map(|period| now + period);
        Self { server, watcher, id, pace, ping_at, bookmark_at, sleep: Box::pin(sleep_until(ping_at)) }
    }

    fn next_at(&self) -> Instant {
        let first = self.ping_at.min(self.pace.ends);
        self.bookmark_at.map_or(first, |at| at.min(first))
    }

    /// The next piece; nothing at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Poll::Ready(piece) = self.watcher.poll(cx) {
                self.ping_at = Instant::now() + self.pace.ping_period;
                return Poll::Ready(piece);
            }
            let now = Instant::now();
            if now >= self.pace.ends {
                return Poll::Ready(None);
            }
            if let Some(at) = self.bookmark_at.filter(|at| now >= *at) {
                self.bookmark_at = self.pace.bookmark_period.map(|period| at.max(now) + period);
                self.ping_at = now + self.pace.ping_period;
                return Poll::Ready(Some(self.server.bookmark(self.id.0)));
            }
            if now >= self.ping_at {
                self.ping_at = now + self.pace.ping_period;
                return Poll::Ready(Some(Bytes::from_static(b"\n")));
            }
            self.sleep.set(sleep_until(self.next_at()));
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.server.forget(self.id);
    }
}
