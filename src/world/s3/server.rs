//! The object store's program, its faults and what they did.
//!
//! Faults are drawn from the server process's own stream, so they move no other draw. Each counts its effects: a fault
//! that had none is a finding. Objects outlive the process, as a cloud's do.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::answer::{Asked, Buckets, answer, internal_error, refused, slow_down};
use super::auth::{self, Keys, verify};
use super::bucket::Bucket;
use crate::base::percent::decode;
use crate::base::{Content, Stream, lock};
use crate::rt::chance;
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::clock_unread;
use crate::rt::net::{TcpListener, TcpStream};
use crate::rt::task::Scope;
use crate::rt::time::{sleep, wall};
use crate::world::web::Ratio;
use crate::world::web::answer::{Answer, AnswerBody};
use crate::world::web::body::WebBody;

/// Longest body that is taken, in bytes; Amazon takes 5 GiB.
const BODY_BYTES_MAX: usize = 256 << 20;

/// How the server misbehaves. The default is not at all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct S3Faults {
    /// Answers `500 InternalError`.
    pub errors: Ratio,
    /// Answers `503 SlowDown`.
    pub throttle: Ratio,
    /// Breaks the connection in the middle of an object's body.
    pub truncate: Ratio,
    /// Does what a change asks for and breaks the connection without an answer.
    pub lose_answer: Ratio,
    /// Waits before it answers.
    pub delay: Duration,
    /// Lists what was there when this was switched on.
    pub stale_listing: bool,
}

/// What the server did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct S3Counters {
    /// Requests that arrived.
    pub requests: u64,
    /// Requests that were not believed.
    pub refused: u64,
    /// Listings sent.
    pub listings: u64,
    /// Bytes of objects in answers, those cut off included.
    pub object_bytes: u64,
    /// Changes that were made.
    pub changes: u64,
    /// Effects of [`S3Faults::errors`].
    pub errors: u64,
    /// Effects of [`S3Faults::throttle`].
    pub throttled: u64,
    /// Effects of [`S3Faults::truncate`].
    pub truncated: u64,
    /// Effects of [`S3Faults::lose_answer`].
    pub lost_answers: u64,
    /// Effects of [`S3Faults::delay`].
    pub delayed: u64,
    /// Listings of [`S3Faults::stale_listing`] that differed from the truth.
    pub stale: u64,
}

/// An object store: outlives the host that serves it.
pub struct S3Server {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: Buckets,
    keys: Keys,
    faults: S3Faults,
    counters: S3Counters,
    /// What stale listings show.
    old: Option<Buckets>,
}

impl S3Server {
    /// A healthy server that lets these accounts in. Without any, nobody gets in.
    pub fn new(buckets: Buckets, keys: Keys) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { buckets, keys, ..State::default() }) })
    }

    /// Who may come in from now on.
    pub fn set_keys(&self, keys: Keys) {
        lock(&self.state).keys = keys;
    }

    /// From now on.
    pub fn set_faults(&self, faults: S3Faults) {
        let mut state = lock(&self.state);
        match (faults.stale_listing, state.old.is_some()) {
            (true, false) => state.old = Some(state.buckets.clone()),
            (false, _) => state.old = None,
            _ => {}
        }
        state.faults = faults;
    }

    /// So far.
    pub fn counters(&self) -> S3Counters {
        lock(&self.state).counters
    }

    /// Looks at or changes a bucket, which is made if it is missing. Answers in progress go on with what they began with.
    pub fn with_bucket<R>(&self, name: &str, f: impl FnOnce(&mut Bucket) -> R) -> R {
        f(lock(&self.state).buckets.entry(name.to_owned()).or_default())
    }

    /// The content of a seeded object at its first version.
    pub fn content(bucket: &str, key: &str) -> Content {
        Content::of(&format!("/{bucket}/{key}"), 1)
    }

    /// The program: serves on each of `addrs` until its process dies.
    ///
    /// # Errors
    /// Those of binding and accepting.
    pub async fn run(self: Arc<Self>, addrs: Vec<SocketAddr>) -> io::Result<()> {
        let chance = Arc::new(Mutex::new(chance::stream("s3")));
        let scope = Scope::new();
        let mut servers = Vec::new();
        for addr in addrs {
            let listener = TcpListener::bind(addr).await?;
            servers.push(scope.spawn("s3-accept", self.clone().accept(listener, chance.clone())));
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
            connections.spawn("s3-connection", self.clone().connection(stream, chance.clone()));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, chance: Arc<Mutex<Stream>>) {
        let service = service_fn(|request| self.clone().respond(request, chance.clone()));
        let mut http = http1::Builder::new();
        // hyper reads the machine's clock for both of these.
        http.auto_date_header(false).header_read_timeout(None);
        // For the date, hyper looks at the clock in every poll even so.
        if let Err(error) = clock_unread(http.serve_connection(HyperIo::new(stream), service)).await {
            tracing::debug!(%error, "s3 connection ended");
        }
    }

    /// An error breaks the connection without an answer.
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        chance: Arc<Mutex<Stream>>,
    ) -> io::Result<Response<WebBody>> {
        let delay = self.arrived();
        let (parts, body) = request.into_parts();
        let body = collect(body).await?;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let (answer, cut) = self.decide(&parts, &body, &mut lock(&chance))?;
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
    fn decide(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
        chance: &mut Stream,
    ) -> io::Result<(Answer, Option<u64>)> {
        let mut state = lock(&self.state);
        let State { buckets, keys, faults, counters, old } = &mut *state;
        let mut drawn = |odds: Ratio| chance.ratio(odds.num, odds.den);
        let (error, throttle) = (drawn(faults.errors), drawn(faults.throttle));
        let (truncate, lose) = (drawn(faults.truncate), drawn(faults.lose_answer));
        let at = chance.bits();
        let path = decode(parts.uri.path()).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let epoch_s = wall().as_secs();
        let asked = Asked {
            method: &parts.method,
            path: &path,
            query,
            headers: &parts.headers,
            body,
            epoch_s,
            number: counters.requests,
        };
        if throttle {
            counters.throttled += 1;
            return Ok((slow_down(asked), None));
        }
        if error {
            counters.errors += 1;
            return Ok((internal_error(asked), None));
        }
        let signed = auth::Request { method: parts.method.as_str(), path: &path, query, headers: &parts.headers, body };
        if let Err(why) = verify(signed, keys, epoch_s) {
            counters.refused += 1;
            return Ok((refused(asked, why), None));
        }
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let mut found = answer(buckets, asked);
        if query.contains("list-type=2") && reads {
            counters.listings += 1;
            if let Some(old) = old {
                let shown = answer(old, asked);
                counters.stale += u64::from(shown != found);
                found = shown;
            }
        }
        if !reads && found.status.is_success() {
            counters.changes += 1;
            if lose {
                counters.lost_answers += 1;
                return Err(io::Error::other("the fault plan loses this answer"));
            }
        }
        let cut = match found.body {
            AnswerBody::Part { length, .. } => {
                counters.object_bytes += length;
                let cut = truncate && length > 0;
                counters.truncated += u64::from(cut);
                cut.then(|| at % length)
            }
            AnswerBody::Text(_) => None,
        };
        Ok((found, cut))
    }
}

async fn collect(mut body: Incoming) -> io::Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            if all.len() + data.len() > BODY_BYTES_MAX {
                return Err(io::Error::other("the body is too long"));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}
