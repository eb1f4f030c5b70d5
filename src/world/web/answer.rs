//! One request and the tree in, one answer out. No I/O.
//!
//! Follows Apache httpd for static files: ETag and Last-Modified, one byte range, `If-Match`, `If-None-Match`, `If-Range`,
//! index pages, a redirection from `dir` to `dir/`.
//! Differs: several ranges get the whole file; conditions on dates are not looked at; no symbolic links, no methods but GET
//! and HEAD.

use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use http::{HeaderMap, Method, StatusCode};

use super::body::FileBytes;
use super::page::{http_date, render};
use super::tree::{WebFile, WebTree};
use crate::base::Content;
use crate::base::percent::decode;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers, `Content-Length` included.
    pub headers: Vec<(HeaderName, String)>,
    /// Body; what HEAD would have got is left out.
    pub body: AnswerBody,
}

/// A body, not yet made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerBody {
    /// A page, or nothing.
    Text(String),
    /// Part of a file.
    Part {
        /// The file's bytes.
        content: FileBytes,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// Answers a request for `path` (as in the request line, query included).
pub fn answer(tree: &WebTree, etags: bool, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
    let head = *method == Method::HEAD;
    if !head && *method != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n".to_owned());
        refused.headers.push((ALLOW, "GET, HEAD".to_owned()));
        return refused;
    }
    let mut answer = match decode(path.split('?').next().unwrap_or_default()) {
        Some(path) => found(tree, etags, &path, headers),
        None => text(StatusCode::BAD_REQUEST, "text/plain", "bad path\n".to_owned()),
    };
    if head {
        answer.body = AnswerBody::Text(String::new());
    }
    answer
}

fn found(tree: &WebTree, etags: bool, path: &str, headers: &HeaderMap) -> Answer {
    if let Some(file) = tree.file(path) {
        return file_answer(path, file, etags, headers);
    }
    if path.ends_with('/') {
        return match render(tree, path) {
            Some(page) => text(StatusCode::OK, "text/html;charset=UTF-8", page),
            None => not_found(),
        };
    }
    let dir = format!("{path}/");
    if tree.entries(&dir).is_none() {
        return not_found();
    }
    let mut moved = text(StatusCode::MOVED_PERMANENTLY, "text/html", String::new());
    moved.headers.push((LOCATION, dir));
    moved
}

/// The entity tag of a file.
pub fn etag(file: WebFile) -> String {
    format!("\"{:x}-{:x}-{:x}\"", file.length, file.mtime_s, file.version)
}

fn file_answer(path: &str, file: WebFile, etags: bool, headers: &HeaderMap) -> Answer {
    let get = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = etag(file);
    let names_it = |list: &str| list.split(',').any(|one| one.trim() == "*" || (etags && one.trim() == tag));
    let mut out = vec![(LAST_MODIFIED, http_date(file.mtime_s)), (ACCEPT_RANGES, "bytes".to_owned())];
    if etags {
        out.push((ETAG, tag.clone()));
    }
    let bare = |status, mut out: Vec<_>| {
        out.push((CONTENT_LENGTH, "0".to_owned()));
        Answer { status, headers: out, body: AnswerBody::Text(String::new()) }
    };
    if get(IF_MATCH).is_some_and(|list| !names_it(list)) {
        return bare(StatusCode::PRECONDITION_FAILED, out);
    }
    if get(IF_NONE_MATCH).is_some_and(names_it) {
        return bare(StatusCode::NOT_MODIFIED, out);
    }
    let fresh = get(IF_RANGE).is_none_or(names_it);
    let range = get(RANGE).filter(|_| fresh).and_then(|value| byte_range(value, file.length));
    let (status, offset, length) = match range {
        None => (StatusCode::OK, 0, file.length),
        Some(Ok((first, last))) => {
            out.push((CONTENT_RANGE, format!("bytes {first}-{last}/{}", file.length)));
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Some(Err(())) => {
            out.push((CONTENT_RANGE, format!("bytes */{}", file.length)));
            return bare(StatusCode::RANGE_NOT_SATISFIABLE, out);
        }
    };
    out.push((CONTENT_TYPE, content_type(path).to_owned()));
    out.push((CONTENT_LENGTH, length.to_string()));
    let content = FileBytes::Seeded(Content::of(path, file.version));
    Answer { status, headers: out, body: AnswerBody::Part { content, offset, length } }
}

/// First and last byte of a `Range` header; none if it is to be ignored, `Err` if nothing of it lies in the file.
pub(crate) fn byte_range(value: &str, length: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = value.strip_prefix("bytes=")?.trim().split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        return Some(if suffix == 0 || length == 0 {
            Err(())
        } else {
            Ok((length.saturating_sub(suffix), length - 1))
        });
    }
    let first: u64 = first.parse().ok()?;
    let last: u64 = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    if last < first {
        return None;
    }
    Some(if first >= length { Err(()) } else { Ok((first, last.min(length - 1))) })
}

fn not_found() -> Answer {
    let page = "<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n";
    text(StatusCode::NOT_FOUND, "text/html", page.to_owned())
}

/// A small answer.
pub(super) fn text(status: StatusCode, kind: &str, body: String) -> Answer {
    let headers = vec![(CONTENT_TYPE, kind.to_owned()), (CONTENT_LENGTH, body.len().to_string())];
    Answer { status, headers, body: AnswerBody::Text(body) }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html",
        Some("gz") => "application/x-gzip",
        Some("md" | "txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> WebTree {
        let mut tree = WebTree::listing("/d", [("a b", 100), ("empty", 0)]);
        tree.put("/d/a b", 100);
        tree
    }

    fn ask(method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        answer(&tree(), true, &method, path, &headers)
    }

    fn header(answer: &Answer, name: HeaderName) -> Option<&str> {
        answer.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn ranges_follow_the_rfc() {
        let cases: &[(&str, u16, Option<&str>, &str)] = &[
            ("bytes=0-9", 206, Some("bytes 0-9/100"), "10"),
            ("bytes=90-", 206, Some("bytes 90-99/100"), "10"),
            ("bytes=90-1000", 206, Some("bytes 90-99/100"), "10"),
            ("bytes=-5", 206, Some("bytes 95-99/100"), "5"),
            ("bytes=-500", 206, Some("bytes 0-99/100"), "100"),
            ("bytes=100-", 416, Some("bytes */100"), "0"),
            ("bytes=-0", 416, Some("bytes */100"), "0"),
            ("bytes=9-3", 200, None, "100"),
            ("bytes=0-1,5-6", 200, None, "100"),
            ("lines=1-2", 200, None, "100"),
            ("bytes=x-y", 200, None, "100"),
        ];
        for (range, status, content_range, length) in cases {
            let got = ask(Method::GET, "/d/a%20b", &[(RANGE, range)]);
            assert_eq!(got.status.as_u16(), *status, "{range}");
            assert_eq!((header(&got, CONTENT_RANGE), header(&got, CONTENT_LENGTH)), (*content_range, Some(*length)));
        }
        assert_eq!(ask(Method::GET, "/d/empty", &[(RANGE, "bytes=0-0")]).status, 416);
    }

    #[test]
    fn conditions_compare_entity_tags() {
        let tag = etag(tree().file("/d/a b").unwrap());
        let status = |name: HeaderName, value: &str| ask(Method::GET, "/d/a%20b", &[(name, value)]).status.as_u16();
        assert_eq!((status(IF_MATCH, &tag), status(IF_MATCH, "\"old\""), status(IF_MATCH, "*")), (200, 412, 200));
        assert_eq!((status(IF_NONE_MATCH, &tag), status(IF_NONE_MATCH, "\"old\"")), (304, 200));
        let ranged = ask(Method::GET, "/d/a%20b", &[(RANGE, "bytes=0-9"), (IF_RANGE, "\"old\"")]);
        assert_eq!(ranged.status, 200);
    }

    #[test]
    fn head_has_the_headers_and_no_body() {
        let got = ask(Method::HEAD, "/d/a%20b", &[]);
        assert_eq!((got.status.as_u16(), header(&got, CONTENT_LENGTH)), (200, Some("100")));
        assert_eq!(got.body, AnswerBody::Text(String::new()));
    }

    #[test]
    fn paths_lead_where_apache_leads() {
        let cases = [("/d/", 200), ("/d", 301), ("/d/?C=S;O=A", 200), ("/x", 404), ("/d/a b/", 404), ("/%zz", 400)];
        for (path, status) in cases {
            assert_eq!(ask(Method::GET, path, &[]).status.as_u16(), status, "{path}");
        }
        assert_eq!(header(&ask(Method::GET, "/d", &[]), LOCATION), Some("/d/"));
        assert_eq!(ask(Method::POST, "/d/", &[]).status.as_u16(), 405);
    }
}
