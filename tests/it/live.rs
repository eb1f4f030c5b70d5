//! The stack without a simulator: the same masters, worker and client as real processes, on real sockets and files.
//!
//! Elections are shortened to fractions of a second. Nothing here depends on how fast the machine is: each step is a call of
//! the stack that lasts until it succeeds, within a budget that only a broken stack exhausts.

mod group;

use std::future::Future;

use stormglass::base::Content;
use stormglass::rt::time::{Duration, Instant, interval, timeout};
use stormglass::stack::client::{Leader, run_line};
use stormglass::stack::fuse::Fuse;
use stormglass::stack::wire::{FileInfo, FsResult};

use self::group::{BLOCK, BUDGET, Group, MASTERS, plays_part};

/// Two whole blocks and a part of a third.
const LENGTH: usize = 2 * BLOCK as usize + 12_345;

#[test]
fn a_group_of_processes_outlives_its_leaders() {
    if plays_part() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let story = story("live::a_group_of_processes_outlives_its_leaders");
    runtime.block_on(async { timeout(8 * BUDGET, story).await }).unwrap();
}

async fn story(test: &'static str) {
    let mut group = Group::start(test).await;
    let mount = group.mount();
    complete(&mount).await;
    mount.mkdir(mount.node("/").unwrap(), "data").await.unwrap();
    write(&mount, "first").await;
    serves(&group, &["first"]).await;
    let files = list(&mount).await;

    // The leader's process is killed: another one is elected, and serves the same.
    let first = leader(&mount).await;
    let killed = group.id(&first.address);
    group.kill(killed);
    let second = serves(&group, &["first"]).await;
    assert!(second.term > first.term && second.address != first.address, "{} {}", second.term, first.term);
    assert_eq!(list(&mount).await, files);
    write(&mount, "second").await;

    // It comes back on its journal, with another one gone: nothing is acknowledged before it has all that it missed.
    let second = group.id(&leader(&mount).await.address);
    let third = MASTERS.clone().find(|id| ![killed, second].contains(id)).unwrap();
    group.restart(killed);
    complete(&mount).await;
    group.kill(third);
    write(&mount, "third").await;

    // Of the two that are left at the end only the one that came back knows the last file, so no other can be elected.
    group.kill(second);
    group.restart(third);
    let last = serves(&group, &["first", "second", "third"]).await;
    assert_eq!(last.address, group.address(killed));
    assert_eq!(list(&mount).await[..1], files);

    // Asked to end, a leader hands over and ends in good order.
    group.restart(second);
    complete(&mount).await;
    let before = leader(&mount).await;
    let ended = group.terminate(group.id(&before.address));
    assert!(ended.success(), "{ended}");
    let after = serves(&group, &["first", "second", "third"]).await;
    assert!(after.term > before.term && after.address != before.address);
}

/// Waits until the leader hears of all masters and of the worker.
async fn complete(mount: &Fuse) {
    let client = mount.client();
    let all_there = || async {
        let quorum = client.quorum_info(client.deadline()).await?;
        let workers = client.workers(client.deadline()).await?;
        Ok(quorum.members.iter().all(|(_, available)| *available) && workers.len() == 1)
    };
    until("all are there", all_there).await;
}

/// Asks again and again until the answer is yes.
async fn until<F: Future<Output = FsResult<bool>>>(what: &str, ask: impl Fn() -> F) {
    let (start, mut pace) = (Instant::now(), interval(Duration::from_millis(20)));
    while !matches!(ask().await, Ok(true)) {
        assert!(start.elapsed() < BUDGET, "{what}: not within {BUDGET:?}");
        pace.tick().await;
    }
}

async fn leader(mount: &Fuse) -> Leader {
    // A call first: what is remembered of the leader may be out of date.
    let client = mount.client();
    client.report(client.deadline()).await.unwrap();
    client.leader(client.deadline()).await.unwrap()
}

async fn list(mount: &Fuse) -> Vec<FileInfo> {
    let client = mount.client();
    client.list("/data", client.deadline()).await.unwrap()
}

async fn write(mount: &Fuse, name: &str) {
    let (_, file) = mount.create(mount.node("/data").unwrap(), name).await.unwrap();
    let bytes = Content::of(name, 1).bytes(0, LENGTH);
    for (n, piece) in bytes.chunks(100_000).enumerate() {
        mount.write(file.handle, n as u64 * 100_000, piece).await.unwrap();
    }
    mount.release(file.handle).await.unwrap();
}

/// A mount that remembers nothing finds exactly these files, whole and from the cache; so does the operator's command find
/// the leader.
async fn serves(group: &Group, names: &[&str]) -> Leader {
    let mount = group.mount();
    let files = mount.readdir(mount.node("/data").unwrap()).await.unwrap();
    let found: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.attr.size)).collect();
    assert_eq!(found, names.iter().map(|name| (*name, LENGTH as u64)).collect::<Vec<_>>());
    for name in names {
        let file = mount.open(mount.node(&format!("/data/{name}")).unwrap(), libc::O_RDONLY).await.unwrap();
        let bytes = mount.read(file.handle, 0, 2 * LENGTH as u64).await.unwrap();
        assert_eq!((bytes.len(), Content::of(name, 1).first_difference(0, &bytes)), (LENGTH, None), "{name}");
        mount.release(file.handle).await.unwrap();
    }
    assert_eq!(mount.counters().cached, (LENGTH * names.len()) as u64);
    let printed = run_line("goosefs fs masterInfo", mount.client()).await;
    let leader = leader(&mount).await;
    let all: Vec<String> = MASTERS.map(|id| group.address(id)).collect();
    let text = format!("current leader master: {}\nAll masters: [{}]\n", leader.address, all.join(", "));
    assert_eq!((printed.text, printed.status), (text, 0));
    leader
}
