//! The looks at the register that are under way.

use crate::sync::Looks;

pub(super) static LOOKS: Looks = Looks::new();

/// Waits until no look is under way. While the guard is kept, no region is held by a snapshot alone.
#[cfg(feature = "testing")]
#[must_use = "looks go on when it is dropped"]
pub(in crate::region) fn without_looks() -> impl Sized {
    LOOKS.keep_out()
}
