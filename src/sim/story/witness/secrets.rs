//! Places that should hold no secret, searched for the values of all Secrets that the API server ever held.

use std::cell::RefCell;
use std::rc::Rc;

use crate::kube::store::Selection;
use crate::oracle::cluster::SecretSearch;
use crate::oracle::secrets::Needles;
use crate::sim::scenario::Scenario;
use crate::sim::story::Story;
use crate::world::lab::Lab;

impl Story<'_> {
    /// Searches logs, screens and every API object that is no Secret.
    pub(super) fn search_for_secrets(&self) -> Vec<SecretSearch> {
        let Some(kubernetes) = &self.cluster.kubernetes else { return Vec::new() };
        if self.scenario.secrets().is_empty() {
            return Vec::new();
        }
        let needles = needles(self.scenario);
        let mut searches: Vec<SecretSearch> = self.witness.trace.iter().map(|search| search.borrow().clone()).collect();
        let mut screens = needles.search("screens", "");
        self.outcome.screens.iter().for_each(|screen| needles.search_more(&mut screens, &screen.text));
        searches.push(screens);
        for node in &kubernetes.nodes {
            let mut logs = needles.search(&format!("logs on {}", node.machine.id.node), "");
            node.machine.containers(|all| {
                all.iter().for_each(|container| needles.search_more(&mut logs, &container.log.read(None)));
            });
            searches.push(logs);
        }
        kubernetes.server.look(|store| {
            for (id, kind) in store.kinds().iter().filter(|(_, kind)| kind.kind != "Secret") {
                let mut answers = needles.search(&format!("objects of kind {}", kind.kind), "");
                for object in store.list(id, &Selection::default()) {
                    needles.search_more(&mut answers, &object.to_value().to_string());
                }
                searches.push(answers);
            }
        });
        searches.retain(|search| search.bytes > 0);
        searches
    }
}

/// Searches the texts of the trace as they come: what is kept of it for reports is its end. Nothing without secrets.
pub(super) fn search_trace(lab: &Lab, scenario: &Scenario) -> Option<Rc<RefCell<SecretSearch>>> {
    if scenario.spec.kubernetes.is_none() || scenario.secrets().is_empty() {
        return None;
    }
    let needles = needles(scenario);
    let search = Rc::new(RefCell::new(needles.search("the trace", "")));
    let found = search.clone();
    lab.world.listen(Box::new(move |event| needles.search_more(&mut found.borrow_mut(), &event.to_string())));
    Some(search)
}

/// The values, from the manifests: an object may be gone by now.
fn needles(scenario: &Scenario) -> Needles {
    let mut needles = Needles::default();
    for (name, values) in scenario.secrets() {
        for (key, value) in values {
            needles.add(&format!("{name} {key}"), value.as_bytes());
        }
    }
    needles
}
