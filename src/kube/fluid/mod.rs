//! Fluid: datasets, the runtimes that cache them, and their controllers.
//!
//! `api` holds the kinds, `chart` what is installed for a runtime, `runtime` and `dataset` the controllers, `probe` what
//! they ask of the cache.

pub mod api;
pub mod chart;
pub mod conditions;
pub mod dataset;
pub mod flavor;
pub mod images;
pub mod install;
pub mod labels;
pub mod ports;
pub mod probe;
pub mod profile;
pub mod runtime;

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
