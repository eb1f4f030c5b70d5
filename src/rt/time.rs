//! Time as tokio names it: [`Instant`], [`sleep`], [`timeout`], [`interval`], and the host's wall clock.
//!
//! An `Instant` is the host's own monotonic clock: it never goes back, and in a world it may run fast or slow by the
//! host's drift. The wall clock may jump; nothing here waits on it.
#![expect(clippy::disallowed_methods, reason = "the live side of the seam")]

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
pub use std::time::Duration;
use std::time::SystemTime;

use pin_project_lite::pin_project;

use super::backend::{TimerKey, simulated, with_engine};
use super::wait::note;
use crate::base::SimTime;
use crate::base::time::nanos;

/// A reading of the host's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(SimTime);

/// Where live instants count from.
static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();

impl Instant {
    /// The clock now.
    pub fn now() -> Self {
        with_engine(|e| Self(e.now())).unwrap_or_else(|| {
            let origin = *ORIGIN.get_or_init(tokio::time::Instant::now);
            Self(SimTime::ZERO + origin.elapsed())
        })
    }

    /// Time since this instant; zero if it lies ahead.
    pub fn elapsed(self) -> Duration {
        Self::now().duration_since(self)
    }

    /// Time since `earlier`; zero if that is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        self.0.since(earlier.0)
    }

    fn live(self) -> tokio::time::Instant {
        *ORIGIN.get_or_init(tokio::time::Instant::now) + self.0.elapsed()
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
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self(SimTime(self.0.0.saturating_sub(nanos(d))))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, d: Duration) {
        *self = *self - d;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

/// The host's wall clock: time since the Unix epoch. May jump either way.
pub fn wall() -> Duration {
    with_engine(|e| e.wall())
        .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Waits until a moment of the host's monotonic clock.
#[must_use = "a sleep that is not awaited does nothing"]
pub struct Sleep {
    deadline: Instant,
    kind: SleepKind,
}

enum SleepKind {
    Live(Pin<Box<tokio::time::Sleep>>),
    World(Option<TimerKey>),
}

/// Waits for `d`.
pub fn sleep(d: Duration) -> Sleep {
    match with_engine(|e| e.now()) {
        Some(now) => Sleep { deadline: Instant(now + d), kind: SleepKind::World(None) },
        None => sleep_until(Instant::now() + d),
    }
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    let kind = if simulated() {
        SleepKind::World(None)
    } else {
        SleepKind::Live(Box::pin(tokio::time::sleep_until(deadline.live())))
    };
    Sleep { deadline, kind }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.0;
        let timer = match &mut self.kind {
            SleepKind::Live(sleep) => return sleep.as_mut().poll(cx),
            SleepKind::World(timer) => timer,
        };
        let ready = with_engine(|e| {
            if e.now() >= deadline {
                // Fired: there is nothing left to cancel.
                *timer = None;
                return true;
            }
            let armed = timer.is_some_and(|key| e.timer_rewake(key, cx.waker()));
            if !armed {
                *timer = Some(e.timer_start(deadline, cx.waker()));
            }
            e.waiting_for("time");
            false
        });
        // A world that is gone never wakes anybody.
        if ready == Some(true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let SleepKind::World(Some(key)) = self.kind {
            with_engine(|e| e.timer_cancel(key));
        }
    }
}

/// The time ran out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;

pin_project! {
    /// A future with a deadline.
    #[must_use = "a timeout that is not awaited does nothing"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

/// Gives `future` at most `d`.
pub fn timeout<F: Future>(d: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(d) }
}

/// Gives `future` until `deadline`.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(out) = this.future.poll(cx) {
            return Poll::Ready(Ok(out));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

/// Ticks at a fixed pace; see [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

/// A tick at once, then one each `period`. A late tick delays those after it (tokio's `MissedTickBehavior::Delay`).
/// Differs: tokio takes a tick that is up to 5 ms late for one in time and delays nothing; here every lateness counts.
pub fn interval(period: Duration) -> Interval {
    Interval { next: Instant::now(), period }
}

impl Interval {
    /// Waits for the next tick and tells when it was due.
    pub async fn tick(&mut self) -> Instant {
        let due = self.next;
        sleep_until(due).await;
        self.next = Instant::now().max(due) + self.period;
        due
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Lets every other ready task run once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        note("its turn");
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
