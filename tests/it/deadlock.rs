//! L5 in a whole world: two servers that wait for each other across the network, a client that waits for both, and no timer
//! anywhere. Masters and workers beat all the time, so that a world of theirs is never idle; these do not.

use std::net::SocketAddr;
use std::sync::Arc;

use stormglass::base::{Seed, SimTime};
use stormglass::oracle::{RunRecord, Verdict, Violation, judge};
use stormglass::rt::backend::world_now;
use stormglass::rt::chan::Mutex;
use stormglass::rt::net::{TcpListener, TcpStream};
use stormglass::rt::task;
use stormglass::sim::workload::Recorder;
use stormglass::stack::wire::OpId;
use stormglass::stack::wire::master::{MasterAnswer, MasterReply, MasterRequest};
use stormglass::world::engine::Stop;
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers requests one at a time, and asks the other server before it answers one with `hops` left.
async fn server(own: SocketAddr, other: SocketAddr) {
    let listener = TcpListener::bind(own).await.unwrap();
    let turn = Arc::new(Mutex::new(()));
    while let Ok((mut stream, _)) = listener.accept().await {
        let turn = turn.clone();
        task::spawn("answer", async move {
            let hops = stream.read_u8().await.unwrap();
            let _turn = turn.lock().await;
            if hops > 0 {
                ask(other, hops - 1).await;
            }
            stream.write_u8(0).await.unwrap();
        });
    }
}

async fn ask(server: SocketAddr, hops: u8) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_u8(hops).await.unwrap();
    stream.read_u8().await.unwrap();
}

#[test]
fn servers_that_wait_for_each_other_are_a_deadlock_and_the_verdict_names_who_waits_for_what() {
    // With two hops the first server is asked while it answers.
    for (hops, want) in [(1, None), (2, Some(Verdict::Liveness))] {
        for seed in 0..8 {
            let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
            let hosts = [1, 2, 3].map(|n| lab.world.add_host(&format!("h{n}"), [10, 0, 0, n].into()));
            let at = |n| SocketAddr::from(([10, 0, 0, n], 80));
            lab.world.start(hosts[0], "left", Box::pin(server(at(1), at(2)))).unwrap();
            lab.world.start(hosts[1], "right", Box::pin(server(at(2), at(1)))).unwrap();
            assert_eq!(lab.world.run_until(SimTime::from_secs(1)), Stop::Idle);
            let recorder = Recorder::new(Arc::new(world_now), vec![]);
            let audit = recorder.audit(0);
            let client = async move {
                let (op, stat) = (OpId { client: 1, seq: 1 }, MasterRequest::Stat { path: "/".into() });
                audit.began(op, &stat);
                ask(at(1), hops).await;
                audit.ended(op, &stat, 1, &Ok(MasterReply { index: 1, term: 1, result: Ok(MasterAnswer::Done) }));
            };
            lab.world.start(hosts[2], "client", Box::pin(client)).unwrap();
            assert_eq!(lab.world.run_until(SimTime::from_secs(3600)), Stop::Idle, "{hops} hops");
            let waiting: Vec<String> = lab.world.pending().iter().map(ToString::to_string).collect();
            let record = RunRecord {
                history: recorder.operations(),
                deadlock: (recorder.pending() > 0).then_some(waiting),
                ended: lab.now(),
                ..RunRecord::default()
            };
            let judgement = judge(&record);
            let deadlock = judgement.violations.iter().find(|found| matches!(found, Violation::Deadlock { .. }));
            assert_eq!(deadlock.map(|_| judgement.verdict), want, "seed {seed}");
            if let Some(text) = deadlock.map(ToString::to_string) {
                assert!(text.contains("1 operations are pending"), "{text}");
                assert_eq!(text.matches(" answer: waits for").count(), 3, "{text}");
                assert!(text.contains("h3 client main: waits for"), "{text}");
            }
        }
    }
}
