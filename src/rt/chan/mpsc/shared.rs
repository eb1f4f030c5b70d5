//! What the two sides of a channel share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::{TryRecvError, TrySendError};
use crate::base::lock;

/// A queue, and who waits for it. Nobody is woken, and neither message nor waker dropped, under the lock.
pub(super) struct Shared<T> {
    /// Whether the receiver's waker is in the state: nothing came since it looked. Changed under the lock. Whoever reads it
    /// without is at worst told of a wake that is already on its way.
    waits: AtomicBool,
    state: Mutex<State<T>>,
}

/// Which waker a receiver left here last.
pub(super) type Left = (usize, usize);

struct State<T> {
    messages: VecDeque<T>,
    /// Free places that belong to nobody. A place that becomes free goes to the sender that has waited longest.
    room: usize,
    /// The receiver refuses more, or is gone.
    closed: bool,
    senders: usize,
    receiver: Option<Waker>,
    /// Senders that wait for a place, in order of asking. One that is no longer here was given one.
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
}

impl<T> State<T> {
    /// A place has become free; who is to be woken for it.
    fn free(&mut self) -> Option<Waker> {
        match self.waiting.pop_front() {
            Some((_, waker)) => Some(waker),
            None => {
                self.room += 1;
                None
            }
        }
    }

    /// No message is here, and none can come.
    fn is_over(&self) -> bool {
        self.senders == 0 || self.closed
    }
}

impl<T> Shared<T> {
    pub(super) fn new(room: usize) -> Self {
        let state = State {
            messages: VecDeque::new(),
            room,
            closed: false,
            senders: 1,
            receiver: None,
            waiting: VecDeque::new(),
            next: 0,
        };
        Self { waits: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Who is to be woken when there is something to receive.
    fn rouse(&self, state: &mut State<T>) -> Option<Waker> {
        self.waits.store(false, Release);
        state.receiver.take()
    }

    fn put(&self, mut state: MutexGuard<'_, State<T>>, message: T) {
        state.messages.push_back(message);
        wake(self.rouse(&mut state), state);
    }

    pub(super) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(TrySendError::Closed(message));
        }
        if state.room == 0 {
            return Err(TrySendError::Full(message));
        }
        state.room -= 1;
        self.put(state, message);
        Ok(())
    }

    /// Sends into a place that is free or was given to `ticket`, or waits for one.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<u64>,
        message: &mut Option<T>,
    ) -> Poll<Result<(), T>> {
        let mut state = lock(&self.state);
        let ready = match *ticket {
            _ if state.closed => false,
            None if state.room > 0 => {
                state.room -= 1;
                true
            }
            None => {
                let id = state.next;
                state.next += 1;
                state.waiting.push_back((id, cx.waker().clone()));
                *ticket = Some(id);
                return Poll::Pending;
            }
            Some(id) => {
                if let Some((_, waker)) = state.waiting.iter_mut().find(|(waiting, _)| *waiting == id) {
                    let old = std::mem::replace(waker, cx.waker().clone());
                    drop((state, old));
                    return Poll::Pending;
                }
                true
            }
        };
        *ticket = None;
        match message.take() {
            Some(message) if ready => self.put(state, message),
            Some(message) => return Poll::Ready(Err(message)),
            None => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Whoever holds `ticket` waits no more, and gives back the place if there is one.
    pub(super) fn forget(&self, ticket: u64) {
        let mut state = lock(&self.state);
        match state.waiting.iter().position(|(id, _)| *id == ticket) {
            Some(at) => {
                let gone = state.waiting.remove(at);
                drop((state, gone));
            }
            None if state.closed => {}
            None => wake(state.free(), state),
        }
    }

    /// `left` is the receiver's own.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>, left: &mut Left) -> Poll<Option<T>> {
        let waker = (cx.waker().data().addr(), std::ptr::from_ref(cx.waker().vtable()).addr());
        if *left == waker && self.waits.load(Acquire) {
            return Poll::Pending;
        }
        let mut state = lock(&self.state);
        if let Some(message) = state.messages.pop_front() {
            wake(state.free(), state);
            return Poll::Ready(Some(message));
        }
        if state.is_over() {
            return Poll::Ready(None);
        }
        let known = state.receiver.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        let old = if known { None } else { state.receiver.replace(cx.waker().clone()) };
        *left = waker;
        self.waits.store(true, Release);
        drop((state, old));
        Poll::Pending
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.state);
        match state.messages.pop_front() {
            Some(message) => {
                wake(state.free(), state);
                Ok(message)
            }
            None if state.is_over() => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Takes no more messages.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.waits.store(false, Release);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The receiver is gone, and what it had not received.
    pub(super) fn abandon(&self) {
        self.close();
        let messages = std::mem::take(&mut lock(&self.state).messages);
        drop(messages);
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(super) fn add_sender(&self) {
        lock(&self.state).senders += 1;
    }

    /// A sender more, unless the last one is gone.
    pub(super) fn revive_sender(&self) -> bool {
        let mut state = lock(&self.state);
        let alive = state.senders > 0;
        state.senders += usize::from(alive);
        alive
    }

    pub(super) fn drop_sender(&self) {
        let mut state = lock(&self.state);
        state.senders -= 1;
        if state.senders == 0 {
            wake(self.rouse(&mut state), state);
        }
    }
}

/// Wakes after the lock is gone.
fn wake<G>(waker: Option<Waker>, guard: G) {
    drop(guard);
    if let Some(waker) = waker {
        waker.wake();
    }
}
