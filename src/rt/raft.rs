//! openraft's `AsyncRuntime`, once, on the seam: the same Raft runs in a world and on tokio.
//!
//! The trait has no `self`, hence the ambient backend. It draws chance from the stream `raft` of the calling process, so
//! elections depend on the seed alone. `spawn_blocking` runs in place: a world has no threads.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::pin;
use std::task::Poll;

use openraft::async_runtime::{self as api, AsyncRuntime, OneshotSender, Select4};

use super::chan::mpsc::TrySendError;
use super::chan::{self, mpsc, oneshot, watch};
use super::time::{self, Duration};
use super::{chance, task};
use crate::base::Stream;

/// The seam as openraft sees it. An instance is made by openraft's own tests only; it owns a tokio runtime.
#[derive(Debug)]
pub struct Seam(tokio::runtime::Runtime);

/// [`time::Instant`] with openraft's trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(time::Instant);

/// Random bits from the process's stream `raft`.
#[derive(Debug)]
pub struct Chance(Stream);

impl rand::TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.bits())
    }

    fn try_fill_bytes(&mut self, buf: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(buf);
        Ok(())
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0 + d)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        self.0 += d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(self.0 - d)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, d: Duration) {
        self.0 -= d;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}

impl api::Instant for Instant {
    fn now() -> Self {
        Self(time::Instant::now())
    }
}

impl AsyncRuntime for Seam {
    type JoinError = task::JoinError;
    type JoinHandle<T: openraft::OptionalSend + 'static> = task::JoinHandle<T>;
    type Sleep = time::Sleep;
    type Instant = Instant;
    type TimeoutError = time::Elapsed;
    type Timeout<R, T: Future<Output = R> + openraft::OptionalSend> = time::Timeout<T>;
    type ThreadLocalRng = Chance;
    type Mpsc = Mpsc;
    type Watch = Watch;
    type Oneshot = Oneshot;
    type Mutex<T: openraft::OptionalSend + 'static> = chan::Mutex<T>;

    fn spawn<T>(future: T) -> task::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        task::spawn("raft", future)
    }

    fn sleep(duration: Duration) -> time::Sleep {
        time::sleep(duration)
    }

    fn sleep_until(deadline: Instant) -> time::Sleep {
        time::sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> time::Timeout<F> {
        time::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: Instant, future: F) -> time::Timeout<F> {
        time::timeout_at(deadline.0, future)
    }

    fn is_panic(error: &task::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Chance {
        Chance(chance::stream("raft"))
    }

    fn new(threads: usize) -> Self {
        match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
            Ok(runtime) => Self(runtime),
            Err(error) => unreachable!("openraft's tests alone make runtimes: {error}"),
        }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// openraft's own makes it of three `select2`, in the same order; its core passes here each time it waits.
    async fn select4<A, B, C, D>(a: A, b: B, c: C, d: D) -> Select4<A::Output, B::Output, C::Output, D::Output>
    where
        A: Future + Send,
        B: Future + Send,
        C: Future + Send,
        D: Future + Send,
    {
        let (mut a, mut b, mut c, mut d) = (pin!(a), pin!(b), pin!(c), pin!(d));
        poll_fn(move |cx| {
            if let Poll::Ready(value) = a.as_mut().poll(cx) {
                return Poll::Ready(Select4::First(value));
            }
            if let Poll::Ready(value) = b.as_mut().poll(cx) {
                return Poll::Ready(Select4::Second(value));
            }
            if let Poll::Ready(value) = c.as_mut().poll(cx) {
                return Poll::Ready(Select4::Third(value));
            }
            d.as_mut().poll(cx).map(Select4::Fourth)
        })
        .await
    }

    async fn spawn_blocking<F, T>(f: F) -> io::Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(f())
    }
}

/// [`chan::mpsc`].
#[derive(Debug)]
pub struct Mpsc;

/// A bounded sender.
#[derive(Debug)]
pub struct MpscSender<T>(mpsc::Sender<T>);

/// A sender that does not keep its channel open.
#[derive(Debug)]
pub struct MpscWeakSender<T>(mpsc::WeakSender<T>);

impl<T> Clone for MpscSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for MpscWeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl api::Mpsc for Mpsc {
    type Sender<T: openraft::OptionalSend> = MpscSender<T>;
    type Receiver<T: openraft::OptionalSend> = mpsc::Receiver<T>;
    type WeakSender<T: openraft::OptionalSend> = MpscWeakSender<T>;

    fn channel<T: Send>(buffer: usize) -> (MpscSender<T>, mpsc::Receiver<T>) {
        let (tx, rx) = mpsc::channel(buffer);
        (MpscSender(tx), rx)
    }
}

impl<T: Send> api::MpscSender<Mpsc, T> for MpscSender<T> {
    async fn send(&self, message: T) -> Result<(), api::SendError<T>> {
        // There is room, mostly. Nobody is overtaken: what becomes free belongs to those who wait for it.
        match self.0.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message)) => self.0.send(message).await.map_err(|error| api::SendError(error.0)),
            Err(TrySendError::Closed(message)) => Err(api::SendError(message)),
        }
    }

    fn downgrade(&self) -> MpscWeakSender<T> {
        MpscWeakSender(self.0.downgrade())
    }
}

impl<T: Send> api::MpscReceiver<T> for mpsc::Receiver<T> {
    fn recv(&mut self) -> impl Future<Output = Option<T>> + Send {
        mpsc::Receiver::recv(self)
    }

    fn try_recv(&mut self) -> Result<T, api::TryRecvError> {
        mpsc::Receiver::try_recv(self).map_err(|error| match error {
            mpsc::TryRecvError::Empty => api::TryRecvError::Empty,
            mpsc::TryRecvError::Disconnected => api::TryRecvError::Disconnected,
        })
    }
}

impl<T: Send> api::MpscWeakSender<Mpsc, T> for MpscWeakSender<T> {
    fn upgrade(&self) -> Option<MpscSender<T>> {
        self.0.upgrade().map(MpscSender)
    }
}

/// [`chan::oneshot`].
#[derive(Debug)]
pub struct Oneshot;

/// Sends once.
#[derive(Debug)]
pub struct OnceSender<T>(oneshot::Sender<T>);

impl api::Oneshot for Oneshot {
    type Sender<T: openraft::OptionalSend> = OnceSender<T>;
    type Receiver<T: openraft::OptionalSend> = oneshot::Receiver<T>;
    type ReceiverError = oneshot::RecvError;

    fn channel<T: Send>() -> (OnceSender<T>, oneshot::Receiver<T>) {
        let (tx, rx) = oneshot::channel();
        (OnceSender(tx), rx)
    }
}

impl<T: Send> OneshotSender<T> for OnceSender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

/// [`chan::watch`].
#[derive(Debug)]
pub struct Watch;

impl api::Watch for Watch {
    type Sender<T: Send + Sync> = watch::Sender<T>;
    type Receiver<T: Send + Sync> = watch::Receiver<T>;
    type Ref<'a, T: Send + 'a> = watch::Ref<'a, T>;

    fn channel<T: Send + Sync>(value: T) -> (watch::Sender<T>, watch::Receiver<T>) {
        watch::channel(value)
    }
}

impl<T: Send + Sync> api::WatchSender<Watch, T> for watch::Sender<T> {
    fn send(&self, value: T) -> Result<(), api::watch::SendError<T>> {
        watch::Sender::send(self, value).map_err(|error| api::watch::SendError(error.0))
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        watch::Sender::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> watch::Receiver<T> {
        watch::Sender::subscribe(self)
    }
}

impl<T: Send + Sync> api::WatchReceiver<Watch, T> for watch::Receiver<T> {
    async fn changed(&mut self) -> Result<(), api::RecvError> {
        watch::Receiver::changed(self).await.map_err(|_| api::RecvError(()))
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        watch::Receiver::borrow_and_update(self)
    }
}

impl<T: Send + 'static> api::mutex::Mutex<T> for chan::Mutex<T> {
    type Guard<'a> = chan::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        chan::Mutex::new(value)
    }

    async fn lock(&self) -> chan::MutexGuard<'_, T> {
        chan::Mutex::lock(self).await
    }
}

#[cfg(test)]
mod tests {
    use openraft::testing::runtime::Suite;

    use super::*;

    /// openraft's own conformance suite, on the live side.
    #[test]
    fn the_seam_passes_openrafts_suite() {
        Suite::<Seam>::test_all();
        assert!(!Seam::is_panic(&task::JoinError::Cancelled));
    }
}
