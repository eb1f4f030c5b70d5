//! URLs of object stores: `oss://bucket/key`, `cosn://bucket/key`, `s3://bucket/key`.
//!
//! As Hadoop writes them: the key stands as it is, without percent-encoding, so that one object has one URL. A key that
//! ends with `/`, or is empty, is a directory: the prefix of the keys below it.

use std::fmt;
use std::str::FromStr;

use super::UfsError;

/// Whose object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Alibaba Cloud's.
    Oss,
    /// Tencent Cloud's, as its Hadoop connector calls it.
    Cosn,
    /// Amazon's, and all that speak its protocol.
    S3,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Oss, Self::Cosn, Self::S3];

    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oss => "oss",
            Self::Cosn => "cosn",
            Self::S3 => "s3",
        }
    }

    /// The scheme of a URL, if it is that of an object store.
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        Self::ALL.into_iter().find(|known| known.as_str() == scheme)
    }
}

/// An object, or a directory of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketUrl {
    /// Whose store.
    pub scheme: Scheme,
    /// Bucket.
    pub bucket: String,
    /// Key, without a leading slash; empty for the bucket itself.
    pub key: String,
}

impl BucketUrl {
    /// Last part of the key; empty for the bucket itself.
    pub fn name(&self) -> &str {
        self.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The same place, as a directory.
    pub fn into_dir(mut self) -> Self {
        if !self.key.is_empty() && !self.key.ends_with('/') {
            self.key.push('/');
        }
        self
    }

    /// An entry of this directory.
    pub fn child(&self, name: &str, dir: bool) -> Self {
        let slash = if self.key.is_empty() || self.key.ends_with('/') { "" } else { "/" };
        let end = if dir { "/" } else { "" };
        Self { key: format!("{}{slash}{name}{end}", self.key), ..self.clone() }
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme.as_str(), self.bucket, self.key)
    }
}

impl FromStr for BucketUrl {
    type Err = UfsError;

    fn from_str(url: &str) -> Result<Self, UfsError> {
        let bad = |why: &str| UfsError::Unsupported(format!("`{url}` names no object: {why}"));
        let scheme = Scheme::of(url).ok_or_else(|| bad("only oss://, cosn:// and s3:// are object stores"))?;
        let rest = &url[scheme.as_str().len() + "://".len()..];
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if bucket.is_empty() || !bucket.bytes().all(legal) {
            return Err(bad("a bucket has lower-case letters, digits, `-` and `.`"));
        }
        let parts = || key.strip_suffix('/').unwrap_or(key).split('/');
        if !key.is_empty() && parts().any(|part| matches!(part, "" | "." | "..")) {
            return Err(bad("the key has an empty part or one of dots"));
        }
        if key.contains(|c: char| c.is_control()) {
            return Err(bad("the key has a control character"));
        }
        Ok(Self { scheme, bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_urls() {
        for (url, bucket, key, name) in [
            ("oss://b/dir/", "b", "dir/", "dir"),
            ("oss://b/dir/a b%20+c", "b", "dir/a b%20+c", "a b%20+c"),
            ("cosn://b-125/x", "b-125", "x", "x"),
            ("s3://b/", "b", "", ""),
            ("s3://b", "b", "", ""),
        ] {
            let got: BucketUrl = url.parse().unwrap();
            assert_eq!((&*got.bucket, &*got.key, got.name()), (bucket, key, name), "{url}");
        }
        let dir: BucketUrl = "oss://b".parse().unwrap();
        let sub = dir.clone().into_dir().child("sub", true);
        assert_eq!(
            (sub.to_string(), sub.child("f", false).to_string()),
            ("oss://b/sub/".into(), "oss://b/sub/f".into())
        );
        assert_eq!("oss://b/d".parse::<BucketUrl>().unwrap().into_dir().child("f", false).key, "d/f");
    }

    #[test]
    fn refuses_what_names_no_object() {
        for url in [
            "b/k",
            "http://b/k",
            "oss:///k",
            "oss://B/k",
            "oss://u:p@b/k",
            "oss://b//k",
            "oss://b/a/../k",
            "oss://b/\n",
        ] {
            assert!(url.parse::<BucketUrl>().is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_or_refused(text in ".*") {
            if let Ok(url) = format!("oss://b/{text}").parse::<BucketUrl>() {
                prop_assert_eq!(url.to_string().parse::<BucketUrl>(), Ok(url));
            }
        }
    }
}
