//! Open files by number. Bounded; numbers are never reused, so a handle that was released names nothing.

use std::collections::BTreeMap;

use super::errno::Errno;

/// Names an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(pub u64);

/// Open files.
#[derive(Debug)]
pub struct Handles<T> {
    open: BTreeMap<HandleId, T>,
    next: u64,
    capacity: usize,
}

impl<T: Clone> Handles<T> {
    /// None open; at most `capacity` at once.
    pub fn new(capacity: usize) -> Self {
        Self { open: BTreeMap::new(), next: 1, capacity }
    }

    /// Adds one; `ENFILE` if there are too many.
    pub fn insert(&mut self, file: T) -> Result<HandleId, Errno> {
        self.room()?;
        let id = HandleId(self.next);
        self.next += 1;
        self.open.insert(id, file);
        Ok(id)
    }

    /// `ENFILE` if one more would be too many.
    pub fn room(&self) -> Result<(), Errno> {
        if self.open.len() >= self.capacity { Err(Errno::ENFILE) } else { Ok(()) }
    }

    /// One of them; `EBADF` if it is not open.
    pub fn get(&self, id: HandleId) -> Result<T, Errno> {
        self.open.get(&id).cloned().ok_or(Errno::EBADF)
    }

    /// Closes it; `EBADF` if it is not open.
    pub fn remove(&mut self, id: HandleId) -> Result<T, Errno> {
        self.open.remove(&id).ok_or(Errno::EBADF)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.open.values()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_released_handle_is_bad_for_ever() {
        let mut handles = Handles::new(2);
        let first = handles.insert("a").unwrap();
        assert_eq!(handles.get(first), Ok("a"));
        assert_eq!(handles.remove(first), Ok("a"));
        let second = handles.insert("b").unwrap();
        assert_ne!(first, second);
        assert_eq!((handles.get(first), handles.remove(first)), (Err(Errno::EBADF), Err(Errno::EBADF)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a list: `Some(i)` closes the `i`-th open one, `None` opens another.
        #[test]
        fn never_more_than_its_capacity(steps in prop::collection::vec(prop::option::of(0usize..5), 0..80)) {
            let mut handles = Handles::new(4);
            let mut model: Vec<(HandleId, usize)> = Vec::new();
            for (step, close) in steps.into_iter().enumerate() {
                match close {
                    None => match handles.insert(step) {
                        Ok(id) => {
                            prop_assert!(model.len() < 4 && model.iter().all(|(other, _)| *other < id));
                            model.push((id, step));
                        }
                        Err(errno) => prop_assert_eq!((errno, model.len()), (Errno::ENFILE, 4)),
                    },
                    Some(i) if i < model.len() => {
                        let (id, file) = model.remove(i);
                        prop_assert_eq!(handles.remove(id), Ok(file));
                    }
                    Some(_) => {}
                }
                prop_assert!(handles.iter().copied().eq(model.iter().map(|(_, file)| *file)));
            }
        }
    }
}
