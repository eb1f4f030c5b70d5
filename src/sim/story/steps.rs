//! The steps of the story: wait, type a command, expect something, inject a fault.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::core::has_majority;
use super::shell::MemberShell;
use super::{End, Story};
use crate::base::{HostId, SimTime, lock};
use crate::oracle::Goal;
use crate::sim::outcome::Screen;
use crate::sim::scenario::step::OutputExpect;
use crate::sim::scenario::target::Role;
use crate::sim::scenario::{Expect, LeaderExpect, Run, ServiceExpect, Step, Targets};
use crate::sim::shell::{self, Line, Runner};
use crate::stack::client::{FileSystemClient, Printed};
use crate::trace::Kind;

/// How long an operator waits for a command: longer than any client's budget.
const COMMAND_BOUND: Duration = Duration::from_secs(180);
/// Exit code of what was given up, as `timeout` gives it.
const TIMED_OUT: u8 = 124;
/// Between two looks at whether clients ask for anything.
const ASKED_EVERY: Duration = Duration::from_secs(1);

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

    pub(super) fn step(&mut self, step: &Step) -> Result<(), End> {
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
        let (command, at) = (run.command.to_string(), self.now());
        let (host, out) = if run.command.uses_kubectl() {
            ("user".to_owned(), self.type_as_user(run.command.line(), self.files())?)
        } else {
            let Some(on) = self.terminal(run) else {
                return Err(End::Stuck(format!("no host to type `{command}` on")));
            };
            let (host, options) = (self.cluster.members[on].host, self.cluster.programs().client_options());
            let shell = move || MemberShell(FileSystemClient::new(options));
            (self.lab.world.host_name(host), self.type_line(host, COMMAND_BOUND, run.command.line(), shell)?)
        };
        let screen = Screen {
            name: run.name.clone().unwrap_or_else(|| command.clone()),
            command,
            host,
            at,
            took: self.now().since(at),
            status: out.status,
            text: out.text,
        };
        self.progress.on_screen(&screen);
        self.outcome.screens.push(screen);
        Ok(())
    }

    /// Runs a line as one program on a host. What it printed until the bound is kept; its exit code then is 124.
    pub(super) fn type_line<S: Runner + 'static>(
        &mut self,
        host: HostId,
        bound: Duration,
        line: &Line,
        shell: impl FnOnce() -> S + Send + 'static,
    ) -> Result<Printed, End> {
        let (ended, text): (Arc<Mutex<Option<u8>>>, Arc<Mutex<String>>) = Default::default();
        let (done, out, line, variables) = (ended.clone(), text.clone(), line.clone(), self.variables.clone());
        let program = async move {
            let shell = shell();
            let print = |_, piece: &str| lock(&out).push_str(piece);
            let status = shell::run(&line, &shell, &variables, &print).await;
            *lock(&done) = Some(status);
        };
        let Ok(process) = self.lab.world.start(host, "bash", Box::pin(program)) else {
            return Err(End::Stuck(format!("nothing can be typed on {}: no power", self.lab.world.host_name(host))));
        };
        self.wait_for(bound, |_| lock(&ended).is_some())?;
        self.lab.world.kill(process);
        let (status, mut text) = (*lock(&ended), std::mem::take(&mut *lock(&text)));
        if status.is_none() && text.is_empty() {
            text.push_str("no answer\n");
        }
        self.lab.world.record(Some(host), Kind::Harness { what: "screen", text: text.clone() });
        Ok(Printed { text, status: status.unwrap_or(TIMED_OUT) })
    }

    fn expect(&mut self, expect: &Expect) -> Result<(), End> {
        let since = self.now();
        let before = self.watch.term_before();
        let bound = expect.within.map_or(Duration::ZERO, |span| span.0);
        let mut asked = false;
        if expect.service == Some(ServiceExpect::Unavailable) {
            // Not that it was away for a moment: it stays away, while somebody asks.
            while self.now() < since + bound {
                self.advance((self.now() + ASKED_EVERY).min(since + bound))?;
                asked |= self.workload.recorder().waiting();
            }
        }
        let left = (since + bound).since(self.now());
        let met = self.wait_for(left, |story| story.holds(expect, before, since, asked))?;
        self.goals.push(Goal { name: format!("expect {expect}"), reached: u64::from(met) });
        Ok(())
    }

    /// `asked`: clients had operations open meanwhile. At the end all of them may have given up just now.
    fn holds(&mut self, expect: &Expect, before: u64, since: SimTime, asked: bool) -> bool {
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
                quiet && (asked || self.workload.recorder().waiting())
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
