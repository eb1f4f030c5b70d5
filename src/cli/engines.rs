//! `stormglass engines`: what the world can run on, and what each engine can do.

use serde::Serialize;

use super::os;
use super::run::Format;
use crate::report::engines::capabilities;
use crate::world::engine::{EngineKind, Row};

const EXAMPLES: &str = "\
A fault that an engine cannot do is skipped by name, and a run without one of its faults ends as `skipped`, never as passed.

Examples:
  stormglass engines
  stormglass engines --format json";

/// Show what each engine can do, and which of them this build has.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A table, or one line of JSON per engine.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Serialize)]
struct Line {
    engine: EngineKind,
    /// Why this build cannot run it.
    unavailable: Option<String>,
    capabilities: &'static [Row],
}

/// Prints the table.
pub fn run(args: &Args) -> u8 {
    match args.format {
        Format::Text => {
            os::out(&capabilities());
            for kind in EngineKind::ALL {
                if let Err(why) = kind.available() {
                    os::out(&format!("\n{why}\n"));
                }
            }
        }
        Format::Json => {
            for engine in EngineKind::ALL {
                let unavailable = engine.available().err().map(|why| why.to_string());
                os::json(&Line { engine, unavailable, capabilities: engine.capabilities() });
            }
        }
    }
    0
}
