//! The table of tasks and the choice of the next one.

use std::collections::VecDeque;

use crate::base::{ProcessId, SimTime, Stream, TaskId};
use crate::rt::backend::BoxFuture;
use crate::world::engine::Schedule;

pub(super) struct Slot {
    generation: u32,
    pub queued: bool,
    pub aborted: bool,
    live: bool,
    pub process: ProcessId,
    pub name: &'static str,
    /// None while it is polled.
    pub future: Option<BoxFuture>,
    pub waits_for: &'static str,
    pub since: SimTime,
}

/// All tasks of a world.
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
    schedule: Schedule,
    stream: Stream,
}

impl Tasks {
    pub fn new(schedule: Schedule, stream: Stream) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), ready: VecDeque::new(), schedule, stream }
    }

    /// Adds a task, ready to run.
    pub fn insert(&mut self, process: ProcessId, name: &'static str, future: BoxFuture, now: SimTime) -> TaskId {
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        let slot = Slot {
            generation,
            queued: true,
            aborted: false,
            live: true,
            process,
            name,
            future: Some(future),
            waits_for: "its first turn",
            since: now,
        };
        match self.slots.get_mut(index as usize) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        self.ready.push_back(index);
        TaskId::new(index, generation)
    }

    /// The task, unless it has ended.
    pub fn get_mut(&mut self, task: TaskId) -> Option<&mut Slot> {
        self.slots.get_mut(task.slot() as usize).filter(|slot| slot.live && slot.generation == task.generation())
    }

    pub fn by_index(&mut self, index: u32) -> (TaskId, &mut Slot) {
        let slot = &mut self.slots[index as usize];
        (TaskId::new(index, slot.generation), slot)
    }

    /// Puts a woken task among the ready ones, once.
    pub fn wake(&mut self, task: TaskId) {
        let Some(slot) = self.get_mut(task) else { return };
        if !slot.queued {
            slot.queued = true;
            self.ready.push_back(task.slot());
        }
    }

    /// Takes the next task to run out of the ready ones.
    pub fn pick(&mut self) -> Option<u32> {
        match self.schedule {
            Schedule::Fifo => self.ready.pop_front(),
            Schedule::Seeded if self.ready.len() <= 1 => self.ready.pop_front(),
            Schedule::Seeded => {
                let i = self.stream.below(self.ready.len() as u64) as usize;
                self.ready.swap_remove_back(i)
            }
        }
    }

    /// Frees the slot of a task that ended; its future comes back to be dropped where nothing is borrowed.
    pub fn remove(&mut self, index: u32) -> Option<BoxFuture> {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.live);
        slot.live = false;
        slot.generation = slot.generation.wrapping_add(1);
        if slot.queued {
            slot.queued = false;
            self.ready.retain(|ready| *ready != index);
        }
        let future = slot.future.take();
        self.free.push(index);
        future
    }

    /// The live tasks of a process, in slot order.
    pub fn of_process(&self, process: ProcessId) -> Vec<u32> {
        self.live().filter(|(_, slot)| slot.process == process).map(|(task, _)| task.slot()).collect()
    }

    /// All live tasks, in slot order.
    pub fn live(&self) -> impl Iterator<Item = (TaskId, &Slot)> {
        let ids = self.slots.iter().enumerate().map(|(i, slot)| (TaskId::new(i as u32, slot.generation), slot));
        ids.filter(|(_, slot)| slot.live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    fn table(schedule: Schedule, seed: u64) -> Tasks {
        let mut tasks = Tasks::new(schedule, Seed(seed).stream("sched", 0));
        for _ in 0..6 {
            tasks.insert(ProcessId(0), "t", Box::pin(async {}), SimTime::ZERO);
        }
        tasks
    }

    fn order(mut tasks: Tasks) -> Vec<u32> {
        std::iter::from_fn(|| tasks.pick()).collect()
    }

    #[test]
    fn fifo_runs_in_order_and_seeds_differ() {
        assert_eq!(order(table(Schedule::Fifo, 1)), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(table(Schedule::Seeded, 1)), order(table(Schedule::Seeded, 1)));
        let mut orders: Vec<_> = (0..20).map(|seed| order(table(Schedule::Seeded, seed))).collect();
        orders.sort();
        orders.dedup();
        assert!(orders.len() > 15, "{} orders of 20 seeds", orders.len());
    }

    #[test]
    fn a_task_is_ready_once_and_a_stale_id_wakes_nobody() {
        let mut tasks = table(Schedule::Fifo, 1);
        while let Some(i) = tasks.pick() {
            tasks.by_index(i).1.queued = false;
        }
        tasks.wake(TaskId::new(3, 0));
        tasks.wake(TaskId::new(3, 0));
        tasks.remove(4);
        tasks.wake(TaskId::new(4, 0));
        assert_eq!(order(tasks), [3]);
    }
}
