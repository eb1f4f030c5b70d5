//! Sockets of the world behave as sockets of Linux.
//!
//! Each behaviour is written once, over `rt::net`, as two programs: `near` listens and tells what it sees, `far`
//! connects and is what things happen to. Every row runs in the world, for several seeds, and must tell what the table
//! expects. Where real loopback can show the behaviour, the same two programs run as two real processes and must tell
//! the same; where it cannot (no power to cut, no partition), the row names the text that the expectation comes from.
//! Nothing here sleeps for real: waits are on socket events.

mod rows;
mod stage;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use stormglass::base::Seed;

use self::rows::*;
use self::stage::{Stage, in_world, on_kernel, plays_far};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Told = Vec<String>;

/// Where the expectation of a row can be seen.
enum Shown {
    /// By the kernel, over loopback.
    ByKernel,
    /// The kernel cannot show it here; the text that tells.
    In(&'static str),
}

struct Row {
    name: &'static str,
    shown: Shown,
    near: fn(Stage) -> Boxed<io::Result<Told>>,
    far: fn(SocketAddr) -> Boxed<io::Result<()>>,
    expected: &'static [&'static str],
}

/// `near`, `far`, where it is shown, what `near` tells.
macro_rules! row {
    ($near:ident, $far:ident, $shown:expr, $($expected:expr),+) => {
        Row {
            name: stringify!($near),
            shown: $shown,
            near: |stage| Box::pin($near(stage)),
            far: |addr| Box::pin($far(addr)),
            expected: &[$($expected),+],
        }
    };
}

const SYN_RETRIES: Shown = Shown::In("tcp(7), tcp_syn_retries: 6 tries, approximately 127 s");
const RETRIES2: Shown = Shown::In("Linux ip-sysctl, tcp_retries2: 15, a timeout of 924.6 s; RFC 1122 4.2.3.5");
const HALF_OPEN: Shown = Shown::In("RFC 9293 3.5.1: half-open connections");
const RETRANSMISSION: Shown = Shown::In("RFC 6298: retransmission after a timeout");
use Shown::ByKernel;

const TABLE: &[Row] = &[
    row!(connect_refused, nobody, ByKernel, "ConnectionRefused"),
    row!(address_in_use, nobody, ByKernel, "AddrInUse", "free again"),
    row!(address_not_available, nobody, ByKernel, "AddrNotAvailable"),
    row!(connect_black_holed, nobody, SYN_RETRIES, "TimedOut after 127 s"),
    row!(connect_to_powered_off, nobody, SYN_RETRIES, "TimedOut after 127 s"),
    row!(half_close, counts_then_answers, ByKernel, "write: BrokenPipe", "6 bytes", "end"),
    row!(read_after_fin, ends_then_listens, ByKernel, "abc", "end", "end", "write: 2", "heard ok"),
    row!(write_after_close, leaves_at_once, ByKernel, "end", "write: 1", "write: BrokenPipe", "end"),
    row!(
        read_after_rst,
        leaves_with_unread,
        ByKernel,
        "bye",
        "ConnectionReset",
        "end",
        "write: BrokenPipe",
        "peer: NotConnected",
        "shutdown: ok"
    ),
    row!(write_after_rst, leaves_with_unread, ByKernel, "write: ConnectionReset", "write: BrokenPipe", "bye", "end"),
    row!(listener_closed_before_accept, nobody, ByKernel, "ConnectionReset", "ConnectionRefused"),
    row!(peer_killed, stands_still, ByKernel, "end", "write: BrokenPipe"),
    row!(peer_killed_with_unread, stands_still, ByKernel, "ConnectionReset", "write: BrokenPipe"),
    row!(slow_reader, reads_when_told, ByKernel, "waits", "goes on", "all arrived"),
    row!(peer_powered_off, stands_still, RETRIES2, "write: 4", "TimedOut after 15 min", "end", "write: BrokenPipe"),
    row!(peer_powered_off_unasked, stands_still, HALF_OPEN, "an hour of silence"),
    row!(peer_rebooted, stands_still, HALF_OPEN, "write: 4", "ConnectionReset"),
    row!(short_partition, echoes, RETRANSMISSION, "ping"),
    row!(long_partition, echoes, RETRIES2, "write: 4", "TimedOut after 15 min"),
];

#[test]
fn the_world_keeps_the_table() {
    for row in TABLE {
        for seed in 0..5 {
            assert_eq!(in_world(row, Seed(seed)), row.expected, "{} with seed {seed}", row.name);
        }
    }
}

#[test]
fn the_kernel_keeps_the_table() {
    if plays_far() {
        return;
    }
    for row in TABLE.iter().filter(|row| matches!(row.shown, Shown::ByKernel)) {
        assert_eq!(on_kernel(row), row.expected, "{}", row.name);
    }
}

#[test]
fn what_the_kernel_cannot_show_names_its_source() {
    let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len(), "a row's name finds its far side");
    for row in TABLE {
        if let Shown::In(source) = row.shown {
            assert!(source.contains("RFC") || source.contains("tcp"), "{}", row.name);
        }
    }
}
