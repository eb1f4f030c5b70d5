//! A value that nobody is to see: a password, an access key.
//!
//! Rule: whoever prints it, logs it or writes it for people (JSON, YAML) gets [`Secret::MASK`] instead. Only binary
//! formats carry the value, for the wire between programs and for their journals, and only [`Secret::expose`] gives it out.
//! Differs from a vault: the bytes lie in memory as they are.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The value, well wrapped.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// What is shown in place of the value.
    pub const MASK: &str = "******";

    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for who must send it to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every appearance of the value masked: for what another program said.
    pub fn scrub(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, Self::MASK) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = if serializer.is_human_readable() { Self::MASK } else { &self.0 };
        serializer.serialize_str(shown)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_see_the_value() {
        let secret = Secret::new("hunter2");
        let shown = [
            format!("{secret}"),
            format!("{secret:?}"),
            format!("{:#?}", Some((1, &secret))),
            serde_json::to_string(&secret).unwrap(),
            secret.scrub("no such key: hunter2, hunter2!"),
        ];
        assert!(shown.iter().all(|text| text.contains(Secret::MASK) && !text.contains("hunter2")), "{shown:?}");
        let bytes = postcard::to_stdvec(&secret).unwrap();
        assert_eq!(postcard::from_bytes::<Secret>(&bytes).unwrap().expose(), "hunter2");
        assert_eq!(serde_json::from_str::<Secret>("\"hunter2\"").unwrap(), secret);
        assert_eq!(Secret::default().scrub("as it is"), "as it is");
    }
}
