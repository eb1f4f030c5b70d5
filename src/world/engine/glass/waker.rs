//! Wakers without allocation or counting: the task's id in the pointer, the woken ids in a list of this thread.
//!
//! A waker that outlives its task, or its world, names a generation that is gone, and waking it does nothing. Waking from
//! another thread is lost, which is right: nothing in a world runs on another thread.
#![expect(unsafe_code, reason = "a waker that is a number needs a hand-written vtable")]

use std::cell::RefCell;
use std::ptr::without_provenance;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::base::TaskId;

const _: () = assert!(usize::BITS == 64, "a task id must fit a pointer");

thread_local! {
    static WOKEN: RefCell<Vec<TaskId>> = const { RefCell::new(Vec::new()) };
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop_nothing);

fn raw(task: TaskId) -> RawWaker {
    RawWaker::new(without_provenance(task.0 as usize), &VTABLE)
}

unsafe fn clone(data: *const ()) -> RawWaker {
    raw(TaskId(data.addr() as u64))
}

unsafe fn wake(data: *const ()) {
    let task = TaskId(data.addr() as u64);
    // A thread that is ending has no list any more, and no world either.
    let _ = WOKEN.try_with(|woken| woken.borrow_mut().push(task));
}

unsafe fn drop_nothing(_: *const ()) {}

/// The waker of `task`.
pub(super) fn waker(task: TaskId) -> Waker {
    // SAFETY: the data is a number that is never dereferenced; clone copies it, wake reads it, drop has nothing to free,
    // and all of them may run on any thread.
    unsafe { Waker::from_raw(raw(task)) }
}

/// Hands over the tasks woken since the last call, in order, by swapping the lists.
pub(super) fn drain(into: &mut Vec<TaskId>) {
    debug_assert!(into.is_empty());
    let _ = WOKEN.try_with(|woken| std::mem::swap(&mut *woken.borrow_mut(), into));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_are_listed_in_order_and_once_drained_are_gone() {
        let (a, b) = (waker(TaskId::new(1, 7)), waker(TaskId::new(2, 9)));
        let a2 = a.clone();
        assert!(a.will_wake(&a2) && !a.will_wake(&b));
        a2.wake();
        b.wake_by_ref();
        let mut woken = Vec::new();
        drain(&mut woken);
        assert_eq!(woken, [TaskId::new(1, 7), TaskId::new(2, 9)]);
        woken.clear();
        drain(&mut woken);
        assert!(woken.is_empty());
    }
}
