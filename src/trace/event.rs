//! One thing that happened, where and when.

use std::fmt;

use super::hash::Rolling;
use crate::base::{HostId, ProcessId, SimTime, TaskId};

/// An entry of the trace. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// World time.
    pub at: SimTime,
    /// Where; none for the world itself.
    pub host: Option<HostId>,
    /// What.
    pub kind: Kind,
}

/// What can happen. Texts never hold secrets: what enters here may end up in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A task was spawned.
    Spawn(TaskId, &'static str),
    /// A task was polled.
    Poll(TaskId),
    /// A task ended: by itself, aborted, or with its process.
    End(TaskId),
    /// A process began.
    Boot(ProcessId, String),
    /// A process ended, and how.
    Exit(ProcessId, &'static str),
    /// Something moved on the network.
    Net {
        /// Such as `syn`, `segment`, `rst`, `lost`.
        what: &'static str,
        /// The other end.
        peer: HostId,
        /// Connection number.
        conn: u64,
        /// Payload bytes.
        bytes: u32,
        /// Of the payload.
        digest: u64,
    },
    /// A disk did something.
    Disk {
        /// Such as `write`, `sync`, `rename`.
        what: &'static str,
        /// Inode number.
        file: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A line of a program's own log.
    Log {
        /// `ERROR` to `TRACE`.
        level: &'static str,
        /// Module that logs.
        target: String,
        /// The line.
        message: String,
    },
    /// The harness acted: a phase, a step, a fault, an operation of a client, an observation.
    Harness {
        /// Such as `phase`, `fault`, `op`.
        what: &'static str,
        /// Details.
        text: String,
    },
}

impl Event {
    /// Adds all of the event to a hash.
    #[inline]
    pub fn feed(&self, r: &mut Rolling) {
        r.word(self.at.0);
        let host = self.host.map_or(u64::MAX >> 8, |h| u64::from(h.0));
        let mut head = |kind: u64, word: u64| {
            r.word(kind << 56 ^ host);
            r.word(word);
        };
        match &self.kind {
            Kind::Poll(task) => head(1, task.0),
            Kind::Spawn(task, name) => {
                head(2, task.0);
                r.bytes(name.as_bytes());
            }
            Kind::End(task) => head(3, task.0),
            Kind::Boot(process, name) => {
                head(4, u64::from(process.0));
                r.bytes(name.as_bytes());
            }
            Kind::Exit(process, how) => {
                head(5, u64::from(process.0));
                r.bytes(how.as_bytes());
            }
            Kind::Net { what, peer, conn, bytes, digest } => {
                head(6, u64::from(peer.0) << 32 ^ u64::from(*bytes));
                r.word(*conn ^ digest);
                r.bytes(what.as_bytes());
            }
            Kind::Disk { what, file, bytes } => {
                head(7, *file);
                r.word(*bytes);
                r.bytes(what.as_bytes());
            }
            Kind::Log { level, target, message } => {
                head(8, level.len() as u64);
                r.bytes(target.as_bytes());
                r.bytes(message.as_bytes());
            }
            Kind::Harness { what, text } => {
                head(9, what.len() as u64);
                r.bytes(what.as_bytes());
                r.bytes(text.as_bytes());
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.at)?;
        match self.host {
            Some(host) => write!(f, "{host} ")?,
            None => f.write_str("- ")?,
        }
        match &self.kind {
            Kind::Spawn(task, name) => write!(f, "spawn {task} {name}"),
            Kind::Poll(task) => write!(f, "poll {task}"),
            Kind::End(task) => write!(f, "end {task}"),
            Kind::Boot(process, name) => write!(f, "boot {process} {name}"),
            Kind::Exit(process, how) => write!(f, "exit {process} {how}"),
            Kind::Net { what, peer, conn, bytes, digest } => {
                write!(f, "net {what} {peer} c{conn} {bytes}B {digest:016x}")
            }
            Kind::Disk { what, file, bytes } => write!(f, "disk {what} f{file} {bytes}B"),
            Kind::Log { level, target, message } => write!(f, "log {level} {target}: {}", OneLine(message)),
            Kind::Harness { what, text } => write!(f, "{what} {}", OneLine(text)),
        }
    }
}

/// A text with its line breaks shown, so that one event stays one line.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(i) = rest.find(['\n', '\r']) {
            write!(f, "{}{}", &rest[..i], if rest.as_bytes()[i] == b'\n' { "\\n" } else { "\\r" })?;
            rest = &rest[i + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let kind = Kind::Log { level: "INFO", target: "raft".into(), message: "a\nb\rc".into() };
        let event = Event { at: SimTime(1_500_000_000), host: Some(HostId(2)), kind };
        assert_eq!(event.to_string(), "1.500000000 h2 log INFO raft: a\\nb\\rc");
    }

    #[test]
    fn each_part_of_an_event_moves_the_hash() {
        let digest = |at, host, kind| {
            let mut r = Rolling::default();
            Event { at: SimTime(at), host, kind }.feed(&mut r);
            r.digest()
        };
        let net = |what, bytes| Kind::Net { what, peer: HostId(1), conn: 1, bytes, digest: 5 };
        let all = [
            digest(1, None, Kind::Poll(TaskId(1))),
            digest(2, None, Kind::Poll(TaskId(1))),
            digest(1, Some(HostId(0)), Kind::Poll(TaskId(1))),
            digest(1, None, Kind::Poll(TaskId(2))),
            digest(1, None, Kind::End(TaskId(1))),
            digest(1, None, net("syn", 0)),
            digest(1, None, net("rst", 0)),
            digest(1, None, net("syn", 1)),
        ];
        for (i, x) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|y| x != y), "{i}");
        }
    }
}
