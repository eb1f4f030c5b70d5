//! A watch as its client sees it: one event after the other, until the server ends it or falls silent.

use std::marker::PhantomData;
use std::sync::Arc;

use ::http::StatusCode;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::core::WatchEvent;
use memchr::memchr;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::http::{Connection, Http};
use super::{malformed, memo, refusal};
use crate::kube::json;
use crate::kube::kind::ApiObject;
use crate::kube::store::Change;
use crate::rt::time::{Duration, timeout};

/// An error that a watch ends with.
pub type WatchError = ApiError;

/// A running watch.
pub struct Watch<K> {
    body: Incoming,
    /// What came and was not read yet.
    rest: Bytes,
    silence_max: Duration,
    http: Arc<Http>,
    /// None at the end.
    connection: Option<Connection>,
    _of: PhantomData<fn() -> K>,
}

impl<K: ApiObject> Watch<K> {
    pub(super) fn new(http: Arc<Http>, body: Incoming, connection: Connection, silence_max: Duration) -> Self {
        Self { body, rest: Bytes::new(), silence_max, http, connection: Some(connection), _of: PhantomData }
    }

    /// The next event; nothing when the server has ended the watch in good order. An error of the server, such as that the
    /// version is forgotten, is an error here. Safe to drop while it waits.
    ///
    /// # Errors
    /// The server's, a broken connection, or silence.
    pub async fn next(&mut self) -> Result<Option<WatchEvent<Arc<K>>>, WatchError> {
        loop {
            if let Some(end) = memchr(b'\n', &self.rest) {
                let line = self.rest.split_to(end);
                self.rest.advance(1);
                if line.is_empty() {
                    continue;
                }
                return event(&line).map(Some);
            }
            let Some(connection) = &mut self.connection else { return Ok(None) };
            match timeout(self.silence_max, connection.wait(self.body.frame())).await {
                Err(_) => {
                    self.http.forget_idle();
                    return Err(ApiError::Deadline(self.silence_max));
                }
                Ok(None) => {
                    self.connection.take().into_iter().for_each(|connection| self.http.keep(connection));
                    return Ok(None);
                }
                Ok(Some(Err(error))) => return Err(ApiError::Exchange(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        // A piece is whole lines, mostly.
                        self.rest = if self.rest.is_empty() { data } else { [&self.rest[..], &data].concat().into() };
                    }
                }
            }
        }
    }
}

/// The refusal that came instead of a watch.
pub(super) async fn refused(
    status: StatusCode,
    body: Incoming,
    connection: &mut Connection,
    silence_max: Duration,
) -> ApiError {
    match timeout(silence_max, connection.wait(body.collect())).await {
        Ok(Ok(body)) => refusal(status, &body.to_bytes()),
        Ok(Err(error)) => ApiError::Exchange(error.to_string()),
        Err(_) => ApiError::Deadline(silence_max),
    }
}

/// A line that an API server wrote. `WatchEvent`'s own decoding keeps the object in an intermediate form, and each kind's decoding
/// would be compiled once more for that.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: LineKind,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum LineKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl Line<'_> {
    fn object<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.object.get())
    }
}

/// What a line says. The object of a change is the one that others have who were told the same.
fn event<K: ApiObject>(line: &[u8]) -> Result<WatchEvent<Arc<K>>, WatchError> {
    if let Some((change, json)) = change(line)
        && let Ok(object) = memo::decode(json)
    {
        return Ok(match change {
            Change::Added => WatchEvent::Added(object),
            Change::Modified => WatchEvent::Modified(object),
            Change::Deleted => WatchEvent::Deleted(object),
        });
    }
    match other_event(line).map_err(|error| malformed(&error))? {
        WatchEvent::Error(status) => Err(ApiError::Status(status)),
        event => Ok(event),
    }
}

/// The same of a line that is no change, or is written in another way than the fields' usual order.
fn other_event<K: ApiObject>(line: &[u8]) -> serde_json::Result<WatchEvent<Arc<K>>> {
    let line: Line<'_> = serde_json::from_str(json::text(line)?)?;
    Ok(match line.kind {
        LineKind::Added => WatchEvent::Added(Arc::new(line.object()?)),
        LineKind::Modified => WatchEvent::Modified(Arc::new(line.object()?)),
        LineKind::Deleted => WatchEvent::Deleted(Arc::new(line.object()?)),
        LineKind::Bookmark => WatchEvent::Bookmark(line.object()?),
        LineKind::Error => WatchEvent::Error(line.object()?),
    })
}

/// The change that a line tells of and its object, if the line is written as API servers write it.
fn change(line: &[u8]) -> Option<(Change, &[u8])> {
    let rest = line.strip_prefix(br#"{"type":""#)?;
    let word = |change: &Change| rest.starts_with(change.word().as_bytes());
    let change = [Change::Added, Change::Modified, Change::Deleted].into_iter().find(word)?;
    let json = rest[change.word().len()..].strip_prefix(br#"","object":"#)?.strip_suffix(b"}")?;
    Some((change, json))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn read(line: &str) -> Result<WatchEvent<Arc<ConfigMap>>, WatchError> {
        event(line.as_bytes())
    }

    #[test]
    fn lines_are_read_in_any_order_of_their_fields() {
        let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
        let usual = [
            format!(r#"{{"type":"ADDED","object":{object}}}"#),
            format!(r#"{{"type":"MODIFIED","object":{object}}}"#),
            format!(r#"{{"type":"DELETED","object":{object}}}"#),
        ];
        let words = usual.each_ref().map(|line| match read(line).unwrap() {
            WatchEvent::Added(object) => ("ADDED", object.metadata.name.clone()),
            WatchEvent::Modified(object) => ("MODIFIED", object.metadata.name.clone()),
            WatchEvent::Deleted(object) => ("DELETED", object.metadata.name.clone()),
            other => panic!("{other:?}"),
        });
        assert_eq!(words, ["ADDED", "MODIFIED", "DELETED"].map(|word| (word, Some("a".to_owned()))));
        assert!(matches!(read(&format!(r#"{{ "object":{object}, "type":"ADDED" }}"#)), Ok(WatchEvent::Added(_))));
    }

    #[test]
    fn bookmarks_errors_and_broken_lines_are_told_apart() {
        let bookmark = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"7"}}"#;
        let line = format!(r#"{{"type":"BOOKMARK","object":{bookmark}}}"#);
        assert!(matches!(read(&line), Ok(WatchEvent::Bookmark(b)) if b.metadata.resource_version == "7"));
        let gone = r#"{"type":"ERROR","object":{"status":"Failure","message":"","reason":"Expired","code":410}}"#;
        assert!(read(gone).is_err_and(|error| error.is_gone()));
        for broken in [
            r#"{"type":"ADDED","object":{"metadata":1}}"#,
            r#"{"type":"GROWN","object":{"metadata":{}}}"#,
            r#"{"type":"ADDED"}"#,
            r#"{"type":"BOOKMARK","object":{}}"#,
            "{",
        ] {
            assert!(matches!(read(broken), Err(ApiError::Malformed(_))), "{broken}");
        }
        assert!(matches!(event::<ConfigMap>(b"{\"type\":\"ADDED\",\"object\":\"\xff\"}"), Err(ApiError::Malformed(_))));
    }
}
