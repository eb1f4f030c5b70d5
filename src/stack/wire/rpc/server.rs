//! The server's end: accepts connections, runs a handler for each request.
//!
//! One task per connection reads requests and polls each handler once in place. The first that must wait stays there, as
//! most connections have one request at a time; what must wait beside it moves to a task of its own. A connection takes no
//! more requests while [`Limits::concurrent`] are being answered or its replies pile up unsent, so a client can use up only
//! its own share. A request whose client no longer waits is dropped.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::client::READ_BYTES;
use super::frame::{self, Cutter};
use super::link::{Busy, Link};
use super::spare::{Held, Spare};
use super::{Protocol, RpcError};
use crate::rt::net::{OwnedReadHalf, TcpListener, TcpStream};
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant, Sleep, sleep, sleep_until, timeout_at};

/// How long to wait after a failed accept (out of file descriptors, usually) before the next.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Replies that may wait for a slow reader before its requests are no longer read, in bytes.
const UNSENT_MAX: usize = 1 << 20;

/// What one connection may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests being answered at once.
    pub concurrent: usize,
    /// A connection without a request for so long is closed: its client may be gone without a sign.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrent: 128, idle: Duration::from_secs(15 * 60) }
    }
}

/// What a handler may know beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The client's socket address.
    pub peer: SocketAddr,
    /// When the client stops waiting.
    pub deadline: Instant,
}

/// Answers requests of one protocol. Closures from `(request, context)` to a future are handlers.
pub trait Handler<P: Protocol>: Clone + Send + 'static {
    /// The answer under way.
    type Future: Future<Output = P::Response> + Send + 'static;
    /// Begins to answer. The future is dropped unfinished when the client's deadline passes or its connection ends.
    fn handle(&self, request: P::Request, context: Context) -> Self::Future;
}

impl<P, F, Fut> Handler<P> for F
where
    P: Protocol,
    F: Fn(P::Request, Context) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = P::Response> + Send + 'static,
{
    type Future = Fut;

    fn handle(&self, request: P::Request, context: Context) -> Fut {
        self(request, context)
    }
}

/// [`serve_with`] and the default limits.
pub async fn serve<P: Protocol>(listener: TcpListener, handler: impl Handler<P>) {
    serve_with(listener, handler, Limits::default()).await;
}

/// Accepts connections for ever. Dropping the future closes the listener, all connections and all handlers.
pub async fn serve_with<P: Protocol>(listener: TcpListener, handler: impl Handler<P>, limits: Limits) {
    let (scope, spare) = (Scope::new(), Spare::new());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let serving = Serving::new(stream, peer, handler.clone(), spare.clone(), limits);
                let _detached = scope.spawn("rpc-server", serving.run());
            }
            Err(error) => {
                tracing::warn!(protocol = P::NAME, %error, "cannot accept");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

struct Serving<P: Protocol, H: Handler<P>> {
    reader: OwnedReadHalf,
    received: BytesMut,
    cutter: Cutter,
    greeted: bool,
    /// When bytes came last.
    heard: Instant,
    /// When the idle timer fires.
    idle: Option<(Instant, Sleep)>,
    link: Arc<Link>,
    scope: Scope,
    peer: SocketAddr,
    handler: H,
    spare: Spare<H::Future>,
    waiting: Option<Waiting<H::Future>>,
    limits: Limits,
    protocol: PhantomData<fn() -> P>,
}

/// A request whose handler waits in the connection's own task.
struct Waiting<F> {
    id: u64,
    answer: Held<F>,
    deadline: Sleep,
    _busy: Busy,
}

impl<P: Protocol, H: Handler<P>> Serving<P, H> {
    fn new(stream: TcpStream, peer: SocketAddr, handler: H, spare: Spare<H::Future>, limits: Limits) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader,
            received: BytesMut::new(),
            cutter: Cutter::new(),
            greeted: false,
            heard: Instant::now(),
            idle: None,
            link: Arc::new(Link::new(writer)),
            scope: Scope::new(),
            peer,
            handler,
            spare,
            waiting: None,
            limits,
            protocol: PhantomData,
        }
    }

    async fn run(mut self) {
        let why = poll_fn(|cx| self.poll(cx)).await;
        if let RpcError::Malformed(_) | RpcError::Protocol(_) = &why {
            tracing::warn!(protocol = P::NAME, peer = %self.peer, reason = %why, "connection closed");
        }
        self.link.close(why);
    }

    /// Ready with the reason when the connection is over.
    fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<RpcError> {
        // One reading of the clock a turn: a turn takes no time.
        let now = Instant::now();
        self.link.owner_waits(cx);
        if let Err(why) = self.poll_waiting(cx) {
            return Poll::Ready(why);
        }
        loop {
            let read = self.poll_read(cx, now);
            // Replies that came at once leave together.
            if let Poll::Ready(Err(why)) = self.link.poll_flush(cx) {
                return Poll::Ready(why);
            }
            match read {
                Poll::Ready(Err(why)) => return Poll::Ready(why),
                // Reading stopped for lack of room, and the flush may have made some.
                Poll::Ready(Ok(())) if self.link.has_room(self.limits.concurrent, UNSENT_MAX) => {}
                Poll::Ready(Ok(())) | Poll::Pending => return self.poll_idle(cx, now),
            }
        }
    }

    /// Pending when the socket has no more, ready when there is no room for more requests.
    fn poll_read(&mut self, cx: &mut Cx<'_>, now: Instant) -> Poll<Result<(), RpcError>> {
        loop {
            match self.answer_received(cx, now) {
                Err(why) => return Poll::Ready(Err(why)),
                Ok(false) => return Poll::Ready(Ok(())),
                Ok(true) => {}
            }
            if self.received.capacity() - self.received.len() < READ_BYTES / 4 {
                self.received.reserve(READ_BYTES);
            }
            match pin!(self.reader.read_buf(&mut self.received)).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(RpcError::Closed("by the peer".into()))),
                Poll::Ready(Ok(_)) => self.heard = now,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(RpcError::Closed(error.to_string()))),
            }
        }
    }

    /// Begins to answer what has arrived whole. False if there is no room for more requests now.
    fn answer_received(&mut self, cx: &mut Cx<'_>, now: Instant) -> Result<bool, RpcError> {
        while self.link.has_room(self.limits.concurrent, UNSENT_MAX) {
            let Some(frame) = self.cutter.next(&mut self.received).map_err(RpcError::Malformed)? else {
                return Ok(true);
            };
            if self.greeted {
                let (id, wait_ms, request) = frame::take_request::<P>(&frame).map_err(RpcError::Malformed)?;
                self.answer((id, now + Duration::from_millis(wait_ms.into())), request, cx)?;
            } else {
                // Answered even if it is refused: the client then knows why.
                self.link.append(|out| frame::append_greeting::<P>(out));
                frame::check_greeting::<P>(&frame).map_err(|e| RpcError::Protocol(e.to_string()))?;
                self.greeted = true;
            }
        }
        Ok(false)
    }

    /// Begins to answer a request of this id, by this deadline.
    fn answer(&mut self, (id, deadline): (u64, Instant), request: P::Request, cx: &mut Cx<'_>) -> Result<(), RpcError> {
        let mut answer = self.spare.hold(self.handler.handle(request, Context { peer: self.peer, deadline }));
        if let Poll::Ready(response) = Pin::new(&mut answer).poll(cx) {
            return self.reply(id, &response);
        }
        if self.waiting.is_none() {
            self.waiting = Some(Waiting { id, answer, deadline: sleep_until(deadline), _busy: self.link.begin() });
            self.poll_deadline(cx);
            return Ok(());
        }
        let (link, busy) = (Arc::clone(&self.link), self.link.begin());
        let _detached = self.scope.spawn("rpc-request", async move {
            if let Ok(response) = timeout_at(deadline, answer).await
                && let Ok(Err(error)) = link.send(|out| frame::append_reply::<P>(out, id, &response))
            {
                link.close(RpcError::Malformed(error));
            }
            drop(busy);
        });
        Ok(())
    }

    /// Goes on with the handler that waits here.
    fn poll_waiting(&mut self, cx: &mut Cx<'_>) -> Result<(), RpcError> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        match Pin::new(&mut waiting.answer).poll(cx) {
            Poll::Ready(response) => {
                let id = waiting.id;
                self.waiting = None;
                self.reply(id, &response)
            }
            Poll::Pending => {
                self.poll_deadline(cx);
                Ok(())
            }
        }
    }

    /// Drops the handler that waits here if nobody waits for it any more.
    fn poll_deadline(&mut self, cx: &mut Cx<'_>) {
        if self.waiting.as_mut().is_some_and(|waiting| Pin::new(&mut waiting.deadline).poll(cx).is_ready()) {
            self.waiting = None;
        }
    }

    fn reply(&self, id: u64, response: &P::Response) -> Result<(), RpcError> {
        self.link.append(|out| frame::append_reply::<P>(out, id, response)).map_err(RpcError::Malformed)
    }

    fn poll_idle(&mut self, cx: &mut Cx<'_>, now: Instant) -> Poll<RpcError> {
        let until = self.heard + self.limits.idle;
        if until <= now {
            return Poll::Ready(RpcError::Closed("idle".into()));
        }
        // The timer is left to fire before it is moved on: once an idle time, not once a request.
        if self.idle.as_ref().is_none_or(|(at, _)| *at <= now) {
            let mut timer = sleep_until(until);
            if Pin::new(&mut timer).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.idle = Some((until, timer));
        }
        Poll::Pending
    }
}
