//! What is sent to a follower, and when.

use std::sync::{Arc, Mutex};

use futures_util::stream::{StreamExt, unfold};
use openraft::raft::AppendEntriesRequest;
use openraft::testing::{blank_ent, log_id};
use stormglass::base::{Seed, lock};
use stormglass::rt::time::{Duration, Instant, sleep_until};
use stormglass::stack::master::raft::TypeConfig;
use stormglass::stack::master::raft::appends::commits_along;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

type Request = AppendEntriesRequest<TypeConfig>;

/// When, in ms; the index of its entry, or none; the commit that it tells.
type Row = (u64, Option<u64>, u64);

fn request((_, entry, commit): Row) -> Request {
    let before = entry.map_or(commit, |index| index - 1);
    Request {
        vote: openraft::alias::VoteOf::<TypeConfig>::new(1, 0),
        prev_log_id: Some(log_id::<TypeConfig>(1, 0, before)),
        entries: entry.into_iter().map(|index| blank_ent::<TypeConfig>(1, 0, index)).collect(),
        leader_commit: Some(log_id::<TypeConfig>(1, 0, commit)),
    }
}

/// What comes out, and when, if this goes in.
fn sent(rows: Vec<Row>) -> Vec<Row> {
    let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
    let host = lab.world.add_host("master-0", [10, 0, 0, 1].into());
    let seen: Arc<Mutex<Vec<Row>>> = Arc::default();
    let out = seen.clone();
    let program = async move {
        let begin = Instant::now();
        let input = unfold(rows.into_iter(), move |mut rows| async move {
            let row = rows.next()?;
            sleep_until(begin + Duration::from_millis(row.0)).await;
            Some((request(row), rows))
        });
        let mut sent = commits_along(Box::pin(input), Duration::from_millis(200));
        while let Some(request) = sent.next().await {
            let entry = request.prev_log_id.filter(|_| !request.entries.is_empty()).map(|before| before.index + 1);
            let commit = request.leader_commit.unwrap().index;
            lock(&out).push((begin.elapsed().as_millis() as u64, entry, commit));
        }
    };
    lab.world.start(host, "test", Box::pin(program)).unwrap();
    lab.world.run_until(lab.world.world_now() + Duration::from_secs(10));
    assert_eq!(lab.world.panics(), []);
    std::mem::take(&mut *lock(&seen))
}

#[test]
fn a_commit_goes_along_with_the_next_entries_or_waits_a_heartbeat() {
    let rows: [(&str, Vec<Row>, Vec<Row>); 5] = [
        ("entries wait for nothing", vec![(0, Some(1), 0), (3, Some(2), 0)], vec![(0, Some(1), 0), (3, Some(2), 0)]),
        ("with the next entries", vec![(0, None, 1), (50, Some(2), 1)], vec![(50, Some(2), 1)]),
        ("alone, late", vec![(0, None, 1), (300, Some(2), 1)], vec![(200, None, 1), (300, Some(2), 1)]),
        (
            "the newest of several",
            vec![(0, None, 1), (90, None, 2), (300, Some(3), 2)],
            vec![(200, None, 2), (300, Some(3), 2)],
        ),
        // A probe, and a heartbeat: nothing is to follow.
        ("the last one", vec![(0, Some(1), 0), (10, None, 1)], vec![(0, Some(1), 0), (10, None, 1)]),
    ];
    for (case, input, want) in rows {
        assert_eq!(sent(input), want, "{case}");
    }
}
