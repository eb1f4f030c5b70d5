//! Taints and tolerations: upstream's `component-helpers/scheduling/corev1`.
//!
//! Rule: a taint is harmless when one toleration matches its key, its value and its effect.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// The effect that keeps new pods away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// The effect that new pods rather avoid.
pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
/// The effect that keeps new pods away and evicts running ones.
pub const NO_EXECUTE: &str = "NoExecute";

/// Whether `toleration` tolerates `taint`: an empty effect stands for all effects, an empty key with `Exists` for all keys.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (given(&toleration.effect), given(&toleration.key));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => !key.is_empty() && given(&toleration.value) == given(&taint.value),
        "Exists" => true,
        _ => false,
    }
}

/// The first of `taints` with one of `effects` that no toleration tolerates.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    let harmful = |taint: &&Taint| effects.contains(&taint.effect.as_str());
    taints.iter().filter(harmful).find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}
