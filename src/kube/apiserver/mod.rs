//! The API server: the [`Store`] over HTTP/1.1 and JSON, with upstream's paths, parameters, `Status` bodies and watches.
//!
//! Its objects outlive its process, as those in etcd do: [`ApiServer`] is what etcd holds, [`ApiServer::run`] the program.
//! Rule: no body is ever logged, because it may be a Secret's. Differs: no authentication, no protobuf, no paging (a list
//! is given whole, whatever `limit` says).

mod body;
mod route;
mod watch;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::kind::{KindId, Kinds};
use super::store::failure::{bad_request, unsupported_patch};
use super::store::{Change, DeleteOptions, Deleted, Object, Part, Patch, Refusal, Selection, Store, StoreConfig};
use super::{clock, json};
use crate::base::{Seed, lock};
use crate::rt::hyper_io::HyperIo;
use crate::rt::interpose::clock_unread;
use crate::rt::net::{TcpListener, TcpStream};
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant, interval};
use body::ApiBody;
use route::{Route, WatchQuery};
use watch::{Hub, WatchBody, Watcher};

/// The server's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiServerConfig {
    /// The store's.
    pub store: StoreConfig,
    /// How long a watch lasts that does not say. kube-apiserver's `--min-request-timeout`; it draws up to twice that.
    pub watch_timeout: Duration,
    /// Between two bookmarks of a watch: about a minute in `cacher`. With the first ping after it.
    pub bookmark_period: Duration,
    /// Between two signs of life on a watch: HTTP/2's `ReadIdleTimeout` of 30 s.
    pub ping_period: Duration,
    /// Lines that a watch may be behind before it is ended: of the order of `cacher`'s channels.
    pub watch_lines_max: usize,
    /// The longest body of a request: kube-apiserver's limit of 3 MiB.
    pub body_bytes_max: usize,
}

impl Default for ApiServerConfig {
    fn default() -> Self {
        Self {
            store: StoreConfig::default(),
            watch_timeout: Duration::from_secs(1800),
            bookmark_period: Duration::from_secs(60),
            ping_period: Duration::from_secs(30),
            watch_lines_max: 1000,
            body_bytes_max: 3 * 1024 * 1024,
        }
    }
}

/// What the server did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ApiCounters {
    /// Requests that arrived.
    pub requests: u64,
    /// Of them, those that were refused.
    pub refused: u64,
    /// Lines put on watches.
    pub told: u64,
}

struct State {
    store: Store,
    hub: Hub,
    counters: ApiCounters,
}

/// A cluster's objects and the program that serves them.
pub struct ApiServer {
    config: ApiServerConfig,
    state: Mutex<State>,
}

/// An answer that is not a watch: status and body.
type Answer = (StatusCode, Bytes);

impl ApiServer {
    /// A new cluster. `seed` gives uids and generated names.
    pub fn new(kinds: Kinds, config: ApiServerConfig, seed: Seed) -> Arc<Self> {
        let chance = seed.stream("apiserver", 0);
        let mut store = Store::new(Arc::new(kinds), config.store, chance, clock::now());
        store.take_events();
        let state = State { store, hub: Hub::default(), counters: ApiCounters::default() };
        Arc::new(Self { config, state: Mutex::new(state) })
    }

    /// Looks at the objects directly.
    pub fn look<R>(&self, f: impl FnOnce(&Store) -> R) -> R {
        f(&lock(&self.state).store)
    }

    /// Looks at or changes the objects directly, as somebody with access to etcd could; watches are told.
    pub fn with_store<R>(&self, f: impl FnOnce(&mut Store) -> R) -> R {
        let mut state = lock(&self.state);
        let result = f(&mut state.store);
        state.publish(self.config.watch_lines_max);
        result
    }

    /// So far.
    pub fn counters(&self) -> ApiCounters {
        lock(&self.state).counters
    }

    /// Watches that are open.
    pub fn watches(&self) -> usize {
        lock(&self.state).hub.len()
    }

    /// The program: serves on `addr` (port 6443) until its process dies.
    ///
    /// # Errors
    /// Those of binding and accepting.
    pub async fn run(self: Arc<Self>, addr: SocketAddr) -> io::Result<()> {
        lock(&self.state).hub.clear();
        let listener = TcpListener::bind(addr).await?;
        let connections = Scope::new();
        connections.spawn("api-ticks", self.clone().tick());
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn("api-connection", self.clone().connection(stream));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| self.clone().respond(request));
        let mut http = http1::Builder::new();
        // hyper reads the machine's clock for both of these.
        http.auto_date_header(false).header_read_timeout(None);
        // For the date, hyper looks at the clock in every poll even so.
        if let Err(error) = clock_unread(http.serve_connection(HyperIo::new(stream), service)).await {
            tracing::debug!(%error, "API connection ended");
        }
    }

    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<ApiBody>, Infallible> {
        let (parts, body) = request.into_parts();
        let kinds = lock(&self.state).store.kinds().clone();
        let answered = match route::route(&kinds, &parts.method, parts.uri.path(), parts.uri.query().unwrap_or("")) {
            Ok(Route::Watch(kind, selection, query)) => {
                lock(&self.state).counters.requests += 1;
                let watch = self.watch(kind, selection, &query);
                return Ok(respond(StatusCode::OK, ApiBody::Watch(Box::new(watch))));
            }
            Ok(route) => match Limited::new(body, self.config.body_bytes_max).collect().await {
                Ok(body) => self.answer(&kinds, route, &parts.headers, &body.to_bytes()),
                Err(_) => Err(bad_request("the body of the request could not be read")),
            },
            Err(refusal) => Err(refusal),
        };
        let mut state = lock(&self.state);
        state.counters.requests += 1;
        let (status, bytes) = answered.unwrap_or_else(|refusal| {
            state.counters.refused += 1;
            let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (code, status_json(&refusal))
        });
        drop(state);
        // Method, path and code: never a body.
        tracing::trace!(method = %parts.method, path = parts.uri.path(), code = status.as_u16(), "API request");
        Ok(respond(status, ApiBody::Full(Some(bytes))))
    }

    /// Does what a request asks, all at once.
    fn answer(&self, kinds: &Kinds, route: Route, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Refusal> {
        let mut state = lock(&self.state);
        let answered = answer(kinds, &mut state.store, route, headers, body, clock::now());
        state.publish(self.config.watch_lines_max);
        answered
    }

    /// Begins a watch.
    fn watch(self: Arc<Self>, kind: KindId, selection: Selection, query: &WatchQuery) -> WatchBody {
        let watcher = Watcher::new(selection.clone(), query.bookmarks);
        let max = usize::MAX;
        let mut state = lock(&self.state);
        let State { store, hub, .. } = &mut *state;
        match query.version.filter(|_| !query.initial) {
            None => {
                for object in store.list(kind, &selection) {
                    watcher.push(watch::line(Change::Added, object), max);
                }
                if query.initial && query.bookmarks {
                    watcher.push(watch::bookmark(store.kinds().get(kind), store.revision(), true), max);
                }
            }
            Some(version) => match store.events_after(kind, version) {
                Ok(events) => {
                    for event in events {
                        if let Some(change) = selection.sees(event) {
                            watcher.push(watch::line_of(event, change), max);
                        }
                    }
                }
                // Upstream answers 200 and tells in the stream.
                Err(refusal) => {
                    watcher.push(watch::error(&status_json(&refusal)), max);
                    watcher.end();
                }
            },
        }
        let id = hub.add(kind, watcher.clone());
        drop(state);
        let lasts = query.timeout_seconds.map_or(self.config.watch_timeout, Duration::from_secs);
        WatchBody::new(self, watcher, id, lasts.min(Duration::from_secs(u64::from(u32::MAX))))
    }

    /// Gives every watch a sign of life and lets what happened grow old, for ever.
    async fn tick(self: Arc<Self>) {
        let mut ticks = interval(self.config.ping_period);
        // The first is at once: nothing has grown old yet, however often the program is started.
        ticks.tick().await;
        let mut marks_at = Instant::now() + self.config.bookmark_period;
        loop {
            let now = ticks.tick().await;
            let marks = now >= marks_at;
            if marks {
                marks_at = now + self.config.bookmark_period;
            }
            let mut state = lock(&self.state);
            state.store.age();
            let store = &state.store;
            state.hub.tick(store.kinds(), store.revision(), marks, self.config.watch_lines_max);
        }
    }

    /// A watch is over.
    fn forget(&self, id: (KindId, u64)) {
        lock(&self.state).hub.remove(id);
    }
}

impl State {
    fn publish(&mut self, max: usize) {
        for (kind, event) in self.store.take_events() {
            self.counters.told += self.hub.publish(kind, &event, max);
        }
    }
}

fn respond(status: StatusCode, body: ApiBody) -> Response<ApiBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A `Status` object.
fn status_json(status: &kube::core::Status) -> Bytes {
    let mut value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}});
    if let (Value::Object(head), Ok(Value::Object(rest))) = (&mut value, serde_json::to_value(status)) {
        head.extend(rest);
    }
    value.to_string().into()
}

fn answer(
    kinds: &Kinds,
    store: &mut Store,
    route: Route,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Answer, Refusal> {
    let ok = |object: Arc<Object>| Ok((StatusCode::OK, object.json().clone()));
    let value = |value: Value| Ok((StatusCode::OK, Bytes::from(value.to_string())));
    match route {
        Route::Health => Ok((StatusCode::OK, Bytes::from_static(b"ok"))),
        Route::Version => value(json!({"major": "1", "minor": "37", "gitVersion": "v1.37.0", "platform": "glass"})),
        Route::List(kind, selection) => Ok((StatusCode::OK, list(kinds, store, kind, &selection))),
        Route::Watch(..) => Err(bad_request("a watch has no body")),
        Route::Get(kind, key) => ok(store.get(kind, &key)?),
        Route::Create(kind, namespace, validation) => {
            let entry = kinds.get(kind);
            let own = if entry.begins_without_status() { None } else { entry.decode_own(body) };
            let made = match own {
                Some(parts) => store.create_decoded(kind, &namespace, parts, now)?,
                None => store.create(kind, &namespace, parse(body)?, validation, now)?,
            };
            Ok((StatusCode::CREATED, made.json().clone()))
        }
        Route::Update(kind, key, part, validation) => {
            let entry = kinds.get(kind);
            let own = if part == Part::Status { entry.decode_own_status(body) } else { entry.decode_own(body) };
            ok(match own {
                Some(parts) => store.update_decoded(kind, &key, parts, part)?,
                None => store.update(kind, &key, &parse(body)?, part, validation)?,
            })
        }
        Route::Patch(kind, key, part, validation) => {
            ok(store.patch(kind, &key, &patch(headers, body)?, part, validation)?)
        }
        Route::Delete(kind, key) => {
            let options = options(body)?;
            Ok(deleted(kinds, kind, store.delete(kind, &key, &options, now)?))
        }
        Route::DeleteAll(kind, selection) => {
            store.delete_all(kind, &selection, &options(body)?, now)?;
            Ok((StatusCode::OK, list(kinds, store, kind, &selection)))
        }
        Route::GetScale(kind, key) => value(store.scale(kind, &key)?),
        Route::UpdateScale(kind, key) => value(store.update_scale(kind, &key, &parse(body)?)?),
        Route::PatchScale(kind, key) => value(store.patch_scale(kind, &key, &patch(headers, body)?)?),
        Route::Bind(kind, key) => {
            store.bind(kind, &key, &parse(body)?, now)?;
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            Ok((StatusCode::CREATED, status.to_string().into()))
        }
        Route::Evict(kind, key) => {
            store.evict(kind, &key, &parse(body)?, now)?;
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
            Ok((StatusCode::CREATED, status.to_string().into()))
        }
    }
}

/// The error of serde_json would show nothing but line and column, and even those are not for a Secret's body.
fn parse(body: &[u8]) -> Result<Value, Refusal> {
    json::read(body).map_err(|_| bad_request("the body of the request is not valid JSON"))
}

fn options(body: &[u8]) -> Result<DeleteOptions, Refusal> {
    if body.is_empty() { Ok(DeleteOptions::default()) } else { Ok(DeleteOptions::of(&parse(body)?)) }
}

fn patch(headers: &HeaderMap, body: &[u8]) -> Result<Patch, Refusal> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Patch::of(media_type, parse(body)?).ok_or_else(|| unsupported_patch(&Patch::MEDIA_TYPES))
}

/// A list, out of its objects' own JSON.
fn list(kinds: &Kinds, store: &Store, kind: KindId, selection: &Selection) -> Bytes {
    let entry = kinds.get(kind);
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"items\":[",
        entry.kind,
        entry.api_version(),
        store.revision()
    );
    let mut all = BytesMut::from(head.as_bytes());
    for (index, object) in store.list(kind, selection).enumerate() {
        if index > 0 {
            all.extend_from_slice(b",");
        }
        all.extend_from_slice(object.json());
    }
    all.extend_from_slice(b"]}");
    all.freeze()
}

/// The object if it stays for a while, else a `Status` that names it.
fn deleted(kinds: &Kinds, kind: KindId, deleted: Deleted) -> Answer {
    let entry = kinds.get(kind);
    match deleted {
        Deleted::Marked(object) => (StatusCode::OK, object.json().clone()),
        Deleted::Gone(object) => {
            let details =
                json!({"name": object.key.name, "group": entry.group, "kind": entry.plural, "uid": object.uid()});
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            (StatusCode::OK, status.to_string().into())
        }
    }
}
