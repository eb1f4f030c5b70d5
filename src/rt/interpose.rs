//! A safety net under the seam: `getrandom`, `clock_gettime` and `getenv` of the C library, answered by the world inside a
//! run.
//!
//! A library that asks the operating system for entropy or time behind our back gets the seed's stream or the host's
//! simulated clock, and the escape is counted, so that an outcome shows it. Our own code never relies on it. A library that
//! asks for the time zone, as those do that print clock times into the log, gets UTC. Outside of a run, and on other
//! threads, all go to the system. The symbols take effect in the binary that links this crate.
//! Differs: `CLOCK_PROCESS_CPUTIME_ID` and the like always go to the kernel: nothing in a run should see them at all.
#![expect(unsafe_code, reason = "symbols of the C library can only be replaced in unsafe code")]

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::alloc;
use super::backend::{simulated, with_engine};
use crate::base::{Seed, Stream};

thread_local! {
    static ENTROPY: RefCell<Option<Stream>> = const { RefCell::new(None) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    static CLOCK: Cell<u64> = const { Cell::new(0) };
    static UNREAD: Cell<bool> = const { Cell::new(false) };
}

/// Starts the stream from which `getrandom` answers on this thread, and counts from zero.
pub fn begin(seed: Seed) {
    alloc::keep_freed();
    ENTROPY.with(|e| *e.borrow_mut() = Some(seed.stream("getrandom", 0)));
    RANDOM.set(0);
    CLOCK.set(0);
}

/// Back to the kernel. Gives the calls answered since [`begin`]: of `getrandom`, of `clock_gettime`.
pub fn end() -> (u64, u64) {
    ENTROPY.with(|e| *e.borrow_mut() = None);
    (RANDOM.get(), CLOCK.get())
}

/// Runs `future` without counting its calls of `clock_gettime`: for a library that asks although nobody reads the answer,
/// and that cannot be told to stop. The answer is the world's all the same.
pub fn clock_unread<F: Future>(future: F) -> ClockUnread<F> {
    ClockUnread { future }
}

pin_project! {
    /// See [`clock_unread`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct ClockUnread<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for ClockUnread<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = UNREAD.replace(true);
        let polled = self.project().future.poll(cx);
        UNREAD.set(before);
        polled
    }
}

/// Fills `buf` from the run's stream; false if this thread runs no task. The harness between two steps of the world may
/// have the kernel's entropy, so that watching a run draws nothing from it.
fn fill(buf: &mut [u8]) -> bool {
    if with_engine(|e| e.host()).flatten().is_none() {
        return false;
    }
    let filled = ENTROPY.try_with(|entropy| {
        let mut entropy = entropy.try_borrow_mut().ok()?;
        entropy.as_mut().map(|stream| stream.fill(buf))
    });
    matches!(filled, Ok(Some(())))
}

/// Replaces getrandom(2)'s wrapper.
///
/// # Safety
/// As the C library's: `buf` points to `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buf: *mut libc::c_void, len: usize, flags: libc::c_uint) -> isize {
    if !buf.is_null() {
        // SAFETY: the caller gives `len` writable bytes at `buf`.
        let bytes = unsafe {
            std::ptr::write_bytes(buf.cast::<u8>(), 0, len);
            std::slice::from_raw_parts_mut(buf.cast::<u8>(), len)
        };
        if !alloc::works() && fill(bytes) {
            let _ = RANDOM.try_with(|count| count.set(count.get() + 1));
            return len as isize;
        }
    }
    // SAFETY: the arguments are the caller's, unchanged.
    unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) as isize }
}

/// Replaces clock_gettime(2)'s wrapper.
///
/// # Safety
/// As the C library's: `out` points to a writable `timespec`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> libc::c_int {
    let wall = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    let monotonic = matches!(
        clock,
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_BOOTTIME
    );
    if !out.is_null() && (wall || monotonic) && !alloc::works() && simulated() {
        // The harness between two steps of the world is not in the run: it may look at a real clock.
        let now = with_engine(|e| e.host().map(|_| if wall { e.wall() } else { e.now().elapsed() }));
        if let Some(now) = now.flatten() {
            let counts = !UNREAD.try_with(Cell::get).unwrap_or_default();
            let _ = CLOCK.try_with(|count| count.set(count.get() + u64::from(counts)));
            let time = libc::timespec { tv_sec: now.as_secs() as libc::time_t, tv_nsec: i64::from(now.subsec_nanos()) };
            // SAFETY: the caller gives a writable timespec at `out`.
            unsafe { out.write(time) };
            return 0;
        }
    }
    // SAFETY: the arguments are the caller's, unchanged.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as libc::c_int }
}

/// POSIX: a time zone of no name is UTC.
const UTC: &CStr = c"";

/// Replaces getenv(3): inside a run `TZ` is UTC; all else is as outside.
///
/// # Safety
/// As the C library's: `name` is a string, and nothing changes the environment meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getenv(name: *const libc::c_char) -> *mut libc::c_char {
    if name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller gives a string that ends with NUL.
    let name = unsafe { CStr::from_ptr(name) };
    if name == c"TZ" && with_engine(|e| e.host()).flatten().is_some() {
        return UTC.as_ptr().cast_mut();
    }
    // SAFETY: `environ` is null or a list of strings that ends with a null, and the caller keeps it from changing.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let variable = CStr::from_ptr(*at).to_bytes();
            if variable.strip_prefix(name.to_bytes()).is_some_and(|rest| rest.starts_with(b"=")) {
                return (*at).add(name.count_bytes() + 1).cast_mut();
            }
            at = at.add(1);
        }
    }
    std::ptr::null_mut()
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}
