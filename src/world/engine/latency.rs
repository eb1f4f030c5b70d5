//! How long a packet is on its way: the distributions that a link can have.
//!
//! Rule: integers only. Logarithm and power come from tables that the compiler fills by integer arithmetic, so a seed
//! gives the same nanoseconds on every platform; `f64::ln` and `exp` differ between C libraries. The relative error is
//! below 1e-5, which no scenario can feel.

use std::time::Duration;

use crate::base::Stream;
use crate::base::time::nanos;

/// A distribution of one-way latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// Always the same.
    Const(Duration),
    /// Any nanosecond of the closed range, equally likely.
    Uniform {
        /// Shortest.
        low: Duration,
        /// Longest.
        high: Duration,
    },
    /// `min` plus an exponential with `mean`, cut at `max`.
    Exponential {
        /// Shortest.
        min: Duration,
        /// Mean of what is added to `min`.
        mean: Duration,
        /// Longest.
        max: Duration,
    },
    /// `median` times `exp(sigma * z)`, z standard normal (the sum of twelve uniforms: no tail beyond six sigma).
    LogNormal {
        /// Half are shorter.
        median: Duration,
        /// Thousandths of sigma.
        sigma_milli: u32,
        /// Longest.
        max: Duration,
    },
    /// Pareto type I: the chance to exceed x is `(min / x)^shape`.
    Pareto {
        /// Shortest.
        min: Duration,
        /// Thousandths of the shape; 0 counts as 1.
        shape_milli: u32,
        /// Longest.
        max: Duration,
    },
}

impl Latency {
    /// Draws one. A constant draws nothing from `stream`.
    pub fn draw(&self, stream: &mut Stream) -> Duration {
        match *self {
            Self::Const(d) => d,
            Self::Uniform { low, high } => stream.duration(low, high),
            Self::Exponential { min, mean, max } => {
                let bits = minus_log2(stream.bits());
                let ln = (u128::from(bits) * u128::from(LN_2)) >> 32;
                let more = (u128::from(nanos(mean)) * ln) >> 32;
                let more = u64::try_from(more).unwrap_or(u64::MAX);
                min.saturating_add(Duration::from_nanos(more)).min(max)
            }
            Self::LogNormal { median, sigma_milli, max } => {
                let exponent = i128::from(normal(stream)) * i128::from(sigma_milli) / 1000;
                Duration::from_nanos(times_exp2(nanos(median), (exponent * i128::from(LOG2_E)) >> 32)).min(max)
            }
            Self::Pareto { min, shape_milli, max } => {
                let exponent = i128::from(minus_log2(stream.bits())) * 1000 / i128::from(shape_milli.max(1));
                Duration::from_nanos(times_exp2(nanos(min), exponent)).min(max)
            }
        }
    }
}

/// Fixed point with 32 fractional bits, as everything below.
const LN_2: u64 = 2_977_044_472;
const LOG2_E: u64 = 6_196_328_019;
const ONE: u64 = 1 << 32;

/// log2(1 + i/256).
const LOG2: [u64; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 257 {
        // The digits of a binary logarithm: square, note whether it passed 2, halve.
        let mut x: u128 = (1 << 63) + ((i as u128) << 55);
        let mut digits = 0;
        if i == 256 {
            digits = ONE;
            x = 1 << 63;
        }
        let mut bit = 32;
        while bit > 0 {
            bit -= 1;
            x = (x * x) >> 63;
            if x >> 64 != 0 {
                digits |= 1 << bit;
                x >>= 1;
            }
        }
        table[i] = digits;
        i += 1;
    }
    table
};

/// 2^(i/256).
const EXP2: [u64; 257] = {
    // roots[k] = 2^(1/2^(k+1)) with 62 fractional bits.
    let mut roots = [0u128; 8];
    let mut below: u128 = 2 << 62;
    let mut k = 0;
    while k < 8 {
        below = (below << 62).isqrt();
        roots[k] = below;
        k += 1;
    }
    let mut table = [0; 257];
    let mut i = 0;
    while i < 256 {
        let mut product: u128 = 1 << 62;
        let mut k = 0;
        while k < 8 {
            if i & (128 >> k) != 0 {
                product = (product * roots[k]) >> 62;
            }
            k += 1;
        }
        table[i] = (product >> 30) as u64;
        i += 1;
    }
    table[256] = 2 * ONE;
    table
};

/// The table at `index`, with the straight line to the next entry for `fraction` (of 2^32).
fn between(table: &[u64; 257], index: usize, fraction: u64) -> u64 {
    let (low, high) = (table[index], table[index + 1]);
    low + (((high - low) * fraction) >> 32)
}

/// -log2(bits / 2^64) for uniform bits: exponential with mean 1/ln 2. Range 0..=64.
fn minus_log2(bits: u64) -> u64 {
    let bits = bits.max(1);
    let zeros = bits.leading_zeros();
    let mantissa = bits << zeros;
    let log = between(&LOG2, (mantissa >> 55) as usize & 0xff, (mantissa >> 23) & (ONE - 1));
    (u64::from(zeros) + 1) * ONE - log
}

/// `base * 2^exponent`, saturating.
fn times_exp2(base: u64, exponent: i128) -> u64 {
    let whole = exponent >> 32;
    let fraction = (exponent & i128::from(ONE - 1)) as u64;
    let factor = between(&EXP2, (fraction >> 24) as usize, (fraction << 8) & (ONE - 1));
    let product = (u128::from(base) * u128::from(factor)) >> 32;
    match whole {
        0..=62 => u64::try_from(product << whole).unwrap_or(u64::MAX),
        ..=-1 => u64::try_from(product >> whole.unsigned_abs().min(127)).unwrap_or(u64::MAX),
        _ => u64::MAX,
    }
}

/// Standard normal, by the sum of twelve uniforms of 16 bits.
fn normal(stream: &mut Stream) -> i64 {
    let mut sum = 0;
    for _ in 0..3 {
        let bits = stream.bits();
        sum += (0..4).map(|k| ((bits >> (16 * k)) & 0xffff) as i64).sum::<i64>();
    }
    // Twelve means of (2^16 - 1) / 2; then from 16 to 32 fractional bits.
    (sum - 6 * 0xffff) << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    const MS: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);

    fn sorted(latency: Latency) -> Vec<u64> {
        let mut stream = Seed(3).stream("latency", 0);
        let mut all: Vec<u64> = (0..20_001).map(|_| nanos(latency.draw(&mut stream))).collect();
        all.sort_unstable();
        all
    }

    fn near(got: u64, want: f64, percent: f64) -> bool {
        (got as f64 - want).abs() <= want * percent / 100.0
    }

    #[test]
    fn the_tables_agree_with_floating_point() {
        for i in 0..=256 {
            let want = (1.0 + i as f64 / 256.0).log2() * ONE as f64;
            assert!((LOG2[i] as f64 - want).abs() < 64.0, "log2 {i}");
            let want = (i as f64 / 256.0).exp2() * ONE as f64;
            assert!((EXP2[i] as f64 - want).abs() < 64.0, "exp2 {i}");
        }
        for bits in [0, 1, 2, 3, 1 << 32, u64::MAX / 3, u64::MAX] {
            let want = 64.0 - (bits.max(1) as f64).log2();
            assert!((minus_log2(bits) as f64 / ONE as f64 - want).abs() < 1e-5, "{bits}");
        }
        for exponent in [-70.0, -3.3, -0.5, 0.0, 0.25, 5.75, 20.0f64] {
            let got = times_exp2(1 << 30, (exponent * ONE as f64) as i128) as f64;
            let want = (exponent + 30.0).exp2();
            assert!((got - want).abs() <= want * 1e-5 + 1.0, "{exponent}: {got} {want}");
        }
        assert_eq!(times_exp2(1 << 40, 70 << 32), u64::MAX);
    }

    #[test]
    fn quantiles_are_those_of_the_distribution() {
        let median = |latency| sorted(latency)[10_000];
        let tail = |latency| sorted(latency)[19_800];
        assert_eq!(median(Latency::Const(MS)), 1_000_000);
        let uniform = Latency::Uniform { low: MS, high: 3 * MS };
        assert!(near(median(uniform), 2e6, 2.0) && near(tail(uniform), 2.98e6, 1.0));
        let exponential = Latency::Exponential { min: MS, mean: MS, max: HOUR };
        assert!(near(median(exponential), 1.693e6, 2.0) && near(tail(exponential), 5.605e6, 6.0));
        let lognormal = Latency::LogNormal { median: MS, sigma_milli: 500, max: HOUR };
        assert!(near(median(lognormal), 1e6, 2.0) && near(tail(lognormal), 3.2e6, 6.0));
        let pareto = Latency::Pareto { min: MS, shape_milli: 2000, max: HOUR };
        assert!(near(median(pareto), 1.414e6, 2.0) && near(tail(pareto), 10e6, 10.0));
    }

    #[test]
    fn the_longest_is_kept_and_nothing_overflows() {
        for latency in [
            Latency::Exponential { min: MS, mean: Duration::MAX, max: HOUR },
            Latency::LogNormal { median: Duration::MAX, sigma_milli: u32::MAX, max: HOUR },
            Latency::Pareto { min: HOUR, shape_milli: 0, max: HOUR },
        ] {
            assert!(sorted(latency).into_iter().all(|n| n <= nanos(HOUR)), "{latency:?}");
        }
    }
}
