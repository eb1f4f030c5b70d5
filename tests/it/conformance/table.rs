//! The table: every row with what is expected of it, and every engine that does otherwise, with the reason.
//!
//! The README keeps what [`text`] makes of it. A disagreement is as binding as an expectation: an engine that begins to
//! do a row right fails its test until the line here, and with it the README's, is gone.

use std::fmt::Write;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use stormglass::world::engine::EngineKind;

use super::Told;
use super::processes::*;
use super::rows::*;
use super::stage::{HANGS, Stage};

pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where the expectation of a row can be seen.
pub enum Shown {
    /// By the kernel, over loopback.
    ByKernel,
    /// The kernel cannot show it here; the text that tells.
    In(&'static str),
}

/// An engine that tells something else.
pub struct Differs {
    pub engine: EngineKind,
    pub told: &'static [&'static str],
    /// Why, in a line.
    pub why: &'static str,
}

pub struct Row {
    pub name: &'static str,
    pub shown: Shown,
    pub near: fn(Stage) -> Boxed<io::Result<Told>>,
    pub far: fn(SocketAddr) -> Boxed<io::Result<()>>,
    pub expected: &'static [&'static str],
    pub differs: &'static [Differs],
}

impl Row {
    /// What an engine is to tell.
    pub fn of(&self, engine: EngineKind) -> &'static [&'static str] {
        self.difference(engine).map_or(self.expected, |differs| differs.told)
    }

    fn difference(&self, engine: EngineKind) -> Option<&'static Differs> {
        self.differs.iter().find(|differs| differs.engine == engine)
    }

    fn words(&self) -> String {
        self.name.replace('_', " ")
    }
}

/// `near`, `far`, where it is shown, what `near` tells; then who tells something else, what, and why.
macro_rules! row {
    ($near:ident, $far:ident, $shown:expr, [$($expected:expr),+] $(, $engine:ident: [$($told:expr),+] $why:literal)*) => {
        Row {
            name: stringify!($near),
            shown: $shown,
            near: |stage| Box::pin($near(stage)),
            far: |addr| Box::pin($far(addr)),
            expected: &[$($expected),+],
            differs: &[$(Differs { engine: EngineKind::$engine, told: &[$($told),+], why: $why }),*],
        }
    };
}

const SYN_RETRIES: Shown = Shown::In("tcp(7), tcp_syn_retries: 6 tries, approximately 127 s");
const RETRIES2: Shown = Shown::In("Linux ip-sysctl, tcp_retries2: 15, a timeout of 924.6 s; RFC 1122 4.2.3.5");
const HALF_OPEN: Shown = Shown::In("RFC 9293 3.5.1: half-open connections");
const RETRANSMISSION: Shown = Shown::In("RFC 6298: retransmission after a timeout");
use Shown::ByKernel;

pub const TABLE: &[Row] = &[
    row!(connect_refused, nobody, ByKernel, ["ConnectionRefused"]),
    row!(address_in_use, nobody, ByKernel, ["AddrInUse", "free again"]),
    row!(address_not_available, nobody, ByKernel, ["AddrNotAvailable"]),
    row!(
        connect_black_holed,
        nobody,
        SYN_RETRIES,
        ["TimedOut after 127 s"],
        Turmoil: ["ConnectionRefused after 0 s"] "what a cut eats is dropped, and who waited for it is told"
    ),
    row!(
        connect_to_powered_off,
        nobody,
        SYN_RETRIES,
        ["TimedOut after 127 s"],
        Turmoil: [HANGS] "no connect ever gives up"
    ),
    row!(half_close, counts_then_answers, ByKernel, ["write: BrokenPipe", "6 bytes", "end"]),
    row!(read_after_fin, ends_then_listens, ByKernel, ["abc", "end", "end", "write: 2", "heard ok"]),
    row!(write_after_close, leaves_at_once, ByKernel, ["end", "write: 1", "write: BrokenPipe", "end"]),
    row!(
        read_after_rst,
        leaves_with_unread,
        ByKernel,
        ["bye", "ConnectionReset", "end", "write: BrokenPipe", "peer: NotConnected", "shutdown: ok"],
        Turmoil: ["bye", "ConnectionReset", "ConnectionReset", "write: BrokenPipe", "peer: known", "shutdown: Broken pipe"]
            "a reset is told to every read, and shuts nothing down",
        Madsim: ["bye", "ConnectionReset", "end", "write: BrokenPipe", "peer: known", "shutdown: ok"]
            "the engine remembers whose the connection was"
    ),
    row!(
        write_after_rst,
        leaves_with_unread,
        ByKernel,
        ["write: ConnectionReset", "write: BrokenPipe", "bye", "end"],
        Turmoil: ["write: BrokenPipe", "write: BrokenPipe", "bye", "ConnectionReset"]
            "a reset is told to reads only",
        Madsim: ["write: BrokenPipe", "write: BrokenPipe", "bye", "ConnectionReset"]
            "a reset is a message: read after what came before it, and no write looks for it"
    ),
    row!(
        listener_closed_before_accept,
        nobody,
        ByKernel,
        ["ConnectionReset", "ConnectionRefused"],
        Turmoil: [HANGS] "no connection stands before it is accepted, so this one never does"
    ),
    row!(peer_killed, stands_still, ByKernel, ["end", "write: BrokenPipe"]),
    row!(peer_killed_with_unread, stands_still, ByKernel, ["ConnectionReset", "write: BrokenPipe"]),
    row!(
        slow_reader,
        reads_when_told,
        ByKernel,
        ["waits", "goes on", "all arrived"],
        Turmoil: ["takes 32 MiB", "goes on", "all arrived"] "what is under way is counted in writes, not in bytes"
    ),
    row!(
        peer_powered_off,
        stands_still,
        RETRIES2,
        ["write: 4", "TimedOut after 15 min", "end", "write: BrokenPipe"],
        Turmoil: [HANGS] "nothing is sent again, so nothing gives up",
        Madsim: [HANGS] "what is sent into the dark is sent again for ever"
    ),
    row!(peer_powered_off_unasked, stands_still, HALF_OPEN, ["20 min of silence"]),
    row!(peer_rebooted, stands_still, HALF_OPEN, ["write: 4", "ConnectionReset"]),
    row!(short_partition, echoes, RETRANSMISSION, ["ping"], Turmoil: [HANGS] "what a cut eats is never sent again"),
    row!(
        long_partition,
        echoes,
        RETRIES2,
        ["write: 4", "TimedOut after 15 min"],
        Turmoil: [HANGS] "nothing is sent again, so nothing gives up",
        Madsim: [HANGS] "a message is tried again every 10 s for as long as the cut lasts"
    ),
    row!(
        peer_frozen,
        echoes_beside_a_listener,
        ByKernel,
        ["write: 4", "silence", "connected", "ping"],
        Turmoil: ["write: 4", "silence", "no answer to connect", "ping"]
            "no connection stands before it is accepted, and who is frozen accepts none"
    ),
    row!(peer_terminated, ends_when_asked, ByKernel, ["ready", "asked", "end"]),
    row!(peer_returns, returns_beside_a_task, ByKernel, ["bye", "end", "end"]),
    row!(killed_without_a_word, would_say_good_bye, ByKernel, ["end"]),
    row!(port_of_the_killed, listens_where_told, ByKernel, ["end", "ConnectionRefused", "bound again", "connected"]),
];

/// The table as the README has it, with a line for each disagreement and for what the kernel cannot show.
pub fn text() -> String {
    let mut out = format!("{:<31} {:<7}", "BEHAVIOUR", "kernel");
    EngineKind::ALL.into_iter().for_each(|kind| _ = write!(out, " {:<8}", kind.name()));
    let mut lines = vec![out.trim_end().to_owned()];
    for row in TABLE {
        let kernel = if matches!(row.shown, ByKernel) { "seen" } else { "text" };
        let mut line = format!("{:<31} {kernel:<7}", row.words());
        for kind in EngineKind::ALL {
            let _ = write!(line, " {:<8}", if row.difference(kind).is_some() { "differs" } else { "same" });
        }
        lines.push(line.trim_end().to_owned());
    }
    for kind in EngineKind::ALL {
        let of_kind: Vec<String> = TABLE.iter().filter_map(|row| difference(row, kind)).collect();
        if !of_kind.is_empty() {
            lines.extend([String::new(), kind.to_string()]);
            lines.extend(of_kind);
        }
    }
    lines.extend([String::new(), "what the kernel cannot show here".to_owned()]);
    lines.extend(TABLE.iter().filter_map(source));
    lines.join("\n") + "\n"
}

fn difference(row: &Row, kind: EngineKind) -> Option<String> {
    let Differs { told, why, .. } = row.difference(kind)?;
    let told = if *told == [HANGS] { HANGS.to_owned() } else { told.join(", ") };
    Some(format!("  {}: {told}; {why}", row.words()))
}

fn source(row: &Row) -> Option<String> {
    match row.shown {
        Shown::In(source) => Some(format!("  {}: {}; {source}", row.words(), row.expected.join(", "))),
        ByKernel => None,
    }
}
