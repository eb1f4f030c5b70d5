//! Amounts of resources: `resource.Quantity` as an exact number.
//!
//! Upstream rounds up when it asks a quantity for whole units or thousandths (`Value()`, `MilliValue()`); so do we. No
//! floating point. Beside `kube::quantity`, which is bytes only and keeps the written text.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The amount in whole units, rounded up; saturates. Malformed text is none.
pub fn whole(quantity: &Quantity) -> Option<i64> {
    parse(&quantity.0).map(|nanos| up(nanos, 1_000_000_000))
}

/// The amount in thousandths, rounded up: `100m` of CPU is 100, `1` is 1000; saturates. Malformed text is none.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    parse(&quantity.0).map(|nanos| up(nanos, 1_000_000))
}

fn up(nanos: i128, unit: i128) -> i64 {
    let floor = nanos.div_euclid(unit);
    let rounded = floor + i128::from(nanos.rem_euclid(unit) > 0);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

/// In billionths, rounded up, as upstream keeps no finer amount.
fn parse(text: &str) -> Option<i128> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && decimals.is_empty()) || decimals.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{decimals}").parse().ok()?;
    let (multiplier, exponent) = scale(suffix)?;
    // digits * multiplier * 10^exponent, in billionths.
    let exponent = exponent.checked_add(9)?.checked_sub(i32::try_from(decimals.len()).ok()?)?;
    let scaled = digits.checked_mul(multiplier)?;
    let power = 10i128.checked_pow(exponent.unsigned_abs());
    let nanos = match exponent {
        0.. => scaled.saturating_mul(power?),
        _ => power.map_or(i128::from(scaled > 0), |power| scaled / power + i128::from(scaled % power > 0)),
    };
    Some(if negative { -nanos } else { nanos })
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|s| *s == suffix);
    if let Some(at) = binary {
        return Some((1i128 << (10 * (at + 1)), 0));
    }
    let decimal =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    if let Some((_, exponent)) = decimal.iter().find(|(s, _)| *s == suffix) {
        return Some((1, *exponent));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (exponent.abs() <= 18).then_some((1, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_round_up() {
        let rows = [
            ("1", 1, 1000),
            ("100m", 1, 100),
            ("0.1", 1, 100),
            ("1500m", 2, 1500),
            ("2.5", 3, 2500),
            ("1Ki", 1024, 1_024_000),
            ("0.5Gi", 1 << 29, (1 << 29) * 1000),
            ("20Gi", 20 << 30, (20 << 30) * 1000),
            ("1e3", 1000, 1_000_000),
            ("2E-3", 1, 2),
            ("1n", 1, 1),
            (".5", 1, 500),
            ("5.", 5, 5000),
            ("100Pi", 100 << 50, i64::MAX),
            ("0", 0, 0),
        ];
        for (text, units, thousandths) in rows {
            let quantity = Quantity(text.into());
            assert_eq!((whole(&quantity), milli(&quantity)), (Some(units), Some(thousandths)), "{text}");
        }
        for text in ["", ".", "1.2.3", "Gi", "1GiB", "1e99", "x", "1 Gi", "99999999999999999999999999999999999999999"] {
            assert_eq!(whole(&Quantity(text.into())), None, "{text}");
        }
    }
}
