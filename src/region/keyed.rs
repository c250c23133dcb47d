//! Values at keys that are used again, in a list: a walk over all of them passes no key without a value.
//!
//! A slab passes each of those. In a scope with 10,000 shields that end one after the other, each poll looks for the first one
//! that is left, and would pass the keys of all that have ended (R19).
//!
//! # Invariants
//!
//! 1. Each entry is in one of two lists: that of the entries with a value, in the order in which the values came, or that of the
//!    entries without one.
//! 2. The key of a value stays the same until the value is removed.

/// No key: the end of a list.
const NONE: u32 = u32::MAX;

pub(super) struct Keyed<T> {
    entries: Vec<KeyedEntry<T>>,
    len: u32,
    first: u32,
    last: u32,
    /// The first entry without a value.
    free: u32,
}

struct KeyedEntry<T> {
    value: Option<T>,
    before: u32,
    next: u32,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Keyed { entries: Vec::new(), len: 0, first: NONE, last: NONE, free: NONE }
    }
}

impl<T> Keyed<T> {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The values, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let entry = |key: u32| self.entries.get(key as usize);
        std::iter::successors(entry(self.first), move |at| entry(at.next))
            .filter_map(|at| at.value.as_ref())
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().filter_map(|entry| entry.value)
    }

    /// Returns the key of the value: that of an entry without one, if there is such an entry (invariant 1).
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let entry = KeyedEntry { value: Some(value), before: self.last, next: NONE };
        let key = self.free;
        let key = match self.entries.get_mut(key as usize) {
            Some(free) => {
                self.free = std::mem::replace(free, entry).next;
                key
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("memory has not so many values")
            }
        };
        *self.next_of(self.last) = key;
        self.last = key;
        self.len += 1;
        key
    }

    /// Removes the value at `key`, if `is_it` holds for it. No other value moves (invariant 2).
    pub(super) fn remove_if(&mut self, key: u32, is_it: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let entry = self.entries.get_mut(key as usize)?;
        let value = entry.value.take_if(is_it)?;
        let (before, next) = (entry.before, std::mem::replace(&mut entry.next, self.free));
        self.free = key;
        self.len -= 1;
        *self.next_of(before) = next;
        match self.entries.get_mut(next as usize) {
            Some(entry) => entry.before = before,
            None => self.last = before,
        }
        Some(value)
    }

    /// The key that follows `key` in the list of values; of `NONE`, the first one.
    fn next_of(&mut self, key: u32) -> &mut u32 {
        match self.entries.get_mut(key as usize) {
            Some(entry) => &mut entry.next,
            None => &mut self.first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_seen_in_the_order_in_which_they_came() {
        let mut all = Keyed::default();
        let keys: Vec<u32> = (0..6).map(|value| all.insert(value)).collect();
        for value in [0, 5, 2] {
            assert_eq!(all.remove_if(keys[value], |_| false), None);
            assert_eq!(all.remove_if(keys[value], |at| *at == value), Some(value));
            assert_eq!(all.remove_if(keys[value], |_| true), None);
        }
        assert_eq!(all.iter().copied().collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(all.insert(6), keys[2], "a key is used again");
        assert_eq!((all.len(), all.iter().copied().collect::<Vec<_>>()), (4, vec![1, 3, 4, 6]));
        for key in [keys[2], keys[1], keys[4], keys[3]] {
            assert!(all.remove_if(key, |_| true).is_some());
        }
        assert_eq!((all.len(), all.iter().next()), (0, None));
        let only = all.insert(7);
        assert_eq!(all.iter().copied().collect::<Vec<_>>(), [7]);
        assert_eq!(all.remove_if(only + 10, |_| true), None);
        assert_eq!(all.into_values().collect::<Vec<_>>(), [7]);
    }
}
