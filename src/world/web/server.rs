//! The web server program, its faults and what they did.
//!
//! Faults are drawn from the server process's own stream, so they move no other draw. Each counts its effects: a fault
//! that had none is a finding.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::answer::{Answer, AnswerBody, answer, text};
use super::body::WebBody;
use super::tree::WebTree;
use crate::base::{Stream, lock};
use crate::rt::chance;
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::clock_unread;
use crate::rt::net::{TcpListener, TcpStream};
use crate::rt::task::Scope;
use crate::rt::time::sleep;

/// `num` of `den` requests; none if `den` is 0.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// How many.
    pub num: u64,
    /// Of how many.
    pub den: u64,
}

/// How the server misbehaves. The default is not at all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct WebFaults {
    /// Answers `503 Service Unavailable`.
    pub unavailable: Ratio,
    /// Breaks the connection in the middle of a file's body.
    pub truncate: Ratio,
    /// Waits before it answers.
    pub delay: Duration,
}

/// What the server did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct WebCounters {
    /// Requests that arrived.
    pub requests: u64,
    /// Index pages sent.
    pub pages: u64,
    /// Bytes of files in answers, those cut off included.
    pub file_bytes: u64,
    /// Effects of [`WebFaults::unavailable`].
    pub unavailable: u64,
    /// Effects of [`WebFaults::truncate`].
    pub truncated: u64,
    /// Effects of [`WebFaults::delay`].
    pub delayed: u64,
}

/// A mirror: outlives the host that serves it, as its files do.
pub struct WebServer {
    state: Mutex<State>,
}

struct State {
    tree: WebTree,
    etags: bool,
    faults: WebFaults,
    counters: WebCounters,
}

impl WebServer {
    /// A healthy server that sends entity tags.
    pub fn new(tree: WebTree) -> Arc<Self> {
        let state = State { tree, etags: true, faults: WebFaults::default(), counters: WebCounters::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Whether answers carry entity tags; without them versions are told apart by length and time only.
    pub fn set_etags(&self, on: bool) {
        lock(&self.state).etags = on;
    }

    /// From now on.
    pub fn set_faults(&self, faults: WebFaults) {
        lock(&self.state).faults = faults;
    }

    /// So far.
    pub fn counters(&self) -> WebCounters {
        lock(&self.state).counters
    }

    /// Looks at or changes the files. Requests in progress go on with the version they began with.
    pub fn with_tree<R>(&self, f: impl FnOnce(&mut WebTree) -> R) -> R {
        f(&mut lock(&self.state).tree)
    }

    /// The program: serves on each of `addrs` (ports 80 and 443) until its process dies.
    ///
    /// # Errors
    /// Those of binding and accepting.
    pub async fn run(self: Arc<Self>, addrs: Vec<SocketAddr>) -> io::Result<()> {
        let chance = Arc::new(Mutex::new(chance::stream("web")));
        let scope = Scope::new();
        let mut servers = Vec::new();
        for addr in addrs {
            let listener = TcpListener::bind(addr).await?;
            servers.push(scope.spawn("web-accept", self.clone().accept(listener, chance.clone())));
        }
        for server in servers {
            server.await.map_err(io::Error::other)??;
        }
        Ok(())
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, chance: Arc<Mutex<Stream>>) -> io::Result<()> {
        let connections = Scope::new();
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn("web-connection", self.clone().connection(stream, chance.clone()));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, chance: Arc<Mutex<Stream>>) {
        let service = service_fn(|request| self.clone().respond(request, chance.clone()));
        let mut http = http1::Builder::new();
        // hyper reads the machine's clock for both of these.
        http.auto_date_header(false).header_read_timeout(None);
        // For the date, hyper looks at the clock in every poll even so.
        if let Err(error) = clock_unread(http.serve_connection(HyperIo::new(stream), service)).await {
            tracing::debug!(%error, "web connection ended");
        }
    }

    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        chance: Arc<Mutex<Stream>>,
    ) -> Result<Response<WebBody>, Infallible> {
        let delay = self.arrived();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let (answer, cut) = self.decide(&request, &mut lock(&chance));
        let mut response = Response::new(WebBody::new(answer.body, cut));
        *response.status_mut() = answer.status;
        for (name, value) in answer.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().append(name, value);
            }
        }
        Ok(response)
    }

    fn arrived(&self) -> Duration {
        let mut state = lock(&self.state);
        let delay = state.faults.delay;
        state.counters.requests += 1;
        state.counters.delayed += u64::from(!delay.is_zero());
        delay
    }

    /// The answer, and after how many bytes of its body the connection breaks.
    fn decide(&self, request: &Request<Incoming>, chance: &mut Stream) -> (Answer, Option<u64>) {
        let mut state = lock(&self.state);
        let State { tree, etags, faults, counters } = &mut *state;
        let unavailable = chance.ratio(faults.unavailable.num, faults.unavailable.den);
        let truncate = chance.ratio(faults.truncate.num, faults.truncate.den);
        let at = chance.bits();
        if unavailable {
            counters.unavailable += 1;
            return (text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "try again later\n".to_owned()), None);
        }
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let answer = answer(tree, *etags, request.method(), path, request.headers());
        match answer.body {
            AnswerBody::Part { length, .. } => {
                counters.file_bytes += length;
                let cut = truncate && length > 0;
                counters.truncated += u64::from(cut);
                (answer, cut.then(|| at % length))
            }
            AnswerBody::Text(_) => {
                counters.pages += u64::from(answer.status == StatusCode::OK);
                (answer, None)
            }
        }
    }
}
