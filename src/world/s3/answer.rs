//! One request and the buckets in, one answer out. No I/O.
//!
//! GetObject (one byte range, `If-Match`, `If-None-Match`), HeadObject, PutObject, CopyObject, DeleteObject, ListObjectsV2,
//! uploads in parts. What else S3 offers is answered `NotImplemented`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, Method, StatusCode};

use super::auth::Refusal;
use super::bucket::{Bucket, Object, Query};
use super::xml;
use crate::base::percent::decode;
use crate::world::web::answer::{Answer, AnswerBody, byte_range};
use crate::world::web::page::http_date;

/// Most objects and prefixes of one page: Amazon's.
const PAGE_MAX: usize = 1000;

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const COPY_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");

/// Buckets by name.
pub type Buckets = BTreeMap<String, Bucket>;

/// A request that is believed.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Method.
    pub method: &'a Method,
    /// Decoded path: `/bucket/key`.
    pub path: &'a str,
    /// Query without `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Body.
    pub body: &'a Bytes,
    /// The server's wall clock, seconds since the Unix epoch.
    pub epoch_s: u64,
    /// Counts requests.
    pub number: u64,
}

impl<'a> Asked<'a> {
    /// The decoded value of a query parameter; empty if it has none.
    fn param(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| *key == name).and_then(|(_, value)| decode(value))
    }

    fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        said(status, xml::error(code, message, self.path, self.number))
    }
}

/// Answers a request.
pub fn answer(buckets: &mut Buckets, asked: Asked<'_>) -> Answer {
    let (name, key) =
        asked.path.trim_start_matches('/').split_once('/').unwrap_or((&asked.path[1.min(asked.path.len())..], ""));
    if let Some(source) = asked.header(COPY_SOURCE).filter(|_| *asked.method == Method::PUT) {
        return copy(buckets, asked, source, name, key);
    }
    let Some(bucket) = buckets.get_mut(name) else {
        return asked.error(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist");
    };
    let mut answer = match (asked.method, key) {
        (&Method::GET, "") if asked.param("list-type").as_deref() == Some("2") => list(bucket, asked, name),
        (&Method::HEAD, "") => bare(StatusCode::OK),
        (&Method::GET | &Method::HEAD, key) if !key.is_empty() => match bucket.get(key) {
            Some(object) => get(object, asked),
            None => no_such_key(asked),
        },
        (&Method::PUT, key) if !key.is_empty() => put(bucket, asked, key),
        (&Method::POST, key) if !key.is_empty() => post(bucket, asked, name, key),
        (&Method::DELETE, key) if !key.is_empty() => delete(bucket, asked, key),
        _ => asked.error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "This server does not know the operation"),
    };
    if *asked.method == Method::HEAD {
        answer.body = AnswerBody::Text(String::new());
    }
    answer
}

/// What somebody gets who is not believed.
pub fn refused(asked: Asked<'_>, why: Refusal) -> Answer {
    let (status, message) = match why {
        Refusal::XAmzContentSHA256Mismatch => (StatusCode::BAD_REQUEST, "The body is not the one that was signed"),
        Refusal::RequestTimeTooSkewed => (StatusCode::FORBIDDEN, "The clocks of client and server are too far apart"),
        Refusal::SignatureDoesNotMatch => (StatusCode::FORBIDDEN, "The signature does not fit the request and the key"),
        Refusal::InvalidAccessKeyId => (StatusCode::FORBIDDEN, "There is no such access key"),
        Refusal::AccessDenied => (StatusCode::FORBIDDEN, "Access Denied"),
    };
    asked.error(status, &format!("{why:?}"), message)
}

/// `503 SlowDown`: too many requests.
pub fn slow_down(asked: Asked<'_>) -> Answer {
    asked.error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate")
}

/// `500 InternalError`.
pub fn internal_error(asked: Asked<'_>) -> Answer {
    asked.error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "We encountered an internal error")
}

fn no_such_key(asked: Asked<'_>) -> Answer {
    asked.error(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist")
}

/// A page of a listing.
pub fn list(bucket: &Bucket, asked: Asked<'_>, name: &str) -> Answer {
    let text = |name: &str| asked.param(name).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let after = match asked.param("continuation-token") {
        Some(token) => xml::place(&token),
        None => text("start-after"),
    };
    let max = asked.param("max-keys").and_then(|max| max.parse().ok()).unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let query = Query { prefix: &prefix, delimiter: &delimiter, after: &after, max };
    said(StatusCode::OK, xml::listing(name, query, &bucket.list(query)))
}

fn get(object: &Object, asked: Asked<'_>) -> Answer {
    let mut headers = vec![
        (LAST_MODIFIED, http_date(object.mtime_s)),
        (ETAG, object.etag.clone()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    let names_it = |list: &str| list.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == object.etag);
    if asked.header(IF_MATCH).is_some_and(|list| !names_it(list)) {
        return asked.error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "The object is another one");
    }
    if asked.header(IF_NONE_MATCH).is_some_and(names_it) {
        return Answer { headers, ..bare(StatusCode::NOT_MODIFIED) };
    }
    let range = asked.header(RANGE).and_then(|range| byte_range(range, object.length));
    let (status, offset, length) = match range {
        None => (StatusCode::OK, 0, object.length),
        Some(Ok((first, last))) => {
            headers.push((CONTENT_RANGE, format!("bytes {first}-{last}/{}", object.length)));
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Some(Err(())) => {
            return asked.error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", "Nothing of the range is there");
        }
    };
    headers.push((CONTENT_LENGTH, length.to_string()));
    Answer { status, headers, body: AnswerBody::Part { content: object.bytes.clone(), offset, length } }
}

fn put(bucket: &mut Bucket, asked: Asked<'_>, key: &str) -> Answer {
    let number = |name: &str| asked.param(name).and_then(|text| text.parse::<u64>().ok());
    let tag = match (number("uploadId"), number("partNumber").and_then(|part| u32::try_from(part).ok())) {
        (Some(upload), Some(part)) => match bucket.part(upload, part, asked.body.clone()) {
            Some(tag) => tag,
            None => return no_such_upload(asked),
        },
        _ if asked.query.is_empty() => {
            let there = bucket.get(key).map(|object| object.etag.as_str());
            let other = |tag: &str| there.is_none_or(|there| tag != "*" && tag != there);
            let taken = asked.header(IF_NONE_MATCH).is_some_and(|tag| tag == "*" && there.is_some());
            if taken || asked.header(IF_MATCH).is_some_and(other) {
                return asked.error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "The object is another one");
            }
            bucket.put(key, asked.body.clone(), asked.epoch_s).etag.clone()
        }
        _ => {
            return asked.error(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                "This server does not know the operation",
            );
        }
    };
    let mut done = bare(StatusCode::OK);
    done.headers.push((ETAG, tag));
    done
}

fn copy(buckets: &mut Buckets, asked: Asked<'_>, source: &str, name: &str, key: &str) -> Answer {
    let source = decode(source.trim_start_matches('/')).unwrap_or_default();
    let (from, from_key) = source.split_once('/').unwrap_or_default();
    let Some(object) = buckets.get(from).and_then(|bucket| bucket.get(from_key)).cloned() else {
        return no_such_key(asked);
    };
    if asked.header(COPY_IF_MATCH).is_some_and(|tag| tag != object.etag) {
        return asked.error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "The object is another one");
    }
    match buckets.get_mut(name) {
        Some(bucket) if !key.is_empty() && asked.query.is_empty() => {
            said(StatusCode::OK, xml::copied(bucket.put_copy(key, object, asked.epoch_s)))
        }
        Some(_) => asked.error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "This server copies whole objects only"),
        None => asked.error(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist"),
    }
}

fn post(bucket: &mut Bucket, asked: Asked<'_>, name: &str, key: &str) -> Answer {
    if asked.param("uploads").is_some() {
        return said(StatusCode::OK, xml::begun(name, key, bucket.begin(key)));
    }
    let Some(upload) = asked.param("uploadId").and_then(|id| id.parse().ok()) else {
        return asked.error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "This server does not know the operation");
    };
    let Some(parts) = xml::parts(&String::from_utf8_lossy(asked.body)) else {
        return asked.error(StatusCode::BAD_REQUEST, "MalformedXML", "The list of parts cannot be read");
    };
    match bucket.end(upload, &parts, asked.epoch_s) {
        Some(object) => said(StatusCode::OK, xml::ended(name, key, object)),
        None => no_such_upload(asked),
    }
}

fn delete(bucket: &mut Bucket, asked: Asked<'_>, key: &str) -> Answer {
    match asked.param("uploadId") {
        Some(id) if !id.parse().is_ok_and(|upload| bucket.abort(upload)) => no_such_upload(asked),
        Some(_) => bare(StatusCode::NO_CONTENT),
        None => {
            bucket.remove(key);
            bare(StatusCode::NO_CONTENT)
        }
    }
}

fn no_such_upload(asked: Asked<'_>) -> Answer {
    asked.error(StatusCode::NOT_FOUND, "NoSuchUpload", "There is no such upload, or a part of it is missing")
}

fn bare(status: StatusCode) -> Answer {
    let headers = if status == StatusCode::NO_CONTENT { vec![] } else { vec![(CONTENT_LENGTH, "0".to_owned())] };
    Answer { status, headers, body: AnswerBody::Text(String::new()) }
}

fn said(status: StatusCode, xml: String) -> Answer {
    let headers = vec![(CONTENT_TYPE, "application/xml".to_owned()), (CONTENT_LENGTH, xml.len().to_string())];
    Answer { status, headers, body: AnswerBody::Text(xml) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> Buckets {
        let mut bucket = Bucket::default();
        bucket.seed("b", "d/f", 100, 7);
        Buckets::from([("b".to_owned(), bucket)])
    }

    fn ask(buckets: &mut Buckets, line: &str, headers: &[(&'static str, &str)], body: &str) -> (u16, Answer) {
        let (method, path) = line.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let headers = headers.iter().map(|(k, v)| (HeaderName::from_static(k), v.parse().unwrap())).collect();
        let (method, body) = (method.parse().unwrap(), Bytes::from(body.to_owned()));
        let asked = Asked { method: &method, path, query, headers: &headers, body: &body, epoch_s: 9, number: 1 };
        let got = answer(buckets, asked);
        (got.status.as_u16(), got)
    }

    #[test]
    fn each_request_has_its_status() {
        let tag = buckets()["b"].get("d/f").unwrap().etag.clone();
        for (line, headers, status) in [
            ("GET /b/d/f", vec![], 200),
            ("GET /b/d/f", vec![("range", "bytes=10-19")], 206),
            ("GET /b/d/f", vec![("range", "bytes=100-")], 416),
            ("GET /b/d/f", vec![("if-match", &*tag)], 200),
            ("GET /b/d/f", vec![("if-match", "\"other\"")], 412),
            ("GET /b/d/f", vec![("if-none-match", &*tag)], 304),
            ("HEAD /b/d/f", vec![], 200),
            ("HEAD /b/d", vec![], 404),
            ("GET /c/d/f", vec![], 404),
            ("GET /b?list-type=2&prefix=d", vec![], 200),
            ("GET /b", vec![], 501),
            ("PUT /b/new", vec![], 200),
            ("PUT /b/d/f", vec![("if-none-match", "*")], 412),
            ("PUT /b/copy", vec![("x-amz-copy-source", "/b/d%2Ff")], 200),
            ("PUT /b/copy", vec![("x-amz-copy-source", "/b/d/f"), ("x-amz-copy-source-if-match", "\"o\"")], 412),
            ("PUT /b/copy", vec![("x-amz-copy-source", "/b/none")], 404),
            ("PUT /b/d/f?partNumber=1&uploadId=9", vec![], 404),
            ("PUT /b/d/f?acl", vec![], 501),
            ("DELETE /b/d/f", vec![], 204),
            ("DELETE /b/none", vec![], 204),
            ("DELETE /b/d/f?uploadId=9", vec![], 404),
            ("PATCH /b/d/f", vec![], 501),
        ] {
            let (got, answer) = ask(&mut buckets(), line, &headers, "");
            assert_eq!(got, status, "{line} {headers:?}: {answer:?}");
        }
    }

    #[test]
    fn an_upload_in_parts_is_seen_when_it_ends() {
        let mut all = buckets();
        let (_, begun) = ask(&mut all, "POST /b/k?uploads", &[], "");
        let AnswerBody::Text(text) = begun.body else { panic!("a text") };
        let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned();
        for (part, body) in [(1, "ab"), (2, "cd")] {
            let line = format!("PUT /b/k?partNumber={part}&uploadId={id}");
            assert_eq!(ask(&mut all, &line, &[], body).0, 200);
        }
        assert_eq!(ask(&mut all, "HEAD /b/k", &[], "").0, 404);
        let parts = "<PartNumber>1</PartNumber><PartNumber>2</PartNumber>";
        assert_eq!(ask(&mut all, &format!("POST /b/k?uploadId={id}"), &[], parts).0, 200);
        assert_eq!(all["b"].get("k").map(|object| object.length), Some(4));
        assert_eq!(ask(&mut all, &format!("POST /b/k?uploadId={id}"), &[], parts).0, 404, "a second time");
    }
}
