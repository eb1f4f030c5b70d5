//! A path of the namespace, checked once, so that nothing behind has to doubt it.
//!
//! Absolute, parts between single slashes, no `.` and no `..`, no NUL, part and total length as Linux has them.
//! Differs: Alluxio cleans `//`, `.` and a trailing slash away; here the client's kernel has done so, and the rest is refused.

use crate::stack::wire::{FsError, FsResult};

/// Bytes of one part, Linux's NAME_MAX.
pub const NAME_MAX: usize = 255;
/// Bytes of a whole path, Linux's PATH_MAX.
pub const PATH_MAX: usize = 4096;

/// A valid absolute path; `/` or parts each after a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsPath<'a>(&'a str);

impl<'a> FsPath<'a> {
    /// Checks `text`. `FsError::Invalid` says what is wrong with it.
    pub fn parse(text: &'a str) -> FsResult<Self> {
        if text.len() > PATH_MAX {
            return Err(FsError::Invalid(format!("a path of {} bytes is longer than {PATH_MAX}", text.len())));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(FsError::Invalid(format!("path {text:?} is not absolute")));
        };
        if let Some(part) = rest.split('/').find(|part| !valid_name(part))
            && !rest.is_empty()
        {
            return Err(FsError::Invalid(format!("path {text:?} has the invalid part {part:?}")));
        }
        Ok(Self(text))
    }

    /// The text it was parsed from.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it is `/`.
    pub fn is_root(self) -> bool {
        self.0.len() == 1
    }

    /// The path above and the last part; the root has neither.
    pub fn split(self) -> Option<(Self, &'a str)> {
        let cut = self.0.rfind('/')?;
        let name = &self.0[cut + 1..];
        (!name.is_empty()).then(|| (Self(&self.0[..cut.max(1)]), name))
    }

    /// Whether `other` lies below, at any depth; no path lies below itself.
    pub fn contains(self, other: Self) -> bool {
        let own = if self.is_root() { "" } else { self.0 };
        !other.is_root() && other.0.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Whether `name` may be the name of an inode.
pub(super) fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == b'/' || b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_clean_absolute_paths() {
        let long = format!("/{}", "n".repeat(NAME_MAX));
        let longer = format!("/{}", "n".repeat(NAME_MAX + 1));
        let deep = "/a".repeat(PATH_MAX / 2);
        let deeper = "/a".repeat(PATH_MAX / 2 + 1);
        for (text, valid) in [
            ("/", true),
            ("/a", true),
            ("/a/b c/ü", true),
            ("/...", true),
            (&long, true),
            (&deep, true),
            ("", false),
            ("a", false),
            ("a/b", false),
            ("//", false),
            ("/a/", false),
            ("/a//b", false),
            ("/.", false),
            ("/a/..", false),
            ("/../a", false),
            ("/a\0b", false),
            (&longer, false),
            (&deeper, false),
        ] {
            assert_eq!(FsPath::parse(text).is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn splits_and_contains() {
        let path = |text| FsPath::parse(text).unwrap();
        assert_eq!(path("/").split(), None);
        assert_eq!(path("/a").split(), Some((path("/"), "a")));
        assert_eq!(path("/a/b").split(), Some((path("/a"), "b")));
        for (above, below, contains) in [
            ("/", "/a", true),
            ("/", "/", false),
            ("/a", "/a/b", true),
            ("/a", "/a", false),
            ("/a", "/ab", false),
            ("/a/b", "/a", false),
        ] {
            assert_eq!(path(above).contains(path(below)), contains, "{above} {below}");
        }
    }
}
