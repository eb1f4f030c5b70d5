//! The event queue: what happens when, earliest first, and in order of asking among equals.
//!
//! A hierarchical timing wheel over the bits of the time (Varghese and Lauck), six bits a level, as a radix heap: an event
//! lies at the level of the highest digit in which its time differs from the last one popped, and moves down when that
//! digit's turn comes. Nothing may be added before the last time popped, nor before a time by which nothing was due. Cancelling frees the payload at once and leaves a
//! node behind; dead nodes are swept when they outnumber the live ones.

use std::collections::VecDeque;

use crate::base::SimTime;

/// Names a pending event: slot in the low 32 bits, generation in the high 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKey(pub u64);

#[derive(Clone, Copy)]
struct Node {
    at: u64,
    slot: u32,
    generation: u32,
}

struct Payload<E> {
    generation: u32,
    event: Option<E>,
}

const DIGIT_BITS: u32 = 6;
const DIGITS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 64usize.div_ceil(DIGIT_BITS as usize);

struct Level {
    /// One bit for each slot that holds nodes.
    occupied: u64,
    slots: [VecDeque<Node>; DIGITS],
}

/// Pending events with payload `E`.
pub struct Queue<E> {
    levels: Vec<Level>,
    /// One bit for each level that holds nodes.
    occupied: u16,
    last: u64,
    payloads: Vec<Payload<E>>,
    free: Vec<u32>,
    live: usize,
    dead: usize,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        let level = || Level { occupied: 0, slots: std::array::from_fn(|_| VecDeque::new()) };
        Self {
            levels: (0..LEVELS).map(|_| level()).collect(),
            occupied: 0,
            last: 0,
            payloads: Vec::new(),
            free: Vec::new(),
            live: 0,
            dead: 0,
        }
    }
}

impl<E> Queue<E> {
    /// Adds an event. `at` must not lie before the last time popped, nor before one by which nothing was due.
    pub fn push(&mut self, at: SimTime, event: E) -> EventKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.payloads.push(Payload { generation: 0, event: None });
            (self.payloads.len() - 1) as u32
        });
        let payload = &mut self.payloads[slot as usize];
        payload.event = Some(event);
        let generation = payload.generation;
        self.place(Node { at: at.0.max(self.last), slot, generation });
        self.live += 1;
        EventKey(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The pending event of `key`.
    pub fn get_mut(&mut self, key: EventKey) -> Option<&mut E> {
        let payload = self.payloads.get_mut(key.0 as u32 as usize)?;
        if payload.generation == (key.0 >> 32) as u32 { payload.event.as_mut() } else { None }
    }

    /// Takes a pending event back.
    pub fn cancel(&mut self, key: EventKey) -> Option<E> {
        self.get_mut(key)?;
        let event = self.release(key.0 as u32);
        self.dead += 1;
        if self.dead > 1024 && self.dead > self.live {
            self.sweep();
        }
        event
    }

    /// The next event, if it is due by `until`. If there is none, time has come to `until`.
    pub fn pop_due(&mut self, until: SimTime) -> Option<(SimTime, E)> {
        while self.occupied != 0 {
            let level = self.occupied.trailing_zeros() as usize;
            let digit = self.levels[level].occupied.trailing_zeros() as usize;
            let slot = &mut self.levels[level].slots[digit];
            // The slot is the earliest. All nodes of a slot of the lowest level have one and the same time, and a node
            // alone in its slot is the earliest of all: either is popped as it stands.
            if level > 0 && slot.len() > 1 {
                self.spread(level, digit, until.0)?;
                continue;
            }
            let Some(&node) = slot.front() else {
                self.vacate(level, digit);
                continue;
            };
            if node.at > until.0 {
                return None;
            }
            slot.pop_front();
            if slot.is_empty() {
                self.vacate(level, digit);
            }
            self.last = node.at;
            if self.is_dead(&node) {
                self.dead -= 1;
                continue;
            }
            let event = self.release(node.slot)?;
            return Some((SimTime(node.at), event));
        }
        None
    }

    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    fn place(&mut self, node: Node) {
        let differs = node.at ^ self.last;
        let level = (63 - (differs | 1).leading_zeros()) / DIGIT_BITS;
        let digit = (node.at >> (level * DIGIT_BITS)) as usize % DIGITS;
        let level = level as usize;
        self.levels[level].slots[digit].push_back(node);
        self.levels[level].occupied |= 1 << digit;
        self.occupied |= 1 << level;
    }

    /// Moves the nodes of a slot to lower levels, counted from the earliest of them; nothing if that is not due.
    fn spread(&mut self, level: usize, digit: usize, until: u64) -> Option<()> {
        let nodes = &self.levels[level].slots[digit];
        let earliest = nodes.iter().map(|node| node.at).min().unwrap_or(until);
        if earliest > until {
            return None;
        }
        let mut nodes = std::mem::take(&mut self.levels[level].slots[digit]);
        self.vacate(level, digit);
        // A dead node may be the earliest: time has not come there yet, but nothing live lies before it.
        self.last = earliest;
        // Order among equal times is kept: they move together, first to last.
        for node in nodes.drain(..) {
            if self.dead > 0 && self.is_dead(&node) {
                self.dead -= 1;
            } else {
                self.place(node);
            }
        }
        // The room is kept for the next time round.
        self.levels[level].slots[digit] = nodes;
        Some(())
    }

    fn vacate(&mut self, level: usize, digit: usize) {
        self.levels[level].occupied &= !(1 << digit);
        if self.levels[level].occupied == 0 {
            self.occupied &= !(1 << level);
        }
    }

    fn release(&mut self, slot: u32) -> Option<E> {
        let payload = &mut self.payloads[slot as usize];
        payload.generation = payload.generation.wrapping_add(1);
        self.free.push(slot);
        self.live -= 1;
        payload.event.take()
    }

    fn is_dead(&self, node: &Node) -> bool {
        self.payloads[node.slot as usize].generation != node.generation
    }

    fn sweep(&mut self) {
        let payloads = &self.payloads;
        for level in &mut self.levels {
            for slot in &mut level.slots {
                slot.retain(|node| payloads[node.slot as usize].generation == node.generation);
            }
        }
        self.dead = 0;
    }

    #[cfg(test)]
    fn nodes(&self) -> usize {
        self.levels.iter().flat_map(|level| &level.slots).map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equals_come_in_order_of_asking() {
        let mut q = Queue::default();
        for n in 0..100 {
            q.push(SimTime(n % 3), n);
        }
        let mut got = Vec::new();
        while let Some((at, n)) = q.pop_due(SimTime::NEVER) {
            got.push((at.0, n));
        }
        assert!(got.is_sorted() && got.len() == 100);
    }

    #[test]
    fn a_stale_key_names_nothing() {
        let mut q = Queue::default();
        let key = q.push(SimTime(1), 'a');
        assert_eq!(q.cancel(key), Some('a'));
        q.push(SimTime(1), 'b');
        assert_eq!((q.cancel(key), q.get_mut(key)), (None, None));
        assert_eq!(q.pop_due(SimTime(1)), Some((SimTime(1), 'b')));
    }

    #[test]
    fn cancelled_events_do_not_pile_up() {
        let mut q = Queue::default();
        for n in 0..100_000u64 {
            let key = q.push(SimTime(1_000_000 + n), n);
            q.cancel(key);
        }
        assert!(q.is_empty() && q.nodes() < 2048 && q.payloads.len() < 4);
    }

    #[test]
    fn peeking_past_the_end_of_a_run_leaves_room_for_earlier_events() {
        let mut q = Queue::default();
        q.push(SimTime(1 << 40), 'z');
        assert_eq!(q.pop_due(SimTime(1_000)), None);
        q.push(SimTime(2_000), 'a');
        assert_eq!(q.pop_due(SimTime::NEVER), Some((SimTime(2_000), 'a')));
        assert_eq!(q.pop_due(SimTime::NEVER), Some((SimTime(1 << 40), 'z')));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Against a sorted map that knows nothing of wheels. Times jump by up to `2^shift`.
        #[test]
        fn agrees_with_a_sorted_map(
            shift in 0u32..50,
            ops in prop::collection::vec((0u8..4, any::<u64>()), 0..1500),
        ) {
            let mut q = Queue::default();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            let mut now = 0;
            for (n, (op, x)) in ops.into_iter().enumerate() {
                let ahead = now + x % (1 << shift);
                match op {
                    0 | 1 => {
                        keys.push((q.push(SimTime(ahead), n), (ahead, n)));
                        model.insert((ahead, n), n);
                    }
                    2 if !keys.is_empty() => {
                        let (key, at) = keys.swap_remove(x as usize % keys.len());
                        prop_assert_eq!(q.cancel(key), model.remove(&at));
                    }
                    _ => {
                        let due = model.first_key_value().filter(|(k, _)| k.0 <= ahead).map(|(k, v)| (*k, *v));
                        let got = q.pop_due(SimTime(ahead));
                        prop_assert_eq!(got, due.map(|(k, v)| (SimTime(k.0), v)));
                        now = due.map_or(ahead, |(k, _)| k.0);
                        due.map(|(k, _)| model.remove(&k));
                    }
                }
                prop_assert_eq!(q.len(), model.len());
            }
        }
    }
}
