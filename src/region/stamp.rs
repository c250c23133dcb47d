//! Who entered a region that has no node, where, and whether it has been left, in one word: of two who enter at once
//! one finds all that the other has written, and there is no lock to take (R2).

use crate::places;
use crate::sync::{AtomicU64, Ordering};
use std::panic::Location;

pub(super) struct Stamp(AtomicU64);

const LEFT: u64 = 1;
/// Where the place is, 16 bits, and the task above it.
const PLACE_AT: u32 = 1;
const TASK_AT: u32 = PLACE_AT + u16::BITS;

/// An entry that does not fit: the region's node tells of it.
const ELSEWHERE: Entry = Entry(!LEFT);

/// Who enters, and where.
#[derive(Clone, Copy)]
pub(super) struct Entry(u64);

impl Entry {
    /// `None` where one of the two does not fit: after 140,000,000,000,000 tasks, or 65,535 places.
    #[inline]
    pub(super) fn of(task: u64, at: &'static Location<'static>) -> Option<Entry> {
        let place = u64::from(places::number(at));
        let fits = place != 0 && task < (ELSEWHERE.0 >> TASK_AT);
        fits.then_some(Entry((task << TASK_AT) | (place << PLACE_AT)))
    }

    pub(super) fn or_elsewhere(entry: Option<Entry>) -> Entry {
        entry.unwrap_or(ELSEWHERE)
    }

    fn read(word: u64) -> Option<(&'static Location<'static>, u64)> {
        let place = (word >> PLACE_AT) & u64::from(u16::MAX);
        if word & !LEFT == ELSEWHERE.0 {
            return None;
        }
        Some((places::place(u16::try_from(place).ok()?)?, word >> TASK_AT))
    }
}

impl Stamp {
    #[inline]
    pub(super) fn new() -> Self {
        Stamp(AtomicU64::new(0))
    }

    /// `false` where somebody has entered before.
    #[inline]
    pub(super) fn enter(&self, entry: Entry) -> bool {
        self.0.compare_exchange(0, entry.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Where it was entered, and by which task, 0 where that is not known. `None` before, and where its node tells.
    pub(super) fn entry(&self) -> Option<(&'static Location<'static>, u64)> {
        Entry::read(self.0.load(Ordering::Acquire))
    }

    /// Notes that the region is left.
    #[inline]
    pub(super) fn leave(&self) {
        self.0.fetch_or(LEFT, Ordering::AcqRel);
    }

    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire) & LEFT != 0
    }

    /// As [`has_left`](Stamp::has_left), for one who has put something where who leaves looks: of two who change one
    /// word the second finds what the first has done. Either this finds that the region was left, or who leaves it
    /// finds what was put there.
    pub(super) fn has_left_or_will_look(&self) -> bool {
        self.0.fetch_or(0, Ordering::AcqRel) & LEFT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Stamp};
    use std::panic::Location;

    #[test]
    fn what_is_written_is_read_and_the_first_one_counts() {
        let at = Location::caller();
        let stamp = Stamp::new();
        assert!(stamp.entry().is_none() && !stamp.has_left());
        assert!(stamp.enter(Entry::of(7, at).unwrap()));
        assert!(!stamp.enter(Entry::of(8, at).unwrap()));
        assert_eq!(stamp.entry(), Some((at, 7)));
        stamp.leave();
        assert!(stamp.has_left() && stamp.has_left_or_will_look());
        assert_eq!(stamp.entry(), Some((at, 7)));
        assert!(!stamp.enter(Entry::of(8, at).unwrap()));
    }

    #[test]
    fn what_does_not_fit_is_for_the_node_to_tell() {
        let at = Location::caller();
        let largest = (1 << 47) - 2;
        assert_eq!(Entry::read(Entry::of(largest, at).unwrap().0), Some((at, largest)));
        assert!(Entry::of(largest + 1, at).is_none() && Entry::of(u64::MAX, at).is_none());
        let stamp = Stamp::new();
        assert!(stamp.enter(Entry::or_elsewhere(None)) && !stamp.enter(Entry::of(8, at).unwrap()));
        stamp.leave();
        assert!(stamp.entry().is_none() && stamp.has_left());
    }
}
