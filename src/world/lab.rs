//! A world installed on this thread: an engine, its disks, and the seam pointed at both.
//!
//! One world a thread at a time. Dropping the lab ends every process first, so that no destructor outlives its world.

use std::rc::Rc;

use super::disk::Disks;
use super::engine::{Exit, World};
use crate::base::{HostId, ProcessId, Seed, SimTime};
use crate::rt::backend::{Backend, Engine, Entered, enter};

/// The world of this thread.
pub struct Lab {
    /// Time, tasks, network, hosts.
    pub world: Rc<dyn World>,
    /// All disks.
    pub disks: Rc<Disks>,
    _entered: Entered,
}

impl Lab {
    /// Installs `world` on this thread, with no disks yet. A process that ends lets go of its files.
    pub fn new(seed: Seed, world: impl World + 'static) -> Self {
        Self::of(seed, Rc::new(world))
    }

    /// As [`Lab::new`], for a world that was built by name.
    pub fn of(seed: Seed, world: Rc<dyn World>) -> Self {
        let (clock, caller) = (world.clone(), world.clone());
        let current = move || -> Option<ProcessId> { caller.process() };
        let disks = Rc::new(Disks::new(seed, move || clock.world_now(), current));
        let files = disks.clone();
        world.on_exit(Box::new(move |_, process, exit| {
            if exit != Exit::PowerLoss {
                files.process_died(process);
            }
        }));
        let engine: Rc<dyn Engine> = world.clone();
        let entered = enter(Backend { engine, files: disks.clone() });
        Self { world, disks, _entered: entered }
    }

    /// World time.
    pub fn now(&self) -> SimTime {
        self.world.world_now()
    }

    /// The host loses power: its processes are gone without a word, and so is a part of what they had not synced.
    pub fn power_loss(&self, host: HostId) {
        self.world.power_loss(host);
        self.disks.power_loss(host);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.world.shut_down();
        // The hook holds the disks, which hold the world.
        self.world.on_exit(Box::new(|_, _, _| {}));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::rt::backend::simulated;
    use crate::world::engine::glass::Glass;

    /// Tells, when it is dropped, whether this thread has a world.
    struct Last(Rc<Cell<Option<bool>>>);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.set(Some(simulated()));
        }
    }

    #[test]
    fn what_goes_with_the_world_may_ask_for_it() {
        let told = Rc::new(Cell::new(None));
        let last = Last(told.clone());
        let lab = Lab::new(Seed(1), Glass::plain(Seed(1)));
        lab.world.listen(Box::new(move |_| assert!(last.0.get().is_none())));
        drop(lab);
        assert_eq!(told.get(), Some(false), "the thread's world is gone before what it held");
    }
}
