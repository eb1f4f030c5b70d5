//! How Kubernetes matches things: taints and tolerations, selectors and labels, amounts of resources.
//!
//! Pure functions over the API's types, shared by the scheduler, the volume controllers and the workload controllers, so
//! that a rule is written once. What is malformed matches nothing, as upstream's parsed selectors do.

pub mod taint;

pub mod selector;

pub mod amount;

pub use amount::{milli, whole};
pub use selector::{Labels, labels_match, node_matches, pod_selects_node};
pub use taint::{tolerates, untolerated};
