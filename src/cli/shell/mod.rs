//! `stormglass shell`: a prompt on the running world.
//!
//! Pure, without terminal and world: [`Line`] is one line understood, [`History`] what was done so far and the scenario that
//! it makes, [`complete`] what a begun line may become. `session` reads and prints, `command` is the subcommand.

mod complete;

mod history;

mod line;

mod saved;

mod session;

mod command;

pub use command::{Args, run};
pub use complete::complete;
pub use history::{History, SaveError};
pub use line::{HELP, Line};
