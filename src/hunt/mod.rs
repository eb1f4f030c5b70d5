//! Many runs: two runs of one seed compared, and one seed on several engines.
//!
//! How runs are started is the caller's; here is only what is decided about them.

pub mod check;

pub mod compare;
