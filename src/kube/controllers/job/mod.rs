//! The Job controller: pods until enough of them succeeded.

pub mod plan;
