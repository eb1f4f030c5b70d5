//! The program: see `stormglass --help`.
//!
//! Everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    stormglass::cli::main()
}
