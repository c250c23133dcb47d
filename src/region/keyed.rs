//! Values at keys, in the order in which they came. A walk over all of them passes fewer keys without a value than with one.
//!
//! A slab passes every key that it ever had. In a scope with 10,000 shields that end one after the other, each poll looks for the
//! first one that is left, and would pass the keys of all that have ended (R19).
//!
//! # Invariants
//!
//! 1. The keys grow along the list. So a value is found by its key, and a key without a value can be taken out of the list.
//! 2. The key of a value stays the same until the value is removed. A later value may get the same key.

/// The largest key: the owner of a list adds one to it, and has one number for no key.
const LAST: u32 = u32::MAX - 2;

pub(super) struct Keyed<T> {
    entries: Vec<(u32, Option<T>)>,
    /// The number of values.
    len: usize,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Keyed { entries: Vec::new(), len: 0 }
    }
}

impl<T> Keyed<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|(_, value)| value.as_ref())
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().filter_map(|(_, value)| value)
    }

    /// Returns the key of the value.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let next = self.entries.last().map_or(0, |(last, _)| last + 1);
        if next <= LAST {
            self.entries.push((next, Some(value)));
            return next;
        }
        // The first key that is not in the list is the index of the entry in its place (invariant 1).
        let is_free = |(at, key): &(usize, u32)| self.entries[*at].0 != *key;
        let (at, key) = (0..).zip(0..).find(is_free).expect("memory has not so many values");
        self.entries.insert(at, (key, Some(value)));
        key
    }

    /// Removes the value at `key`, if `is_it` holds for it. The other values keep their keys (invariant 2).
    pub(super) fn remove_if(&mut self, key: u32, is_it: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let at = self.entries.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        let value = self.entries[at].1.take_if(is_it)?;
        self.len -= 1;
        if self.len <= self.entries.len() / 2 {
            self.entries.retain(|(_, value)| value.is_some());
        }
        Some(value)
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
        let last = all.insert(6);
        assert_eq!((all.len(), all.iter().copied().collect::<Vec<_>>()), (4, vec![1, 3, 4, 6]));
        for key in [last, keys[1], keys[4], keys[3]] {
            assert!(all.remove_if(key, |_| true).is_some());
        }
        assert_eq!((all.len(), all.iter().next()), (0, None));
        let only = all.insert(7);
        assert_eq!(all.remove_if(only + 10, |_| true), None);
        assert_eq!(all.into_values().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn the_keys_do_not_end() {
        let entries = vec![(0, Some(0)), (1, Some(1)), (LAST, Some(2))];
        let mut all = Keyed { entries, len: 3 };
        let key = all.insert(3);
        assert_eq!(all.iter().copied().collect::<Vec<_>>(), [0, 1, 3, 2]);
        assert_eq!(all.remove_if(key, |value| *value == 3), Some(3));
    }
}
