//! Beside tokio's channel: the same calls in the same order, the same answers and the same wakes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use tokio::sync::mpsc as theirs;

use super as ours;
use super::*;
use crate::rt::chan::on_threads;
use crate::rt::task;

#[derive(Debug, Clone)]
enum Step {
    TrySend,
    /// Begins to send, and looks once.
    Send,
    /// Looks again at the sending that began longest ago, or the one after it.
    Look(usize),
    Abandon(usize),
    Recv,
    TryRecv,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::TrySend),
        6 => Just(Step::Send),
        3 => (0..2usize).prop_map(Step::Look),
        2 => (0..2usize).prop_map(Step::Abandon),
        6 => Just(Step::Recv),
        2 => Just(Step::TryRecv),
        1 => Just(Step::Close),
    ]
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<(), u32>>>>;

/// The parts of a channel's interface that both sides have.
trait Side {
    fn try_send(&self, message: u32) -> Result<(), String>;
    fn send(&self, message: u32) -> Pending;
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>>;
    fn try_recv(&mut self) -> Result<u32, TryRecvError>;
    fn close(&mut self);
}

macro_rules! side {
    ($channel:ident) => {
        impl Side for ($channel::Sender<u32>, $channel::Receiver<u32>) {
            fn try_send(&self, message: u32) -> Result<(), String> {
                self.0.try_send(message).map_err(|error| error.to_string())
            }

            fn send(&self, message: u32) -> Pending {
                let sender = self.0.clone();
                Box::pin(async move { sender.send(message).await.map_err(|error| error.0) })
            }

            fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
                self.1.poll_recv(cx)
            }

            fn try_recv(&mut self) -> Result<u32, TryRecvError> {
                self.1.try_recv()
            }

            fn close(&mut self) {
                self.1.close();
            }
        }
    };
}

side!(theirs);
side!(ours);

/// What one side answers and whom it wakes, step by step.
fn played<S: Side>(mut side: S, steps: &[Step]) -> Vec<String> {
    let wakes: Vec<_> = (0..=steps.len()).map(|_| Arc::new(Wakes::default())).collect();
    let wakers: Vec<Waker> = wakes.iter().map(|wakes| wakes.clone().into()).collect();
    let mut sendings: Vec<(usize, Pending)> = Vec::new();
    let (mut told, mut closed) = (Vec::new(), false);
    for (n, step) in steps.iter().enumerate() {
        let look = |sendings: &mut Vec<(usize, Pending)>, at: usize| {
            let (number, sending) = &mut sendings[at];
            let polled = sending.as_mut().poll(&mut Context::from_waker(&wakers[*number]));
            if polled.is_ready() {
                drop(sendings.remove(at));
            }
            format!("{polled:?}")
        };
        let answer = match step {
            Step::TrySend => format!("{:?}", side.try_send(n as u32)),
            Step::Send => {
                sendings.push((n + 1, side.send(n as u32)));
                let last = sendings.len() - 1;
                look(&mut sendings, last)
            }
            Step::Look(at) if *at < sendings.len() => look(&mut sendings, *at),
            Step::Abandon(at) if *at < sendings.len() => {
                drop(sendings.remove(*at));
                String::new()
            }
            Step::Recv => format!("{:?}", side.poll_recv(&mut Context::from_waker(&wakers[0]))),
            Step::TryRecv => format!("{:?}", side.try_recv()),
            Step::Close => {
                closed = true;
                side.close();
                // Tokio's end comes only after those who were given a place have heard of it; ours does not wait for them.
                while !sendings.is_empty() {
                    look(&mut sendings, 0);
                }
                String::new()
            }
            Step::Look(_) | Step::Abandon(_) => String::new(),
        };
        // Who has closed the channel need not be told so, though tokio's receiver is.
        let compared = wakes.iter().skip(usize::from(closed));
        let woken: Vec<_> = compared.map(|wakes| wakes.0.load(Ordering::Relaxed)).collect();
        told.push(format!("{step:?}: {answer} {woken:?}"));
    }
    told
}

proptest! {
    #[test]
    fn behaves_as_tokios(room in 1..4usize, steps in prop::collection::vec(step(), 0..40)) {
        prop_assert_eq!(played(ours::channel(room), &steps), played(theirs::channel(room), &steps));
    }
}

fn woken(shared: &Arc<Wakes>) -> usize {
    shared.0.load(Ordering::Relaxed)
}

#[test]
fn the_end_is_told_when_the_last_sender_goes() {
    let (first, mut received) = ours::channel::<u32>(1);
    let second = first.clone();
    let weak = first.downgrade();
    let wakes = Arc::new(Wakes::default());
    let waker = wakes.clone().into();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(received.poll_recv(&mut cx), Poll::Pending);
    drop(first);
    assert_eq!((woken(&wakes), received.try_recv()), (0, Err(TryRecvError::Empty)));
    drop(weak.upgrade().expect("one sender is left"));
    drop(second);
    assert_eq!((woken(&wakes), received.poll_recv(&mut cx)), (1, Poll::Ready(None)));
    assert_eq!(received.try_recv(), Err(TryRecvError::Disconnected));
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_closed_channel_takes_nothing_more_and_gives_what_it_has() {
    let (sender, mut received) = ours::channel(1);
    let wakes = Arc::new(Wakes::default());
    let waker = wakes.clone().into();
    let mut cx = Context::from_waker(&waker);
    sender.try_send(1).expect("there is room");
    let mut sendings = [2, 3].map(|message| Box::pin(sender.send(message)));
    assert!(sendings.iter_mut().all(|sending| sending.as_mut().poll(&mut cx).is_pending()));
    received.close();
    assert_eq!(woken(&wakes), 2, "both learn of it");
    assert!(sendings.iter_mut().all(|sending| sending.as_mut().poll(&mut cx).map_err(|error| error.0).is_ready()));
    assert_eq!([received.poll_recv(&mut cx), received.poll_recv(&mut cx)], [Poll::Ready(Some(1)), Poll::Ready(None)]);
}

#[test]
fn messages_that_nobody_received_are_dropped_with_the_receiver() {
    let message = Arc::new(());
    let (sender, received) = ours::unbounded_channel();
    sender.send(message.clone()).expect("somebody receives");
    drop(received);
    assert_eq!(Arc::strong_count(&message), 1);
    assert!(sender.is_closed() && sender.send(message).is_err());
}

/// On threads, as live processes run: each sender's messages come in its order, and the end after the last.
#[test]
fn threads_lose_nothing() {
    const EACH: u32 = 5000;
    let (sender, mut received) = ours::channel(2);
    let program = async move {
        for number in 0..4 {
            let sender = sender.clone();
            let _detached = task::spawn("sender", async move {
                for message in 0..EACH {
                    sender.send((number, message)).await.expect("somebody receives");
                }
            });
        }
        drop(sender);
        let mut next = [0; 4];
        while let Some((number, message)) = received.recv().await {
            assert_eq!(message, next[number]);
            next[number] += 1;
        }
        next
    };
    assert_eq!(on_threads(program), [EACH; 4]);
}
