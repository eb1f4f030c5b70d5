//! Requests and replies over one TCP connection: length-delimited postcard frames, many requests at once.
//!
//! The rule: every request has a deadline, and it travels with the request. A connection on which a deadline passed may
//! be dead without knowing it (TCP gives up on a cut link only after minutes), so it is closed and everything that
//! waited on it fails. Whatever a peer sends, the worst outcome is a closed connection and a line in the log.
//!
//! It retries nothing: whether a request may be repeated is known to its caller only.
//!
//! | file | what |
//! |---|---|
//! | `frame` | bytes of a frame, greeting, request, reply; no I/O |
//! | `link` | the write side that both ends share |
//! | `client` | [`Channel`] |
//! | `server` | [`serve`] |

mod client;
mod frame;
mod link;
mod server;
mod spare;
#[cfg(test)]
mod tests;

pub use client::Channel;
pub use frame::FrameError;
pub use server::{Context, Handler, Limits, serve, serve_with};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::master::{MasterReply, MasterRequest};
use super::worker::{WorkerReply, WorkerRequest};

/// Longest frame that either side accepts, in bytes, without its length field.
pub const FRAME_MAX: usize = 8 << 20;

/// A language that a client and a server share. Both greet with name and version before the first request.
pub trait Protocol: Send + Sync + 'static {
    /// Names the protocol in the greeting.
    const NAME: &'static str;
    /// Raised with every change of the encoding; both sides must have the same.
    const VERSION: u16;
    /// What a client asks.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// What a server answers.
    type Response: Serialize + DeserializeOwned + Send + 'static;
}

/// Clients, workers and operators to a master's rpc port.
#[derive(Debug, Clone, Copy)]
pub struct MasterProtocol;

impl Protocol for MasterProtocol {
    const NAME: &'static str = "master";
    const VERSION: u16 = 1;
    type Request = MasterRequest;
    type Response = MasterReply;
}

/// Clients to a worker's rpc port.
#[derive(Debug, Clone, Copy)]
pub struct WorkerProtocol;

impl Protocol for WorkerProtocol {
    const NAME: &'static str = "worker";
    const VERSION: u16 = 1;
    type Request = WorkerRequest;
    type Response = WorkerReply;
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No connection: unknown host, refused, unreachable. The request was never sent.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The address as configured.
        address: String,
        /// The socket's error.
        reason: String,
    },
    /// No reply in time. The request may have been carried out, or may be yet.
    #[error("no reply in time")]
    Timeout,
    /// The connection ended first. The request may have been carried out, or may be yet.
    #[error("connection closed: {0}")]
    Closed(String),
    /// The two sides do not speak the same protocol or version.
    #[error("the peer speaks another protocol: {0}")]
    Protocol(String),
    /// The peer sent what cannot be read; the connection is closed.
    #[error("malformed frame: {0}")]
    Malformed(FrameError),
    /// The request or its reply is longer than [`FRAME_MAX`].
    #[error("frame is longer than {FRAME_MAX} bytes")]
    TooLarge,
}

impl RpcError {
    /// Whether the same call may succeed later or elsewhere.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Timeout | Self::Closed(_))
    }

    /// Whether the request certainly never reached the server.
    pub fn never_sent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Protocol(_))
    }
}
