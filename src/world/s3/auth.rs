//! Believes a request whose signature fits a known key, as Amazon's servers do.
//!
//! Pure. The body's digest must be the one that is signed; the clocks of both sides must agree within a quarter of an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;

use crate::base::Secret;
use crate::base::sigv4::{ALGORITHM, Signed, amz_date, payload_hash};

/// How far a client's clock may be off: Amazon's 15 min.
pub const SKEW_MAX: Duration = Duration::from_secs(900);

/// Who may come in: keys by the names of accounts.
pub type Keys = BTreeMap<String, Secret>;

/// Why a request is not believed; Amazon's names of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not signed, or not in this way.
    AccessDenied,
    /// No such account.
    InvalidAccessKeyId,
    /// Signed with another key, or changed on its way.
    SignatureDoesNotMatch,
    /// The clocks differ too much.
    RequestTimeTooSkewed,
    /// The body is not the one that was signed.
    XAmzContentSHA256Mismatch,
}

/// What of a request is judged.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// Decoded path.
    pub path: &'a str,
    /// Query without `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Body.
    pub body: &'a [u8],
}

/// The account that sent the request. `epoch_s` is the server's wall clock.
///
/// # Errors
/// [`Refusal`].
pub fn verify<'a>(request: Request<'a>, keys: &Keys, epoch_s: u64) -> Result<&'a str, Refusal> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authorization = request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fields = authorization.strip_prefix(ALGORITHM).ok_or(Refusal::AccessDenied)?;
    let field = |name: &str| {
        let found = fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or(Refusal::AccessDenied)
    };
    let (id, scope) = field("Credential")?.split_once('/').ok_or(Refusal::AccessDenied)?;
    let region = scope.split('/').nth(1).ok_or(Refusal::AccessDenied)?;
    let secret = keys.get(id).ok_or(Refusal::InvalidAccessKeyId)?;
    let (date, payload) = (header("x-amz-date"), header("x-amz-content-sha256"));
    let names = field("SignedHeaders")?;
    let headers: Vec<(&str, &str)> = names.split(';').map(|name| (name, header(name))).collect();
    if !headers.iter().any(|(name, _)| *name == "host") {
        return Err(Refusal::AccessDenied);
    }
    let signed = Signed {
        method: request.method,
        path: request.path,
        query: request.query,
        headers: &headers,
        payload,
        date,
        region,
    };
    if signed.scope() != scope || signed.signature(secret) != field("Signature")? {
        return Err(Refusal::SignatureDoesNotMatch);
    }
    // Dates of this form sort as text.
    let (early, late) = (amz_date(epoch_s.saturating_sub(SKEW_MAX.as_secs())), amz_date(epoch_s + SKEW_MAX.as_secs()));
    if !(early.as_str()..=late.as_str()).contains(&date) {
        return Err(Refusal::RequestTimeTooSkewed);
    }
    if payload_hash(request.body) != payload {
        return Err(Refusal::XAmzContentSHA256Mismatch);
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    /// A request with everything as it should be, but for what `spoil` does to the parts that are signed and sent.
    fn judged(key: &str, signed_at: u64, sent_path: &str, sent_body: &[u8]) -> Result<String, Refusal> {
        let (date, payload) = (amz_date(signed_at), payload_hash(b"body"));
        let headers = [("host", "store"), ("x-amz-content-sha256", &*payload), ("x-amz-date", &*date)];
        let signed = Signed {
            method: "PUT",
            path: "/b/k",
            query: "partNumber=1",
            headers: &headers,
            payload: &payload,
            date: &date,
            region: "r",
        };
        let authorization = format!(
            "{ALGORITHM} Credential=id/{},SignedHeaders={},Signature={}",
            signed.scope(),
            signed.header_names(),
            signed.signature(&Secret::new(key))
        );
        let mut sent = HeaderMap::new();
        headers.iter().chain([&("authorization", &*authorization)]).for_each(|(name, value)| {
            sent.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        });
        let request =
            Request { method: "PUT", path: sent_path, query: "partNumber=1", headers: &sent, body: sent_body };
        let keys = Keys::from([("id".to_owned(), Secret::new("key"))]);
        verify(request, &keys, NOW).map(str::to_owned)
    }

    #[test]
    fn only_what_was_signed_with_the_right_key_passes() {
        assert_eq!(judged("key", NOW, "/b/k", b"body"), Ok("id".into()));
        assert_eq!(judged("key", NOW - 899, "/b/k", b"body"), Ok("id".into()));
        for (key, at, path, body, want) in [
            ("other", NOW, "/b/k", &b"body"[..], Refusal::SignatureDoesNotMatch),
            ("key", NOW, "/b/other", b"body", Refusal::SignatureDoesNotMatch),
            ("key", NOW - 901, "/b/k", b"body", Refusal::RequestTimeTooSkewed),
            ("key", NOW + 901, "/b/k", b"body", Refusal::RequestTimeTooSkewed),
            ("key", NOW, "/b/k", b"bodY", Refusal::XAmzContentSHA256Mismatch),
        ] {
            assert_eq!(judged(key, at, path, body), Err(want));
        }
        let none = Request { method: "GET", path: "/", query: "", headers: &HeaderMap::new(), body: b"" };
        assert_eq!(verify(none, &Keys::new(), NOW), Err(Refusal::AccessDenied));
    }
}
