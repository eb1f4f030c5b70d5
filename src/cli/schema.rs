//! `stormglass schema`: the JSON Schema of scenario files.

use super::os;
use crate::sim::scenario::schema::schema;

const EXAMPLES: &str = "\
Examples:
  stormglass schema > scenarios/schema.json

An editor with a YAML language server completes and checks a scenario that begins with
  # yaml-language-server: $schema=schema.json";

/// Print the JSON Schema of scenario files.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Prints it.
pub fn run(_: &Args) -> u8 {
    os::out(&schema());
    0
}
