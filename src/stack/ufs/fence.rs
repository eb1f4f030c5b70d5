//! Refuses an answer that is not of the version or the range asked for.
//!
//! Carries opendal's requests to our HTTP client. opendal takes a `200` for a ranged read and does not look at the ETag of
//! the answer; a file that is replaced between two reads would come out as a mixture. Here every answer to a read must
//! carry the expected fingerprint and exactly the asked range before its body is taken.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::response::Parts;
use http::{Method, Request, Response, StatusCode};
use opendal::raw::{parse_content_range, parse_into_metadata};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Metadata};

use super::access::Access;
use super::http::{Call, HttpClient, HttpError};
use super::location::Location;
use super::sign::sign;

/// Longest body that is read of an answer that says how something stands, in bytes.
const TEXT_BYTES_MAX: u64 = 8 << 20;

/// Longest body of an error answer that is read, in bytes.
const ERROR_BODY_BYTES_MAX: u64 = 64 * 1024;

/// What a read must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Version of the file.
    pub fingerprint: String,
    /// First byte.
    pub offset: u64,
    /// Bytes; not 0.
    pub length: u64,
}

/// opendal's transport, with a fence.
pub struct Fence {
    client: Arc<HttpClient>,
    expected: Option<Expected>,
    access: Option<Arc<Access>>,
}

impl Fence {
    /// Lets answers through that fit `expected`; all of them if there is none (a HEAD).
    pub fn new(client: Arc<HttpClient>, expected: Option<Expected>) -> Self {
        Self { client, expected, access: None }
    }

    /// Signs requests.
    pub fn signed(self, access: Arc<Access>) -> Self {
        Self { access: Some(access), ..self }
    }
}

/// Names one version of a file: its ETag, else its length and modification time, else its length alone.
pub fn fingerprint(metadata: &Metadata) -> String {
    match (metadata.etag(), metadata.last_modified()) {
        (Some(etag), _) => etag.to_owned(),
        (None, Some(modified)) => format!("len={};mtime={modified}", metadata.content_length()),
        (None, None) => format!("len={}", metadata.content_length()),
    }
}

/// The value for `If-Match`, if the fingerprint is a strong ETag.
pub fn if_match(fingerprint: &str) -> Option<String> {
    fingerprint.starts_with('"').then(|| fingerprint.to_owned())
}

impl HttpTransport for Fence {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (request, body) = request.into_parts();
        let url = request.uri.to_string();
        let (path, query) = url.split_once('?').map_or((&*url, None), |(path, query)| (path, Some(query.to_owned())));
        let location: Location = path.parse().map_err(|e| Error::new(ErrorKind::Unsupported, format!("{e}")))?;
        let head = request.method == Method::HEAD;
        let path = location.path.clone();
        let mut call =
            Call { method: request.method, location, query, headers: request.headers, body: body.to_bytes() };
        if let Some(access) = &self.access {
            sign(&mut call, access);
        }
        let judge = |parts: &Parts| match &self.expected {
            _ if !parts.status.is_success() => Ok(ERROR_BODY_BYTES_MAX),
            Some(expected) => check(&path, parts, expected).map_err(Failure),
            None => Ok(TEXT_BYTES_MAX),
        };
        let sent = self.client.send::<Failure>(call, judge).await;
        let (parts, body) = sent.map_err(|failure| failure.0)?.into_parts();
        if let (Some(expected), true) = (&self.expected, parts.status.is_success())
            && body.len() as u64 != expected.length
        {
            let why = format!("{} bytes where {} were asked for", body.len(), expected.length);
            return Err(Error::new(ErrorKind::Unexpected, why).set_temporary());
        }
        // A HEAD names a length and has no body: opendal must not compare the two.
        let size = (!head).then_some(body.len() as u64);
        Ok(Response::from_parts(parts, HttpBody::new(stream::iter(chunks(body)), size)))
    }
}

fn chunks(body: Bytes) -> Option<opendal::Result<Buffer>> {
    (!body.is_empty()).then(|| Ok(Buffer::from(body)))
}

/// How many bytes of body to take: those asked for, if the answer is of the right version and range.
fn check(path: &str, parts: &Parts, expected: &Expected) -> opendal::Result<u64> {
    let metadata = parse_into_metadata(path, &parts.headers)?;
    let got = fingerprint(&metadata);
    if got != expected.fingerprint {
        let why = format!("version {got} where {} was asked for", expected.fingerprint);
        return Err(Error::new(ErrorKind::ConditionNotMatch, why));
    }
    let range = match parts.status {
        StatusCode::PARTIAL_CONTENT => parse_content_range(&parts.headers)?.and_then(|r| r.range()),
        // A server without ranges may still answer a read of the whole file.
        _ => Some(0..metadata.content_length()),
    };
    let asked = expected.offset..expected.offset.saturating_add(expected.length);
    if range.as_ref() != Some(&asked) {
        let why = format!("range {range:?} where {asked:?} was asked for");
        return Err(Error::new(ErrorKind::Unexpected, why));
    }
    Ok(expected.length)
}

/// opendal's error, so that the client can add its own kinds to it.
struct Failure(Error);

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        let kind = match &error {
            HttpError::Tls(_) | HttpError::Request(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Unexpected,
        };
        Self(Error::new(kind, error.to_string()).with_temporary(error.retryable()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Parts {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    fn judged(status: u16, headers: &[(&'static str, &'static str)]) -> Result<u64, ErrorKind> {
        let expected = Expected { fingerprint: "\"v1\"".into(), offset: 10, length: 5 };
        check("/f", &answer(status, headers), &expected).map_err(|e| e.kind())
    }

    #[test]
    fn only_the_asked_range_of_the_asked_version_passes() {
        let range = ("content-range", "bytes 10-14/100");
        assert_eq!(judged(206, &[("etag", "\"v1\""), range, ("content-length", "5")]), Ok(5));
        assert_eq!(
            judged(206, &[("etag", "\"v2\""), range, ("content-length", "5")]),
            Err(ErrorKind::ConditionNotMatch)
        );
        assert_eq!(judged(206, &[range, ("content-length", "5")]), Err(ErrorKind::ConditionNotMatch));
        for other in ["bytes 0-4/100", "bytes 10-15/100", "bytes 10-13/100"] {
            let headers = [("etag", "\"v1\""), ("content-range", other), ("content-length", "5")];
            assert_eq!(judged(206, &headers), Err(ErrorKind::Unexpected), "{other}");
        }
        // The whole file where a part was asked for.
        assert_eq!(judged(200, &[("etag", "\"v1\""), ("content-length", "100")]), Err(ErrorKind::Unexpected));
    }

    #[test]
    fn without_an_etag_length_and_time_name_the_version() {
        let modified = ("last-modified", "Mon, 19 Apr 2021 20:33:00 GMT");
        let of = |headers: &[(&'static str, &'static str)]| {
            fingerprint(&parse_into_metadata("/f", &answer(200, headers).headers).unwrap())
        };
        let whole = of(&[modified, ("content-length", "100")]);
        let part = of(&[modified, ("content-length", "5"), ("content-range", "bytes 10-14/100")]);
        assert_eq!(whole, part);
        assert_ne!(whole, of(&[modified, ("content-length", "101")]));
        assert_eq!((if_match("W/\"a\""), if_match(&whole), if_match("\"a\"")), (None, None, Some("\"a\"".into())));
    }
}
