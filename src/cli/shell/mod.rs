//! The prompt on a running world: what may be typed, and what of it is kept.
//!
//! Pure: no terminal and no world. [`Line`] is one line understood, [`History`] what was done so far and the scenario that
//! it makes, [`complete`] what a begun line may become.

mod complete;

mod history;

mod line;

pub use complete::complete;
pub use history::{History, SaveError};
pub use line::{HELP, Line};
