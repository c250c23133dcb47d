//! The failures that were sent to a region, until its run takes them. They know no region.

use crate::failure::{ExitFailure, Failures};

/// The number of failures that a record keeps by default.
const CAP: usize = 1024;

#[derive(Default)]
pub(in crate::region) struct Sent {
    failures: Failures,
    /// The number of failures that the region's record keeps, if it was set.
    cap: Option<usize>,
}

impl Sent {
    pub(super) fn cap(&self) -> usize {
        self.cap.unwrap_or(CAP)
    }

    pub(super) fn default_cap() -> usize {
        CAP
    }

    pub(super) fn set_cap(&mut self, cap: usize) {
        self.cap = Some(cap.max(1));
    }

    /// Adds `failures`; returns the failures over the cap, to be dropped outside the lock.
    #[must_use = "their drop is user code"]
    pub(super) fn add(&mut self, failures: Failures) -> Vec<ExitFailure> {
        self.failures.append(failures);
        self.failures.trim(self.cap())
    }

    /// Keeps failures of a region that is handed back, for its next run.
    pub(in crate::region) fn keep(&mut self, failures: Failures) {
        self.failures.append(failures);
    }

    pub(in crate::region) fn take(&mut self) -> Failures {
        std::mem::take(&mut self.failures)
    }
}
