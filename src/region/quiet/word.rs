//! The two words by which most questions end: the epoch in which a region was found quiet, and whether a region was ever
//! entered in it. They know no region.

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// The value in a region that was cancelled or stopped itself, or has times that no run watches: no epoch.
const NEVER: u64 = u64::MAX;
/// The value in a region that has been entered, and in which no look has found anything since.
const ENTERED_UNSEEN: u64 = u64::MAX - 1;

/// The epoch in which a look found no cancellation. Every change is a read-modify-write, so changes are totally ordered
/// (invariant 3 of `quiet`).
pub(in crate::region) struct Quiet(AtomicU64);

impl Quiet {
    pub(in crate::region) fn new() -> Self {
        Quiet(AtomicU64::new(0))
    }

    #[inline]
    pub(in crate::region) fn is_in(&self, epoch: u64) -> bool {
        self.0.load(Ordering::Acquire) == epoch
    }

    /// The word before a look, for [`mark`](Quiet::mark).
    pub(in crate::region) fn seen(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Marks the region as quiet in the epoch `now`, after a look that began when the word was `before`, unless it is never
    /// quiet again or `is_asked` returns `true`.
    ///
    /// Does not overwrite a mark that came after the look began: T1 looks at a region and finds nothing; T2 cancels it, and
    /// marks it as never quiet; T1 marks it as quiet.
    pub(in crate::region) fn mark(&self, before: u64, now: u64, is_asked: impl FnOnce() -> bool) {
        if before != NEVER && !is_asked() {
            let _ = self.0.compare_exchange(before, now, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The region is never quiet again. A [`mark`](Quiet::mark) comes before this one or fails.
    pub(in crate::region) fn end(&self) {
        self.0.swap(NEVER, Ordering::AcqRel);
    }

    /// The region has been entered. Returns whether a look may have found it quiet before.
    ///
    /// T1 reads the word, looks, and finds nothing around the region; T2 enters it in a cancelled region, and calls this; T1
    /// marks it as quiet. That mark comes either before this exchange, which then finds it, or after, and then it fails.
    pub(in crate::region) fn enter(&self) -> bool {
        let unseen = |before: u64| (before != NEVER).then_some(ENTERED_UNSEEN);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, unseen) != Ok(0)
    }
}

/// Whether a region was ever entered in this one.
pub(in crate::region) struct Encloses(AtomicBool);

impl Encloses {
    pub(in crate::region) fn new() -> Self {
        Encloses(AtomicBool::new(false))
    }

    /// As [`is_so`](Encloses::is_so), as far as this thread knows: another thread may have entered a region meanwhile.
    pub(in crate::region) fn is_known(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// A region is entered in this one.
    pub(in crate::region) fn note(&self) {
        if !self.is_known() {
            self.0.fetch_or(true, Ordering::AcqRel);
        }
    }

    /// Whether a region was ever entered in it, for a thread that has changed this region before.
    ///
    /// T1 cancels this region, and then asks. T2 notes that it enters a region, and then looks whether this one is
    /// cancelled. Both change one word, so the second acquires the first one's changes.
    pub(in crate::region) fn is_so(&self) -> bool {
        self.0.fetch_or(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::Quiet;

    #[test]
    fn the_mark_of_a_look_that_began_before_the_entry_is_found_by_it_or_fails() {
        let (marked, entered) = (Quiet::new(), Quiet::new());
        for (quiet, enters_first) in [(&marked, false), (&entered, true)] {
            let before = quiet.seen();
            assert!(!enters_first || !quiet.enter());
            quiet.mark(before, 1, || false);
            assert!(enters_first || quiet.enter());
            assert!(!quiet.is_in(1));
            // A look that begins now finds the region around.
            quiet.mark(quiet.seen(), 1, || false);
            assert!(quiet.is_in(1));
        }
    }
}
