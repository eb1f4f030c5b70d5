//! Fluid: datasets, the runtimes that cache them, and their controllers.
//!
//! `install` is Fluid's own installation, `images` what its containers run. `api` holds the kinds, `chart` what is installed for
//! a runtime; `runtime`, `dataset` and `operation` are the controllers, `probe` is what they ask of the cache and `tool` what the
//! operations' pods do.

pub mod api;
pub mod backup;
pub mod chart;
pub mod conditions;
pub mod controller;
pub mod dataset;
pub mod flavor;
pub mod images;
pub mod install;
pub mod labels;
pub mod operation;
pub mod ports;
pub mod probe;
pub mod profile;
pub mod runtime;
pub mod tool;
mod update;

use super::kind::Kinds;

/// The kinds that a cluster with Fluid knows.
pub fn kinds(builtin: Kinds) -> Kinds {
    builtin
        .with_custom::<api::Dataset>()
        .with_custom::<api::AlluxioRuntime>()
        .with_custom::<api::GooseFsRuntime>()
        .with_custom::<api::JindoRuntime>()
        .with_custom::<api::DataLoad>()
        .with_custom::<api::DataBackup>()
}
