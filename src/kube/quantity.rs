//! Values that manifests write as text: quantities (`2G`), fractions (`"0.8"`).
//!
//! Rule: what was written is kept beside what it means, so that a manifest prints as it was read. Everything is exact;
//! no floating point.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::ByteSize;
use crate::base::size::SizeError;

/// A number of bytes as a manifest writes it: `2G`, `512Mi`. Kubernetes' `resource.Quantity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    size: ByteSize,
}

impl Quantity {
    /// That many bytes, written with the largest binary unit that divides them: `16Mi`.
    pub fn bytes(bytes: u64) -> Self {
        let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
        let whole = units.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
        let text = whole.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift));
        Self { text, size: ByteSize(bytes) }
    }

    /// What it means.
    pub const fn size(&self) -> ByteSize {
        self.size
    }

    /// What it means, as a plain number of bytes.
    pub const fn get(&self) -> u64 {
        self.size.0
    }
}

impl FromStr for Quantity {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        Ok(Self { size: text.parse()?, text: text.into() })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A share between 0 and 1, written as a decimal in a string: Fluid's `high: "0.8"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fraction {
    text: String,
    millionths: u32,
}

/// Why a text is not a fraction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fraction between 0 and 1; write a decimal such as \"0.8\"")]
pub struct FractionError(pub String);

impl Fraction {
    /// In millionths: 0 to 1,000,000.
    pub const fn millionths(&self) -> u32 {
        self.millionths
    }

    /// That share of `bytes`, rounded down.
    pub fn of(&self, bytes: u64) -> u64 {
        let share = u128::from(bytes) * u128::from(self.millionths) / 1_000_000;
        u64::try_from(share).unwrap_or(bytes)
    }
}

impl FromStr for Fraction {
    type Err = FractionError;

    fn from_str(text: &str) -> Result<Self, FractionError> {
        let refuse = || FractionError(text.into());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.len() <= 6 && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(refuse());
        }
        let scale = 10u64.pow(6 - decimals.len() as u32);
        let whole: u64 = whole.parse().map_err(|_| refuse())?;
        let decimals: u64 = decimals.parse().map_err(|_| refuse())?;
        let millionths = whole * 1_000_000 + decimals * scale;
        match u32::try_from(millionths) {
            Ok(millionths) if millionths <= 1_000_000 => Ok(Self { text: text.into(), millionths }),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads any scalar as text and parses it, so that the parse error is what the reader of the file sees.
pub fn from_text<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(&'static str, std::marker::PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    deserializer.deserialize_str(Text(expected, std::marker::PhantomData))
}

/// Gives a type that is written as text its `Serialize`, `Deserialize` and `JsonSchema`.
macro_rules! text_value {
    ($type:ty, $name:literal, $expected:literal, $pattern:literal, $description:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::kube::quantity::from_text(deserializer, $expected)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

pub(crate) use text_value;

text_value!(
    Fraction,
    "Fraction",
    "a decimal between 0 and 1 in quotes",
    r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$",
    "A share between 0 and 1, such as \"0.8\"."
);

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a quantity such as 2Gi")
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]+)?(B|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|KB|MB|GB|TB|PB|KiB|MiB|GiB|TiB|PiB)?$",
            "minimum": 0,
            "description": "A number of bytes with a unit, such as 2G (decimal), 512Mi or 512MB (binary)."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact_and_bounded() {
        for (text, want) in [("0.8", 800_000), ("1", 1_000_000), ("0", 0), ("0.000001", 1), ("1.0", 1_000_000)] {
            assert_eq!(text.parse::<Fraction>().map(|f| f.millionths()), Ok(want), "{text}");
        }
        for text in ["", ".", ".8", "0.", "1.000001", "2", "-0.1", "0.1234567", "80%", "1e-1", "99999999999999999999"] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_of_the_largest_size_does_not_wrap() {
        let all: Fraction = "1".parse().expect("legal");
        let most: Fraction = "0.8".parse().expect("legal");
        assert_eq!(all.of(u64::MAX), u64::MAX);
        assert_eq!(most.of(2_000_000_000), 1_600_000_000);
    }

    #[test]
    fn a_quantity_prints_as_it_was_written() {
        let quantity: Quantity = "2G".parse().expect("legal");
        assert_eq!((quantity.to_string().as_str(), quantity.get()), ("2G", 2_000_000_000));
        for (bytes, text) in [(0, "0"), (1500, "1500"), (16 << 20, "16Mi"), (3 << 40, "3072Gi"), (1 << 10, "1Ki")] {
            assert_eq!(Quantity::bytes(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Quantity::bytes(bytes)));
        }
    }
}
