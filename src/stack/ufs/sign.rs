//! Signs requests for object stores.
//!
//! opendal would, but takes the time from the operating system; here it is the host's wall clock, as the seam tells it.
//! Keys go into the digest and nowhere else.

use http::header::{AUTHORIZATION, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::access::Access;
use super::http::Call;
use crate::base::sigv4::{ALGORITHM, Signed, amz_date, payload_hash};
use crate::rt::time;

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const AMZ_CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Adds date, digest and signature to a request.
pub(super) fn sign(call: &mut Call, access: &Access) {
    let date = amz_date(time::wall().as_secs());
    let payload = payload_hash(&call.body);
    put(&mut call.headers, AMZ_DATE, &date, false);
    put(&mut call.headers, AMZ_CONTENT, &payload, false);
    let host = call.host();
    let mut headers = vec![(HOST.as_str(), host.as_str())];
    let amazon = call.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-"));
    headers.extend(amazon.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))));
    headers.sort_unstable();
    let signed = Signed {
        method: call.method.as_str(),
        path: &call.location.path,
        query: call.query.as_deref().unwrap_or_default(),
        headers: &headers,
        payload: &payload,
        date: &date,
        region: &access.region,
    };
    let authorization = format!(
        "{ALGORITHM} Credential={}/{},SignedHeaders={},Signature={}",
        access.key_id.expose(),
        signed.scope(),
        signed.header_names(),
        signed.signature(&access.key)
    );
    put(&mut call.headers, AUTHORIZATION, &authorization, true);
}

/// A key with characters that no header may have is left out: the server will refuse what it does not find signed.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str, sensitive: bool) {
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(sensitive);
        headers.insert(name, value);
    }
}
