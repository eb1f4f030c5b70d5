//! Fluid: datasets, the runtimes that cache them, and their controllers.

pub mod api;
