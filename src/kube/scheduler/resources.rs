//! What pods ask for and what nodes have, as integers: upstream's `resourcehelper.PodRequests`.
//!
//! CPU in thousandths of a core, memory in bytes, everything else in whole units; rounded up, saturating.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::kube::matching::{milli, whole};

/// What a container without a CPU request counts as when nodes are scored: 0.1 core (upstream's `DefaultMilliCPURequest`).
const UNSPOKEN_CPU: i64 = 100;
/// What a container without a memory request counts as when nodes are scored: 200 MiB (`DefaultMemoryRequest`).
const UNSPOKEN_MEMORY: i64 = 200 << 20;

/// Amounts by resource.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// `ephemeral-storage` in bytes and extended resources in units.
    pub other: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list. `pods` is not a resource that pods ask for; malformed amounts count as zero.
    pub fn of(list: &BTreeMap<String, Quantity>) -> Self {
        let mut found = Self::default();
        for (name, quantity) in list {
            match name.as_str() {
                "cpu" => found.cpu = milli(quantity).unwrap_or(0),
                "memory" => found.memory = whole(quantity).unwrap_or(0),
                "pods" => {}
                _ => drop(found.other.insert(name.clone(), whole(quantity).unwrap_or(0))),
            }
        }
        found
    }

    /// Adds, saturating.
    pub fn add(&mut self, more: &Self) {
        self.cpu = self.cpu.saturating_add(more.cpu);
        self.memory = self.memory.saturating_add(more.memory);
        for (name, amount) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Takes away what was added before.
    pub fn subtract(&mut self, less: &Self) {
        self.cpu = self.cpu.saturating_sub(less.cpu);
        self.memory = self.memory.saturating_sub(less.memory);
        for (name, amount) in &less.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_sub(*amount);
        }
    }

    /// Keeps the larger of each.
    fn raise(&mut self, other: &Self) {
        self.cpu = self.cpu.max(other.cpu);
        self.memory = self.memory.max(other.memory);
        for (name, amount) in &other.other {
            let most = self.other.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }

    /// Names and amounts, of what is more than zero.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let plain = [("cpu", self.cpu), ("memory", self.memory)];
        let other = self.other.iter().map(|(name, amount)| (name.as_str(), *amount));
        plain.into_iter().chain(other).filter(|(_, amount)| *amount > 0)
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu,
            "memory" => self.memory,
            _ => self.other.get(name).copied().unwrap_or(0),
        }
    }
}

/// What the pod needs: the sum of its containers and side-cars, or its largest init container if that is more, and its
/// overhead. With `spoken` false, containers that name no CPU or memory count as upstream's scores assume.
pub fn requests(pod: &PodSpec, spoken: bool) -> Resources {
    let mut total = Resources::default();
    pod.containers.iter().for_each(|container| total.add(&of_container(container, spoken)));
    let (mut sidecars, mut initial) = (Resources::default(), Resources::default());
    for container in pod.init_containers.iter().flatten() {
        let own = of_container(container, spoken);
        let mut needs = sidecars.clone();
        needs.add(&own);
        initial.raise(&needs);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&own);
        }
    }
    total.add(&sidecars);
    total.raise(&initial);
    if let Some(overhead) = &pod.overhead {
        total.add(&Resources::of(overhead));
    }
    total
}

/// A limit without a request is the request, as the API server's defaulting has it.
fn of_container(container: &Container, spoken: bool) -> Resources {
    let given = container.resources.clone().unwrap_or_default();
    let mut list = given.limits.unwrap_or_default();
    list.extend(given.requests.unwrap_or_default());
    let mut found = Resources::of(&list);
    if !spoken && !list.contains_key("cpu") {
        found.cpu = UNSPOKEN_CPU;
    }
    if !spoken && !list.contains_key("memory") {
        found.memory = UNSPOKEN_MEMORY;
    }
    found
}
