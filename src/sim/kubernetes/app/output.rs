//! Where a program's output goes.

use std::sync::{Arc, Mutex};

use super::tree::Writing;
use crate::base::lock;
use crate::rt::chan;
use crate::sim::kubernetes::images::Log;
use crate::stack::fuse::Errno;

/// Bytes of output that `exec` hands back at most; the rest is dropped.
const CAPTURED_BYTES_MAX: usize = 1 << 20;

/// A file that a command's output is redirected to; empty once it is closed.
pub type Target = Arc<chan::Mutex<Option<Box<dyn Writing>>>>;

/// One stream of output. Clones go to the same place.
#[derive(Clone)]
pub enum Out {
    /// To nobody.
    Null,
    /// To the container's log, as it is written. What is no text becomes U+FFFD there.
    Log(Log),
    /// Kept, up to a bound.
    Captured(Captured),
    /// Into a file.
    File(Target),
}

impl Out {
    /// Writes.
    ///
    /// # Errors
    /// The file's.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Null => {}
            Self::Log(log) => log.write(&String::from_utf8_lossy(bytes)),
            Self::Captured(kept) => kept.add(bytes),
            Self::File(target) => match &mut *target.lock().await {
                Some(file) => file.write(bytes).await?,
                None => return Err(Errno::EBADF),
            },
        }
        Ok(())
    }
}

/// Output that is kept.
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn add(&self, bytes: &[u8]) {
        let mut kept = lock(&self.0);
        let room = CAPTURED_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What was written.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

/// The two streams of a command.
#[derive(Clone)]
pub struct Io {
    /// Standard output.
    pub out: Out,
    /// Standard error.
    pub err: Out,
}

impl Io {
    /// Both into the container's log.
    pub fn log(log: &Log) -> Self {
        Self { out: Out::Log(log.clone()), err: Out::Log(log.clone()) }
    }

    /// Prints on standard output.
    ///
    /// # Errors
    /// The file's that it goes to.
    pub async fn print(&self, text: &str) -> Result<(), Errno> {
        self.out.write(text.as_bytes()).await
    }

    /// Prints a line on standard error; nobody hears of an error in that.
    pub async fn complain(&self, line: &str) {
        let _ = self.err.write(format!("{line}\n").as_bytes()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_output_is_bounded() {
        let kept = Captured::default();
        kept.add(&vec![b'x'; CAPTURED_BYTES_MAX - 1]);
        kept.add(b"yz");
        assert_eq!(kept.text().len(), CAPTURED_BYTES_MAX);
        assert!(kept.text().ends_with("xy"));
    }
}
