//! What a fault or a world needs of an engine, and whether the engine has it.
//!
//! Rule: a fault is injected whole or skipped by name; an engine never does half of it in silence.

use crate::sim::scenario::{Direction, Fault, Scenario};
use crate::world::engine::{Capability, EngineKind, Support, World};

/// What the engine must be able to do.
fn needs(fault: &Fault) -> Vec<Capability> {
    let whole = |direction, both, one| if direction == Direction::Both { both } else { one };
    match fault {
        Fault::PowerLoss(_) => vec![Capability::SilentPowerLoss],
        Fault::Freeze(_) => vec![Capability::Freeze],
        Fault::Partition(cut) => vec![whole(cut.direction, Capability::Partition, Capability::OneWayPartition)],
        Fault::Hold(cut) => vec![whole(cut.direction, Capability::Hold, Capability::OneWayHold)],
        Fault::Degrade(degrade) => {
            let latency = degrade.latency.map(|_| Capability::LinkLatency);
            let lossy = degrade.loss.is_some() || degrade.burst.is_some();
            latency.into_iter().chain(lossy.then_some(Capability::LinkLoss)).collect()
        }
        Fault::ResetConnections(_) => vec![Capability::ConnectionReset],
        Fault::ConnectFails(_) => vec![Capability::ConnectFault],
        Fault::Dns(_) => vec![Capability::ResolverFault],
        Fault::ClockJump(_) => vec![Capability::HostClock],
        Fault::Restart(restart) if restart.new_address => vec![Capability::NewAddress],
        _ => Vec::new(),
    }
}

fn cannot(kind: EngineKind, capability: Capability) -> String {
    format!("{kind} cannot: {capability}")
}

/// Why the fault is left out, if the engine lacks something of it.
pub fn lacking(world: &dyn World, fault: &Fault) -> Option<String> {
    let lacks = needs(fault).into_iter().find(|needed| world.can(*needed) == Support::No);
    lacks.map(|capability| cannot(world.kind(), capability))
}

/// What the engine leaves out of the scenario's world, for the notes.
pub fn left_out(world: &dyn World, scenario: &Scenario) -> Vec<String> {
    let links = &scenario.spec.links;
    let asked = [
        (Capability::LinkLatency, links.iter().any(|rule| rule.latency.is_some())),
        (Capability::LinkLoss, links.iter().any(|rule| rule.loss.is_some() || rule.burst.is_some())),
        (Capability::Bandwidth, links.iter().any(|rule| rule.bandwidth.is_some())),
    ];
    let lacks = asked.into_iter().filter(|(capability, asked)| *asked && world.can(*capability) == Support::No);
    lacks.map(|(capability, _)| format!("left out of links: {}", cannot(world.kind(), capability))).collect()
}
