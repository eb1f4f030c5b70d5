//! A watch as its client sees it: one event after the other, until the server ends it or falls silent.

use std::marker::PhantomData;

use ::http::StatusCode;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::core::WatchEvent;

use super::error::ApiError;
use super::http::Connection;
use super::{malformed, refusal};
use crate::kube::kind::ApiObject;
use crate::rt::time::{Duration, timeout};

/// An error that a watch ends with.
pub type WatchError = ApiError;

/// A running watch.
pub struct Watch<K> {
    body: Incoming,
    buffer: BytesMut,
    silence_max: Duration,
    _connection: Connection,
    _of: PhantomData<fn() -> K>,
}

impl<K: ApiObject> Watch<K> {
    pub(super) fn new(body: Incoming, connection: Connection, silence_max: Duration) -> Self {
        Self { body, buffer: BytesMut::new(), silence_max, _connection: connection, _of: PhantomData }
    }

    /// The next event; nothing when the server has ended the watch in good order. An error of the server, such as that the
    /// version is forgotten, is an error here. Safe to drop while it waits.
    ///
    /// # Errors
    /// The server's, a broken connection, or silence.
    pub async fn next(&mut self) -> Result<Option<WatchEvent<K>>, WatchError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.is_empty() {
                    continue;
                }
                return match serde_json::from_slice(&line).map_err(|error| malformed(&error))? {
                    WatchEvent::Error(status) => Err(ApiError::Status(status)),
                    event => Ok(Some(event)),
                };
            }
            match timeout(self.silence_max, self.body.frame()).await {
                Err(_) => return Err(ApiError::Deadline(self.silence_max)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(ApiError::Exchange(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// The refusal that came instead.
    pub(super) async fn refused(self, status: StatusCode) -> ApiError {
        match timeout(self.silence_max, self.body.collect()).await {
            Ok(Ok(body)) => refusal(status, &body.to_bytes()),
            Ok(Err(error)) => ApiError::Exchange(error.to_string()),
            Err(_) => ApiError::Deadline(self.silence_max),
        }
    }
}
