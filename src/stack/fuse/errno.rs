//! Errors as POSIX names them, and the one table from our own.

use std::fmt;

use crate::stack::wire::FsError;

/// A positive errno of Linux.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// No such file or directory.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// Input or output failed.
    pub const EIO: Self = Self(libc::EIO);
    /// The file handle is not open, or not open for this.
    pub const EBADF: Self = Self(libc::EBADF);
    /// Try again: nobody could answer within the budget. A change may have taken effect.
    pub const EAGAIN: Self = Self(libc::EAGAIN);
    /// Busy.
    pub const EBUSY: Self = Self(libc::EBUSY);
    /// Exists.
    pub const EEXIST: Self = Self(libc::EEXIST);
    /// Rename across mounts.
    pub const EXDEV: Self = Self(libc::EXDEV);
    /// Not a directory.
    pub const ENOTDIR: Self = Self(libc::ENOTDIR);
    /// Is a directory.
    pub const EISDIR: Self = Self(libc::EISDIR);
    /// Invalid argument.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// Too many open files, or too many names known.
    pub const ENFILE: Self = Self(libc::ENFILE);
    /// No space.
    pub const ENOSPC: Self = Self(libc::ENOSPC);
    /// Read-only.
    pub const EROFS: Self = Self(libc::EROFS);
    /// A name or path is too long.
    pub const ENAMETOOLONG: Self = Self(libc::ENAMETOOLONG);
    /// Directory is not empty.
    pub const ENOTEMPTY: Self = Self(libc::ENOTEMPTY);
    /// The file that the handle was opened on is gone.
    pub const ESTALE: Self = Self(libc::ESTALE);
    /// Not supported: random writes, appends.
    pub const EOPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
}

/// Names, for messages.
const NAMES: [(Errno, &str); 17] = [
    (Errno::ENOENT, "ENOENT"),
    (Errno::EIO, "EIO"),
    (Errno::EBADF, "EBADF"),
    (Errno::EAGAIN, "EAGAIN"),
    (Errno::EBUSY, "EBUSY"),
    (Errno::EEXIST, "EEXIST"),
    (Errno::EXDEV, "EXDEV"),
    (Errno::ENOTDIR, "ENOTDIR"),
    (Errno::EISDIR, "EISDIR"),
    (Errno::EINVAL, "EINVAL"),
    (Errno::ENFILE, "ENFILE"),
    (Errno::ENOSPC, "ENOSPC"),
    (Errno::EROFS, "EROFS"),
    (Errno::ENAMETOOLONG, "ENAMETOOLONG"),
    (Errno::ENOTEMPTY, "ENOTEMPTY"),
    (Errno::ESTALE, "ESTALE"),
    (Errno::EOPNOTSUPP, "EOPNOTSUPP"),
];

impl From<&FsError> for Errno {
    fn from(error: &FsError) -> Self {
        match error {
            FsError::NotFound(_) => Self::ENOENT,
            FsError::AlreadyExists(_) => Self::EEXIST,
            FsError::NotADirectory(_) => Self::ENOTDIR,
            FsError::IsADirectory(_) => Self::EISDIR,
            FsError::NotEmpty(_) => Self::ENOTEMPTY,
            FsError::Invalid(_) => Self::EINVAL,
            FsError::Busy(_) => Self::EBUSY,
            FsError::CrossMount(_) => Self::EXDEV,
            FsError::ReadOnly(_) => Self::EROFS,
            FsError::NoSpace(_) => Self::ENOSPC,
            FsError::Io(_) | FsError::Unknown(_) => Self::EIO,
            // The client retried until its budget was spent.
            FsError::NotLeader { .. } | FsError::Unavailable(_) => Self::EAGAIN,
        }
    }
}

impl From<FsError> for Errno {
    fn from(error: FsError) -> Self {
        let errno = Self::from(&error);
        tracing::debug!(%error, %errno, "told the caller");
        errno
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(errno, _)| errno == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_linuxs_number() {
        let text = || String::from("x");
        for (error, number, name) in [
            (FsError::NotFound(text()), 2, "ENOENT"),
            (FsError::AlreadyExists(text()), 17, "EEXIST"),
            (FsError::NotADirectory(text()), 20, "ENOTDIR"),
            (FsError::IsADirectory(text()), 21, "EISDIR"),
            (FsError::NotEmpty(text()), 39, "ENOTEMPTY"),
            (FsError::Invalid(text()), 22, "EINVAL"),
            (FsError::Busy(text()), 16, "EBUSY"),
            (FsError::CrossMount(text()), 18, "EXDEV"),
            (FsError::ReadOnly(text()), 30, "EROFS"),
            (FsError::NoSpace(text()), 28, "ENOSPC"),
            (FsError::Io(text()), 5, "EIO"),
            (FsError::Unknown(text()), 5, "EIO"),
            (FsError::NotLeader { hint: None }, 11, "EAGAIN"),
            (FsError::Unavailable(text()), 11, "EAGAIN"),
        ] {
            let errno = Errno::from(&error);
            assert_eq!((errno.0, errno.to_string().as_str()), (number, name), "{error}");
        }
        assert_eq!(Errno(9999).to_string(), "errno 9999");
    }
}
