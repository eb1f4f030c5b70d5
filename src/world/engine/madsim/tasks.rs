//! The table of tasks. madsim decides which of them runs next; here lies what it runs.

use std::task::Waker;

use crate::base::{ProcessId, SimTime, TaskId};
use crate::rt::backend::BoxFuture;

pub(super) struct Slot {
    generation: u32,
    live: bool,
    pub aborted: bool,
    pub process: ProcessId,
    pub name: &'static str,
    /// None while it is polled.
    pub future: Option<BoxFuture>,
    pub waits_for: &'static str,
    pub since: SimTime,
    /// Makes madsim poll the task.
    pub waker: Option<Waker>,
}

/// All tasks of a world.
#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Tasks {
    /// Adds a task.
    pub fn insert(&mut self, process: ProcessId, name: &'static str, future: BoxFuture, now: SimTime) -> TaskId {
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        let slot = Slot {
            generation,
            live: true,
            aborted: false,
            process,
            name,
            future: Some(future),
            waits_for: "its first turn",
            since: now,
            waker: None,
        };
        match self.slots.get_mut(index as usize) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        TaskId::new(index, generation)
    }

    /// The task, unless it has ended.
    pub fn get_mut(&mut self, task: TaskId) -> Option<&mut Slot> {
        self.slots.get_mut(task.slot() as usize).filter(|slot| slot.live && slot.generation == task.generation())
    }

    /// Frees the slot of a task: its future, to be dropped where nothing is borrowed, and its waker.
    pub fn remove(&mut self, task: TaskId) -> (Option<BoxFuture>, Option<Waker>) {
        let Some(slot) = self.get_mut(task) else { return (None, None) };
        slot.live = false;
        slot.generation = slot.generation.wrapping_add(1);
        let parts = (slot.future.take(), slot.waker.take());
        self.free.push(task.slot());
        parts
    }

    /// The live tasks of a process, in slot order.
    pub fn of_process(&self, process: ProcessId) -> Vec<TaskId> {
        self.live().filter(|(_, slot)| slot.process == process).map(|(task, _)| task).collect()
    }

    /// All live tasks, in slot order.
    pub fn live(&self) -> impl Iterator<Item = (TaskId, &Slot)> {
        let ids = self.slots.iter().enumerate().map(|(i, slot)| (TaskId::new(i as u32, slot.generation), slot));
        ids.filter(|(_, slot)| slot.live)
    }
}
