//! Under-store URLs: `http://host[:port]/path` and `https://…`.
//!
//! Paths are kept decoded and encoded again for the wire, so that one file has one name. User information, queries and
//! fragments are refused: they have no meaning for a file of a web listing, and credentials do not belong into a URL.

use std::fmt;
use std::str::FromStr;

use super::UfsError;
use crate::base::percent::{self, decode};

/// A file or directory of a web server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// `https`.
    pub secure: bool,
    /// Host name or address, as written.
    pub host: String,
    /// Port; the scheme's own if none is written.
    pub port: u16,
    /// Absolute decoded path; ends with `/` for a directory.
    pub path: String,
}

impl Location {
    /// `host:port`, for a connection.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `scheme://host[:port]`, without a path.
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        if self.port == default_port(self.secure) {
            format!("{scheme}://{}", self.host)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
    }

    /// Last part of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The same place, as a directory.
    pub fn into_dir(mut self) -> Self {
        if !self.path.ends_with('/') {
            self.path.push('/');
        }
        self
    }

    /// The URL of an entry of this directory.
    pub fn child(&self, name: &str, dir: bool) -> Self {
        let slash = if self.path.ends_with('/') { "" } else { "/" };
        let end = if dir { "/" } else { "" };
        Self { path: format!("{}{slash}{name}{end}", self.path), ..self.clone() }
    }

    /// The path as it stands in a request.
    pub fn encoded_path(&self) -> String {
        encode(&self.path)
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.encoded_path())
    }
}

impl FromStr for Location {
    type Err = UfsError;

    fn from_str(url: &str) -> Result<Self, UfsError> {
        let bad = |why: &str| UfsError::Unsupported(format!("`{url}` is not an under-store of this build: {why}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(bad("only http:// and https:// are known")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad("the port is not a number"))?),
            None => (authority, default_port(secure)),
        };
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
            return Err(bad("the host is not a name or an IPv4 address"));
        }
        if path.contains(['?', '#']) {
            return Err(bad("a query or fragment does not name a file"));
        }
        let path = decode(path).ok_or_else(|| bad("the path is not percent-encoded UTF-8"))?;
        if path.split('/').any(|part| matches!(part, "." | "..")) || path.contains(|c: char| c.is_control()) {
            return Err(bad("the path has a dot part or a control character"));
        }
        Ok(Self { secure, host: host.to_owned(), port, path })
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, `/`, and the marks that `encodeURIComponent` leaves.
pub fn encode(path: &str) -> String {
    percent::encode(path, b"/-_.!~*'()")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_urls() {
        let cases = [
            ("http://mirror/hbase/stable/", false, "mirror:80", "/hbase/stable/"),
            ("https://mirror.example.org/hbase", true, "mirror.example.org:443", "/hbase"),
            ("http://10.0.0.1:8080", false, "10.0.0.1:8080", "/"),
            ("http://m/a%20b%2Bc", false, "m:80", "/a b+c"),
        ];
        for (url, secure, authority, path) in cases {
            let got: Location = url.parse().unwrap();
            assert_eq!((got.secure, &*got.authority(), &*got.path), (secure, authority, path), "{url}");
        }
    }

    #[test]
    fn refuses_what_does_not_name_a_file() {
        for url in [
            "mirror/a",
            "ftp://m/",
            "http:///a",
            "http://u:p@m/a",
            "http://m:port/",
            "http://m/?a",
            "http://m/a#b",
            "http://m/a/../b",
            "http://m/%zz",
            "http://m/%ff",
            "http://m/%2e%2e/b",
            "http://m/a%0d%0ab",
            "http://[::1]/",
        ] {
            assert!(url.parse::<Location>().is_err(), "{url}");
        }
    }

    #[test]
    fn joins_and_prints() {
        let dir: Location = "https://m:8443/hbase".parse().unwrap();
        assert_eq!(dir.child("a b.gz", false).to_string(), "https://m:8443/hbase/a%20b.gz");
        assert_eq!(dir.clone().into_dir().child("sub", true).to_string(), "https://m:8443/hbase/sub/");
        assert_eq!((dir.name(), dir.child("x", true).name()), ("hbase", "x"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            if let Ok(location) = format!("http://{text}").parse::<Location>() {
                prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location));
            }
        }
    }
}
