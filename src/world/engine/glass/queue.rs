//! The event queue: what happens when, earliest first, and in order of asking among equals.
//!
//! A four-ary heap of small keys over a slab of payloads. Cancelling frees the payload at once and leaves its key behind;
//! dead keys are swept when they outnumber the live ones, so the queue stays proportional to what is pending.

use crate::base::SimTime;

/// Names a pending event: slot in the low 32 bits, generation in the high 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKey(pub u64);

#[derive(Clone, Copy)]
struct Node {
    at: SimTime,
    order: u64,
    slot: u32,
    generation: u32,
}

impl Node {
    fn before(&self, other: &Self) -> bool {
        (self.at, self.order) < (other.at, other.order)
    }
}

struct Slot<E> {
    generation: u32,
    event: Option<E>,
}

/// Pending events with payload `E`.
pub struct Queue<E> {
    heap: Vec<Node>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    order: u64,
    dead: usize,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), order: 0, dead: 0 }
    }
}

const ARITY: usize = 4;

impl<E> Queue<E> {
    /// Adds an event.
    pub fn push(&mut self, at: SimTime, event: E) -> EventKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, event: None });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.event = Some(event);
        let generation = entry.generation;
        self.heap.push(Node { at, order: self.order, slot, generation });
        self.order += 1;
        self.rise(self.heap.len() - 1);
        EventKey(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The pending event of `key`.
    pub fn get_mut(&mut self, key: EventKey) -> Option<&mut E> {
        let slot = self.slots.get_mut(key.0 as u32 as usize)?;
        if slot.generation == (key.0 >> 32) as u32 { slot.event.as_mut() } else { None }
    }

    /// Takes a pending event back.
    pub fn cancel(&mut self, key: EventKey) -> Option<E> {
        self.get_mut(key)?;
        let event = self.release(key.0 as u32);
        self.dead += 1;
        if self.dead > 1024 && self.dead * 2 > self.heap.len() {
            self.sweep();
        }
        event
    }

    /// When the next event is due.
    pub fn next_at(&mut self) -> Option<SimTime> {
        self.drop_dead();
        self.heap.first().map(|node| node.at)
    }

    /// The next event, if it is due by `until`.
    pub fn pop_due(&mut self, until: SimTime) -> Option<(SimTime, E)> {
        if self.next_at()? > until {
            return None;
        }
        let node = self.pop_node()?;
        self.release(node.slot).map(|event| (node.at, event))
    }

    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.heap.len() - self.dead
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn release(&mut self, slot: u32) -> Option<E> {
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        entry.event.take()
    }

    fn is_dead(&self, node: &Node) -> bool {
        self.slots[node.slot as usize].generation != node.generation
    }

    fn drop_dead(&mut self) {
        while self.dead > 0 && self.heap.first().is_some_and(|node| self.is_dead(node)) {
            self.pop_node();
            self.dead -= 1;
        }
    }

    fn sweep(&mut self) {
        let mut heap = std::mem::take(&mut self.heap);
        heap.retain(|node| !self.is_dead(node));
        self.heap = heap;
        self.dead = 0;
        for i in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sink(i);
        }
    }

    fn pop_node(&mut self) -> Option<Node> {
        let last = self.heap.pop()?;
        let Some(first) = self.heap.first_mut() else { return Some(last) };
        let node = std::mem::replace(first, last);
        self.sink(0);
        Some(node)
    }

    fn rise(&mut self, mut i: usize) {
        let node = self.heap[i];
        while i > 0 {
            let parent = (i - 1) / ARITY;
            if !node.before(&self.heap[parent]) {
                break;
            }
            self.heap[i] = self.heap[parent];
            i = parent;
        }
        self.heap[i] = node;
    }

    fn sink(&mut self, mut i: usize) {
        let Some(&node) = self.heap.get(i) else { return };
        loop {
            let first = i * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) = children.reduce(|a, b| if self.heap[b].before(&self.heap[a]) { b } else { a }) else {
                break;
            };
            if !self.heap[least].before(&node) {
                break;
            }
            self.heap[i] = self.heap[least];
            i = least;
        }
        self.heap[i] = node;
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
        assert!(q.is_empty() && q.heap.len() < 2048 && q.slots.len() < 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Against a sorted map that knows nothing of heaps.
        #[test]
        fn agrees_with_a_sorted_map(ops in prop::collection::vec((0u8..4, 0u64..50), 0..2000)) {
            let mut q = Queue::default();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            for (n, (op, x)) in ops.into_iter().enumerate() {
                match op {
                    0 | 1 => {
                        keys.push((q.push(SimTime(x), n), (x, n)));
                        model.insert((x, n), n);
                    }
                    2 if !keys.is_empty() => {
                        let (key, at) = keys.swap_remove(x as usize % keys.len());
                        prop_assert_eq!(q.cancel(key), model.remove(&at));
                    }
                    _ => {
                        let due = model.first_key_value().filter(|(k, _)| k.0 <= x).map(|(k, v)| (*k, *v));
                        let got = q.pop_due(SimTime(x));
                        prop_assert_eq!(got, due.map(|(k, v)| (SimTime(k.0), v)));
                        due.map(|(k, _)| model.remove(&k));
                    }
                }
                prop_assert_eq!(q.len(), model.len());
            }
        }
    }
}
