//! Workers inside a world, between a mirror and a master that is a table of what it was told.

mod bench;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench::{Bench, CLIENT, Client, Mood};
use stormglass::base::planted::{Bug, plant};
use stormglass::base::{Content, lock};
use stormglass::rt::task::spawn;
use stormglass::rt::time::sleep;
use stormglass::stack::wire::rpc::Channel;
use stormglass::stack::wire::worker::{UfsBlock, WorkerRequest};
use stormglass::stack::wire::{BlockId, FsError, InodeId, Medium, TierUsage, UfsRef};
use stormglass::world::disk::{DiskFault, Odds, Pages};
use stormglass::world::web::{WebFaults, WebServer};

const FILE: &str = "/data/file";
const BLOCK: u64 = 1 << 20;

fn block(sequence: u64) -> BlockId {
    BlockId::new(InodeId(3), sequence)
}

fn content() -> Content {
    Content::of(FILE, 1)
}

/// The `sequence`-th block of the mirror's file as it is now.
fn ufs(mirror: &WebServer, sequence: u64) -> UfsBlock {
    let file = mirror.with_tree(|tree| tree.file(FILE).unwrap());
    let fingerprint = stormglass::world::web::answer::etag(file);
    let source = UfsRef { url: format!("http://mirror{FILE}"), fingerprint };
    UfsBlock { source, offset: sequence * BLOCK, length: BLOCK }
}

#[test]
fn readers_of_one_block_share_one_fetch() {
    let bench = Bench::new(1, 8 * BLOCK);
    let from = ufs(&bench.mirror, 2);
    bench.client(|client| async move {
        let readers: Vec<_> = (0..8u64)
            .map(|n| {
                let (client, from) = (client.clone(), from.clone());
                spawn("reader", async move {
                    let offset = n * 100_000;
                    let (data, _) = client.read(block(2), offset, 100_000, Some(from)).await.unwrap();
                    assert_eq!((data.len(), content().first_difference(2 * BLOCK + offset, &data)), (100_000, None));
                })
            })
            .collect();
        for reader in readers {
            reader.await.unwrap();
        }
        sleep(Duration::from_secs(2)).await;
        let (data, cached) = client.read(block(2), BLOCK - 10, 100, None).await.unwrap();
        assert_eq!((data.len(), cached), (10, true));
        assert_eq!(content().first_difference(3 * BLOCK - 10, &data), None);
    });
    assert_eq!(bench.mirror.counters().file_bytes, BLOCK);
    assert_eq!(bench.places(), [block(2)]);
    assert_eq!(lock(&bench.master).lengths.get(&block(2)), Some(&BLOCK));
}

#[test]
fn damage_is_repaired_from_the_under_store_or_is_an_error() {
    let rot = |bench: &Bench, id: BlockId| {
        let path = format!("/cache/blocks/{:016x}", id.0);
        bench.lab.disks.rot(bench.disk, &path, 4096 + 70_000, 0x10).unwrap();
    };
    let written = Content::of("/written", 1);
    let prepared = |seed| {
        let bench = Bench::new(seed, 8 * BLOCK);
        let from = ufs(&bench.mirror, 0);
        bench.client(|client| async move {
            client.read(block(0), 0, 10, Some(from)).await.unwrap();
            client.write(block(9), written, 200_000).await.unwrap();
            client.commit(block(9), 200_000).await.unwrap();
        });
        rot(&bench, block(0));
        rot(&bench, block(9));
        bench
    };
    let bench = prepared(2);
    let from = ufs(&bench.mirror, 0);
    bench.client(|client| async move {
        // A chunk that is not damaged can still be read.
        let (data, cached) = client.read(block(0), 0, 65_536, None).await.unwrap();
        assert_eq!((content().first_difference(0, &data), cached), (None, true));
        let (data, cached) = client.read(block(0), 65_536, 10_000, Some(from)).await.unwrap();
        assert_eq!((content().first_difference(65_536, &data), cached), (None, false));
        let refused = client.read(block(9), 0, 200_000, None).await.unwrap_err();
        assert!(matches!(&refused, FsError::Io(why) if why.contains("checksum")), "{refused:?}");
        assert!(matches!(client.read(block(9), 0, 10, None).await, Err(FsError::Unknown(_))));
        sleep(Duration::from_secs(3)).await;
    });
    assert_eq!(bench.places(), [block(0)], "the damaged block without a copy is reported as gone");

    let bench = prepared(2);
    let _plant = plant(&[Bug::UnverifiedBlock]).unwrap();
    bench.client(|client| async move {
        let (data, _) = client.read(block(9), 0, 200_000, None).await.unwrap();
        assert_eq!(written.first_difference(0, &data), Some(70_000), "the planted bug serves the damage");
    });
}

#[test]
fn what_was_committed_survives_power_loss_and_nothing_else() {
    for seed in 1..=8 {
        // On a disk that is the root, the names on the way to the cache are as much at risk as the blocks'.
        let mut bench = Bench::mounted(seed, 8 * BLOCK, if seed % 2 == 0 { "/" } else { "/mnt/disk1" });
        let written = Content::of("/written", 1);
        bench.client(|client| async move {
            client.write(block(1), written, 300_000).await.unwrap();
            client.commit(block(1), 300_000).await.unwrap();
            client.commit(block(1), 300_000).await.unwrap();
            client.write(block(2), written, 300_000).await.unwrap();
        });
        bench.power_cycle();
        bench.run(Duration::from_secs(10));
        assert_eq!(bench.places(), [block(1)]);
        bench.client(|client| async move {
            let (data, cached) = client.read(block(1), 0, 300_000, None).await.unwrap();
            assert_eq!((data.len(), written.first_difference(0, &data), cached), (300_000, None, true));
            let lost = client.ask(WorkerRequest::Write { block: block(2), offset: 300_000, data: vec![1] }).await;
            assert!(matches!(lost, Err(FsError::Unknown(_))), "{lost:?}");
            client.write(block(2), written, 10).await.unwrap();
            client.commit(block(2), 10).await.unwrap();
        });
    }
}

/// Power fails somewhere in the middle of writes: each block is whole and right, or not there.
#[test]
fn power_loss_at_any_time_leaves_whole_blocks_or_none() {
    for seed in 1..=20u64 {
        let mut bench = Bench::new(seed, 8 * BLOCK);
        let acked = Arc::new(Mutex::new(Vec::new()));
        let out = acked.clone();
        bench.start(CLIENT, async move {
            let client = Client(Channel::new("worker:29999"));
            for n in 0..40 {
                let written = client.write(block(n), Content::of("/w", n), 50_000 + n).await;
                if written.is_ok() && client.commit(block(n), 50_000 + n).await.is_ok() {
                    lock(&out).push(n);
                }
            }
        });
        bench.run(Duration::from_micros(2_500 * seed));
        bench.power_cycle();
        bench.run(Duration::from_secs(60));
        let acked = lock(&acked).clone();
        bench.client(|client| async move {
            for n in 0..40 {
                match client.read(block(n), 0, 100_000, None).await {
                    Ok((data, _)) => {
                        let right = Content::of("/w", n).first_difference(0, &data).is_none();
                        assert_eq!((data.len() as u64, right), (50_000 + n, true));
                    }
                    Err(error) => assert!(!acked.contains(&n), "block {n} was acknowledged: {error}"),
                }
            }
        });
    }
}

#[test]
fn a_full_store_evicts_what_it_can_and_serves_the_rest_uncached() {
    let bench = Bench::new(3, 4 * BLOCK);
    let written = Content::of("/written", 1);
    let mirror = bench.mirror.clone();
    bench.client(|client| async move {
        for n in [20, 21, 22] {
            client.write(block(n), written, BLOCK).await.unwrap();
            client.commit(block(n), BLOCK).await.unwrap();
        }
        for n in 0..6 {
            let (data, _) = client.read(block(n), 0, 1000, Some(ufs(&mirror, n))).await.unwrap();
            assert_eq!(content().first_difference(n * BLOCK, &data), None);
            sleep(Duration::from_millis(500)).await;
        }
        // Full of blocks without a copy: no more can be written, and nothing is lost for it.
        client.write(block(23), written, BLOCK).await.unwrap();
        client.commit(block(23), BLOCK).await.unwrap();
        let full = client.write(block(24), written, 10).await;
        assert!(matches!(full, Err(FsError::NoSpace(_))), "{full:?}");
        let (data, cached) = client.read(block(6), 0, 1000, Some(ufs(&mirror, 6))).await.unwrap();
        assert_eq!((content().first_difference(6 * BLOCK, &data), cached), (None, false));
        for n in 20..24 {
            let (data, _) = client.read(block(n), 0, BLOCK as u32, None).await.unwrap();
            assert_eq!(written.first_difference(0, &data), None);
        }
        sleep(Duration::from_secs(2)).await;
    });
    assert_eq!(bench.places(), [20, 21, 22, 23].map(block));
    let tiers = lock(&bench.master).tiers.clone();
    assert_eq!(tiers, [TierUsage { medium: Medium::Hdd, capacity: 4 * BLOCK, used: 4 * BLOCK }]);
}

#[test]
fn the_master_learns_everything_whatever_happens_to_calls() {
    for seed in 1..=6 {
        let bench = Bench::new(seed, 6 * BLOCK);
        for round in 0..5u64 {
            let from: Vec<_> = (0..4).map(|n| (n + round * 2, ufs(&bench.mirror, n + round * 2))).collect();
            lock(&bench.master).mood = if (round + seed) % 2 == 0 { Mood::Deaf } else { Mood::Mute };
            bench.client(|client| async move {
                for (n, from) in from {
                    client.read(block(n), 0, 10, Some(from)).await.unwrap();
                    sleep(Duration::from_millis(200 * seed)).await;
                }
                sleep(Duration::from_secs(2 + seed)).await;
            });
            let mut master = lock(&bench.master);
            master.mood = Mood::Well;
            if round == 1 {
                // A new leader knows no worker.
                (master.term, master.worker) = (master.term + 1, None);
                master.places.clear();
            }
            drop(master);
            bench.run(Duration::from_secs(3));
        }
        bench.run(Duration::from_secs(40));
        let held: Vec<_> = bench.client(|client| async move {
            let mut held = vec![];
            for n in 0..20 {
                if client.read(block(n), 0, 1, None).await.is_ok() {
                    held.push(block(n));
                }
            }
            held
        });
        assert!(held.len() >= 3, "{held:?}");
        assert_eq!(bench.places(), held);
        assert_eq!(lock(&bench.master).registrations, 2, "a lost heartbeat is no reason to register");
    }
}

/// A disk that fails costs the cache, never an acknowledged byte: reads go to the under-store, writes are refused.
#[test]
fn a_failing_disk_is_no_lie() {
    let under = || "/mnt/disk1/cache".to_owned();
    let odds = Odds { num: 1, den: 3, limit: u64::MAX };
    let faults = [
        DiskFault::ReadError { under: under(), odds },
        DiskFault::WriteError { under: under(), odds },
        DiskFault::SyncError { under: under(), odds, pages: Pages::Lost },
        DiskFault::Full { free: 700_000 },
        DiskFault::ReadOnly,
        DiskFault::Slow { factor: 50 },
    ];
    for (seed, fault) in (1..).zip(faults) {
        let mut bench = Bench::new(seed, 6 * BLOCK);
        let (mirror, only) = (bench.mirror.clone(), Content::of("/only", 1));
        bench.client(|client| async move {
            for n in 0..2 {
                client.read(block(n), 0, 1, Some(ufs(&mirror, n))).await.unwrap();
            }
            client.write(block(49), only, 100_000).await.unwrap();
            client.commit(block(49), 100_000).await.unwrap();
        });
        // With a cold page cache.
        bench.power_cycle();
        bench.run(Duration::from_secs(3));
        let injected = bench.lab.disks.inject(bench.disk, fault.clone()).unwrap();
        let mirror = bench.mirror.clone();
        let acked = bench.client(|client| async move {
            let mut acked = vec![];
            for n in 0..12u64 {
                match client.read(block(49), 0, 100_000, None).await {
                    Ok((data, _)) => assert_eq!(only.first_difference(0, &data), None),
                    Err(error) => assert!(matches!(error, FsError::Io(_)), "{error:?}"),
                }
                let (data, _) = client.read(block(n % 4), 5, 70_000, Some(ufs(&mirror, n % 4))).await.unwrap();
                assert_eq!(content().first_difference(n % 4 * BLOCK + 5, &data), None);
                let written = client.write(block(50 + n), Content::of("/w", n), 100_000).await;
                let done = match written {
                    Ok(()) => client.commit(block(50 + n), 100_000).await,
                    error => error,
                };
                match done {
                    Ok(()) => acked.push(n),
                    Err(FsError::Io(_) | FsError::NoSpace(_) | FsError::Unknown(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
                sleep(Duration::from_millis(100)).await;
            }
            acked
        });
        assert!(bench.lab.disks.hits(injected) > 0, "{fault:?} did nothing");
        bench.lab.disks.clear(injected);
        bench.power_cycle();
        bench.run(Duration::from_secs(5));
        bench.client(|client| async move {
            let (data, _) = client.read(block(49), 0, 100_000, None).await.unwrap();
            assert_eq!((data.len(), only.first_difference(0, &data)), (100_000, None));
            for n in acked {
                let (data, _) = client.read(block(50 + n), 0, 100_000, None).await.unwrap();
                assert_eq!((data.len(), Content::of("/w", n).first_difference(0, &data)), (100_000, None));
            }
        });
    }
}

#[test]
fn chunks_sent_again_do_no_harm_and_a_discard_begins_anew() {
    for seed in 1..=10 {
        let bench = Bench::new(seed, 6 * BLOCK);
        bench.client(|client| async move {
            let (one, two) = (Content::of("/w", 1), Content::of("/w", 2));
            let write = async |offset, content: Content, length| {
                let data = content.bytes(offset, length);
                client.ask(WorkerRequest::Write { block: block(1), offset, data }).await.map(drop)
            };
            write(0, one, 1000).await.unwrap();
            write(0, one, 1000).await.unwrap();
            write(500, one, 1500).await.unwrap();
            assert!(matches!(write(0, two, 1000).await, Err(FsError::Invalid(_))));
            assert!(matches!(write(3000, one, 10).await, Err(FsError::Unknown(_))));
            client.commit(block(1), 2000).await.unwrap();
            assert!(matches!(write(0, one, 1000).await, Err(FsError::AlreadyExists(_))));
            for _ in 0..3 {
                client.ask(WorkerRequest::Discard { block: block(1) }).await.unwrap();
                write(0, two, 3000).await.unwrap();
            }
            client.commit(block(1), 3000).await.unwrap();
            let (data, _) = client.read(block(1), 0, 9999, None).await.unwrap();
            assert_eq!((data.len(), two.first_difference(0, &data)), (3000, None));
        });
    }
}

#[test]
fn what_the_master_frees_goes() {
    let bench = Bench::new(5, 6 * BLOCK);
    let (one, two) = (ufs(&bench.mirror, 1), ufs(&bench.mirror, 2));
    bench.client(|client| async move {
        client.read(block(1), 0, 10, Some(one)).await.unwrap();
        client.read(block(2), 0, 10, Some(two)).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    });
    assert_eq!(bench.places(), [block(1), block(2)]);
    lock(&bench.master).free.insert(block(1));
    bench.run(Duration::from_secs(4));
    assert_eq!(bench.places(), [block(2)]);
    assert!(lock(&bench.master).free.is_empty(), "the worker says that it has freed");
    assert_eq!(lock(&bench.master).tiers[0].used, BLOCK);
}

#[test]
fn a_commit_waits_for_a_leader_and_a_changed_file_is_an_error() {
    let bench = Bench::new(6, 6 * BLOCK);
    // A leader that does not know the worker, in the middle of a write.
    {
        let mut master = lock(&bench.master);
        (master.term, master.worker) = (9, None);
    }
    let written = Content::of("/written", 1);
    bench.client(|client| async move {
        client.write(block(7), written, 1000).await.unwrap();
        client.commit(block(7), 1000).await.unwrap();
        assert!(matches!(client.commit(block(8), 1000).await, Err(FsError::Unknown(_))));
        assert!(matches!(client.commit(block(7), 999).await, Err(FsError::Invalid(_))));
    });
    assert_eq!(lock(&bench.master).lengths.get(&block(7)), Some(&1000));

    let old = ufs(&bench.mirror, 1);
    let cached = old.clone();
    bench.client(|client| async move { client.read(block(1), 0, 10, Some(cached)).await.unwrap() });
    bench.mirror.with_tree(|tree| tree.put(FILE, 16 * BLOCK));
    let new = ufs(&bench.mirror, 1);
    bench.mirror.set_faults(WebFaults::default());
    bench.client(|client| async move {
        let stale = UfsBlock { offset: 2 * BLOCK, ..old.clone() };
        let refused = client.read(block(2), 0, 10, Some(stale)).await.unwrap_err();
        assert!(matches!(&refused, FsError::Io(why) if why.contains("changed")), "{refused:?}");
        // Cached bytes of the old version do not answer for the new one.
        let (data, cached) = client.read(block(1), 0, 10, Some(new)).await.unwrap();
        assert_eq!((Content::of(FILE, 2).first_difference(BLOCK, &data), cached), (None, false));
    });
}
