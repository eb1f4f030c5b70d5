//! Why an API call gave no object.

use kube::core::Status;

use crate::rt::time::Duration;

/// A failed call. No message holds a value of an object.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// The server refused, with upstream's reason and words.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// No connection: the server has not seen the request.
    #[error("connect to the API server: {0}")]
    Connect(String),
    /// The connection broke: the server may have done it.
    #[error("talk to the API server: {0}")]
    Exchange(String),
    /// No answer in time: the server may have done it.
    #[error("no answer from the API server within {0:?}")]
    Deadline(Duration),
    /// An answer that is not what was asked for.
    #[error("an answer that cannot be read: {0}")]
    Malformed(String),
}

impl ApiError {
    fn status(&self) -> Option<&Status> {
        if let Self::Status(status) = self { Some(status) } else { None }
    }

    fn reason(&self) -> &str {
        self.status().map_or("", |status| &status.reason)
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.reason() == "NotFound"
    }

    /// The name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// Somebody was faster, or the object is another one than expected.
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    /// The version to watch from is forgotten.
    pub fn is_gone(&self) -> bool {
        self.status().is_some_and(|status| status.code == 410)
    }

    /// The object breaks a rule of its kind.
    pub fn is_invalid(&self) -> bool {
        self.reason() == "Invalid"
    }

    /// The server did not answer; it may have done what it was asked, unless this is [`ApiError::Connect`].
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Exchange(_) | Self::Deadline(_))
    }
}
