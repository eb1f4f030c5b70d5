//! HTTP/1.1 to one server: deadlines, and a few idle connections.
//!
//! client-go shares one HTTP/2 connection among all requests; here each request in flight has its own, and idle ones are
//! kept for the next. A request that met a connection which the server had closed is sent again only if it cannot have
//! arrived. After a deadline all idle connections are dropped: they lead to the same silence.

use std::sync::Mutex;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::uri::InvalidUri;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};

use super::error::ApiError;
use crate::base::lock;
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::clock_unread;
use crate::rt::net;
use crate::rt::task::{self, AbortHandle};
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

/// A connection whose task ends with it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
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
            let (response, connection) = self.exchange(call).await?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
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
            lock(&self.idle).clear();
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
            if let Err(error) = connection.sender.ready().await {
                // Nothing was sent. Each turn uses up one idle connection.
                if reused {
                    continue;
                }
                return Err(broken(error));
            }
            match connection.sender.send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(error) if reused && (error.is_canceled() || call.method == Method::GET) => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }

    async fn connect(&self) -> Result<Connection, ApiError> {
        let refused = |error: std::io::Error| ApiError::Connect(format!("{}: {error}", self.host_port));
        let stream = net::connect(&self.host_port).await.map_err(refused)?;
        let (sender, connection) = http1::handshake(HyperIo::new(stream)).await.map_err(broken)?;
        let task = task::spawn("api-client-connection", async move {
            if let Err(error) = clock_unread(connection).await {
                tracing::trace!(%error, "connection to the API server ended");
            }
        });
        Ok(Connection { sender, task: task.abort_handle() })
    }

    fn take_idle(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        idle.retain(|(since, connection)| {
            now.duration_since(*since) <= self.idle_max && !connection.sender.is_closed()
        });
        idle.pop().map(|(_, connection)| connection)
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.push((Instant::now(), connection));
        }
    }
}

fn broken(error: hyper::Error) -> ApiError {
    ApiError::Exchange(error.to_string())
}
