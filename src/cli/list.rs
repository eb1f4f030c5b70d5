//! `stormglass list`: the scenarios that are there.

use super::scenario::FOLDER;
use super::{BAD_INPUT, os};
use crate::sim::scenario::{Scenario, load};

const EXAMPLES: &str = "\
Examples:
  stormglass list
  stormglass list my/scenarios";

/// List scenarios with what they are about.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder to look in.
    #[arg(default_value = FOLDER)]
    folder: String,
}

/// Prints one line per scenario; exit code 2 if one cannot be read.
pub fn run(args: &Args) -> u8 {
    let files = match os::yaml_files(&args.folder) {
        Ok(files) => files,
        Err(error) => {
            os::err(&format!("error: cannot list {}: {error}\n", args.folder));
            return BAD_INPUT;
        }
    };
    let paint = os::out_paint();
    let mut broken = 0;
    let manifests = |path: &&String| !path.split('/').any(|part| part == "manifests");
    for path in files.iter().filter(manifests) {
        match load(path, &os::read) {
            Ok(scenario) => os::out(&format!("{}\n    {}\n", paint.strong(path), about(&scenario))),
            Err(error) => {
                broken += 1;
                let first = error.0.first().map_or("", |mistake| mistake.message.as_str());
                os::out(&format!("{}\n    {}\n", paint.strong(path), paint.bad(&format!("cannot be read: {first}"))));
            }
        }
    }
    if broken == 0 { 0 } else { BAD_INPUT }
}

/// What it is about, in one line.
fn about(scenario: &Scenario) -> String {
    scenario.spec.about.split_whitespace().collect::<Vec<_>>().join(" ")
}
