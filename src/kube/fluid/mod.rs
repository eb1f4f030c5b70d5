//! Fluid: datasets, the runtimes that cache them, and their controllers.

pub mod api;
pub mod chart;
pub mod flavor;
pub mod labels;
pub mod ports;
pub mod profile;

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
