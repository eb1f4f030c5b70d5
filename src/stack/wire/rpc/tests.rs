//! Client and server together, over real loopback sockets: deadlines, broken peers, limits.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Channel, Context, FRAME_MAX, Limits, MasterProtocol, Protocol, RpcError, serve_with};
use crate::rt::chan::Notify;
use crate::rt::net::{TcpListener, TcpStream};
use crate::rt::task::{Scope, spawn};
use crate::rt::time::{Duration, sleep, timeout};

/// Long enough that no machine is too slow for it.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(40);

struct Test;

#[derive(Serialize, Deserialize)]
enum Ask {
    /// Answered at once.
    Double(u64),
    /// Answered after other tasks ran.
    Slow(u64),
    /// Never answered.
    Never,
    /// So many bytes.
    Bytes(usize),
    Carry(Vec<u8>),
}

impl Protocol for Test {
    const NAME: &'static str = "test";
    const VERSION: u16 = 3;
    type Request = Ask;
    type Response = Vec<u64>;
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test)
}

/// Counts handlers under way, dropped ones excluded.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
    ended: Notify,
}

struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_one();
    }
}

async fn start(scope: &Scope, limits: Limits) -> (SocketAddr, Arc<Gauge>) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let gauge = Arc::new(Gauge::default());
    let shared = gauge.clone();
    let handler = move |ask: Ask, _context: Context| {
        let entered = Entered(shared.clone());
        let now = shared.now.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most.fetch_max(now, Ordering::SeqCst);
        async move {
            let _entered = entered;
            match ask {
                Ask::Double(n) => vec![2 * n],
                Ask::Slow(n) => {
                    sleep(Duration::from_millis(1)).await;
                    vec![n + 1]
                }
                Ask::Never => std::future::pending().await,
                Ask::Bytes(n) => vec![1; n],
                Ask::Carry(bytes) => vec![bytes.len() as u64],
            }
        }
    };
    scope.spawn("server", serve_with::<Test>(listener, handler, limits));
    (address, gauge)
}

#[test]
fn many_calls_share_one_connection_and_get_their_own_replies() {
    run(async {
        let scope = Scope::new();
        let (address, _) = start(&scope, Limits::default()).await;
        let channel = Channel::<Test>::new(address.to_string());
        let calls: Vec<_> = (0..200u64)
            .map(|n| {
                let channel = channel.clone();
                spawn("call", async move {
                    let ask = if n.is_multiple_of(2) { Ask::Double(n) } else { Ask::Slow(n) };
                    channel.call(ask, LONG).await
                })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            let n = n as u64;
            assert_eq!(call.await.unwrap(), Ok(vec![if n.is_multiple_of(2) { 2 * n } else { n + 1 }]));
        }
    });
}

#[test]
fn a_passed_deadline_fails_the_connection_and_the_next_call_makes_another() {
    run(async {
        let scope = Scope::new();
        let (address, gauge) = start(&scope, Limits::default()).await;
        let channel = Channel::<Test>::new(address.to_string());
        let other = spawn("call", {
            let channel = channel.clone();
            async move { channel.call(Ask::Never, LONG).await }
        });
        assert_eq!(channel.call(Ask::Double(1), LONG).await, Ok(vec![2]));
        assert_eq!(channel.call(Ask::Never, SHORT).await, Err(RpcError::Timeout));
        assert!(matches!(other.await.unwrap(), Err(RpcError::Closed(_))));
        assert_eq!(channel.call(Ask::Double(2), LONG).await, Ok(vec![4]));
        // The server gives up what nobody waits for.
        while gauge.now.load(Ordering::SeqCst) > 0 {
            timeout(LONG, gauge.ended.notified()).await.unwrap();
        }
    });
}

#[test]
fn a_caller_that_goes_away_still_has_the_connection_watched() {
    run(async {
        let scope = Scope::new();
        let (address, _) = start(&scope, Limits::default()).await;
        let channel = Channel::<Test>::new(address.to_string());
        assert_eq!(channel.call(Ask::Double(1), LONG).await, Ok(vec![2]));
        let given_up = timeout(Duration::from_millis(5), channel.call(Ask::Never, SHORT)).await;
        assert!(given_up.is_err());
        assert!(matches!(channel.call(Ask::Never, LONG).await, Err(RpcError::Closed(_))));
    });
}

#[test]
fn nobody_listening_is_a_connect_error() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = Channel::<Test>::new(address.to_string()).call(Ask::Never, LONG).await.unwrap_err();
        assert!(matches!(error, RpcError::Connect { .. }) && error.retryable() && error.never_sent(), "{error}");
        let error = Channel::<Test>::new("no port").call(Ask::Never, LONG).await.unwrap_err();
        assert!(matches!(error, RpcError::Connect { .. }), "{error}");
    });
}

#[test]
fn another_protocol_is_refused_by_name() {
    run(async {
        let scope = Scope::new();
        let (address, _) = start(&scope, Limits::default()).await;
        let channel = Channel::<MasterProtocol>::new(address.to_string());
        let error =
            channel.call(crate::stack::wire::master::MasterRequest::WhoLeads { seen: None }, LONG).await.unwrap_err();
        // A reset may overtake the server's greeting.
        assert!(matches!(error, RpcError::Protocol(_) | RpcError::Closed(_)), "{error}");
    });
}

#[test]
fn what_does_not_fit_a_frame_fails_alone() {
    run(async {
        let scope = Scope::new();
        let (address, _) = start(&scope, Limits::default()).await;
        let channel = Channel::<Test>::new(address.to_string());
        assert_eq!(channel.call(Ask::Bytes(FRAME_MAX), LONG).await, Err(RpcError::TooLarge));
        assert_eq!(channel.call(Ask::Carry(vec![0; FRAME_MAX]), LONG).await, Err(RpcError::TooLarge));
        assert_eq!(channel.call(Ask::Bytes(FRAME_MAX / 2), LONG).await.map(|v| v.len()), Ok(FRAME_MAX / 2));
        assert_eq!(channel.call(Ask::Carry(vec![0; FRAME_MAX / 2]), LONG).await, Ok(vec![FRAME_MAX as u64 / 2]));
    });
}

#[test]
fn a_connection_answers_only_so_many_at_once() {
    run(async {
        let scope = Scope::new();
        let (address, gauge) = start(&scope, Limits { concurrent: 3, ..Limits::default() }).await;
        let channel = Channel::<Test>::new(address.to_string());
        let calls: Vec<_> = (0..40)
            .map(|n| {
                let channel = channel.clone();
                spawn("call", async move { channel.call(Ask::Slow(n), LONG).await })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(vec![n as u64 + 1]));
        }
        assert_eq!(gauge.most.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn a_silent_connection_is_closed_and_made_again() {
    run(async {
        let scope = Scope::new();
        let (address, _) = start(&scope, Limits { idle: SHORT, ..Limits::default() }).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut greeting = Vec::new();
        let read = timeout(LONG, silent.read_to_end(&mut greeting)).await.unwrap();
        assert!(read.is_ok() || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
        let channel = Channel::<Test>::new(address.to_string());
        for n in 0..3 {
            assert_eq!(channel.call(Ask::Double(n), LONG).await, Ok(vec![2 * n]));
            sleep(3 * SHORT).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever arrives, the server closes that connection and goes on serving others.
    #[test]
    fn garbage_ends_its_connection_only(garbage in vec(any::<u8>(), 1..200), greeted in any::<bool>()) {
        run(async {
            let scope = Scope::new();
            let (address, _) = start(&scope, Limits::default()).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut sent = bytes::BytesMut::new();
            if greeted {
                super::frame::append_greeting::<Test>(&mut sent);
            }
            sent.extend_from_slice(&garbage);
            let _ = stream.write_all(&sent).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let ended = timeout(LONG, stream.read_to_end(&mut answer)).await;
            prop_assert!(ended.is_ok(), "the server kept the connection");
            let channel = Channel::<Test>::new(address.to_string());
            prop_assert_eq!(channel.call(Ask::Double(4), LONG).await, Ok(vec![8]));
            Ok(())
        })?;
    }
}
