//! Percent-encoding, as URLs have it. Who asks says which marks may stand for themselves.

use std::fmt::Write as _;

/// Encodes all bytes but ASCII letters, digits and those of `keep`.
pub fn encode(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Undoes it; none if an escape is broken or the result is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push((digit()? << 4 | digit()?) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_escapes_are_refused() {
        for (text, want) in
            [("a%20b", Some("a b")), ("%e2%82%AC", Some("€")), ("%", None), ("%2", None), ("%zz", None), ("%ff", None)]
        {
            assert_eq!(decode(text).as_deref(), want, "{text}");
        }
        assert_eq!(encode("/a b+€", b"/"), "/a%20b%2B%E2%82%AC");
    }

    proptest! {
        #[test]
        fn encoding_is_undone(text in "\\PC*", keep in prop::sample::select(vec![&b""[..], b"/-_.~", b"+!'"])) {
            prop_assert_eq!(decode(&encode(&text, keep)), Some(text));
        }
    }
}
