//! AWS Signature Version 4: what a client puts on a request, and what a server computes again to believe it.
//!
//! Pure, on decoded paths: both sides encode them here, so that they cannot disagree on how. Several headers of one name,
//! streaming signatures and signatures in the query are left out.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::Secret;
use super::percent::{decode, encode};
use super::time::civil;

/// Name of the algorithm in the `Authorization` header.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What of a request is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// Decoded absolute path.
    pub path: &'a str,
    /// Query as in the request line, without `?`.
    pub query: &'a str,
    /// Signed headers, names in lower case, in order of names.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body's digest in hex, as in `x-amz-content-sha256`.
    pub payload: &'a str,
    /// As in `x-amz-date`: `20130524T000000Z`.
    pub date: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
}

impl Signed<'_> {
    /// `20130524/us-east-1/s3/aws4_request`.
    pub fn scope(&self) -> String {
        format!("{}/{}/s3/aws4_request", self.day(), self.region)
    }

    /// Names of the signed headers, joined by `;`.
    pub fn header_names(&self) -> String {
        self.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    /// The signature in hex.
    pub fn signature(&self, secret: &Secret) -> String {
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.date,
            self.scope(),
            hex(&Sha256::digest(self.canonical().as_bytes()))
        );
        let key = format!("AWS4{}", secret.expose());
        let key = [self.day(), self.region, "s3", "aws4_request"]
            .iter()
            .fold(key.into_bytes(), |key, part| mac(&key, part.as_bytes()));
        hex(&mac(&key, to_sign.as_bytes()))
    }

    fn day(&self) -> &str {
        self.date.split('T').next().unwrap_or_default()
    }

    fn canonical(&self) -> String {
        let headers = self.headers.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name}:{}", value.trim());
            text
        });
        format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.method,
            encode(self.path, b"-_.~/"),
            canonical_query(self.query),
            self.header_names(),
            self.payload
        )
    }
}

/// The digest of a body, in hex.
pub fn payload_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// A wall clock as `x-amz-date` has it.
pub fn amz_date(epoch_s: u64) -> String {
    let (year, month, day) = civil(epoch_s / 86_400);
    let (hour, minute, second) = (epoch_s / 3600 % 24, epoch_s / 60 % 60, epoch_s % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let again = |text: &str| encode(&decode(text).unwrap_or_else(|| text.to_owned()), b"-_.~");
        (again(name), again(value))
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("a key of any length will do");
    };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signed(path: &str, query: &str, range: Option<&str>) -> String {
        let mut headers = vec![("host", "examplebucket.s3.amazonaws.com")];
        headers.extend(range.map(|range| ("range", range)));
        headers.extend([("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")]);
        let (method, payload) = ("GET", EMPTY);
        let date = "20130524T000000Z";
        Signed { method, path, query, headers: &headers, payload, date, region: "us-east-1" }
            .signature(&Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
    }

    /// The examples of Amazon's API reference, "Signature Calculations for the Authorization Header".
    #[test]
    fn the_documented_examples_come_out() {
        for (path, query, range, want) in [
            ("/test.txt", "", Some("bytes=0-9"), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            ("/", "lifecycle", None, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("/", "max-keys=2&prefix=J", None, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            ("/", "prefix=J&max-keys=2", None, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            assert_eq!(signed(path, query, range), want, "{path}?{query}");
        }
        assert_eq!(payload_hash(b""), EMPTY);
        assert_eq!(amz_date(1_369_353_600), "20130524T000000Z");
    }

    #[test]
    fn whatever_changes_the_request_changes_the_signature() {
        let base = signed("/a b", "prefix=x%2Fy", None);
        assert_eq!(base, signed("/a b", "prefix=x/y", None), "two ways to write the same");
        for other in [signed("/a+b", "prefix=x%2Fy", None), signed("/a b", "prefix=x", None)] {
            assert_ne!(base, other);
        }
    }
}
