//! Query strings, as both ends of the API need them: `application/x-www-form-urlencoded`.

use std::borrow::Cow;

/// One `name=value` pair more, escaped.
pub fn push(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    escape(query, name);
    query.push('=');
    escape(query, value);
}

fn escape(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The pairs of a query, unescaped. What is escaped wrongly stays as it is.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    pairs.map(|(name, value)| (unescape(name).into_owned(), unescape(value).into_owned())).collect()
}

/// Without `%xx` and `+`.
pub fn unescape(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    // Nearly every step of every path is such a text.
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return text.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match (bytes[at], digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_pushed_comes_back(list in prop::collection::vec((".{1,8}", ".{0,8}"), 0..4)) {
            let mut query = String::new();
            list.iter().for_each(|(name, value)| push(&mut query, name, value));
            prop_assert_eq!(pairs(&query), list);
        }
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(
            pairs("a=%zz&b=%4&c+d=%"),
            [("a", "%zz"), ("b", "%4"), ("c d", "%")].map(|(n, v)| (n.into(), v.into()))
        );
    }
}
