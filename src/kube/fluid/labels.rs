//! Labels by which Fluid finds its pods and marks its nodes.
//!
//! Follows `pkg/utils/label.go` and `pkg/common` of fluid-cloudnative/fluid. A label's name has at most 63 characters;
//! where namespace and name make it longer, upstream puts the dataset's uid in their place.

use super::flavor::Flavor;

/// On pods and sets: `{namespace}-{name}` of their dataset.
pub const DATASET: &str = "fluid.io/dataset";
/// On workers: whether they share their node with those of other datasets.
pub const PLACEMENT: &str = "fluid.io/dataset-placement";
/// On nodes: how many datasets have workers there.
pub const DATASET_COUNT: &str = "fluid.io/dataset-num";
/// On nodes: the one dataset whose workers may be there.
pub const EXCLUSIVE: &str = "fluid_exclusive";

/// Longest name of a label, after its prefix.
const LONGEST: usize = 63;

/// `{head}{namespace}-{name}`, or the uid instead of the names if that is too long.
fn node_label(head: &str, namespace: &str, name: &str, uid: &str) -> String {
    let names = format!("{head}{namespace}-{name}");
    if names.len() >= LONGEST { format!("fluid.io/{head}{uid}") } else { format!("fluid.io/{names}") }
}

/// On nodes where the dataset has a worker.
pub fn common(namespace: &str, name: &str, uid: &str) -> String {
    node_label("s-", namespace, name, uid)
}

/// On nodes where a runtime of this flavor has a worker.
pub fn runtime(flavor: Flavor, namespace: &str, name: &str, uid: &str) -> String {
    node_label(&format!("s-{}-", flavor.word()), namespace, name, uid)
}

/// On nodes that want a fuse pod of the dataset.
pub fn fuse(namespace: &str, name: &str, uid: &str) -> String {
    node_label("f-", namespace, name, uid)
}

/// Value of [`EXCLUSIVE`].
pub fn exclusive(namespace: &str, name: &str) -> String {
    format!("{namespace}_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_long_give_way_to_the_uid() {
        assert_eq!(common("default", "hbase", "u"), "fluid.io/s-default-hbase");
        assert_eq!(runtime(Flavor::Alluxio, "default", "hbase", "u"), "fluid.io/s-alluxio-default-hbase");
        assert_eq!(fuse("default", "hbase", "u"), "fluid.io/f-default-hbase");
        let name = "n".repeat(LONGEST - "f-default-".len());
        assert_eq!(fuse("default", &name, "u-1"), "fluid.io/f-u-1");
        assert_eq!(fuse("default", &name[1..], "u-1"), format!("fluid.io/f-default-{}", &name[1..]));
    }
}
