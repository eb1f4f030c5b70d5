//! Timer events and wake-ups a second: glass beside a paused tokio current-thread runtime, the same work in one run.
//!
//! `timers`: 1,000 tasks that sleep over and over for pseudo-random times. `wakes`: 100 pairs of tasks that pass a token to and
//! fro. Every element is one timer event, or one wake-up.

use std::hint::black_box;

use common::CpuTime;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stormglass::base::{Seed, SimTime};
use stormglass::rt;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

#[path = "common/cpu_time.rs"]
mod common;

const SLEEPERS: u64 = 1_000;
const NAPS: u64 = 100;
const PAIRS: u64 = 100;
const PASSES: u64 = 500;

fn nap(task: u64, n: u64) -> std::time::Duration {
    std::time::Duration::from_micros(1_000 + stormglass::base::seed::mix(task << 32 | n) % 100_000)
}

/// The same program on whichever backend runs it.
async fn sleepers() {
    let tasks: Vec<_> = (0..SLEEPERS)
        .map(|task| {
            rt::task::spawn("sleeper", async move {
                for n in 0..NAPS {
                    rt::time::sleep(nap(task, n)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        black_box(task.await.is_ok());
    }
}

async fn pairs() {
    let mut tasks = Vec::new();
    for _ in 0..PAIRS {
        let (ping, mut pinged) = rt::chan::mpsc::channel(1);
        let (pong, mut ponged) = rt::chan::mpsc::channel(1);
        tasks.push(rt::task::spawn("ping", async move {
            for n in 0..PASSES {
                if ping.send(n).await.is_err() || ponged.recv().await.is_none() {
                    break;
                }
            }
        }));
        tasks.push(rt::task::spawn("pong", async move {
            while let Some(n) = pinged.recv().await {
                if pong.send(n).await.is_err() {
                    break;
                }
            }
        }));
    }
    for task in tasks {
        black_box(task.await.is_ok());
    }
}

fn on_glass<F: Future<Output = ()> + Send + 'static>(program: F) {
    let lab = Lab::new(Seed(7), Glass::plain(Seed(7)));
    let host = lab.world.add_host("a", [10, 0, 0, 1].into());
    let started = lab.world.start(host, "p", Box::pin(program));
    lab.world.run_until(SimTime::from_secs(3600));
    assert!(started.is_ok_and(|p| !lab.world.running(p)));
}

fn on_tokio<F: Future<Output = ()>>(program: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map(|rt| rt.block_on(program)).ok();
}

fn world_step(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("timers");
    group.sample_size(10).throughput(Throughput::Elements(SLEEPERS * NAPS));
    group.bench_function("glass", |b| b.iter(|| on_glass(sleepers())));
    group.bench_function("tokio", |b| b.iter(|| on_tokio(sleepers())));
    group.finish();
    let mut group = c.benchmark_group("wakes");
    group.sample_size(10).throughput(Throughput::Elements(PAIRS * PASSES * 2));
    group.bench_function("glass", |b| b.iter(|| on_glass(pairs())));
    group.bench_function("tokio", |b| b.iter(|| on_tokio(pairs())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = world_step
}
criterion_main!(benches);
