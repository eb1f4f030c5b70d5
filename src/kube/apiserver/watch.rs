//! Watches: who is told of which events, and the stream that tells them.
//!
//! Follows apiserver's `cacher`: an event is written out once for all who see it the same way; a watch that does not keep
//! up is ended, and its client resumes from the last version it saw. Differs: HTTP/2's ping, by which clients find out that
//! a connection is dead, is an empty line; and one clock gives all watches their bookmarks, not one each.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::ApiServer;
use crate::base::lock;
use crate::kube::kind::{Kind, KindId, Kinds};
use crate::kube::store::{Change, Event, Object, Selection};
use crate::rt::time::{Duration, Sleep, sleep};

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
    /// Whether it asked for bookmarks.
    bookmarks: bool,
    queue: Mutex<Queue>,
}

impl Watcher {
    pub(super) fn new(selection: Selection, bookmarks: bool) -> Arc<Self> {
        Arc::new(Self { selection, bookmarks, queue: Mutex::default() })
    }

    /// An empty line, unless another is about to go out.
    fn ping(&self) {
        if lock(&self.queue).lines.is_empty() {
            self.push(Bytes::from_static(b"\n"), usize::MAX);
        }
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

    /// A sign of life for every watch: a bookmark of the present version for those that want one, or an empty line.
    pub(super) fn tick(&self, kinds: &Kinds, version: u64, bookmarks: bool, max: usize) {
        for ((kind, _), watcher) in &self.watchers {
            if bookmarks && watcher.bookmarks {
                watcher.push(bookmark(kinds.get(*kind), version, false), max);
            } else {
                watcher.ping();
            }
        }
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

/// The body of a watch's answer.
pub(super) struct WatchBody {
    server: Arc<ApiServer>,
    watcher: Arc<Watcher>,
    id: (KindId, u64),
    /// Until the server ends it.
    rest: Pin<Box<Sleep>>,
}

impl WatchBody {
    pub(super) fn new(server: Arc<ApiServer>, watcher: Arc<Watcher>, id: (KindId, u64), lasts: Duration) -> Self {
        Self { server, watcher, id, rest: Box::pin(sleep(lasts)) }
    }

    /// The next piece; nothing at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.watcher.poll(cx) {
            Poll::Pending => self.rest.as_mut().poll(cx).map(|()| None),
            piece => piece,
        }
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.server.forget(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watch_gets_a_sign_of_life_and_a_bookmark_if_it_wants_one() {
        let kinds = Kinds::builtin();
        let id = |word: &str| kinds.by_word(word).unwrap();
        let mut hub = Hub::default();
        let watchers = [("pods", true), ("pods", false), ("nodes", true), ("pods", true)].map(|(word, bookmarks)| {
            let watcher = Watcher::new(Selection::default(), bookmarks);
            hub.add(id(word), watcher.clone());
            watcher
        });
        let lines = |bookmarks| {
            hub.tick(&kinds, 7, bookmarks, 10);
            watchers.each_ref().map(|watcher| match watcher.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(line)) => String::from_utf8(line.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(lines(false), ["\n"; 4]);
        let mark = |kind| {
            let object = format!(r#"{{"kind":"{kind}","apiVersion":"v1","metadata":{{"resourceVersion":"7"}}}}"#);
            format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n")
        };
        assert_eq!(lines(true), [mark("Pod"), "\n".into(), mark("Node"), mark("Pod")]);
    }
}
