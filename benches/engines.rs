//! The same whole run on each engine, in one group: simulated seconds a CPU second, and how many times glass is faster.
//!
//! `glass/3`, `turmoil/3` and `madsim/3` are `full_run`'s workload with 3 clients. Then it grows to 10, 30 and 100 clients:
//! one run each, shorter where turmoil would take minutes, and of the same length on all engines of a row. turmoil
//! ticks each millisecond, its own default. Speeds are simulated seconds, from first boot to verdict, a second of CPU time
//! of the thread that runs the world. What it prints at the end is the README's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use common::CpuTime;
use criterion::measurement::Measurement;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use stormglass::base::Seed;
use stormglass::oracle::Verdict;
use stormglass::sim::progress::Silent;
use stormglass::sim::scenario::Scenario;
use stormglass::sim::{Options, run};
use stormglass::world::engine::EngineKind;
use workload::{WRITE, scenario};

#[path = "common/cpu_time.rs"]
mod common;
#[path = "common/workload.rs"]
mod workload;

/// Simulated seconds under load, as in `full_run`.
const SIMULATED: u64 = 600;
/// Clients, and simulated seconds under load.
const GROWTH: [(u32, u64); 3] = [(10, 120), (30, 30), (100, 5)];

/// What one engine did with one size of the workload.
#[derive(Default, Clone, Copy)]
struct Speed {
    simulated: Duration,
    cpu: Duration,
    runs: u32,
}

impl Speed {
    fn add(&mut self, simulated: Duration, cpu: Duration) {
        self.simulated += simulated;
        self.cpu += cpu;
        self.runs += 1;
    }

    fn per_second(self) -> f64 {
        self.simulated.as_secs_f64() / self.cpu.as_secs_f64()
    }
}

/// Speeds by clients and engine.
type Speeds = BTreeMap<(u32, EngineKind), Speed>;

/// One run: how long the world lived, and the CPU time that it took.
fn one(scenario: &Scenario, engine: EngineKind) -> (Duration, Duration) {
    let began = CpuTime.start();
    let outcome = run(scenario, Options { seed: Seed(7), engine, trace: None }, &mut Silent);
    let cpu = CpuTime.end(began);
    assert_eq!(outcome.verdict, Verdict::Pass, "{engine}: {:?}", outcome.violations);
    (black_box(outcome).ended.elapsed(), cpu)
}

fn engines(c: &mut Criterion<CpuTime>) {
    let built = EngineKind::built();
    for kind in EngineKind::ALL {
        if let Err(why) = kind.available() {
            tell(&format!("{why}\n"));
        }
    }
    let speeds = RefCell::new(Speeds::new());
    let mut group = c.benchmark_group("engines");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(SIMULATED));
    group.warm_up_time(Duration::from_millis(1));
    let small = scenario(3, WRITE, SIMULATED);
    for &engine in &built {
        group.bench_with_input(BenchmarkId::new(engine.name(), 3), &small, |b, small| {
            b.iter_custom(|times| {
                let runs = (0..times).map(|_| {
                    let (simulated, cpu) = one(small, engine);
                    speeds.borrow_mut().entry((3, engine)).or_default().add(simulated, cpu);
                    cpu
                });
                runs.sum()
            });
        });
    }
    group.finish();
    let mut speeds = speeds.into_inner();
    // Nothing was measured where criterion only lists or was asked for another bench.
    if speeds.is_empty() || std::env::args().any(|arg| arg == "--test") {
        return;
    }
    for (clients, seconds) in GROWTH {
        let scenario = scenario(clients, WRITE, seconds);
        for &engine in &built {
            let (simulated, cpu) = one(&scenario, engine);
            speeds.entry((clients, engine)).or_default().add(simulated, cpu);
        }
    }
    tell(&table(&built, &speeds));
}

/// A row per size: simulated seconds a CPU second on each engine, and how many times glass is faster.
fn table(built: &[EngineKind], speeds: &Speeds) -> String {
    let mut out = format!("{:<8}", "clients");
    for engine in built {
        let _ = write!(out, " {:>9}", engine.name());
    }
    let others = || built.iter().filter(|engine| **engine != EngineKind::Glass);
    for engine in others() {
        let _ = write!(out, " {:>15}", format!("glass/{engine}"));
    }
    out.push_str("   runs, simulated s each\n");
    let sizes = speeds.keys().map(|(clients, _)| *clients).collect::<std::collections::BTreeSet<_>>();
    for clients in sizes {
        let speed = |engine: EngineKind| speeds.get(&(clients, engine)).copied().unwrap_or_default();
        let _ = write!(out, "{clients:<8}");
        for &engine in built {
            let _ = write!(out, " {:>9.1}", speed(engine).per_second());
        }
        for &engine in others() {
            let _ = write!(out, " {:>15.1}", speed(EngineKind::Glass).per_second() / speed(engine).per_second());
        }
        for &engine in built {
            let Speed { simulated, runs, .. } = speed(engine);
            let _ = write!(out, "   {runs} x {:.0}", simulated.as_secs_f64() / f64::from(runs.max(1)));
        }
        out.push('\n');
    }
    out
}

#[expect(clippy::disallowed_macros, reason = "a bench tells what it measured")]
fn tell(text: &str) {
    eprintln!("\n{text}");
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = engines
}
criterion_main!(benches);
