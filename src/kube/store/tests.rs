//! The store against what upstream does, and against a naive model.
