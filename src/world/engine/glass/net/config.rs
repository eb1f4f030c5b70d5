//! Parameters of the simulated kernels' TCP and resolver.
//!
//! Defaults are those of Linux (ip-sysctl, tcp(7)) and glibc's resolver; each field names its own. Nothing here decides:
//! the two functions only spell out the back-off that the numbers mean.

use std::time::Duration;

use crate::world::engine::Latency;
use crate::world::engine::LinkRule;

/// What all hosts share. Links and hosts can differ by fault or by set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetConfig {
    /// Every link that has no rule of its own.
    pub link: LinkRule,
    /// One way within a host, loopback address or own address.
    pub loopback: Duration,
    /// TCP of every kernel.
    pub tcp: TcpConfig,
    /// One question to the resolver and its answer.
    pub dns_latency: Latency,
    /// How long a host keeps an answer before it asks again. Zero: no cache.
    pub dns_ttl: Duration,
    /// When a silent resolver is given up: glibc's `timeout:5 attempts:2`.
    pub dns_timeout: Duration,
}

/// TCP's parameters; names in brackets are Linux sysctls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpConfig {
    /// Bytes that a socket takes before `write` waits (`tcp_wmem`, as autotuned on a fast network).
    pub send_buffer: u32,
    /// Bytes that a kernel takes before its program reads (`tcp_rmem`).
    pub receive_buffer: u32,
    /// Bytes that travel as one event (generic segmentation offload hands over up to 64 KiB).
    pub segment: u32,
    /// Connections that wait for `accept` (tokio and Go ask for 1024 and 4096, `somaxconn` is 4096).
    pub backlog: u32,
    /// Retransmissions of a SYN (`tcp_syn_retries`): with 6, 127 s until `TimedOut`.
    pub syn_retries: u32,
    /// Retransmissions of a SYN-ACK (`tcp_synack_retries`).
    pub synack_retries: u32,
    /// Retransmissions of a segment (`tcp_retries2`): with 15, about 924.6 s until `TimedOut`.
    pub retries: u32,
    /// First wait for an answer to a SYN (RFC 6298: 1 s).
    pub syn_timeout: Duration,
    /// Added to the round trip for the first retransmission timeout (TCP_RTO_MIN).
    pub rto_min: Duration,
    /// Where the doubling stops (TCP_RTO_MAX).
    pub rto_max: Duration,
    /// `HostUnreachable` this long after a SYN to an address that no host has (three ARP questions, 1 s each).
    /// Without it, such a SYN is black-holed.
    pub unreachable_after: Option<Duration>,
}

impl Default for NetConfig {
    /// A data centre: 100 to 300 microseconds one way, no loss, bandwidth not modelled.
    fn default() -> Self {
        let us = Duration::from_micros;
        Self {
            link: LinkRule { latency: Latency::Uniform { low: us(100), high: us(300) }, ..LinkRule::default() },
            loopback: us(15),
            tcp: TcpConfig::default(),
            dns_latency: Latency::Uniform { low: us(200), high: us(1000) },
            dns_ttl: Duration::ZERO,
            dns_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            send_buffer: 256 << 10,
            receive_buffer: 256 << 10,
            segment: 64 << 10,
            backlog: 1024,
            syn_retries: 6,
            synack_retries: 5,
            retries: 15,
            syn_timeout: Duration::from_secs(1),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(120),
            unreachable_after: Some(Duration::from_secs(3)),
        }
    }
}

impl TcpConfig {
    /// Wait before retransmission `attempt` (0 is the first) on a path with this round trip.
    pub fn rto(&self, attempt: u32, round_trip: Duration) -> Duration {
        let base = self.rto_min.saturating_add(round_trip);
        base.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.rto_max)
    }

    /// Wait after SYN (or SYN-ACK) number `attempt`, 0 the first.
    pub fn syn_wait(&self, attempt: u32) -> Duration {
        self.syn_timeout.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.rto_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_those_that_linux_documents() {
        let tcp = TcpConfig::default();
        let syn: Duration = (0..=tcp.syn_retries).map(|n| tcp.syn_wait(n)).sum();
        assert_eq!(syn, Duration::from_secs(127));
        let data: Duration = (0..=tcp.retries).map(|n| tcp.rto(n, Duration::ZERO)).sum();
        assert_eq!(data, Duration::from_millis(924_600));
        assert_eq!(tcp.rto(u32::MAX, Duration::MAX), tcp.rto_max);
    }
}
