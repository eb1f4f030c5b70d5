//! The client's end: a channel to one address, connected when first used and again after each failure.
//!
//! Callers put their request on the link themselves and wait in a table; one task per connection reads replies and wakes
//! them. That task holds one timer, armed no later than the earliest deadline in the table. A caller that goes away
//! leaves its entry behind: the reply is still owed, and if it does not come in time the connection is given up.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::frame::{self, Cutter};
use super::link::Link;
use super::{FrameError, Protocol, RpcError};
use crate::base::lock;
use crate::rt::chan;
use crate::rt::net::{self, OwnedReadHalf};
use crate::rt::task::{self, JoinHandle};
use crate::rt::time::{Duration, Instant, Sleep, sleep_until, timeout_at};

/// Room made for each read from the socket.
pub(super) const READ_BYTES: usize = 4 << 10;

/// Calls to one server, any number at a time, over one connection. Clones share it.
pub struct Channel<P: Protocol> {
    shared: Arc<Shared<P>>,
}

struct Shared<P: Protocol> {
    address: String,
    /// The connection in use, if any.
    current: Mutex<Option<Arc<Connection<P>>>>,
    /// Held by the caller that connects.
    connecting: chan::Mutex<()>,
}

impl<P: Protocol> Clone for Channel<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P: Protocol> Channel<P> {
    /// A channel to `address`, `host:port`. Nothing is connected or looked up yet.
    pub fn new(address: impl Into<String>) -> Self {
        let address = address.into();
        Self { shared: Arc::new(Shared { address, current: Mutex::new(None), connecting: chan::Mutex::new(()) }) }
    }

    /// The address as given.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Asks and waits for the reply, at most `within`, connecting included. When the time is over the connection is
    /// closed, and with it every other call on it fails as [`RpcError::Closed`].
    pub async fn call(&self, request: impl Borrow<P::Request>, within: Duration) -> Result<P::Response, RpcError> {
        let deadline = Instant::now() + within;
        let connection = match self.connected() {
            Some(connection) => connection,
            None => self.connect(deadline).await?,
        };
        let call = connection.start(request.borrow(), deadline)?;
        drop(request);
        call.await
    }

    /// Closes the connection; calls on it fail. The next call connects again.
    pub fn disconnect(&self) {
        if let Some(connection) = lock(&self.shared.current).take() {
            connection.link.close(RpcError::Closed("by this side".into()));
        }
    }

    fn connected(&self) -> Option<Arc<Connection<P>>> {
        let mut current = lock(&self.shared.current);
        if current.as_ref().is_some_and(|c| c.link.closed().is_some()) {
            *current = None;
        }
        current.clone()
    }

    async fn connect(&self, deadline: Instant) -> Result<Arc<Connection<P>>, RpcError> {
        let Ok(_turn) = timeout_at(deadline, self.shared.connecting.lock()).await else {
            return Err(RpcError::Timeout);
        };
        if let Some(connection) = self.connected() {
            return Ok(connection);
        }
        let failed = |reason: String| RpcError::Connect { address: self.shared.address.clone(), reason };
        let stream = match timeout_at(deadline, net::connect(&self.shared.address)).await {
            Err(_) => return Err(failed("no answer in time".into())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        let (reader, writer) = stream.into_split();
        let connection = Arc::new(Connection::start_up(reader, Link::new(writer)));
        *lock(&self.shared.current) = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

/// One connection; its task ends with it.
struct Connection<P: Protocol> {
    link: Arc<Link>,
    table: Arc<Mutex<Table<P::Response>>>,
    task: JoinHandle<()>,
}

/// Who waits for what.
struct Table<R> {
    next_id: u64,
    calls: BTreeMap<u64, Entry<R>>,
    /// The task's timer fires then at the latest; none if it has no timer.
    armed: Option<Instant>,
}

struct Entry<R> {
    deadline: Instant,
    state: EntryState<R>,
}

enum EntryState<R> {
    Waiting(Waker),
    Ended(Result<R, RpcError>),
    /// The caller went away before the reply.
    Abandoned,
}

impl<P: Protocol> Connection<P> {
    fn start_up(reader: OwnedReadHalf, link: Link) -> Self {
        let link = Arc::new(link);
        let table = Arc::new(Mutex::new(Table { next_id: 0, calls: BTreeMap::new(), armed: None }));
        let greeted = link.send(|out| {
            frame::append_greeting::<P>(out);
            Ok::<(), FrameError>(())
        });
        debug_assert!(greeted.is_ok(), "a new link is open");
        let reading = Reading::<P> {
            reader,
            received: BytesMut::new(),
            cutter: Cutter::new(),
            greeted: false,
            timer: None,
            link: Arc::clone(&link),
            table: Arc::clone(&table),
            protocol: PhantomData,
        };
        Self { link, table, task: task::spawn("rpc-client", reading.run()) }
    }

    /// Sends the request; the future waits for its reply.
    fn start(self: Arc<Self>, request: &P::Request, deadline: Instant) -> Result<Call<P>, RpcError> {
        let wait = deadline.duration_since(Instant::now());
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let (id, arm) = {
            let mut table = lock(&self.table);
            let id = table.next_id;
            table.next_id += 1;
            // A call is in the table before its request is on the link: the reply finds it even if it is faster.
            let state = EntryState::Waiting(Waker::noop().clone());
            table.calls.insert(id, Entry { deadline, state });
            (id, table.armed.is_none_or(|armed| armed > deadline))
        };
        let sent = self.link.send(|out| frame::append_request::<P>(out, id, wait_ms, request));
        if arm {
            self.link.wake_owner();
        }
        let error = match sent {
            Ok(Ok(())) => return Ok(Call { connection: self, id, done: false }),
            Ok(Err(FrameError::TooLarge)) => RpcError::TooLarge,
            Ok(Err(other)) => RpcError::Malformed(other),
            Err(closed) => closed,
        };
        lock(&self.table).calls.remove(&id);
        Err(error)
    }
}

impl<P: Protocol> Drop for Connection<P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request that is under way.
struct Call<P: Protocol> {
    connection: Arc<Connection<P>>,
    id: u64,
    done: bool,
}

impl<P: Protocol> Future for Call<P> {
    type Output = Result<P::Response, RpcError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = {
            let mut table = lock(&self.connection.table);
            match table.calls.get_mut(&self.id) {
                Some(Entry { state: EntryState::Waiting(waker), .. }) => {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                _ => table.calls.remove(&self.id),
            }
        };
        self.done = true;
        match ended {
            Some(Entry { state: EntryState::Ended(result), .. }) => Poll::Ready(result),
            _ => unreachable!("only the caller takes its entry out of the table"),
        }
    }
}

impl<P: Protocol> Drop for Call<P> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut table = lock(&self.connection.table);
        match table.calls.get_mut(&self.id) {
            Some(entry) if matches!(entry.state, EntryState::Waiting(_)) => entry.state = EntryState::Abandoned,
            _ => drop(table.calls.remove(&self.id)),
        }
    }
}

/// The connection's task: flushes what callers could not send, reads replies, watches the earliest deadline.
struct Reading<P: Protocol> {
    reader: OwnedReadHalf,
    received: BytesMut,
    cutter: Cutter,
    greeted: bool,
    /// Kept until it fires; its waker is this task's.
    timer: Option<Sleep>,
    link: Arc<Link>,
    table: Arc<Mutex<Table<P::Response>>>,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Reading<P> {
    async fn run(mut self) {
        let why = poll_fn(|cx| self.poll(cx)).await;
        if let RpcError::Malformed(_) | RpcError::Protocol(_) = &why {
            tracing::warn!(protocol = P::NAME, reason = %why, "connection closed");
        }
        self.link.close(why.clone());
        let mut table = lock(&self.table);
        for entry in table.calls.values_mut() {
            // Past its deadline a call timed out; the others only shared its connection.
            end(entry, Err(why.clone()));
        }
        table.calls.retain(|_, entry| !matches!(entry.state, EntryState::Abandoned));
    }

    /// Ready with the reason when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        self.link.owner_waits(cx);
        if let Poll::Ready(Err(why)) = self.link.poll_flush(cx) {
            return Poll::Ready(why);
        }
        if let Poll::Ready(why) = self.poll_read(cx) {
            return Poll::Ready(why);
        }
        self.poll_deadline(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        loop {
            if self.received.capacity() - self.received.len() < READ_BYTES / 4 {
                self.received.reserve(READ_BYTES);
            }
            match pin!(self.reader.read_buf(&mut self.received)).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(RpcError::Closed("by the peer".into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(RpcError::Closed(error.to_string())),
            }
            if let Err(why) = self.deliver() {
                return Poll::Ready(why);
            }
        }
    }

    /// Hands whole frames to their callers.
    fn deliver(&mut self) -> Result<(), RpcError> {
        while let Some(frame) = self.cutter.next(&mut self.received).map_err(RpcError::Malformed)? {
            if !self.greeted {
                frame::check_greeting::<P>(&frame).map_err(|e| RpcError::Protocol(e.to_string()))?;
                self.greeted = true;
                continue;
            }
            let (id, response) = frame::take_reply::<P>(&frame).map_err(RpcError::Malformed)?;
            let mut table = lock(&self.table);
            if let Some(entry) = table.calls.get_mut(&id) {
                if matches!(entry.state, EntryState::Abandoned) {
                    table.calls.remove(&id);
                } else {
                    end(entry, response.ok_or(RpcError::TooLarge));
                }
            }
        }
        Ok(())
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        let mut table = lock(&self.table);
        let owed = |entry: &&mut Entry<_>| !matches!(entry.state, EntryState::Ended(_));
        let now = Instant::now();
        let mut late = false;
        for entry in table.calls.values_mut().filter(owed).filter(|entry| entry.deadline <= now) {
            late = true;
            end(entry, Err(RpcError::Timeout));
        }
        if late {
            return Poll::Ready(RpcError::Closed("a reply did not come in time".into()));
        }
        if table.armed.is_some_and(|armed| armed <= now) {
            (self.timer, table.armed) = (None, None);
        }
        // An armed timer stays when the table empties: the next call finds its deadline covered and wakes nobody.
        let earliest = table.calls.values_mut().filter(owed).map(|entry| entry.deadline).min();
        if let Some(earliest) = earliest
            && table.armed.is_none_or(|armed| armed > earliest)
        {
            table.armed = Some(earliest);
            let mut timer = sleep_until(earliest);
            if Pin::new(&mut timer).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.timer = Some(timer);
        }
        Poll::Pending
    }
}

/// Gives a waiting caller its result; an abandoned entry stays abandoned.
fn end<R>(entry: &mut Entry<R>, result: Result<R, RpcError>) {
    if matches!(entry.state, EntryState::Waiting(_))
        && let EntryState::Waiting(waker) = std::mem::replace(&mut entry.state, EntryState::Ended(result))
    {
        waker.wake();
    }
}
