//! HTTP/1.1 to one server: deadlines, and a few idle connections.
//!
//! client-go shares one HTTP/2 connection among all requests; here each request in flight has its own, and idle ones are
//! kept for the next. A request that met a connection which the server had closed is sent again only if it cannot have
//! arrived. After a deadline all idle connections are dropped: they lead to the same silence.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::uri::InvalidUri;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use pin_project_lite::pin_project;

use super::error::ApiError;
use crate::base::lock;
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::{ClockUnread, clock_unread};
use crate::rt::net::{self, TcpStream};
use crate::rt::time::{Duration, Elapsed, Instant, timeout};

/// Idle connections that are kept.
const IDLE_MAX: usize = 2;

/// One request, ready to be sent again.
#[derive(Clone)]
pub(super) struct Call {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub media_type: &'static str,
    pub body: Bytes,
}

impl Call {
    fn request(&self, host: &str) -> Result<Request<Full<Bytes>>, ApiError> {
        let malformed = |error: &dyn std::fmt::Display| ApiError::Malformed(error.to_string());
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().map_err(|error: InvalidUri| malformed(&error))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(host).map_err(|error| malformed(&error))?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        Ok(request)
    }
}

/// hyper looks at the clock in every poll, although nobody reads a date.
type Work = ClockUnread<http1::Connection<HyperIo<TcpStream>, Full<Bytes>>>;

/// A connection. It has no task: whoever waits for it works for it. One that is idle is looked at when the next call comes,
/// and only then is seen to be closed.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// None when it is over.
    work: Option<Pin<Box<Work>>>,
}

impl Connection {
    /// Waits for something that comes over the connection.
    pub(super) fn wait<F: Future>(&mut self, something: F) -> Wait<'_, F> {
        Wait { connection: self, something }
    }

    async fn ready(&mut self) -> hyper::Result<()> {
        poll_fn(|cx| {
            self.poll_work(cx);
            self.sender.poll_ready(cx)
        })
        .await
    }

    /// Whether the server has not closed it.
    fn is_open(&mut self) -> bool {
        self.poll_work(&mut Context::from_waker(Waker::noop()));
        self.work.is_some()
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) {
        let Some(Poll::Ready(end)) = self.work.as_mut().map(|work| work.as_mut().poll(cx)) else { return };
        self.work = None;
        if let Err(error) = end {
            tracing::trace!(%error, "connection to the API server ended");
        }
    }
}

pin_project! {
    /// See [`Connection::wait`].
    #[must_use = "futures do nothing unless awaited"]
    pub(super) struct Wait<'a, F> {
        connection: &'a mut Connection,
        #[pin]
        something: F,
    }
}

impl<F: Future> Future for Wait<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Poll::Ready(got) = this.something.as_mut().poll(cx) {
            return Poll::Ready(got);
        }
        this.connection.poll_work(cx);
        this.something.poll(cx)
    }
}

/// The way to one server.
pub(super) struct Http {
    host_port: String,
    idle_max: Duration,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

impl Http {
    pub(super) fn new(host_port: String, idle_max: Duration) -> Self {
        Self { host_port, idle_max, idle: Mutex::default() }
    }

    /// Sends a request and gives the whole answer.
    pub(super) async fn call(&self, call: &Call, deadline: Duration) -> Result<(StatusCode, Bytes), ApiError> {
        let whole = async {
            let (response, mut connection) = self.exchange(call).await?;
            let status = response.status();
            let body = connection.wait(response.into_body().collect()).await.map_err(broken)?.to_bytes();
            self.keep(connection);
            Ok((status, body))
        };
        self.in_time(timeout(deadline, whole).await, deadline)
    }

    /// Sends a request and gives the answer's head and body; the connection is the body's.
    pub(super) async fn open(
        &self,
        call: &Call,
        deadline: Duration,
    ) -> Result<(Response<Incoming>, Connection), ApiError> {
        self.in_time(timeout(deadline, self.exchange(call)).await, deadline)
    }

    fn in_time<T>(&self, answered: Result<Result<T, ApiError>, Elapsed>, deadline: Duration) -> Result<T, ApiError> {
        answered.unwrap_or_else(|_| {
            self.forget_idle();
            Err(ApiError::Deadline(deadline))
        })
    }

    async fn exchange(&self, call: &Call) -> Result<(Response<Incoming>, Connection), ApiError> {
        loop {
            let (mut connection, reused) = match self.take_idle() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            let request = call.request(&self.host_port)?;
            if let Err(error) = connection.ready().await {
                // Nothing was sent. Each turn uses up one idle connection.
                if reused {
                    continue;
                }
                return Err(broken(error));
            }
            let response = connection.sender.send_request(request);
            match connection.wait(response).await {
                Ok(response) => return Ok((response, connection)),
                Err(error) if reused && (error.is_canceled() || call.method == Method::GET) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, ApiError> {
        let refused = |error: std::io::Error| ApiError::Connect(format!("{}: {error}", self.host_port));
        let stream = net::connect(&self.host_port).await.map_err(refused)?;
        let (sender, work) = http1::handshake(HyperIo::new(stream)).await.map_err(broken)?;
        Ok(Connection { sender, work: Some(Box::pin(clock_unread(work))) })
    }

    /// After a silence: what is idle leads to the same.
    pub(super) fn forget_idle(&self) {
        lock(&self.idle).clear();
    }

    /// One that is not too old. Whether it is closed shows before anything is sent on it.
    fn take_idle(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        idle.retain(|(since, _)| now.duration_since(*since) <= self.idle_max);
        idle.pop().map(|(_, connection)| connection)
    }

    /// Keeps a connection whose answer was read to its end, beside others that are still open.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        idle.retain_mut(|(_, other)| other.is_open());
        if idle.len() < IDLE_MAX {
            idle.push((Instant::now(), connection));
        }
    }
}

fn broken(error: hyper::Error) -> ApiError {
    ApiError::Exchange(error.to_string())
}
