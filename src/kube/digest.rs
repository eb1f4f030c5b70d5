//! A number for a text, to find the slot in which something is remembered about it.

/// Tells texts apart, in words of eight bytes. Nobody depends on it being good: who uses it compares the texts.
pub(super) fn digest(text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = text.as_chunks::<8>();
    let mut sum = (text.len() as u64).wrapping_mul(ODD);
    for word in words {
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
    }
    for byte in rest {
        sum = (sum.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(ODD);
    }
    // The low bits of a product know nothing of its factors' high ones.
    sum ^ (sum >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn texts_that_differ_little_go_to_many_slots() {
        let texts = (0..512).map(|number| format!(r#"{{"metadata":{{"resourceVersion":"{number}"}}}}"#));
        let slots: BTreeSet<u64> = texts.map(|text| digest(text.as_bytes()) % 512).collect();
        assert!(slots.len() > 256, "{}", slots.len());
        assert_ne!(digest(b"a"), digest(b"a\0"));
    }
}
