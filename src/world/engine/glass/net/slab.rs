//! A table whose keys go stale: a slot number and the generation of its tenant.
//!
//! Rule: a key taken before a removal never finds the slot's next tenant. Slots are reused last freed first, so that
//! the same history always gives the same keys.

/// Names one tenant of a [`Slab`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlabKey {
    /// Index of the slot, below 2^30.
    pub slot: u32,
    /// Which of the slot's tenants.
    pub generation: u32,
}

/// Values under stale-proof keys.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Moves `value` in.
    pub fn insert(&mut self, value: T) -> SlabKey {
        match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                place.value = Some(value);
                SlabKey { slot, generation: place.generation }
            }
            None => {
                let slot = self.slots.len() as u32;
                self.slots.push(Slot { generation: 1, value: Some(value) });
                SlabKey { slot, generation: 1 }
            }
        }
    }

    /// The tenant, if it is still there.
    pub fn get(&self, key: SlabKey) -> Option<&T> {
        self.slots.get(key.slot as usize).filter(|s| s.generation == key.generation)?.value.as_ref()
    }

    /// The tenant, if it is still there.
    pub fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        self.slots.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)?.value.as_mut()
    }

    /// Moves the tenant out; its key is stale from now on.
    pub fn remove(&mut self, key: SlabKey) -> Option<T> {
        let place = self.slots.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(value)
    }

    /// Keys of all tenants for which `wanted` holds, by slot.
    pub fn keys_where(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<SlabKey> {
        let tenants = self.slots.iter().enumerate().filter(|(_, s)| s.value.as_ref().is_some_and(&mut wanted));
        tenants.map(|(slot, s)| SlabKey { slot: slot as u32, generation: s.generation }).collect()
    }

    /// Tenants now.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::default();
        let a = slab.insert('a');
        assert_eq!((slab.remove(a), slab.remove(a)), (Some('a'), None));
        let b = slab.insert('b');
        assert_eq!(b.slot, a.slot);
        assert_eq!(slab.get_mut(a), None);
        assert_eq!((slab.get(a), slab.get(b)), (None, Some(&'b')));
        assert_eq!((slab.len(), slab.keys_where(|_| true)), (1, vec![b]));
    }
}
