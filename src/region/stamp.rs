//! The owner and the place of a region that has no node, and whether it has been left, in one atomic word. If two
//! threads enter at once, the second reads the complete entry of the first, and no lock is needed (R2).
//!
//! # Invariants
//!
//! 1. The word is 0 before the entry. One exchange of it enters the region, so the first of several threads enters, and the
//!    others read the owner there.
//! 2. A thread that leaves the region and a thread that stores a node for it both change the word by a read-modify-write, and
//!    look for the other's work after that. So the later of the two finds it.

use crate::identity::Identity;
use crate::places::{self, Place};
use crate::sync::{AtomicU64, Ordering};

pub(super) struct Stamp(AtomicU64);

const LEFT: u64 = 1;
/// The number is that of the runtime's task: for a root, which may move with its future (R5).
const RUNTIMES: u64 = 1 << 1;
/// The place has 16 bits from here on, and the task the bits above.
const PLACE_AT: u32 = 2;
const TASK_AT: u32 = PLACE_AT + u16::BITS;

/// The word of a region with an owner or a place that does not fit. It only says that the region was entered; the node has
/// owner and place, once the node is entered.
const ELSEWHERE: Signature = Signature(!(LEFT | RUNTIMES));

/// The owner that enters, and the place.
#[derive(Clone, Copy)]
pub(super) struct Signature(u64);

impl Signature {
    /// `None` if one of the two does not fit: after 70,000,000,000,000 tasks, or 65,535 places.
    #[inline]
    pub(super) fn of(who: Identity, at: Place) -> Option<Signature> {
        let place = u64::from(places::number(at));
        let (task, kind) = if who.runtime == 0 { (who.task, 0) } else { (who.runtime, RUNTIMES) };
        let fits = place != 0 && task < (ELSEWHERE.0 >> TASK_AT);
        fits.then_some(Signature((task << TASK_AT) | (place << PLACE_AT) | kind))
    }

    pub(super) fn or_elsewhere(signature: Option<Signature>) -> Signature {
        signature.unwrap_or(ELSEWHERE)
    }

    fn read(word: u64) -> Option<(Place, Identity)> {
        if word & !LEFT == ELSEWHERE.0 {
            return None;
        }
        let place = (word >> PLACE_AT) & u64::from(u16::MAX);
        let (place, number) = (places::place(u16::try_from(place).ok()?)?, word >> TASK_AT);
        let who = match word & RUNTIMES {
            0 => Identity { task: number, runtime: 0 },
            _ => Identity { task: 0, runtime: number },
        };
        Some((place, who))
    }
}

impl Stamp {
    #[inline]
    pub(super) fn new() -> Self {
        Stamp(AtomicU64::new(0))
    }

    /// `false` if the region was entered before (invariant 1).
    #[inline]
    pub(super) fn enter(&self, who: Signature) -> bool {
        self.0.compare_exchange(0, who.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes the entry back: the region will be entered with a node.
    #[cold]
    pub(super) fn take_back(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// The place where the region was entered, and the owner. `None` before the entry, and if only the node has them.
    pub(super) fn owner(&self) -> Option<(Place, Identity)> {
        Signature::read(self.0.load(Ordering::Acquire))
    }

    /// Records that the region is left.
    #[inline]
    pub(super) fn leave(&self) {
        self.0.fetch_or(LEFT, Ordering::AcqRel);
    }

    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire) & LEFT != 0
    }

    /// As [`has_left`](Stamp::has_left), for a thread that has just stored a node in the draft: either `leave` came first, and
    /// this returns `true`; or `leave` comes later, acquires the store, and its thread finds the node (invariant 2).
    pub(super) fn has_left_or_will_find_node(&self) -> bool {
        self.0.fetch_or(0, Ordering::AcqRel) & LEFT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Signature, Stamp};
    use crate::identity::Identity;
    use std::panic::Location;

    fn task(task: u64) -> Identity {
        Identity { task, runtime: 0 }
    }

    #[test]
    fn what_is_written_is_read_and_the_first_one_counts() {
        let at = Location::caller();
        for who in [task(7), Identity { task: 0, runtime: 7 }] {
            let stamp = Stamp::new();
            assert!(stamp.owner().is_none() && !stamp.has_left());
            assert!(stamp.enter(Signature::of(who, at).unwrap()));
            assert!(!stamp.enter(Signature::of(task(8), at).unwrap()));
            assert_eq!(stamp.owner(), Some((at, who)));
            stamp.leave();
            assert!(stamp.has_left() && stamp.has_left_or_will_find_node());
            assert_eq!(stamp.owner(), Some((at, who)));
            assert!(!stamp.enter(Signature::of(task(8), at).unwrap()));
        }
    }

    #[test]
    fn what_does_not_fit_is_for_the_node_to_tell() {
        let at = Location::caller();
        let largest = (1 << 46) - 2;
        let who = [task(largest), Identity { task: 0, runtime: largest }];
        for who in who {
            assert_eq!(Signature::read(Signature::of(who, at).unwrap().0), Some((at, who)));
        }
        assert!(Signature::of(task(largest + 1), at).is_none());
        assert!(Signature::of(Identity { task: 1, runtime: u64::MAX }, at).is_none());
        let stamp = Stamp::new();
        assert!(stamp.enter(Signature::or_elsewhere(None)));
        assert!(!stamp.enter(Signature::of(task(8), at).unwrap()));
        stamp.leave();
        assert!(stamp.owner().is_none() && stamp.has_left());
    }
}
