//! What a link can be asked to be like, and what it tells about its traffic: the same words for every engine.
//!
//! What an engine cannot do of it is told by its capabilities; nothing here draws or decides.

use std::time::Duration;

use super::latency::Latency;

/// `num` of `den`; `den` 0 is never.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// How many times it happens.
    pub num: u32,
    /// Out of how many.
    pub den: u32,
}

/// Loss in bursts (Gilbert's two-state model): while in the bad state every segment is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// Chance of a segment to begin a burst.
    pub enter: Ratio,
    /// Chance of a segment in a burst to be the last one lost.
    pub exit: Ratio,
}

/// What a link is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRule {
    /// One way.
    pub latency: Latency,
    /// Bytes per second; segments queue for it. `None`: not modelled.
    pub bandwidth: Option<u64>,
    /// Chance of each segment to be lost. A segment here is up to 64 KiB, so the ratio of packets is smaller.
    pub loss: Ratio,
    /// Losses in bursts, on top of `loss`.
    pub burst: Option<Burst>,
}

impl Default for LinkRule {
    fn default() -> Self {
        Self {
            latency: Latency::Const(Duration::from_micros(200)),
            bandwidth: None,
            loss: Ratio::default(),
            burst: None,
        }
    }
}

/// What happens to SYNs from one host to another.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SynPolicy {
    /// They travel like all else.
    #[default]
    Pass,
    /// Answered with RST, as by a firewall that rejects: `ConnectionRefused`.
    Refuse,
    /// Dropped, as by a firewall that drops: `TimedOut` after 127 s.
    Drop,
}

/// What is wrong with a machine's resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFault {
    /// It knows no name.
    NxDomain,
    /// It does not answer.
    Silent,
    /// It answers as at the time when the fault began.
    Stale,
}

/// Traffic of one direction since the world began, and what faults did to it. In segments unless said otherwise.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LinkCounters {
    /// Handed to the link.
    pub sent: u64,
    /// Payload bytes handed to the link.
    pub bytes: u64,
    /// Eaten by loss or burst.
    pub lost: u64,
    /// Eaten by a partition.
    pub blocked: u64,
    /// Delayed by a hold.
    pub held: u64,
    /// Sent under a rule other than the default (slower, narrower, lossier).
    pub ruled: u64,
    /// Connections reset by fault.
    pub resets: u64,
    /// SYNs refused or dropped by [`SynPolicy`].
    pub syns: u64,
}
