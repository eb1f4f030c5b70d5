//! Errors as programs print them: glibc's texts.

use crate::stack::fuse::Errno;

/// What `strerror` gives.
pub fn text_of(errno: Errno) -> String {
    let text = match errno.0 {
        libc::ENOENT => "No such file or directory",
        libc::EIO => "Input/output error",
        libc::EBADF => "Bad file descriptor",
        libc::EAGAIN => "Resource temporarily unavailable",
        libc::EBUSY => "Device or resource busy",
        libc::EEXIST => "File exists",
        libc::EXDEV => "Invalid cross-device link",
        libc::ENOTDIR => "Not a directory",
        libc::EISDIR => "Is a directory",
        libc::EINVAL => "Invalid argument",
        libc::ENFILE => "Too many open files in system",
        libc::ENOSPC => "No space left on device",
        libc::EROFS => "Read-only file system",
        libc::ENAMETOOLONG => "File name too long",
        libc::ENOTEMPTY => "Directory not empty",
        libc::ESTALE => "Stale file handle",
        libc::EOPNOTSUPP => "Operation not supported",
        libc::ENOTCONN => "Transport endpoint is not connected",
        number => return format!("Unknown error {number}"),
    };
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_glibcs_texts() {
        assert_eq!(text_of(Errno(libc::ENOTCONN)), "Transport endpoint is not connected");
        assert_eq!(text_of(Errno::ENOENT), "No such file or directory");
        assert_eq!(text_of(Errno(9999)), "Unknown error 9999");
    }
}
