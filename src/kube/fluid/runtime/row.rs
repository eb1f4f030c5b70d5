//! The numbers of a dataset's row.
//!
//! Follows `pkg/ddc/{alluxio,jindo}/cache.go` of fluid-cloudnative/fluid: the share is of the under-store's total only if
//! that is a size already; Alluxio's may pass 100 %, since used bytes include copies and blocks of deleted files, and
//! JindoFS's may not.

use std::collections::BTreeMap;

use crate::base::ByteSize;
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::probe::Capacity;

/// The cache states of a runtime and its dataset, by the names of their columns. `total` is the under-store's, if known.
pub fn cache_states(flavor: Flavor, capacity: Capacity, total: Option<u64>) -> BTreeMap<String, String> {
    let mut states = BTreeMap::from([
        ("cacheCapacity".to_string(), ByteSize(capacity.total).to_string()),
        ("cached".to_string(), ByteSize(capacity.used).to_string()),
    ]);
    if let Some(total) = total {
        states.insert("cachedPercentage".into(), percentage(flavor, capacity.used, total));
    }
    states
}

/// With one decimal, rounded half up: `0.0%`, `100.0%`. Of nothing, nothing is cached.
fn percentage(flavor: Flavor, used: u64, total: u64) -> String {
    let tenths = |used: u64| (u128::from(used) * 2_000 + u128::from(total)) / (2 * u128::from(total));
    let tenths = match (total, flavor) {
        (0, _) => 0,
        (_, Flavor::Jindo) => tenths(used).min(1_000),
        _ => tenths(used),
    };
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_what_the_documents_do() {
        let total = 577_576_632;
        let row = |used, capacity| {
            let states = cache_states(Flavor::Alluxio, Capacity { total: capacity, used }, Some(total));
            ["cached", "cacheCapacity", "cachedPercentage"].map(|name| states[name].clone())
        };
        assert_eq!(row(0, 4 << 30), ["0.00B", "4.00GiB", "0.0%"]);
        assert_eq!(row(total, 4 << 30), ["550.82MiB", "4.00GiB", "100.0%"]);
    }

    #[test]
    fn shares_are_rounded_and_jindo_stops_at_the_whole() {
        for (flavor, used, total, shown) in [
            (Flavor::Alluxio, 1, 3, "33.3%"),
            (Flavor::Alluxio, 2, 3, "66.7%"),
            (Flavor::Alluxio, 3, 2, "150.0%"),
            (Flavor::Jindo, 3, 2, "100.0%"),
            (Flavor::GooseFs, 5, 0, "0.0%"),
            (Flavor::GooseFs, u64::MAX, u64::MAX, "100.0%"),
        ] {
            assert_eq!(percentage(flavor, used, total), shown, "{used} of {total}");
        }
    }

    #[test]
    fn there_is_no_share_while_the_total_is_unknown() {
        assert!(!cache_states(Flavor::Alluxio, Capacity::default(), None).contains_key("cachedPercentage"));
    }
}
