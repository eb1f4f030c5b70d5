//! The stable identity of a StatefulSet's pods: ordinal, name, labels, host name and claims.
//!
//! Rule: everything here is a function of the set and the ordinal, so that a pod that comes back is the same member.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};

use crate::kube::controllers::meta::{controller_ref, name, namespace};
use crate::kube::controllers::pod::{from_template, set_label, spec_mut};

/// Label with the pod's own name, so that a service can select one member.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label with the pod's ordinal.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// Label with the name of the revision that the pod was made from.
pub const REVISION: &str = "controller-revision-hash";

/// The ordinal in a pod's name, if the name is one that `set` gives.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let numeric = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| canonical && numeric)
}

/// The first ordinal and how many there are.
pub fn ordinals(set: &StatefulSet) -> (i32, i32) {
    let start = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or_default();
    (start.max(0), set.spec.replicas.unwrap_or(1).max(0))
}

/// The pod of one ordinal, made from `template`, which is that of `revision`.
pub fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = from_template(template, namespace(&set.metadata), controller_ref(set));
    pod.metadata.name = Some(format!("{}-{ordinal}", name(&set.metadata)));
    identify(set, &mut pod, ordinal);
    set_label(&mut pod.metadata, REVISION, revision);
    // Host name and subdomain are what the headless service's record is made of; they cannot change later.
    let pod_name = pod.metadata.name.clone();
    let inner = spec_mut(&mut pod);
    inner.hostname = pod_name;
    inner.subdomain = set.spec.service_name.clone().filter(|service| !service.is_empty());
    pod
}

/// Gives a pod the labels and volumes of its ordinal.
pub fn identify(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    set_label(&mut pod.metadata, POD_NAME, format!("{}-{ordinal}", name(&set.metadata)));
    set_label(&mut pod.metadata, POD_INDEX, ordinal.to_string());
    for claim in templates(set) {
        let volume = name(&claim.metadata);
        let claim_name = claim_name(set, volume, ordinal);
        let source = PersistentVolumeClaimVolumeSource { claim_name, read_only: Some(false) };
        let volume = Volume { name: volume.into(), persistent_volume_claim: Some(source), ..Volume::default() };
        let volumes = spec_mut(pod).volumes.get_or_insert_default();
        // A claim template wins over a volume of the same name.
        match volumes.iter_mut().find(|other| other.name == volume.name) {
            Some(other) => *other = volume,
            None => volumes.push(volume),
        }
    }
}

/// Whether the labels and the claims are those of the pod's ordinal: `identityMatches` and `storageMatches`.
pub fn matches(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let named = labels.and_then(|labels| labels.get(POD_NAME)).map(String::as_str) == pod.metadata.name.as_deref();
    let indexed = labels.and_then(|labels| labels.get(POD_INDEX)).is_some_and(|index| *index == ordinal.to_string());
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let stored = |claim: &PersistentVolumeClaim| {
        let volume = volumes.iter().find(|volume| volume.name == name(&claim.metadata));
        let claimed = volume.and_then(|volume| volume.persistent_volume_claim.as_ref());
        claimed.is_some_and(|source| source.claim_name == claim_name(set, name(&claim.metadata), ordinal))
    };
    named && indexed && templates(set).iter().all(stored)
}

/// The claims of one ordinal. They outlive the pod: nothing owns them.
pub fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selected = set.spec.selector.match_labels.as_ref();
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(set, name(&template.metadata), ordinal));
        claim.metadata.namespace = Some(namespace(&set.metadata).into());
        claim.metadata.labels.get_or_insert_default().extend(selected.cloned().unwrap_or_default());
        claim.status = None;
        claim
    };
    templates(set).iter().map(claim).collect()
}

fn templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.volume_claim_templates.as_deref().unwrap_or_default()
}

fn claim_name(set: &StatefulSet, template: &str, ordinal: i32) -> String {
    format!("{template}-{}-{ordinal}", name(&set.metadata))
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn only_names_that_the_set_gives_have_an_ordinal() {
        let rows = [
            ("web-0", Some(0)),
            ("web-12", Some(12)),
            ("web-012", None),
            ("web--1", None),
            ("web-+1", None),
            ("web-", None),
            ("web", None),
            ("webs-1", None),
            ("web-a-1", None),
            ("web-99999999999", None),
        ];
        for (pod, want) in rows {
            assert_eq!(ordinal("web", pod), want, "{pod}");
        }
    }
}
