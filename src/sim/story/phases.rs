//! The phases of a run.

use std::time::Duration;

use super::{End, Story};
use crate::oracle::Goal;
use crate::sim::outcome::Phase;
use crate::sim::scenario::target::Role;

/// A cluster must form within this: the longest election of Alluxio's defaults twice, safe mode, and some more.
const FORMS_WITHIN: Duration = Duration::from_secs(120);
/// After the heal the cluster must come back together within this. What is promised is the oracles' to judge; this only
/// bounds the waiting.
const CONVERGES_WITHIN: Duration = Duration::from_secs(180);
/// The clients get this long to have changes acknowledged again.
const SERVES_WITHIN: Duration = Duration::from_secs(60);
/// As many acknowledged changes after the heal show that the cluster serves.
const SERVED: u64 = 5;
/// Operations still open when the load ends get as long as the oracles give them, and so much more.
const SETTLES_AFTER: Duration = Duration::from_secs(30);

impl Story<'_> {
    /// Runs all phases.
    pub(super) fn tell(&mut self) -> Result<(), End> {
        self.boot()?;
        self.enter(Phase::Safety);
        self.workload.start(&self.lab, &mut self.cluster);
        match self.prompt.take() {
            Some(prompt) => self.prompted(prompt)?,
            None => self.steps()?,
        }
        self.advance(self.now() + self.scenario.spec.workload.tail.0)?;
        self.heal()?;
        if self.torn_down() {
            return self.clean_up();
        }
        self.converge()?;
        self.serve()?;
        self.settle()
    }

    pub(super) fn boot(&mut self) -> Result<(), End> {
        self.enter(Phase::Boot);
        let mut jitter = self.seed.stream("boot", 0);
        self.restarts = self.cluster.boot_order(&mut jitter);
        self.look();
        if self.cluster.kubernetes.is_some() {
            return self.boot_kubernetes();
        }
        let workers = self.cluster.of(Role::Worker).count();
        let formed = self.wait_for(FORMS_WITHIN, |story| {
            let leader = story.watch.leader().and_then(|leader| story.cluster.facts(leader));
            leader.is_some_and(|facts| facts.live_workers == workers && !facts.safe_mode)
        })?;
        if !formed {
            let leads = if self.watch.leader().is_some() { "a leader" } else { "no leader" };
            return Err(End::Stuck(format!("the cluster did not form within {FORMS_WITHIN:?}: {leads}")));
        }
        let mounted = self.workload.mount(&self.lab, &self.cluster);
        self.wait_for(FORMS_WITHIN, |_| mounted.is_done())?;
        let mounted = mounted.take().unwrap_or(Err("no answer".into()));
        mounted.map_err(|error| End::Stuck(format!("the dataset was not mounted: {error}")))
    }

    fn heal(&mut self) -> Result<(), End> {
        self.enter(Phase::Heal);
        self.faults.heal_all(&self.lab, &mut self.cluster);
        self.restarts.clear();
        self.healed = Some(self.now());
        self.watch.look_afresh();
        self.look();
        Ok(())
    }

    /// After a story that has taken everything down: what it made goes.
    fn clean_up(&mut self) -> Result<(), End> {
        self.enter(Phase::Settle);
        self.wait_for(CONVERGES_WITHIN, |story| {
            story.cluster.kubernetes.as_ref().is_none_or(|kubernetes| story.witness.resources.back(kubernetes))
        })?;
        self.leave();
        Ok(())
    }

    fn converge(&mut self) -> Result<(), End> {
        self.enter(Phase::Converge);
        let together = self.wait_for(CONVERGES_WITHIN, |story| story.together())?;
        self.goals.push(Goal { name: "the cluster came back together".into(), reached: together.into() });
        Ok(())
    }

    /// A leader serves, all workers are registered, and every master has applied what the leader has committed.
    fn together(&self) -> bool {
        let Some(leader) = self.watch.leader().and_then(|leader| self.cluster.facts(leader)) else { return false };
        let workers = self.cluster.of(Role::Worker).count();
        let behind = |i| {
            let applied = self.cluster.facts(i).and_then(|facts| facts.applied);
            // A change may be on its way all the time: a follower may lag by a few.
            applied.map_or(0, |id| id.index) + 64 < leader.committed.map_or(0, |id| id.index)
        };
        leader.live_workers == workers && !leader.safe_mode && !self.cluster.of(Role::Master).any(behind)
    }

    fn serve(&mut self) -> Result<(), End> {
        self.enter(Phase::Serve);
        if self.workload.over() {
            return Ok(());
        }
        let before = self.workload.recorder().acked();
        let served = |story: &mut Self| story.workload.over() || story.workload.recorder().acked() >= before + SERVED;
        let served = self.wait_for(SERVES_WITHIN, served)?;
        self.goals.push(Goal { name: "changes were acknowledged after the heal".into(), reached: served.into() });
        Ok(())
    }

    fn settle(&mut self) -> Result<(), End> {
        self.enter(Phase::Settle);
        self.workload.stop();
        let within = self.bounds().operation + SETTLES_AFTER;
        self.wait_for(within, |story| story.workload.open() == 0 && story.workload.running() == 0)?;
        let scan = self.workload.scan(&self.lab, &self.cluster);
        self.wait_for(within, |_| scan.is_done())?;
        match scan.take() {
            Some(Ok(tree)) => self.final_tree = Some(tree),
            Some(Err(error)) => self.outcome.notes.push(format!("no final scan: {error}")),
            None => self.outcome.notes.push("the final scan did not end".into()),
        }
        // Without it nobody knows whether anything was lost.
        let scanned =
            Goal { name: "the final scan saw the whole tree".into(), reached: self.final_tree.is_some().into() };
        self.goals.push(scanned);
        self.wait_for(Duration::from_secs(30), |story| story.equal())?;
        self.arrive()?;
        self.leave();
        Ok(())
    }

    /// On Kubernetes: waits until all that should come to something has, or is late. What stands still costs no more than the
    /// time that it was promised.
    fn arrive(&mut self) -> Result<(), End> {
        let Some(healed) = self.healed.filter(|_| self.cluster.kubernetes.is_some()) else { return Ok(()) };
        // A run that was about to end is not over budget for this.
        let left = self.scenario.spec.limits.time.0.saturating_sub(self.now().elapsed());
        self.wait_for(left, |story| story.witness.arrived(healed, story.now()))?;
        Ok(())
    }

    /// Every master has applied the same.
    fn equal(&self) -> bool {
        let mut applied = self.cluster.of(Role::Master).map(|i| self.cluster.facts(i).and_then(|facts| facts.applied));
        let first = applied.next().flatten();
        first.is_some() && applied.all(|other| other == first)
    }
}
