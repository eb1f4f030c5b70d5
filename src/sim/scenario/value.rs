//! Values that scenario files write as text: durations (`30s`) and odds (`1/1000`).
//!
//! Rule: a number without a unit is refused, never guessed at; nothing is a floating-point number.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::base::Stream;
use crate::kube::quantity::text_value;

/// A length of simulated time: `30s`, `200ms`, `1m30s`, `2h`, `50us`, `10ns`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Why a text is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A bare number.
    #[error("`{0}` has no unit; write {0}s, {0}ms, {0}m or {0}h")]
    NoUnit(String),
    /// Not a duration at all.
    #[error("`{0}` is not a duration; write one such as 30s, 200ms or 1m30s")]
    Form(String),
    /// Longer than 584 years.
    #[error("`{0}` is longer than simulated time can be")]
    TooLong(String),
}

/// Units, each with its length in nanoseconds, longest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    /// That many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// That many milliseconds.
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let form = || SpanError::Form(text.into());
        let mut rest = text;
        let mut total: u64 = 0;
        if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SpanError::NoUnit(text.into()));
        }
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?);
            let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(form)?;
            if number.is_empty() {
                return Err(form());
            }
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*scale));
            total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| SpanError::TooLong(text.into()))?;
            rest = after;
        }
        if text.is_empty() { Err(form()) } else { Ok(Self(Duration::from_nanos(total))) }
    }
}

/// The shortest form that reads back as the same span: `1m30s`, `250ms`, `0s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = crate::base::time::nanos(self.0);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, scale) in UNITS {
            if rest >= scale {
                write!(f, "{}{name}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

text_value!(
    Span,
    "Duration",
    "a duration with a unit, such as 30s",
    r"^([0-9]+(h|m|s|ms|us|ns))+$",
    "A length of simulated time with its unit: 30s, 200ms, 1m30s, 2h."
);

/// An exact chance: `1/1000`, `0`, `1`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Odds {
    /// Times it happens,
    pub num: u64,
    /// of so many.
    pub den: u64,
}

/// Why a text is not [`Odds`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a chance; write a ratio such as 1/1000, or 0, or 1")]
pub struct OddsError(String);

impl Odds {
    /// Every time.
    pub const ALWAYS: Self = Self { num: 1, den: 1 };
    /// At no time.
    pub const NEVER: Self = Self { num: 0, den: 1 };

    /// Draws once.
    pub fn draw(self, stream: &mut Stream) -> bool {
        stream.ratio(self.num, self.den)
    }
}

impl FromStr for Odds {
    type Err = OddsError;

    fn from_str(text: &str) -> Result<Self, OddsError> {
        let (num, den) = text.split_once('/').unwrap_or((text, "1"));
        match (num.trim().parse(), den.trim().parse()) {
            (Ok(num), Ok(den)) if den > 0 && num <= den => Ok(Self { num, den }),
            _ => Err(OddsError(text.into())),
        }
    }
}

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{}/{}", self.num, self.den) }
    }
}

text_value!(
    Odds,
    "Odds",
    "a ratio such as 1/1000",
    r"^([01]|[0-9]+/[0-9]+)$",
    "An exact chance between 0 and 1, such as 1/1000."
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, nanos) in
            [("30s", 30_000_000_000), ("1m30s", 90_000_000_000), ("0s", 0), ("5ns", 5), ("1h1ms", 3_600_001_000_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_nanos(nanos))), "{text}");
        }
        assert_eq!("30".parse::<Span>(), Err(SpanError::NoUnit("30".into())));
        for text in ["", "s", "30 s", "-3s", "1.5s", "3d", "30S", "3s4"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::Form(text.into())), "{text}");
        }
        assert!(matches!("999999999h".parse::<Span>(), Err(SpanError::TooLong(_))));
        assert!(matches!("99999999999999999999s".parse::<Span>(), Err(SpanError::TooLong(_))));
    }

    #[test]
    fn odds_lie_between_never_and_always() {
        assert_eq!("1/1000".parse(), Ok(Odds { num: 1, den: 1000 }));
        assert_eq!("0".parse(), Ok(Odds::NEVER));
        for text in ["", "2", "1/0", "3/2", "0.1", "-1/2", "1/2/3"] {
            assert!(text.parse::<Odds>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_span_reads_back_as_it_prints(nanos: u64) {
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,12}") {
            let _ = (text.parse::<Span>(), text.parse::<Odds>());
        }
    }
}
