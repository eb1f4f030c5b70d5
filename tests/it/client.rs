//! The client's calls against masters that are puppets: leader discovery, retries, operation ids, budgets.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use stormglass::base::{HostId, ProcessId, Seed, lock};
use stormglass::rt::net::TcpListener;
use stormglass::rt::time::{Duration, Instant};
use stormglass::stack::client::{Audit, ClientOptions, FileSystemClient, Replied};
use stormglass::stack::wire::master::{Change, MasterAnswer, MasterReply, MasterRequest};
use stormglass::stack::wire::rpc::{Context, MasterProtocol, serve};
use stormglass::stack::wire::{FsError, FsResult, OpId};
use stormglass::world::engine::glass::Glass;
use stormglass::world::lab::Lab;

/// What a puppet says to `WhoLeads`, and to anything else.
#[derive(Debug, Clone, PartialEq)]
enum Mood {
    Leads,
    /// Leads and answers changes with these errors, one after the other; then carries out.
    LeadsBut(Vec<FsError>),
    /// Leads, and never answers anything else.
    Frozen,
    Standby(Option<usize>),
    /// Was the leader when it was asked, and is a standby when it has to act.
    Deposed(usize),
}

/// What puppets were asked, in order, by number.
type Asked = Arc<Mutex<Vec<(usize, MasterRequest)>>>;

fn address(n: usize) -> String {
    format!("m{n}:19998")
}

struct Stage {
    lab: Lab,
    masters: Vec<HostId>,
    client: HostId,
    moods: Arc<Mutex<Vec<Mood>>>,
    asked: Asked,
    processes: Vec<ProcessId>,
}

impl Stage {
    fn new(seed: u64, moods: Vec<Mood>) -> Self {
        let lab = Lab::new(Seed(seed), Glass::plain(Seed(seed)));
        let client = lab.world.add_host("client", Ipv4Addr::new(10, 0, 0, 100));
        let ip = |n: usize| Ipv4Addr::new(10, 0, 0, n as u8 + 1);
        let masters: Vec<HostId> = (0..moods.len()).map(|n| lab.world.add_host(&format!("m{n}"), ip(n))).collect();
        let moods = Arc::new(Mutex::new(moods));
        let asked = Asked::default();
        let processes = masters.iter().enumerate().map(|(n, host)| {
            let program = puppet(n, SocketAddr::from((ip(n), 19998)), moods.clone(), asked.clone());
            lab.world.start(*host, "master", Box::pin(program)).unwrap()
        });
        let processes = processes.collect();
        Self { lab, masters, client, moods, asked, processes }
    }

    /// Runs a client to its end and tells how long it took.
    fn client<T, F>(&self, f: impl FnOnce(FileSystemClient) -> F + Send + 'static) -> (T, Duration)
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.audited(Arc::new(Book::default()), f)
    }

    fn audited<T, F>(&self, book: Arc<Book>, f: impl FnOnce(FileSystemClient) -> F + Send + 'static) -> (T, Duration)
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let out = Arc::new(Mutex::new(None));
        let result = out.clone();
        let options = ClientOptions::new((0..self.masters.len()).map(address).collect());
        let program = async move {
            let start = Instant::now();
            let got = f(FileSystemClient::audited(options, book)).await;
            *lock(&result) = Some((got, start.elapsed()));
        };
        self.lab.world.start(self.client, "client", Box::pin(program)).unwrap();
        let end = self.lab.world.world_now() + Duration::from_secs(600);
        self.lab.world.run_until(end);
        assert!(self.lab.world.panics().is_empty(), "{:?}", self.lab.world.panics());
        lock(&out).take().expect("the client came to an end")
    }

    /// Which puppets were asked since the last time, and whether only who leads.
    fn order(&self) -> Vec<(usize, bool)> {
        let asked = std::mem::take(&mut *lock(&self.asked));
        asked.into_iter().map(|(n, request)| (n, matches!(request, MasterRequest::WhoLeads { .. }))).collect()
    }
}

async fn puppet(n: usize, bind: SocketAddr, moods: Arc<Mutex<Vec<Mood>>>, asked: Asked) {
    let listener = TcpListener::bind(bind).await.unwrap();
    let handler = move |request: MasterRequest, _: Context| {
        lock(&asked).push((n, request.clone()));
        let reply = play(n, &mut lock(&moods)[n], &request);
        async move {
            match reply {
                Some(result) => MasterReply { index: 7, term: 3, result },
                None => std::future::pending().await,
            }
        }
    };
    serve::<MasterProtocol>(listener, handler).await;
}

fn play(n: usize, mood: &mut Mood, request: &MasterRequest) -> Option<FsResult<MasterAnswer>> {
    let standby = |hint: Option<usize>| Some(Err(FsError::NotLeader { hint: hint.map(address) }));
    let leads = || Some(Ok(MasterAnswer::Leader { address: address(n), masters: vec![], mark: None }));
    match (mood, request) {
        (Mood::Standby(hint), _) => standby(*hint),
        (_, MasterRequest::WhoLeads { .. }) => leads(),
        (Mood::Frozen, _) => None,
        (mood @ Mood::Deposed(_), _) => {
            let Mood::Deposed(hint) = *mood else { unreachable!() };
            *mood = Mood::Standby(Some(hint));
            standby(Some(hint))
        }
        (Mood::LeadsBut(errors), _) if !errors.is_empty() => Some(Err(errors.remove(0))),
        _ => Some(Ok(MasterAnswer::Done)),
    }
}

/// An audit hook that writes everything down.
#[derive(Default)]
struct Book(Mutex<Vec<String>>);

impl Audit for Book {
    fn began(&self, op: OpId, _: &MasterRequest) {
        lock(&self.0).push(format!("{} began", op.seq));
    }

    fn ended(&self, op: OpId, _: &MasterRequest, attempts: u32, reply: &FsResult<MasterReply>) {
        lock(&self.0).push(format!("{} ended after {attempts}: {}", op.seq, reply.is_ok()));
    }
}

fn delete() -> Change {
    Change::Delete { path: "/a".into(), recursive: false }
}

async fn change(client: FileSystemClient) -> Replied {
    client.change(delete(), client.deadline()).await
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_hint_is_followed_before_the_order_of_the_configuration() {
    let stage = Stage::new(1, vec![Mood::Standby(Some(2)), Mood::Standby(None), Mood::Leads]);
    let (replied, took) = stage.client(change);
    assert_eq!(replied.reply.map(|r| (r.index, r.term, r.result)), Ok((7, 3, Ok(MasterAnswer::Done))));
    assert_eq!(stage.order(), [(0, true), (2, true), (2, false)]);
    assert!(took < seconds(1), "{took:?}");
}

#[test]
fn a_deposed_leader_s_hint_spares_the_poll_of_a_black_hole() {
    let stage = Stage::new(2, vec![Mood::Standby(None), Mood::Deposed(2), Mood::Leads]);
    let book = Arc::new(Book::default());
    // The first poll finds the first master alive.
    let (replied, took) = stage.audited(book.clone(), change);
    assert_eq!((replied.attempts, replied.reply.is_ok()), (2, true));
    assert_eq!(stage.order(), [(0, true), (1, true), (1, false), (2, true), (2, false)]);
    assert!(took < seconds(1), "{took:?}");
    assert_eq!(*lock(&book.0), ["1 began", "1 ended after 2: true"]);
}

#[test]
fn all_attempts_carry_one_operation_id() {
    let errors = vec![
        FsError::Unavailable("safe mode".into()),
        FsError::Unavailable("no quorum".into()),
        FsError::NotLeader { hint: None },
    ];
    let stage = Stage::new(3, vec![Mood::LeadsBut(errors)]);
    let (_, _) = stage.client(|client| async move {
        let first = client.change(delete(), client.deadline()).await;
        assert_eq!((first.attempts, first.reply.is_ok()), (4, true));
        let second = client.change(delete(), client.deadline()).await;
        assert_eq!(second.attempts, 1);
    });
    let ops: Vec<OpId> = lock(&stage.asked)
        .iter()
        .filter_map(|(_, request)| match request {
            MasterRequest::Change { op, .. } => Some(*op),
            _ => None,
        })
        .collect();
    assert_eq!(ops.len(), 5);
    assert!(ops[..4].iter().all(|op| *op == ops[0]) && ops[4] != ops[0] && ops[4].client == ops[0].client, "{ops:?}");
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_id() {
    let stage = Stage::new(4, vec![Mood::Frozen, Mood::Leads]);
    // Believed first, since it says so first; it never acts.
    let (replied, took) = stage.client(change);
    assert_eq!((replied.attempts, replied.reply.is_ok()), (2, true));
    assert!(took >= seconds(10) && took < seconds(12), "{took:?}");
    let asked = lock(&stage.asked);
    let changes: Vec<_> =
        asked.iter().filter(|(_, request)| !matches!(request, MasterRequest::WhoLeads { .. })).collect();
    assert_eq!((changes[0].0, changes[1].0), (0, 1));
    assert_eq!(changes[0].1, changes[1].1);
}

#[test]
fn a_definite_error_ends_the_call_at_once_with_its_index() {
    let stage = Stage::new(5, vec![Mood::LeadsBut(vec![FsError::NotFound("/a".into())])]);
    let (replied, took) = stage.client(change);
    assert_eq!(replied.attempts, 1);
    let reply = replied.reply.unwrap();
    assert_eq!((reply.index, reply.result), (7, Err(FsError::NotFound("/a".into()))));
    assert!(took < seconds(1), "{took:?}");
}

#[test]
fn a_black_hole_costs_its_time_out_and_a_refused_connection_nothing() {
    let stage = Stage::new(6, vec![Mood::Leads, Mood::Leads]);
    stage.lab.world.kill(stage.processes[0]);
    let (replied, took) = stage.client(change);
    assert!(replied.reply.is_ok() && took < seconds(1), "{took:?}");
    stage.lab.world.power_loss(stage.masters[0]);
    let (replied, took) = stage.client(change);
    assert!(replied.reply.is_ok() && took >= seconds(30) && took < seconds(31), "{took:?}");
}

#[test]
fn every_call_ends_within_its_budget() {
    let moods = [
        vec![Mood::Standby(None), Mood::Standby(Some(0))],
        vec![Mood::Standby(Some(1)), Mood::Standby(Some(0))],
        vec![Mood::Frozen, Mood::Frozen],
        vec![Mood::LeadsBut(vec![FsError::Unavailable("no quorum".into()); 10_000])],
        vec![Mood::LeadsBut(vec![FsError::NotLeader { hint: Some(address(0)) }; 10_000])],
        vec![Mood::LeadsBut(vec![FsError::NotLeader { hint: Some("elsewhere:1".into()) }; 10_000])],
    ];
    for (seed, moods) in (10..).zip(moods) {
        let text = format!("{:?}", moods[0]).chars().take(60).collect::<String>();
        let stage = Stage::new(seed, moods);
        let (replied, took) = stage.client(change);
        assert!(matches!(&replied.reply, Err(error) if error.retryable()), "{text}: {replied:?}");
        assert!(took >= seconds(115) && took <= seconds(120), "{text}: {took:?}");
        // Waits double up to 3 s: nobody is asked in a frenzy.
        assert!(lock(&stage.asked).len() < 300, "{text}: {}", lock(&stage.asked).len());
    }
    let stage = Stage::new(20, vec![Mood::Leads]);
    stage.lab.world.power_loss(stage.masters[0]);
    let (replied, took) = stage.client(change);
    assert_eq!(replied.attempts, 0);
    assert!(matches!(replied.reply, Err(FsError::Unavailable(_))) && took <= seconds(120), "{took:?}");
    assert!(lock(&stage.moods).len() == 1);
}
