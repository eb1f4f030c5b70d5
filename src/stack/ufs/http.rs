//! HTTP/1.1 requests over [`crate::rt::net`]: hyper's protocol core, and a small pool of idle connections.
//!
//! A request that met a connection closed by the server is sent again on a fresh one: all that under-stores are asked for
//! may be repeated, or fails loudly when it is (the end of a multipart upload). Only what has neither query nor body is
//! redirected. Nothing here waits with a deadline; whoever asks drops the future, and with it the connection.
//! `https` is spoken as plain HTTP on port 443 where the configuration says that TLS is outside the model, and refused
//! otherwise.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, LOCATION};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};

use super::location::Location;
use crate::base::lock;
use crate::rt::hyper_io::HyperIo;
use crate::rt::net;
use crate::rt::task::{self, AbortHandle};
use crate::rt::time::{Duration, Instant};

/// Redirections that one request follows.
const REDIRECTS_MAX: usize = 5;

/// An idle connection is dropped after this; shorter than Apache's `KeepAliveTimeout` of 5 s.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Idle connections kept for one server.
const IDLE_PER_SERVER_MAX: usize = 4;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("connect to {0}: {1}")]
    Connect(String, std::io::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Exchange(#[from] hyper::Error),
    /// The body is longer than the caller takes.
    #[error("the body is longer than {0} bytes")]
    TooLong(u64),
    /// Redirected too often, or to nowhere.
    #[error("redirected {0}")]
    Redirect(String),
    /// `https` where TLS is not part of the model.
    #[error("{0}: live https is not supported yet; use an http:// mirror")]
    Tls(String),
    /// The request cannot be written.
    #[error("cannot ask for it: {0}")]
    Request(#[from] http::Error),
}

impl HttpError {
    /// Whether trying again may help.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Connect(..) | Self::Exchange(_))
    }
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Server and path.
    pub location: Location,
    /// Query without `?`, encoded.
    pub query: Option<String>,
    /// Headers; `Host` and `Content-Length` are added.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Call {
    /// Without query, headers or body.
    pub fn new(method: Method, location: Location) -> Self {
        Self { method, location, query: None, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// The server as `Host` names it.
    pub fn host(&self) -> String {
        let location = &self.location;
        if location.port == if location.secure { 443 } else { 80 } {
            location.host.clone()
        } else {
            location.authority()
        }
    }
}

/// A client with its idle connections.
pub struct HttpClient {
    plain_https: bool,
    idle: Mutex<BTreeMap<String, Vec<(Instant, Connection)>>>,
}

/// A connection whose task ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpClient {
    /// `plain_https`: speak plain HTTP where the URL says https.
    pub fn new(plain_https: bool) -> Self {
        Self { plain_https, idle: Mutex::new(BTreeMap::new()) }
    }

    /// Sends a request and gives the whole answer. `judge` sees status and headers first and either says how many bytes of
    /// body it takes, or refuses, which drops the connection.
    ///
    /// # Errors
    /// `judge`'s, or an [`HttpError`].
    pub async fn send<E: From<HttpError>>(
        &self,
        mut call: Call,
        judge: impl FnOnce(&Parts) -> Result<u64, E>,
    ) -> Result<Response<Bytes>, E> {
        let fixed = call.query.is_some() || !call.body.is_empty();
        for _ in 0..=REDIRECTS_MAX {
            let (response, connection) = self.exchange(&call).await?;
            let (parts, body) = response.into_parts();
            if fixed || !is_redirect(parts.status) {
                let limit = judge(&parts)?;
                let body = collect(body, limit).await?;
                self.keep(call.location.authority(), connection);
                return Ok(Response::from_parts(parts, body));
            }
            call.location = redirected(&call.location, parts.headers.get(LOCATION))?;
        }
        Err(HttpError::Redirect(format!("more than {REDIRECTS_MAX} times, last to {}", call.location)).into())
    }

    /// One request, without following redirections.
    async fn exchange(&self, call: &Call) -> Result<(Response<Incoming>, Connection), HttpError> {
        let location = &call.location;
        if location.secure && !self.plain_https {
            return Err(HttpError::Tls(location.to_string()));
        }
        let server = location.authority();
        loop {
            let (mut connection, reused) = match self.take_idle(&server) {
                Some(connection) => (connection, true),
                None => (connect(&server).await?, false),
            };
            let request = request(call)?;
            let sent = match connection.sender.ready().await {
                Ok(()) => connection.sender.send_request(request).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(response) => return Ok((response, connection)),
                // The server may have closed it while it was idle: each turn uses up one idle connection.
                Err(_) if reused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_idle(&self, server: &str) -> Option<Connection> {
        let oldest = Instant::now() - IDLE_MAX;
        let mut idle = lock(&self.idle);
        let list = idle.get_mut(server)?;
        list.retain(|(since, connection)| *since >= oldest && !connection.sender.is_closed());
        list.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, server: String, connection: Connection) {
        let mut idle = lock(&self.idle);
        let list = idle.entry(server).or_default();
        if list.len() < IDLE_PER_SERVER_MAX {
            list.push((Instant::now(), connection));
        }
    }
}

async fn connect(server: &str) -> Result<Connection, HttpError> {
    let stream = net::connect(server).await.map_err(|error| HttpError::Connect(server.to_owned(), error))?;
    let (sender, connection) = http1::handshake(HyperIo::new(stream)).await?;
    let task = task::spawn("ufs-http", async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "under-store connection ended");
        }
    });
    Ok(Connection { sender, task: task.abort_handle() })
}

fn request(call: &Call) -> Result<Request<Full<Bytes>>, HttpError> {
    let path = call.location.encoded_path();
    let uri = call.query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
    let mut request = Request::builder().method(&call.method).uri(uri).header(HOST, call.host());
    if let Some(all) = request.headers_mut() {
        all.extend(call.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok(request.body(Full::new(call.body.clone()))?)
}

async fn collect(mut body: Incoming, limit: u64) -> Result<Bytes, HttpError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if (all.len() + data.len()) as u64 > limit {
                return Err(HttpError::TooLong(limit));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a `Location` header leads: a whole URL, an absolute path, or a path beside `from`.
fn redirected(from: &Location, header: Option<&HeaderValue>) -> Result<Location, HttpError> {
    let nowhere = || HttpError::Redirect("to nowhere".to_owned());
    let to = header.and_then(|value| value.to_str().ok()).ok_or_else(nowhere)?;
    let url = if to.contains("://") {
        to.to_owned()
    } else if to.starts_with('/') {
        format!("{}{to}", from.origin())
    } else {
        let path = from.encoded_path();
        let dir = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{}{dir}{to}", from.origin())
    };
    url.parse().map_err(|_| HttpError::Redirect(format!("to `{url}`, which is no under-store URL")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_resolve() {
        let from: Location = "http://m/hbase/stable".parse().unwrap();
        for (to, want) in [
            ("http://other:81/x", Some("http://other:81/x")),
            ("/hbase/2.5/", Some("http://m/hbase/2.5/")),
            ("stable/", Some("http://m/hbase/stable/")),
            ("ftp://m/x", None),
            ("../../etc", None),
        ] {
            let header = HeaderValue::from_static(to);
            let got = redirected(&from, Some(&header)).ok().map(|l| l.to_string());
            assert_eq!(got.as_deref(), want, "{to}");
        }
        assert!(redirected(&from, None).is_err());
    }
}
