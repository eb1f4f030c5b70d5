//! Bytes of a frame: 4 bytes of length (big endian), then postcard.
//!
//! The first frame each way is a greeting (magic, protocol, version), so that a stray connection ends at once. Then the
//! client sends `(id, milliseconds it will wait, request)` and the server `(id, outcome, response)`, in any order. A frame
//! must be used up to its last byte. Pure: bytes in, values out, no I/O.

use bytes::{BufMut, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};

use super::{FRAME_MAX, Protocol};

/// First bytes of every greeting.
const MAGIC: [u8; 4] = *b"SGL\x01";
/// Bytes of a frame's length field.
const LENGTH_BYTES: usize = 4;
/// Outcome byte of a reply: a response follows.
const OUTCOME_RESPONSE: u8 = 0;
/// Outcome byte of a reply: the response was longer than a frame.
const OUTCOME_TOO_LARGE: u8 = 1;

/// What is wrong with received bytes, or with a value to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field says more than [`FRAME_MAX`].
    #[error("longer than {FRAME_MAX} bytes")]
    TooLarge,
    /// The bytes are not a value of the expected type.
    #[error("not a {what}: {reason}")]
    Undecodable {
        /// Which value was expected.
        what: &'static str,
        /// postcard's reason.
        reason: String,
    },
    /// Bytes are left behind the value.
    #[error("{0} bytes behind the value")]
    Trailing(usize),
    /// The greeting is not ours.
    #[error("the greeting names {0}")]
    Greeting(String),
}

/// Cuts received bytes into frames.
pub(super) struct Cutter {
    codec: LengthDelimitedCodec,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self { codec: LengthDelimitedCodec::builder().max_frame_length(FRAME_MAX).new_codec() }
    }

    /// The next whole frame, without its length; `None` if more bytes are needed.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        self.codec.decode(received).map_err(|_| FrameError::TooLarge)
    }
}

/// Writes postcard into the tail of a buffer, up to the longest frame.
struct Tail<'a> {
    out: &'a mut BytesMut,
    limit: usize,
}

impl Flavor for Tail<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if self.out.len() + data.len() > self.limit {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        if self.out.len() >= self.limit {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.put_u8(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends one frame that holds `value`. On an error nothing is appended.
fn append(out: &mut BytesMut, value: &impl Serialize) -> Result<(), FrameError> {
    let start = out.len();
    out.put_u32(0);
    let limit = start + LENGTH_BYTES + FRAME_MAX;
    if let Err(error) = postcard::serialize_with_flavor(value, Tail { out, limit }) {
        out.truncate(start);
        return Err(match error {
            postcard::Error::SerializeBufferFull => FrameError::TooLarge,
            other => FrameError::Undecodable { what: "serialisable value", reason: other.to_string() },
        });
    }
    let length = (out.len() - start - LENGTH_BYTES) as u32; // at most FRAME_MAX
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn take<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(FrameError::Trailing(rest.len())),
        Err(error) => Err(FrameError::Undecodable { what, reason: error.to_string() }),
    }
}

/// Appends this side's greeting.
pub(super) fn append_greeting<P: Protocol>(out: &mut BytesMut) {
    let appended = append(out, &(MAGIC, P::NAME, P::VERSION));
    debug_assert!(appended.is_ok(), "a greeting is short");
}

/// Checks the other side's greeting.
pub(super) fn check_greeting<P: Protocol>(frame: &[u8]) -> Result<(), FrameError> {
    let (magic, name, version): ([u8; 4], String, u16) = take("greeting", frame)?;
    if magic == MAGIC && name == P::NAME && version == P::VERSION {
        return Ok(());
    }
    let short: String = name.chars().take(32).collect();
    Err(FrameError::Greeting(format!("{:?} version {version}, not {:?} version {}", short, P::NAME, P::VERSION)))
}

/// Appends a request. `wait_ms` is how long the client will wait for its reply.
pub(super) fn append_request<P: Protocol>(
    out: &mut BytesMut,
    id: u64,
    wait_ms: u32,
    request: &P::Request,
) -> Result<(), FrameError> {
    append(out, &(id, wait_ms, request))
}

/// Id, milliseconds that the client waits, request.
pub(super) fn take_request<P: Protocol>(frame: &[u8]) -> Result<(u64, u32, P::Request), FrameError> {
    take("request", frame)
}

/// Appends a reply, or the notice that the response is too long for a frame.
pub(super) fn append_reply<P: Protocol>(out: &mut BytesMut, id: u64, response: &P::Response) -> Result<(), FrameError> {
    match append(out, &(id, OUTCOME_RESPONSE, response)) {
        Err(FrameError::TooLarge) => append(out, &(id, OUTCOME_TOO_LARGE)),
        other => other,
    }
}

/// Id and response; `None` if the server found it too long to send.
pub(super) fn take_reply<P: Protocol>(frame: &[u8]) -> Result<(u64, Option<P::Response>), FrameError> {
    let undecodable = |e: postcard::Error| FrameError::Undecodable { what: "reply", reason: e.to_string() };
    let ((id, outcome), rest): ((u64, u8), &[u8]) = postcard::take_from_bytes(frame).map_err(undecodable)?;
    match outcome {
        OUTCOME_RESPONSE => take("reply", rest).map(|response| (id, Some(response))),
        OUTCOME_TOO_LARGE if rest.is_empty() => Ok((id, None)),
        OUTCOME_TOO_LARGE => Err(FrameError::Trailing(rest.len())),
        _ => Err(FrameError::Undecodable { what: "reply", reason: format!("unknown outcome {outcome}") }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::stack::wire::master::{Change, MasterAnswer, MasterReply, MasterRequest};
    use crate::stack::wire::rpc::{MasterProtocol, WorkerProtocol};
    use crate::stack::wire::{BlockId, FsError, OpId};

    fn requests() -> impl Strategy<Value = MasterRequest> {
        prop_oneof![
            Just(MasterRequest::WhoLeads { seen: None }),
            ".{0,40}".prop_map(|path| MasterRequest::Stat { path }),
            (any::<u64>(), any::<u64>(), ".{0,40}", any::<bool>()).prop_map(|(client, seq, path, recursive)| {
                MasterRequest::Change { op: OpId { client, seq }, change: Change::Delete { path, recursive } }
            }),
            (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(w, b, length)| MasterRequest::CommitBlock {
                worker: crate::stack::wire::WorkerId(w),
                block: BlockId(b),
                length
            }),
        ]
    }

    /// Reads a stream as the server does: greeting, then requests, until the bytes or the peer's welcome end.
    fn read_all(bytes: &[u8]) -> Result<Vec<(u64, u32, MasterRequest)>, FrameError> {
        let (mut cutter, mut received, mut greeted, mut requests) =
            (Cutter::new(), BytesMut::from(bytes), false, vec![]);
        while let Some(frame) = cutter.next(&mut received)? {
            if greeted {
                requests.push(take_request::<MasterProtocol>(&frame)?);
            } else {
                check_greeting::<MasterProtocol>(&frame)?;
                greeted = true;
            }
        }
        Ok(requests)
    }

    fn written(requests: &[MasterRequest]) -> BytesMut {
        let mut out = BytesMut::new();
        append_greeting::<MasterProtocol>(&mut out);
        for (id, request) in requests.iter().enumerate() {
            append_request::<MasterProtocol>(&mut out, id as u64, 1000, request).unwrap();
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn what_is_written_is_read_however_it_is_cut(sent in vec(requests(), 0..5), cuts in vec(1usize..40, 1..30)) {
            let out = written(&sent);
            let (mut cutter, mut received, mut frames) = (Cutter::new(), BytesMut::new(), vec![]);
            let (mut rest, mut cuts) = (&out[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                received.extend_from_slice(now);
                rest = later;
                while let Some(frame) = cutter.next(&mut received).unwrap() {
                    frames.push(frame);
                }
            }
            prop_assert_eq!(check_greeting::<MasterProtocol>(&frames[0]), Ok(()));
            let got: Vec<_> = frames[1..].iter().map(|f| take_request::<MasterProtocol>(f).unwrap().2).collect();
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = read_all(&bytes);
            let _ = take_request::<MasterProtocol>(&bytes);
            let _ = take_request::<WorkerProtocol>(&bytes);
            let _ = take_reply::<MasterProtocol>(&bytes);
            let _ = take_reply::<WorkerProtocol>(&bytes);
            prop_assert!(check_greeting::<MasterProtocol>(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_is_refused_or_read_but_never_panics(
            sent in vec(requests(), 1..4), at in any::<prop::sample::Index>(), with in any::<u8>()
        ) {
            let mut out = written(&sent);
            let at = at.index(out.len());
            let changed = out[at] != with;
            out[at] = with;
            let read = read_all(&out);
            prop_assert!(changed || read.is_ok());
        }

        #[test]
        fn a_truncated_stream_gives_a_prefix(sent in vec(requests(), 1..4), at in any::<prop::sample::Index>()) {
            let out = written(&sent);
            let read = read_all(&out[..at.index(out.len())]).unwrap();
            prop_assert!(read.len() < sent.len());
            prop_assert!(read.iter().zip(&sent).all(|(got, sent)| got.2 == *sent));
        }
    }

    #[test]
    fn a_claimed_length_over_the_limit_is_refused_before_it_arrives() {
        let mut received = BytesMut::from(&((FRAME_MAX + 1) as u32).to_be_bytes()[..]);
        assert_eq!(Cutter::new().next(&mut received), Err(FrameError::TooLarge));
    }

    #[test]
    fn a_reply_that_is_too_long_says_so_instead() {
        let mut out = BytesMut::new();
        let error = FsError::Invalid("x".repeat(FRAME_MAX));
        let reply = MasterReply { index: 1, term: 1, result: Err(error) };
        append_reply::<MasterProtocol>(&mut out, 7, &reply).unwrap();
        assert!(out.len() < 16);
        assert_eq!(take_reply::<MasterProtocol>(&out[LENGTH_BYTES..]), Ok((7, None)));
    }

    #[test]
    fn a_request_that_is_too_long_leaves_the_buffer_as_it_was() {
        let mut out = written(&[MasterRequest::WhoLeads { seen: None }]);
        let before = out.clone();
        let request = MasterRequest::Stat { path: "x".repeat(FRAME_MAX) };
        assert_eq!(append_request::<MasterProtocol>(&mut out, 1, 1, &request), Err(FrameError::TooLarge));
        assert_eq!(out, before);
    }

    #[test]
    fn bytes_behind_a_value_are_refused() {
        let mut out = BytesMut::new();
        let reply = MasterReply { index: 1, term: 1, result: Ok(MasterAnswer::Done) };
        append_reply::<MasterProtocol>(&mut out, 7, &reply).unwrap();
        assert_eq!(take_reply::<MasterProtocol>(&out[LENGTH_BYTES..]), Ok((7, Some(reply))));
        out.put_u8(0);
        assert_eq!(take_reply::<MasterProtocol>(&out[LENGTH_BYTES..]), Err(FrameError::Trailing(1)));
    }

    #[test]
    fn another_protocol_or_version_is_named() {
        let mut out = BytesMut::new();
        append_greeting::<WorkerProtocol>(&mut out);
        let refused = check_greeting::<MasterProtocol>(&out[LENGTH_BYTES..]).unwrap_err();
        assert!(refused.to_string().contains("\"worker\" version 1, not \"master\""), "{refused}");
    }
}
