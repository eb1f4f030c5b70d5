//! What is true of the registry after every call.

use std::collections::BTreeMap;

use super::Registry;
use super::worker::Standing;

impl Registry {
    /// The first invariant that does not hold. In order:
    /// 1. addresses and workers are paired;
    /// 2. only live workers hold or drop blocks;
    /// 3. what is doomed is not held, what is unsure is;
    /// 4. the places are exactly what the live workers hold.
    pub fn check(&self) -> Result<(), String> {
        if self.by_address.len() != self.workers.len() {
            return Err("addresses and workers differ in number".into());
        }
        let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, worker) in &self.workers {
            if self.by_address.get(&worker.address) != Some(id) {
                return Err(format!("address {} does not name worker {}", worker.address, id.0));
            }
            let idle = worker.blocks.is_empty() && worker.doomed.is_empty();
            if worker.standing != Standing::Live && !idle {
                return Err(format!("worker {} does not live but has blocks", id.0));
            }
            if !worker.doomed.is_disjoint(&worker.blocks) || !worker.unsure.is_subset(&worker.blocks) {
                return Err(format!("worker {} holds doomed blocks or not the unsure ones", id.0));
            }
            worker.blocks.iter().for_each(|block| places.entry(*block).or_default().push(*id));
        }
        if places != self.places { Err("places differ from what workers hold".into()) } else { Ok(()) }
    }
}
