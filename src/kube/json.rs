//! JSON as the API's two ends read and write it.
//!
//! serde_json, without two of its costs: bytes are looked through once for what is no UTF-8, not string by string; and a text
//! grows in a buffer that is there already, so that what is kept is as long as the text.

use std::cell::Cell;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error};
use serde::ser::Serialize;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that grew beyond this is not kept, in bytes: objects are at most a few times longer.
const SCRATCH_KEPT: usize = 256 << 10;

/// The text of a value.
///
/// # Errors
/// It cannot be written as JSON.
pub fn write<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    // Taken out, in case that writing a value writes another.
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let written = serde_json::to_writer(&mut scratch, value);
    let text = Bytes::copy_from_slice(&scratch);
    if scratch.capacity() <= SCRATCH_KEPT {
        SCRATCH.set(scratch);
    }
    written.map(|()| text)
}

/// The bytes as text.
///
/// # Errors
/// They are no UTF-8. Only where is told, and not what: it may be a Secret's.
pub fn text(bytes: &[u8]) -> serde_json::Result<&str> {
    str::from_utf8(bytes)
        .map_err(|error| serde_json::Error::custom(format!("no UTF-8 from byte {} on", error.valid_up_to())))
}

/// The value that a text is of.
///
/// # Errors
/// It is none of this type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_str(text(bytes)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_text_is_as_serde_json_writes_it_whatever_was_written_before() {
        let long = json!({ "text": "a\u{1f300}\n".repeat(SCRATCH_KEPT / 4) });
        for value in [json!({ "a": [1, null, "b"] }), long, json!(0)] {
            let text = write(&value).unwrap();
            assert_eq!(text, serde_json::to_vec(&value).unwrap());
            assert_eq!(read::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_to_the_next() {
        let keys_are_no_text = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(write(&keys_are_no_text).is_err());
        assert_eq!(write("a").unwrap(), r#""a""#);
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place_alone() {
        let error = read::<Value>(b"{\"a\":\"hunter2\xff\"}").unwrap_err();
        assert_eq!(error.to_string(), "no UTF-8 from byte 13 on");
        assert!(read::<Value>(b"{").is_err_and(|error| error.line() == 1));
    }
}
