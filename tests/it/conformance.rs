//! Sockets and processes of the world behave as those of Linux, on every engine or with the difference named.
//!
//! Each behaviour is written once, over the seam, as two programs: `near` listens and tells what it sees, `far`
//! connects and is what things happen to. Every row runs on each engine of the build, for several seeds, and must tell
//! what the table expects of it. Where real loopback can show the behaviour, the same two programs run as two real
//! processes and must tell the same; where it cannot (no power to cut, no partition), the row names the text that the
//! expectation comes from. Nothing here sleeps for real: waits are on socket events.

mod processes;
mod rows;
mod stage;
mod table;

use std::ops::Range;

use stormglass::base::Seed;
use stormglass::world::engine::EngineKind;

use self::stage::{in_world, on_kernel, plays_far};
use self::table::{Shown, TABLE};

type Told = Vec<String>;

fn keeps_the_table(engine: EngineKind, seeds: Range<u64>) {
    engine.available().unwrap();
    let mut wrong = Vec::new();
    for row in TABLE {
        for seed in seeds.clone() {
            let told = in_world(engine, row, Seed(seed));
            if told != row.of(engine) {
                wrong.push(format!("{} with seed {seed}: {told:?}, not {:?}", row.name, row.of(engine)));
            }
        }
    }
    assert!(wrong.is_empty(), "{engine}\n{}", wrong.join("\n"));
}

#[test]
fn glass_keeps_the_table() {
    keeps_the_table(EngineKind::Glass, 0..5);
}

#[cfg(feature = "second-opinions")]
#[test]
fn turmoil_keeps_its_part_of_the_table() {
    keeps_the_table(EngineKind::Turmoil, 0..2);
}

#[cfg(feature = "second-opinions")]
#[test]
fn madsim_keeps_its_part_of_the_table() {
    keeps_the_table(EngineKind::Madsim, 0..5);
}

#[test]
fn the_kernel_keeps_the_table() {
    if plays_far() {
        return;
    }
    for row in TABLE.iter().filter(|row| matches!(row.shown, Shown::ByKernel)) {
        assert_eq!(on_kernel(row), row.expected, "{}", row.name);
    }
}

#[test]
fn what_the_kernel_cannot_show_names_its_source() {
    let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len(), "a row's name finds its far side");
    for row in TABLE {
        if let Shown::In(source) = row.shown {
            assert!(source.contains("RFC") || source.contains("tcp"), "{}", row.name);
        }
    }
}

#[test]
fn a_difference_is_one_and_glass_has_none() {
    for row in TABLE {
        for differs in row.differs {
            assert_ne!(differs.told, row.expected, "{} on {}", row.name, differs.engine);
            assert!(differs.engine != EngineKind::Glass && !differs.why.is_empty(), "{}", row.name);
        }
    }
}

#[test]
fn the_readme_has_the_table() {
    let table = table::text();
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```text\n{table}```\n")), "paste this into the README:\n{table}");
}
