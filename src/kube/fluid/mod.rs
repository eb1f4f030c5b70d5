//! Fluid: datasets, the runtimes that cache them, and their controllers.

pub mod api;
pub mod chart;
pub mod flavor;
pub mod labels;
pub mod ports;
pub mod profile;
