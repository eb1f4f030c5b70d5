//! The integration tests: one binary, a module a subject.

mod conformance;
mod masters;
mod seam;
