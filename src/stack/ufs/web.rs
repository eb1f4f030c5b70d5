//! The `http://` and `https://` under-store: a web server's index pages as a read-only file tree.
//!
//! Listing is our own (opendal cannot list index pages); stat and ranged reads go through opendal's http service, over
//! [`Fence`] and our HTTP client. A listing is not atomic: a file that goes while it is being listed is left out.
//! In a world, `https` is plain HTTP on port 443, since TLS is outside the model; live it is refused with that reason.

use std::sync::Arc;

use bytes::Bytes;
use http::response::Parts;
use http::{Method, StatusCode};
use opendal::options::{ReadOptions, StatOptions};
use opendal::raw::BoxedStaticFuture;
use opendal::services::Http;
use opendal::{ErrorKind, Execute, Executor, HttpTransporter, OperationContext, Operator};

use super::fence::{Expected, Fence, fingerprint, if_match};
use super::http::{Call, HttpClient, HttpError};
use super::index;
use super::location::Location;
use super::retry::{Retry, RetryPolicy};
use super::{UfsEntry, UfsError, UfsFuture, UfsResult, UnderStore};
use crate::rt::task;

/// Longest index page that is read, in bytes.
const PAGE_BYTES_MAX: u64 = 8 << 20;

/// How to reach web under-stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebOptions {
    /// Speak plain HTTP for `https` URLs: for worlds, where TLS is outside the model.
    pub plain_https: bool,
    /// Tries, waits and deadlines.
    pub retry: RetryPolicy,
}

/// Web servers as under-stores.
pub struct WebStore {
    client: Arc<HttpClient>,
    retry: Retry,
}

impl WebStore {
    /// A store without open connections.
    pub fn new(options: WebOptions) -> Self {
        Self { client: Arc::new(HttpClient::new(options.plain_https)), retry: Retry::new(options.retry) }
    }

    /// opendal's view of the server of `location`, with a fence of its own.
    fn operator(&self, location: &Location, expected: Option<Expected>) -> UfsResult<Operator> {
        let failed = |error| failed(&location.to_string(), error);
        let operator = Operator::new(Http::default().endpoint(&location.origin()).root("/")).map_err(failed)?;
        let fence = HttpTransporter::new(Fence::new(self.client.clone(), expected));
        Ok(operator.with_context(OperationContext::from_parts(fence, Executor::with(Tasks))))
    }

    async fn stat_once(&self, location: &Location) -> UfsResult<UfsEntry> {
        let operator = self.operator(location, None)?;
        let found = operator.stat_options(&location.path, StatOptions::default()).await;
        let metadata = found.map_err(|error| failed(&location.to_string(), error))?;
        Ok(UfsEntry {
            name: location.name().to_owned(),
            dir: false,
            length: metadata.content_length(),
            fingerprint: fingerprint(&metadata),
        })
    }

    async fn read_once(&self, location: &Location, expected: Expected) -> UfsResult<Bytes> {
        let options = ReadOptions {
            range: (expected.offset..expected.offset.saturating_add(expected.length)).into(),
            if_match: if_match(&expected.fingerprint),
            ..ReadOptions::default()
        };
        let length = expected.length;
        let operator = self.operator(location, Some(expected))?;
        let read = operator.read_options(&location.path, options).await;
        let bytes = read.map_err(|error| failed(&location.to_string(), error))?.to_bytes();
        if bytes.len() as u64 != length {
            let reason = format!("{} bytes where {length} were asked for", bytes.len());
            return Err(UfsError::Malformed { url: location.to_string(), reason });
        }
        Ok(bytes)
    }

    /// The index page of a directory.
    async fn page_once(&self, dir: &Location) -> UfsResult<String> {
        let judge = |parts: &Parts| page_limit(dir, parts).map_err(PageError);
        let page = self.client.send::<PageError>(Call::new(Method::GET, dir.clone()), judge).await;
        let page = page.map_err(|error| error.0)?.into_body();
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    async fn list_all(&self, url: &str) -> UfsResult<Vec<UfsEntry>> {
        let dir = url.parse::<Location>()?.into_dir();
        let page = self.retry.run(url, || self.page_once(&dir)).await?;
        let links = index::parse(&page).ok_or_else(|| UfsError::Malformed {
            url: url.to_owned(),
            reason: "it is not an index page; check that the mount point is a directory listing".to_owned(),
        })?;
        let mut entries = Vec::with_capacity(links.len());
        for link in links {
            let location = dir.child(&link.name, link.dir);
            if link.dir {
                entries.push(UfsEntry { name: link.name, dir: true, length: 0, fingerprint: String::new() });
                continue;
            }
            match self.retry.run(url, || self.stat_once(&location)).await {
                Ok(entry) => entries.push(entry),
                Err(UfsError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

impl UnderStore for WebStore {
    fn list<'a>(&'a self, dir: &'a str) -> UfsFuture<'a, Vec<UfsEntry>> {
        Box::pin(self.list_all(dir))
    }

    fn stat<'a>(&'a self, url: &'a str) -> UfsFuture<'a, UfsEntry> {
        Box::pin(async move {
            let location = url.parse()?;
            self.retry.run(url, || self.stat_once(&location)).await
        })
    }

    fn read<'a>(&'a self, url: &'a str, fingerprint: &'a str, offset: u64, length: u64) -> UfsFuture<'a, Bytes> {
        Box::pin(async move {
            let location = url.parse()?;
            if length == 0 {
                return Ok(Bytes::new());
            }
            let expected = Expected { fingerprint: fingerprint.to_owned(), offset, length };
            self.retry.run(url, || self.read_once(&location, expected.clone())).await
        })
    }
}

/// Runs what opendal wants to spawn on the seam.
pub(super) struct Tasks;

impl Execute for Tasks {
    fn execute(&self, future: BoxedStaticFuture<()>) {
        drop(task::spawn("opendal", future));
    }
}

fn page_limit(dir: &Location, parts: &Parts) -> UfsResult<u64> {
    let reason = || parts.status.to_string();
    match parts.status {
        StatusCode::OK => Ok(PAGE_BYTES_MAX),
        StatusCode::NOT_FOUND => Err(UfsError::NotFound(dir.to_string())),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(UfsError::Unavailable { url: dir.to_string(), reason: reason() })
        }
        _ => Err(UfsError::Refused { url: dir.to_string(), reason: reason() }),
    }
}

struct PageError(UfsError);

impl From<HttpError> for PageError {
    fn from(error: HttpError) -> Self {
        let reason = error.to_string();
        let url = "the index page".to_owned();
        Self(match error {
            HttpError::Tls(_) | HttpError::Request(_) => UfsError::Unsupported(reason),
            error if error.retryable() => UfsError::Unavailable { url, reason },
            _ => UfsError::Malformed { url, reason },
        })
    }
}

pub(super) fn failed(url: &str, error: opendal::Error) -> UfsError {
    let (url, reason) = (url.to_owned(), error.message().to_owned());
    match error.kind() {
        ErrorKind::NotFound => UfsError::NotFound(url),
        // The file got shorter, or is another one.
        ErrorKind::ConditionNotMatch | ErrorKind::RangeNotSatisfied => UfsError::Changed(url),
        ErrorKind::PermissionDenied => UfsError::Refused { url, reason },
        ErrorKind::Unsupported | ErrorKind::ConfigInvalid => UfsError::Unsupported(reason),
        _ if error.is_temporary() => UfsError::Unavailable { url, reason },
        _ => UfsError::Malformed { url, reason },
    }
}
