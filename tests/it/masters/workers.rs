//! Workers and the leader, over the wire.

use std::sync::{Arc, Mutex};

use stormglass::base::lock;
use stormglass::rt::time::{Duration, sleep};
use stormglass::stack::wire::master::{Change, MasterAnswer, MasterReply, MasterRequest, WorkerCommand};
use stormglass::stack::wire::{BlockId, Medium, OpId, TierUsage, WorkerAddress};

use super::cluster::{Caller, Cluster, SOON, fast};

/// A worker in the words of the protocol: registers, commits blocks, heartbeats.
async fn work(address: &str, blocks: Vec<(BlockId, u64)>, said: Arc<Mutex<Vec<WorkerCommand>>>) {
    let mut caller = Caller::default();
    let tier = |used| vec![TierUsage { medium: Medium::Mem, capacity: 1 << 30, used }];
    let mut held: Vec<BlockId> = Vec::new();
    loop {
        let hello = MasterRequest::WorkerId { address: WorkerAddress(address.into()) };
        let Ok(MasterAnswer::WorkerId(worker)) = caller.ask(hello).await.result else { panic!("no id") };
        let register = MasterRequest::Register { worker, tiers: tier(0), blocks: held.clone(), seen: None };
        let reply = caller.ask(register).await;
        lock(&said).push(WorkerCommand::Nothing);
        let mut command = match reply.result {
            Ok(MasterAnswer::Command(command, _)) => command,
            other => panic!("{other:?}"),
        };
        for (block, length) in &blocks {
            let commit = MasterRequest::CommitBlock { worker, block: *block, length: *length };
            if caller.ask(commit).await.result.is_ok() && !held.contains(block) {
                held.push(*block);
            }
        }
        while command != WorkerCommand::Register {
            let mut removed = Vec::new();
            if let WorkerCommand::Free(free) = &command {
                lock(&said).push(command.clone());
                held.retain(|block| !free.contains(block));
                removed = free.clone();
            }
            sleep(Duration::from_secs(1)).await;
            let beat = MasterRequest::Heartbeat { worker, tiers: tier(1), added: Vec::new(), removed };
            let Ok(MasterAnswer::Command(next, _)) = caller.ask(beat).await.result else { continue };
            command = next;
        }
    }
}

#[test]
fn workers_register_again_after_a_failover_and_free_what_is_deleted() {
    let mut c = Cluster::new(3, fast());
    let first = c.wait_for_leader(SOON);
    let op = |seq, change| MasterRequest::Change { op: OpId { client: 9, seq }, change };
    let made = c.ask(vec![op(1, Change::Create { path: "/f".into(), block_size: 1000 })], SOON).remove(0);
    let Ok(MasterAnswer::Info(info)) = made.result else { panic!("{made:?}") };
    let block = BlockId::new(info.id, 0);
    let said = Arc::new(Mutex::new(Vec::new()));
    let (heard, address) = (said.clone(), "worker-0:29999");
    let program = async move { work(address, vec![(block, 700)], heard).await };
    c.lab.world.start(c.client, "worker", Box::pin(program)).unwrap();
    c.run_for(Duration::from_secs(6));
    let blocks = || MasterRequest::Blocks { path: "/f".into() };
    let located = |reply: &MasterReply| match &reply.result {
        Ok(MasterAnswer::Blocks { blocks, .. }) => {
            blocks.iter().map(|b| (b.id, b.length, b.locations.clone())).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let here = vec![WorkerAddress(address.into())];
    let complete = op(2, Change::Complete { file: info.id, length: 700 });
    let answers = c.ask(vec![complete, blocks(), MasterRequest::Workers], SOON);
    assert_eq!(located(&answers[1]), [(block, 700, here.clone())]);
    assert!(matches!(&answers[2].result, Ok(MasterAnswer::Workers(workers)) if workers.len() == 1));
    c.kill(first);
    let second = c.wait_for_leader(SOON);
    assert!(c.observers[second].facts().safe_mode);
    // Patience takes the caller over safe mode; by then the worker has registered again.
    let answers = c.ask(vec![blocks(), op(3, Change::Delete { path: "/f".into(), recursive: false })], SOON);
    assert_eq!(located(&answers[0]), [(block, 700, here)]);
    c.run_for(Duration::from_secs(3));
    assert_eq!(lock(&said).last(), Some(&WorkerCommand::Free(vec![block])));
    assert_eq!(c.observers[second].facts().live_workers, 1);
}
