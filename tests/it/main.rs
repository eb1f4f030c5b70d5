//! The integration tests: one binary, a module a subject.

mod cli;
mod conformance;
mod masters;
mod seam;
mod under_store;
mod worker;
