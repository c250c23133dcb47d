//! The scans of the register that are under way.

use crate::sync::Scans;

pub(super) static SCANS: Scans = Scans::new();

/// Waits until no scan is under way. While the guard is kept, no region is held by a snapshot alone.
#[cfg(feature = "testing")]
#[must_use = "scans go on when it is dropped"]
pub(in crate::region) fn without_scans() -> impl Sized {
    SCANS.keep_out()
}
