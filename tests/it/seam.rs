//! openraft's own conformance suite for runtimes, on the seam inside a world.

use openraft::testing::runtime::Suite;
use stormglass::base::{Seed, SimTime, lock};
use stormglass::rt::interpose;
use stormglass::rt::raft::Seam;
use stormglass::rt::time::{Duration, sleep};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

type S = Suite<Seam>;

#[test]
fn the_seam_passes_openrafts_suite_in_a_world() {
    for seed in 0..8 {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let host = lab.world.add_host("a", [10, 0, 0, 1].into());
        let (tx, rx) = std::sync::mpsc::channel();
        let program = async move {
            S::test_spawn_join_handle().await;
            S::test_thread_rng().await;
            S::test_sleep().await;
            S::test_instant().await;
            S::test_instant_arithmetic().await;
            S::test_instant_sub_instant().await;
            S::test_instant_saturating_duration_since().await;
            S::test_instant_ord().await;
            S::test_sleep_until().await;
            S::test_timeout().await;
            S::test_timeout_at().await;
            S::test_mpsc_recv_empty().await;
            S::test_mpsc_recv_channel_closed().await;
            S::test_mpsc_weak_sender_wont_prevent_channel_close().await;
            S::test_mpsc_weak_sender_upgrade().await;
            S::test_mpsc_send().await;
            S::test_mpsc_send_to_closed_channel().await;
            S::test_mpsc_backpressure().await;
            S::test_watch_init_value().await;
            S::test_watch_overwrite_init_value().await;
            S::test_watch_send_error_no_receiver().await;
            S::test_watch_send_if_modified().await;
            S::test_watch_wait_until_ge().await;
            S::test_watch_wait_until().await;
            S::test_watch_changed_marks_as_seen().await;
            S::test_watch_borrow_and_update_marks_seen().await;
            S::test_watch_changed_returns_immediately_when_unseen().await;
            S::test_watch_multiple_borrow_then_changed().await;
            S::test_watch_wait_loop_pattern().await;
            S::test_watch_multiple_receivers().await;
            S::test_watch_subscribe().await;
            S::test_watch_send_if_different().await;
            S::test_watch_send_if_greater().await;
            S::test_oneshot_drop_tx().await;
            S::test_oneshot().await;
            S::test_oneshot_send_from_another_task().await;
            S::test_oneshot_send_to_dropped_rx().await;
            S::test_mutex_contention().await;
            S::test_mutex().await;
            S::test_mutex_lock_owned().await;
            S::test_task_local().await;
            tx.send("all").unwrap();
        };
        lab.world.start(host, "suite", Box::pin(program)).unwrap();
        lab.world.run_until(SimTime::from_secs(60));
        assert_eq!(lab.world.panics(), []);
        assert_eq!(rx.try_recv(), Ok("all"));
    }
}

/// Also where madsim is linked, which replaces the same symbols of the C library.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test is a library that asks the system")]
fn a_library_that_asks_the_system_is_answered_by_the_world() {
    use rand::TryRng;
    let ask = || {
        let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
        let host = lab.world.add_host("a", [10, 0, 0, 1].into());
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let tell = seen.clone();
        interpose::begin(Seed(1));
        let program = async move {
            sleep(Duration::from_secs(1_000)).await;
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            assert_eq!(wall, stormglass::rt::time::wall());
            let mut bytes = [0; 16];
            rand::rngs::SysRng.try_fill_bytes(&mut bytes).unwrap();
            lock(&tell).push(bytes);
        };
        lab.world.start(host, "p", Box::pin(program)).unwrap();
        lab.world.run_until(SimTime::from_secs(2_000));
        assert_eq!(lab.world.panics(), []);
        (interpose::end(), lock(&seen).clone())
    };
    let (counted, bytes) = ask();
    assert_eq!((counted, bytes.len()), ((1, 1), 1));
    assert_eq!(ask(), (counted, bytes), "the seed's stream, not the kernel's");
}
