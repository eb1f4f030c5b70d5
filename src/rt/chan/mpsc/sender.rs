//! The sending sides.

use std::fmt;
use std::sync::Arc;

use super::sending::Sending;
use super::shared::Shared;
use super::{SendError, TrySendError};

/// The sending side of [`channel`](super::channel).
pub struct Sender<T>(pub(super) Arc<Shared<T>>);

/// A [`Sender`] that does not keep its channel open.
pub struct WeakSender<T>(Arc<Shared<T>>);

/// The sending side of [`unbounded_channel`](super::unbounded_channel).
pub struct UnboundedSender<T>(pub(super) Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends once there is room.
    ///
    /// # Errors
    /// The receiver is gone or has closed the channel; the message comes back.
    pub async fn send(&self, message: T) -> Result<(), SendError<T>> {
        Sending::new(&self.0, message).await
    }

    /// Sends if there is room.
    ///
    /// # Errors
    /// `Full`, or `Closed`; the message comes back.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(message)
    }

    /// A sender that does not keep the channel open.
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.clone())
    }
}

impl<T> WeakSender<T> {
    /// A sender, unless all are gone.
    pub fn upgrade(&self) -> Option<Sender<T>> {
        self.0.revive_sender().then(|| Sender(self.0.clone()))
    }
}

impl<T> UnboundedSender<T> {
    /// Sends.
    ///
    /// # Errors
    /// The receiver is gone or has closed the channel; the message comes back.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.try_send(message).map_err(|error| SendError(error.into_inner()))
    }

    /// Whether the receiver is gone or has closed the channel.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

macro_rules! counted {
    ($name:ident) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                self.0.add_sender();
                Self(self.0.clone())
            }
        }

        impl<T> Drop for $name<T> {
            fn drop(&mut self) {
                self.0.drop_sender();
            }
        }
    };
}

macro_rules! opaque {
    ($($name:ident)*) => {
        $(impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        })*
    };
}

counted!(Sender);
counted!(UnboundedSender);
opaque!(Sender WeakSender UnboundedSender);
