//! One probe of one container: when it is due and what its answers come to.
//!
//! Upstream's `pkg/kubelet/prober/worker.go`: thresholds count answers in a row; an answer that could not be had is no
//! answer; after a failed startup or liveness probe the probe holds until a new container runs.
//! Pure: time comes as an argument. Differs: the first probe comes right after its delay, without upstream's phase.

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, Probe, TCPSocketAction};

use crate::rt::time::Duration;

/// Which of a container's three probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Gates the other two until it has succeeded once.
    Startup,
    /// Its failure kills the container.
    Liveness,
    /// Its failure takes the pod out of its services.
    Readiness,
}

impl ProbeKind {
    /// As events name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeAction {
    /// A command in the container.
    Exec(ExecAction),
    /// An HTTP GET; 200 to 399 is good.
    HttpGet(HTTPGetAction),
    /// A TCP connection.
    TcpSocket(TCPSocketAction),
}

/// A probe's numbers, with upstream's defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeSpec {
    /// What to do.
    pub action: ProbeAction,
    /// After the container's start: 0.
    pub initial_delay: Duration,
    /// Between two probes: 10 s.
    pub period: Duration,
    /// An answer later than this is a failure: 1 s.
    pub timeout: Duration,
    /// Successes in a row that count: 1.
    pub success_threshold: u32,
    /// Failures in a row that count: 3.
    pub failure_threshold: u32,
    /// Grace of a container that this probe kills, if not the pod's.
    pub grace: Option<Duration>,
}

/// A whole number of seconds, at least `least`; `default` if it is absent or 0 where 0 is not legal.
fn seconds(value: Option<i32>, default: u64, least: u64) -> Duration {
    let value = value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v >= least);
    Duration::from_secs(value.unwrap_or(default))
}

impl ProbeSpec {
    /// The probe of a container's spec; `None` if it has no action that is known here (gRPC is not).
    pub fn new(probe: &Probe) -> Option<Self> {
        let exec = probe.exec.clone().map(ProbeAction::Exec);
        let http = probe.http_get.clone().map(ProbeAction::HttpGet);
        let action = exec.or(http).or_else(|| probe.tcp_socket.clone().map(ProbeAction::TcpSocket))?;
        let count = |value: Option<i32>, default| {
            value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        Some(Self {
            action,
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
            grace: probe.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
        })
    }
}

/// One answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// Good.
    Success,
    /// Not good, and why.
    Failure(String),
    /// It could not be asked (the runtime did not answer); counts as nothing.
    Unknown,
}

/// The state of one probe for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeState {
    /// What counts now.
    pub good: bool,
    in_a_row: u32,
    last_good: Option<bool>,
    due: Option<Duration>,
    in_flight: bool,
    held: bool,
}

impl ProbeState {
    /// Before the first answer: liveness counts as good, the others do not.
    pub fn new(kind: ProbeKind, good: Option<bool>) -> Self {
        let good = good.unwrap_or(kind == ProbeKind::Liveness);
        Self { good, in_a_row: 0, last_good: None, due: None, in_flight: false, held: false }
    }

    /// When to ask next, for a container that started at `started`; `None` while an answer is awaited or the probe holds.
    pub fn due(&self, spec: &ProbeSpec, started: Duration) -> Option<Duration> {
        (!self.in_flight && !self.held).then(|| self.due.unwrap_or(started.saturating_add(spec.initial_delay)))
    }

    /// The probe was sent at `now`.
    pub fn sent(&mut self, spec: &ProbeSpec, now: Duration) {
        self.in_flight = true;
        self.due = Some(now.saturating_add(spec.period));
    }

    /// The answer; gives whether what counts has changed, or has failed for good (a held probe).
    pub fn answered(&mut self, kind: ProbeKind, spec: &ProbeSpec, answer: &Probed) -> bool {
        self.in_flight = false;
        let good = match answer {
            Probed::Unknown => return false,
            answer => *answer == Probed::Success,
        };
        self.in_a_row = if self.last_good == Some(good) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last_good = Some(good);
        let threshold = if good { spec.success_threshold } else { spec.failure_threshold };
        if self.in_a_row < threshold {
            return false;
        }
        let kills = !good && kind != ProbeKind::Readiness;
        let done = good && kind == ProbeKind::Startup;
        self.held = kills || done;
        let changed = self.good != good || kills;
        self.good = good;
        changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(success: i32, failure: i32) -> ProbeSpec {
        let probe = Probe {
            exec: Some(ExecAction::default()),
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            initial_delay_seconds: Some(5),
            ..Probe::default()
        };
        ProbeSpec::new(&probe).unwrap()
    }

    #[test]
    fn absent_and_illegal_numbers_are_upstreams_defaults() {
        let spec = |probe| ProbeSpec::new(&probe);
        assert_eq!(spec(Probe::default()), None, "no action");
        let zeros = Probe {
            tcp_socket: Some(TCPSocketAction::default()),
            period_seconds: Some(0),
            timeout_seconds: Some(0),
            failure_threshold: Some(0),
            success_threshold: Some(-1),
            ..Probe::default()
        };
        let plain = Probe { tcp_socket: Some(TCPSocketAction::default()), ..Probe::default() };
        let (zeros, plain) = (spec(zeros).unwrap(), spec(plain).unwrap());
        assert_eq!(zeros, plain);
        assert_eq!((plain.period.as_secs(), plain.timeout.as_secs(), plain.initial_delay.as_secs()), (10, 1, 0));
        assert_eq!((plain.success_threshold, plain.failure_threshold), (1, 3));
    }

    #[test]
    fn the_first_probe_waits_for_its_delay_and_the_next_for_the_period() {
        let (spec, second) = (spec(1, 3), Duration::from_secs(1));
        let mut state = ProbeState::new(ProbeKind::Readiness, None);
        assert_eq!(state.due(&spec, second), Some(second * 6));
        state.sent(&spec, second * 7);
        assert_eq!(state.due(&spec, second), None, "one at a time");
        assert!(state.answered(ProbeKind::Readiness, &spec, &Probed::Success));
        assert_eq!(state.due(&spec, second), Some(second * 17));
    }

    #[test]
    fn a_failed_liveness_and_a_passed_startup_probe_hold() {
        let spec = spec(1, 2);
        let fail = Probed::Failure("no".into());
        let mut state = ProbeState::new(ProbeKind::Liveness, None);
        assert!(state.good && !state.answered(ProbeKind::Liveness, &spec, &fail));
        assert!(!state.answered(ProbeKind::Liveness, &spec, &Probed::Unknown), "no answer counts as nothing");
        assert!(state.answered(ProbeKind::Liveness, &spec, &fail) && !state.good);
        assert_eq!(state.due(&spec, Duration::ZERO), None);
        let mut state = ProbeState::new(ProbeKind::Startup, None);
        assert!(!state.good && state.answered(ProbeKind::Startup, &spec, &Probed::Success));
        assert_eq!(state.due(&spec, Duration::ZERO), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Readiness is what the last run of answers that was long enough said.
        #[test]
        fn readiness_follows_the_last_long_enough_run(
            answers in prop::collection::vec(any::<bool>(), 0..40), success in 1usize..4, failure in 1usize..4,
        ) {
            let spec = spec(success as i32, failure as i32);
            let mut state = ProbeState::new(ProbeKind::Readiness, None);
            for (n, good) in answers.iter().enumerate() {
                let answer = if *good { Probed::Success } else { Probed::Failure(String::new()) };
                state.answered(ProbeKind::Readiness, &spec, &answer);
                let long_enough = |end: usize| {
                    let run = answers[..=end].iter().rev().take_while(|a| **a == answers[end]).count();
                    run >= if answers[end] { success } else { failure }
                };
                let want = (0..=n).rev().find(|end| long_enough(*end)).is_some_and(|end| answers[end]);
                prop_assert_eq!(state.good, want);
            }
        }
    }
}
