//! The engines by name, and how one is built: by what runs a world, never by what a caller happens to import.
//!
//! Rule: what cannot be had in this build is refused with what to do about it; nobody runs on another engine than asked.

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::capability::Row;
use super::glass::net::config::NetConfig;
use super::glass::{self, Glass};
#[cfg(all(feature = "second-opinions", madsim))]
use super::madsim::Madsim;
#[cfg(feature = "second-opinions")]
use super::turmoil::Turmoil;
use super::{Budget, Schedule, World};
use crate::base::Seed;
use crate::trace::Recorder;

/// An engine by name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// Ours: event-driven, nanoseconds, the seed picks the next task.
    #[default]
    Glass,
    /// tokio-rs' turmoil, a tick for each host.
    Turmoil,
    /// RisingWave's madsim.
    Madsim,
}

impl EngineKind {
    /// All, the default first.
    pub const ALL: [Self; 3] = [Self::Glass, Self::Turmoil, Self::Madsim];

    /// As written on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Glass => "glass",
            Self::Turmoil => "turmoil",
            Self::Madsim => "madsim",
        }
    }

    /// What the engine can do, whether it is in this build or not.
    pub const fn capabilities(self) -> &'static [Row] {
        match self {
            Self::Glass => glass::CAPABILITIES,
            Self::Turmoil => super::opinions::TURMOIL,
            Self::Madsim => super::opinions::MADSIM,
        }
    }

    /// Whether this build can run it.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub const fn available(self) -> Result<(), Unavailable> {
        match self {
            Self::Glass => Ok(()),
            _ if !cfg!(feature = "second-opinions") => Err(Unavailable::NotBuilt(self)),
            _ if !cfg!(madsim) || !cfg!(tokio_unstable) => Err(Unavailable::NoFlags(self)),
            _ => Ok(()),
        }
    }

    /// Those that this build can run.
    pub fn built() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| kind.available().is_ok()).collect()
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EngineKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("`{text}` is no engine: use glass, turmoil or madsim"))
    }
}

/// Why an engine cannot run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The build has no second opinions.
    #[error("{0} is not in this build: use `cargo run --features second-opinions -- ...`")]
    NotBuilt(EngineKind),
    /// The build lacks the flags of `.cargo/config.toml`.
    #[error(
        "{0} was built without `--cfg madsim --cfg tokio_unstable` and would not be deterministic: an environment \
         RUSTFLAGS replaces those of .cargo/config.toml; unset it, or add both flags to it, and build again"
    )]
    NoFlags(EngineKind),
}

/// What a world is to be like, whatever its engine.
#[derive(Default)]
pub struct Plan {
    /// From which everything random follows.
    pub seed: Seed,
    /// How tasks take turns, where the engine can choose.
    pub schedule: Schedule,
    /// What bounds the run.
    pub budget: Budget,
    /// Where the trace goes.
    pub trace: Recorder,
}

/// Builds an empty world.
///
/// # Errors
/// When this build does not have the engine.
pub fn build(kind: EngineKind, plan: Plan) -> Result<Rc<dyn World>, Unavailable> {
    kind.available()?;
    let Plan { seed, schedule, budget, trace } = plan;
    match kind {
        EngineKind::Glass => Ok(Rc::new(Glass::new(seed, schedule, budget, NetConfig::default(), trace))),
        #[cfg(feature = "second-opinions")]
        EngineKind::Turmoil => Ok(Rc::new(Turmoil::new(seed, super::turmoil::TICK, budget, trace))),
        #[cfg(all(feature = "second-opinions", madsim))]
        EngineKind::Madsim => Ok(Rc::new(Madsim::new(seed, budget, trace))),
        #[cfg(not(all(feature = "second-opinions", madsim)))]
        other => Err(Unavailable::NotBuilt(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_parsing_and_others_are_refused() {
        for kind in EngineKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("tokio".parse::<EngineKind>().is_err());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let world = build(EngineKind::Glass, Plan::default()).map(|world| world.kind());
        assert_eq!(world, Ok(EngineKind::Glass));
        assert!(Unavailable::NotBuilt(EngineKind::Turmoil).to_string().contains("--features second-opinions"));
        assert!(Unavailable::NoFlags(EngineKind::Madsim).to_string().contains("RUSTFLAGS"));
        assert!(EngineKind::built().contains(&EngineKind::Glass));
    }
}
