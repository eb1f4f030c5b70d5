//! Finding and loading the scenario that a command names.

use super::os;
use crate::sim::scenario::{LoadError, Scenario, load, planted, yaml};

/// Bytes of a file that are read: one more than are accepted, so that longer files are noticed.
pub const MAX_READ: u64 = yaml::MAX_BYTES as u64 + 1;

/// Folder where scenarios are looked for.
pub const FOLDER: &str = "scenarios";

/// Loads a scenario by path, or by name from the folder of scenarios. Prints every mistake.
pub fn open(named: &str) -> Option<Scenario> {
    match load(&resolve(named), &os::read) {
        Ok(scenario) => match scenario.spec.planted {
            Some(planted) if !planted::POSSIBLE => {
                os::err(&format!(
                    "error: {} plants the bug `{}`, and this build has no planted bugs\n  = build it with the feature `planted`\n",
                    scenario.path,
                    planted.0.name()
                ));
                None
            }
            _ => Some(scenario),
        },
        Err(LoadError(mistakes)) => {
            let colour = os::err_paint().on();
            for mistake in &mistakes {
                os::err(&format!("{}\n\n", mistake.render(colour)));
            }
            let (count, s) = (mistakes.len(), if mistakes.len() == 1 { "" } else { "s" });
            os::err(&format!("{count} mistake{s}; nothing was run\n"));
            None
        }
    }
}

/// `goosefs-leader-crash` is short for `scenarios/goosefs-leader-crash.yaml`.
fn resolve(named: &str) -> String {
    if os::exists(named) || named.contains('/') || named.ends_with(".yaml") {
        return named.into();
    }
    let places = [format!("{FOLDER}/{named}.yaml"), format!("{FOLDER}/planted/{named}.yaml")];
    places.into_iter().find(|path| os::exists(path)).unwrap_or_else(|| named.into())
}
