//! Texts made from stored outcomes: for one run, for a sweep, and the small one that snapshots keep.
//!
//! Nothing here runs, reads or prints anything; a report is a function of outcomes.

pub mod paint;

pub mod table;

pub mod run;

pub mod sweep;

pub mod snapshot;

pub mod engines;

pub use paint::Paint;
