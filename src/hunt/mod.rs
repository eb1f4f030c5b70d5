//! Many runs: for now the comparison of two runs of one seed.
//!
//! How runs are started is the caller's; here is only what is decided about them.

pub mod check;
