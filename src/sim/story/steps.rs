//! The steps of the story: wait, type a command, expect something, inject a fault.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::core::has_majority;
use super::{End, Story};
use crate::base::{SimTime, lock};
use crate::oracle::Goal;
use crate::sim::outcome::Screen;
use crate::sim::scenario::step::OutputExpect;
use crate::sim::scenario::target::Role;
use crate::sim::scenario::{Expect, LeaderExpect, Run, ServiceExpect, Step, Targets};
use crate::stack::client::{FileSystemClient, Printed, run_line};
use crate::trace::Kind;

/// How long an operator waits for a command: longer than any client's budget.
const COMMAND_BOUND: Duration = Duration::from_secs(180);

impl Story<'_> {
    pub(super) fn steps(&mut self) -> Result<(), End> {
        let steps = &self.scenario.spec.steps;
        for (index, step) in steps.iter().enumerate() {
            let text = step.to_string();
            self.lab.world.record(None, Kind::Harness { what: "step", text });
            self.progress.on_step(self.now(), index, steps.len(), step);
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), End> {
        match step {
            Step::Wait(span) => self.advance(self.now() + span.0),
            Step::Run(run) => self.type_command(run),
            Step::Expect(expect) => self.expect(expect),
            Step::Fault(fault) => {
                self.inject(fault);
                Ok(())
            }
        }
    }

    /// Where a command is typed: on the host that the step names, otherwise in the first master's pod that runs, as in
    /// the documents, otherwise on the first fuse client.
    fn terminal(&mut self, run: &Run) -> Option<usize> {
        let leader = self.watch.last_leader();
        let named = run.on.as_ref().and_then(|on| {
            let on = Targets(vec![on.clone()]);
            self.cluster.resolve(&on, leader, &self.faults.victim, &mut self.chance).first().copied()
        });
        let up = |i: &usize| self.cluster.members[*i].running();
        named.or_else(|| self.cluster.of(Role::Master).chain(self.cluster.of(Role::Fuse)).find(up))
    }

    fn type_command(&mut self, run: &Run) -> Result<(), End> {
        let command = run.command.to_string();
        let Some(on) = self.terminal(run) else { return Err(End::Stuck(format!("no host to type `{command}` on"))) };
        let printed: Arc<Mutex<Option<Printed>>> = Arc::default();
        let (answer, line, options) = (printed.clone(), command.clone(), self.cluster.programs().client_options());
        let program = async move {
            let client = FileSystemClient::new(options);
            let out = run_line(&line, &client).await;
            *lock(&answer) = Some(out);
        };
        let at = self.now();
        let host = self.cluster.members[on].host;
        let started = self.lab.world.start(host, "goosefs", Box::pin(program));
        let Ok(process) = started else {
            return Err(End::Stuck(format!(
                "`{command}` cannot be typed on {}: no power",
                self.lab.world.host_name(host)
            )));
        };
        let done = printed.clone();
        self.wait_for(COMMAND_BOUND, |_| lock(&done).is_some())?;
        self.lab.world.kill(process);
        let out = lock(&printed).take().unwrap_or(Printed { text: "no answer\n".into(), status: 124 });
        let screen = Screen {
            name: run.name.clone().unwrap_or_else(|| command.clone()),
            command,
            host: self.lab.world.host_name(host),
            at,
            took: self.now().since(at),
            status: out.status,
            text: out.text,
        };
        self.lab.world.record(Some(host), Kind::Harness { what: "screen", text: screen.text.clone() });
        self.progress.on_screen(&screen);
        self.outcome.screens.push(screen);
        Ok(())
    }

    fn expect(&mut self, expect: &Expect) -> Result<(), End> {
        let since = self.now();
        let before = self.watch.term_before();
        let bound = expect.within.map_or(Duration::ZERO, |span| span.0);
        if expect.service == Some(ServiceExpect::Unavailable) {
            // Not that it was away for a moment: it stays away.
            self.advance(since + bound)?;
        }
        let left = (since + bound).since(self.now());
        let met = self.wait_for(left, |story| story.holds(expect, before, since))?;
        self.goals.push(Goal { name: format!("expect {expect}"), reached: u64::from(met) });
        Ok(())
    }

    fn holds(&mut self, expect: &Expect, before: u64, since: SimTime) -> bool {
        // A master that is cut off or stands still may go on claiming to serve: nobody is led by it.
        let leads = self.watch.leader().is_some_and(|leader| has_majority(&self.cluster, &self.faults, leader));
        let leader = match expect.leader {
            None => true,
            Some(LeaderExpect::Present) => leads,
            Some(LeaderExpect::Absent) => !leads,
            Some(LeaderExpect::Changed) => self.watch.last_term().is_some_and(|(_, term)| term > before),
            Some(LeaderExpect::Unchanged) => leads && self.watch.last_term().is_some_and(|(_, term)| term == before),
        };
        let service = match expect.service {
            None => true,
            Some(ServiceExpect::Available) => self.workload.recorder().last_ack().is_some_and(|ack| ack > since),
            Some(ServiceExpect::Unavailable) => {
                let quiet = self.workload.recorder().last_ack().is_none_or(|ack| ack <= since);
                quiet && self.workload.open() > 0
            }
        };
        let workers = expect.live_workers.is_none_or(|n| {
            let live = self.watch.leader().and_then(|leader| self.cluster.facts(leader)).map(|f| f.live_workers);
            live == Some(n as usize)
        });
        let installed: u64 = self.watch.installed.values().sum();
        let snapshots = expect.snapshots_installed.is_none_or(|n| installed >= u64::from(n));
        leader
            && service
            && workers
            && snapshots
            && expect.output.as_ref().is_none_or(|output| self.last_screen_meets(output))
    }

    fn last_screen_meets(&self, output: &OutputExpect) -> bool {
        self.outcome.screens.last().is_some_and(|screen| output.unmet(&screen.text).is_none())
    }
}
