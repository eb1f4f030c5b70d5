//! The course of one run: phases in order, time in slices, and everything that is looked at in between.
//!
//! boot -> safety (the steps, under load) -> heal -> converge -> serve -> settle, then the record for the oracles.

#[cfg(test)]
mod app_tests;
mod core;
mod disks;
mod kubernetes;
mod load;
mod phases;
mod prompted;
mod record;
mod shell;
mod steps;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Cluster, Life, build};
use super::faults::{Aim, Faults, lacking, left_out};
use super::outcome::{Outcome, Phase, PhaseTime};
use super::progress::{FaultNews, Load, Progress};
use super::prompt::Prompt;
use super::scenario::{Fault, Scenario};
use super::shell::Variables;
use super::watch::Watch;
use crate::base::{Seed, SimTime, Stream};
use crate::oracle::{FinalTree, Goal};
use crate::trace::Kind;
use crate::world::engine::Stop;
use crate::world::lab::Lab;

use self::core::CoreWatch;
use self::disks::DiskWatch;
use self::load::Workload;
use self::witness::Witness;

/// Time between two looks at the cluster: the resolution of failover times.
pub const SLICE: Duration = Duration::from_millis(20);

/// A program that ended by itself is started again after this long: a kubelet's first back-off.
const RESTART_AFTER: Duration = Duration::from_secs(10);

/// Why a run ends before its story does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A budget is spent: which.
    OverBudget(String),
    /// Nothing is scheduled while operations are pending: the tasks and what they wait for.
    Deadlock(Vec<String>),
    /// The story cannot go on: why.
    Stuck(String),
}

/// A run under way.
pub struct Story<'a> {
    scenario: &'a Scenario,
    seed: Seed,
    lab: Lab,
    cluster: Cluster,
    faults: Faults,
    watch: Watch,
    core: CoreWatch,
    disks: DiskWatch,
    witness: Witness,
    workload: Workload,
    progress: &'a mut dyn Progress,
    /// Asked for steps in place of the scenario's own.
    prompt: Option<&'a mut dyn Prompt>,
    outcome: Outcome,
    /// Picks whom a step means where one of several is meant.
    chance: Stream,
    /// Programs to be started again: when, which.
    restarts: Vec<(SimTime, usize)>,
    goals: Vec<Goal>,
    final_tree: Option<FinalTree>,
    healed: Option<SimTime>,
    phase: Option<(Phase, SimTime)>,
    told: SimTime,
    /// What the user's shell remembers from line to line.
    variables: Arc<Variables>,
    /// When the second that is counted began, and how many events there were then.
    second: (SimTime, u64),
}

impl<'a> Story<'a> {
    /// Builds the cluster in a new world; nothing runs yet.
    pub fn new(scenario: &'a Scenario, seed: Seed, lab: Lab, progress: &'a mut dyn Progress) -> Self {
        let cluster = build(&lab, scenario, seed);
        let workload = Workload::new(scenario, &cluster);
        let witness = Witness::new(&lab, scenario);
        if let Some(kubernetes) = &cluster.kubernetes {
            kubernetes.keep_history(workload.recorder());
        }
        let mut outcome = Outcome::new(scenario, seed);
        outcome.engine = lab.world.kind();
        outcome.notes.extend(left_out(&*lab.world, scenario));
        Self {
            scenario,
            seed,
            lab,
            cluster,
            faults: Faults::default(),
            watch: Watch::default(),
            core: CoreWatch::default(),
            disks: DiskWatch::default(),
            witness,
            workload,
            progress,
            prompt: None,
            outcome,
            chance: seed.stream("story", 0),
            restarts: Vec::new(),
            goals: Vec::new(),
            final_tree: None,
            healed: None,
            phase: None,
            told: SimTime::ZERO,
            variables: Arc::default(),
            second: (SimTime::ZERO, 0),
        }
    }

    /// Takes its steps from `prompt`, if there is one.
    pub fn with_prompt(self, prompt: Option<&'a mut dyn Prompt>) -> Self {
        Self { prompt, ..self }
    }

    fn now(&self) -> SimTime {
        self.lab.now()
    }

    fn enter(&mut self, phase: Phase) {
        self.leave();
        let now = self.now();
        self.phase = Some((phase, now));
        self.lab.world.record(None, Kind::Harness { what: "phase", text: phase.to_string() });
        self.progress.on_phase(now, phase);
    }

    fn leave(&mut self) {
        if let Some((phase, from)) = self.phase.take() {
            self.outcome.phases.push(PhaseTime { phase, from, until: self.now() });
            self.look_at_disks();
        }
    }

    /// Lets time pass until `until`.
    fn advance(&mut self, until: SimTime) -> Result<(), End> {
        while self.now() < until {
            let slice = (self.now() + SLICE).min(until);
            let due = self.faults.next_due().into_iter().chain(self.restarts.iter().map(|(at, _)| *at)).min();
            let next = due.map_or(slice, |due| slice.min(due.max(self.now())));
            self.slice(next)?;
            self.look();
        }
        Ok(())
    }

    /// Lets time pass until `condition` holds, at most `bound`. Gives whether it does.
    fn wait_for(&mut self, bound: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> Result<bool, End> {
        let end = self.now() + bound;
        loop {
            if condition(self) {
                return Ok(true);
            }
            if self.now() >= end {
                return Ok(false);
            }
            let next = (self.now() + SLICE).min(end);
            self.advance(next)?;
        }
    }

    fn slice(&mut self, until: SimTime) -> Result<(), End> {
        let limits = &self.scenario.spec.limits;
        if until.elapsed() > limits.time.0 {
            return Err(End::OverBudget(format!("simulated time of {}", limits.time)));
        }
        match self.lab.world.run_until(until) {
            Stop::Reached => self.pace(),
            Stop::Idle if self.more_to_come() || self.workload.open() == 0 => Ok(()),
            Stop::Idle => Err(End::Deadlock(self.lab.world.pending().iter().map(ToString::to_string).collect())),
            Stop::Events => Err(End::OverBudget(format!("{} events", limits.events))),
            Stop::TraceBytes => Err(End::OverBudget(format!("a trace of {} bytes", limits.trace))),
            Stop::Livelock => {
                Err(End::OverBudget(format!("{} turns without time moving on", limits.events_per_second)))
            }
        }
    }

    /// Whether the harness itself will set something going: a world of frozen and dark hosts waits for the heal.
    fn more_to_come(&self) -> bool {
        self.healed.is_none() || !self.restarts.is_empty() || self.faults.next_due().is_some()
    }

    /// Whether the last second had no more events than one may have.
    fn pace(&mut self) -> Result<(), End> {
        let (now, events) = (self.now(), self.lab.world.events());
        let (from, before) = self.second;
        if now.since(from) < Duration::from_secs(1) {
            return Ok(());
        }
        self.second = (now, events);
        // The last slice may reach beyond the second.
        let most = self.scenario.spec.limits.events_per_second.saturating_mul(now.since(from).as_secs() + 1);
        if events - before <= most {
            return Ok(());
        }
        Err(End::OverBudget(format!("{} events in a simulated second", events - before)))
    }

    /// Takes back what is due, starts what is to be started, and looks at everything.
    fn look(&mut self) {
        let now = self.now();
        self.cluster.serve(&self.lab);
        for (fault, hosts) in self.faults.expire(&self.lab, &mut self.cluster, now) {
            self.note_fault(&fault, &hosts, FaultNews::Ends);
        }
        for index in self.cluster.notice_exits(&self.lab) {
            let text = format!("{} ended by itself", self.cluster.members[index].plan.name);
            self.lab.world.record(None, Kind::Harness { what: "exit", text });
            self.restarts.push((now + RESTART_AFTER, index));
        }
        let (due, later) = std::mem::take(&mut self.restarts).into_iter().partition(|(at, _)| *at <= now);
        self.restarts = later;
        let due: Vec<_> = due;
        for (_, index) in due {
            // A kubelet without power starts nothing.
            if self.cluster.members[index].life == Life::Stopped {
                self.cluster.start(&self.lab, index);
            }
        }
        self.workload.keep_up(&self.lab, &mut self.cluster);
        self.bear_witness();
        self.follow_blocks();
        if !self.going_down() {
            self.core.look(&self.cluster, &self.faults, now);
        }
        if let Some(failover) = self.watch.look(&self.cluster, now) {
            let name = failover.new_leader.as_deref().unwrap_or_default();
            let text = format!("{name} leads after {}", failover.fault);
            self.lab.world.record(None, Kind::Harness { what: "failover", text });
            self.progress.on_failover(now, &failover);
        }
        for failover in self.watch.note_service(self.workload.recorder().last_ack()) {
            self.progress.on_failover(now, &failover);
        }
        let cut_off = self.faults.cut_anyone().then_some(|index| self.faults.cut_off(index));
        if let Some(roles) = self.watch.changed_roles(&self.cluster, cut_off) {
            self.progress.on_roles(now, roles);
        }
        if now.since(self.told) >= Duration::from_secs(1) {
            self.told = now;
            let load = Load {
                acked: self.workload.recorder().acked(),
                open: self.workload.open(),
                events: self.lab.world.events(),
            };
            self.progress.on_time(now, load);
        }
    }

    fn inject(&mut self, fault: &Fault) {
        if let Some(why) = lacking(&*self.lab.world, fault) {
            let text = format!("{fault} skipped: {why}");
            self.lab.world.record(None, Kind::Harness { what: "fault", text });
            self.faults.skip(fault, self.now(), why);
            return;
        }
        let aim = Aim { leader: self.watch.last_leader(), chance: &mut self.chance };
        let leader = self.watch.last_leader();
        let members = self.faults.inject(&self.lab, &mut self.cluster, fault, aim);
        if matches!(fault, Fault::BitRot(_)) {
            self.look_at_disks();
        }
        let hosts = self.cluster.names(&members);
        let news = if fault.is_remedy() { FaultNews::Remedies } else { FaultNews::Begins };
        self.note_fault(&fault.to_string(), &hosts, news);
        if !fault.is_remedy() && leader.is_some_and(|leader| members.contains(&leader)) && takes_leaders_away(fault) {
            self.watch.leader_hit(&self.cluster, &fault.to_string(), self.now());
        }
    }

    fn note_fault(&mut self, fault: &str, hosts: &[String], news: FaultNews) {
        let text = news.line(fault, hosts);
        self.lab.world.record(None, Kind::Harness { what: "fault", text });
        self.progress.on_fault(self.now(), fault, hosts, news);
    }
}

/// Whether a fault of this kind on a leader is meant to end its leadership.
fn takes_leaders_away(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::DeletePod(_)
            | Fault::OutOfMemory(_)
            | Fault::Kill(_)
            | Fault::PowerLoss(_)
            | Fault::Terminate(_)
            | Fault::Freeze(_)
            | Fault::Partition(_)
    )
}
