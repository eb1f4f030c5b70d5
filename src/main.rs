//! The program: see `stormglass --help`.
//!
//! Everything is in the library, so that tests reach it.

use std::process::ExitCode;

use stormglass::cli::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    stormglass::cli::main()
}
