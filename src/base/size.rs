//! Byte counts as Kubernetes writes them (`2G`, `4Gi`) and as Fluid prints them (`550.82MiB`).
//!
//! Parsing follows Kubernetes' resource.Quantity for whole and decimal numbers with a suffix; `2GB` and `2GiB`, which
//! Fluid's tieredstore also accepts, mean the binary unit as Alluxio reads them.
//! Differs: no exponent form (`1e3`), no sub-byte units (`m`, `n`, `u`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// Why a text is not a byte count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No digits where the number should be.
    #[error("`{0}` does not start with a number; write a quantity such as 2Gi, 512Mi or 1500M")]
    NoNumber(String),
    /// The suffix is not a unit.
    #[error("`{unit}` in `{text}` is not a unit; use one of k, M, G, T, P, Ki, Mi, Gi, Ti, Pi")]
    Unit {
        /// The whole text.
        text: String,
        /// What followed the number.
        unit: String,
    },
    /// More than 2^64 - 1 bytes.
    #[error("`{0}` is more than 2^64 bytes")]
    TooLarge(String),
}

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("k", 1000),
    ("M", 1000 * 1000),
    ("G", 1000 * 1000 * 1000),
    ("T", 1000u64.pow(4)),
    ("P", 1000u64.pow(5)),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("PB", 1 << 50),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || number == "." || fraction.contains('.') {
            return Err(SizeError::NoNumber(text.into()));
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let scale = u128::from(scale.ok_or_else(|| SizeError::Unit { text: text.into(), unit: unit.into() })?);
        let too_large = || SizeError::TooLarge(text.into());
        let digits = |s: &str| if s.is_empty() { Ok(0u128) } else { s.parse::<u128>().map_err(|_| too_large()) };
        // Eighteen decimals are more than any 64-bit count can feel.
        let fraction = &fraction[..fraction.len().min(18)];
        let part = digits(fraction)? * scale / 10u128.pow(fraction.len() as u32);
        let total = digits(whole)?.checked_mul(scale).and_then(|n| n.checked_add(part)).ok_or_else(too_large)?;
        u64::try_from(total).map(Self).map_err(|_| too_large())
    }
}

/// Fluid's form: two decimals, base 1024, `B`, `KiB`, `MiB`, … (`utils.BytesSize` in fluid-cloudnative/fluid).
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < NAMES.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.2}{}", NAMES[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_manifests_write() {
        for (text, want) in [
            ("0", 0),
            ("2G", 2_000_000_000),
            ("2Gi", 2 << 30),
            ("1.5Gi", 3 << 29),
            ("2GB", 2 << 30),
            (" 512Mi ", 512 << 20),
            ("12Gi", 12 << 30),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(want)), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        assert!(matches!("Gi".parse::<ByteSize>(), Err(SizeError::NoNumber(_))));
        assert!(matches!("".parse::<ByteSize>(), Err(SizeError::NoNumber(_))));
        assert!(matches!("1.2.3Gi".parse::<ByteSize>(), Err(SizeError::NoNumber(_))));
        assert!(matches!("2Zi".parse::<ByteSize>(), Err(SizeError::Unit { .. })));
        assert!(matches!("-2Gi".parse::<ByteSize>(), Err(SizeError::NoNumber(_))));
        assert!(matches!("99999999Pi".parse::<ByteSize>(), Err(SizeError::TooLarge(_))));
    }

    #[test]
    fn prints_as_fluid_does() {
        for (bytes, want) in [(0, "0.00B"), (4 << 30, "4.00GiB"), (577_576_632, "550.82MiB"), (1023, "1023.00B")] {
            assert_eq!(ByteSize(bytes).to_string(), want);
        }
    }
}
