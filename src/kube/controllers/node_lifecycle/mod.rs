//! The node lifecycle controller: nodes that fall silent, their conditions and their taints.

pub mod health;

pub mod zones;

pub mod monitor;
