//! Which processes of which pods ran when, as the machines saw it, and whose pods' objects went before them.

use std::collections::BTreeMap;

use crate::base::SimTime;
use crate::kube::store::Change;
use crate::oracle::cluster::PodProcess;
use crate::sim::kubernetes::{Kubernetes, Lived};

/// When the objects of pods went.
#[derive(Default)]
pub(super) struct Gone {
    at: BTreeMap<String, SimTime>,
    version: u64,
}

impl Gone {
    /// Notes the pods whose objects are gone since the last look.
    pub fn look(&mut self, kubernetes: &Kubernetes, now: SimTime) {
        kubernetes.server.look(|store| {
            let Some(pods) = store.kinds().by_word("pods") else { return };
            // A history that was compacted meanwhile has nothing newer than what was seen.
            let Ok(events) = store.events_after(pods, self.version) else { return };
            let gone = events.filter(|event| event.change == Change::Deleted);
            self.at.extend(gone.map(|event| (event.object.uid().to_owned(), now)));
            self.version = store.revision();
        });
    }

    /// Every process of every container.
    pub fn processes(&self, kubernetes: &Kubernetes) -> Vec<PodProcess> {
        let told = |node: &str, life: &Lived| PodProcess {
            pod: life.pod.to_string(),
            uid: life.pod.uid.clone(),
            container: life.container.clone(),
            node: node.to_owned(),
            from: life.from,
            until: life.until,
            // A kubelet gives the word only when its containers have ended.
            abandoned: self.at.get(&life.pod.uid).copied().filter(|at| life.until.is_none_or(|until| *at < until)),
        };
        let mut all = Vec::new();
        for node in &kubernetes.nodes {
            let name = &node.machine.id.node;
            node.machine.lives(|lives| all.extend(lives.iter().map(|life| told(name, life))));
        }
        all.sort_by_key(|process| process.from);
        all
    }
}
