//! How many regions live, for tests (feature `testing`).

use crate::sync::{Arc, ambient};
use std::cell::OnceCell;

ambient! {
    static MINE: OnceCell<Arc<()>> = OnceCell::new();
}

/// One region's entry in the count of the thread that made it.
pub(crate) struct Census {
    _entry: Option<Arc<()>>,
}

impl Census {
    pub(crate) fn new() -> Self {
        let entry = MINE.try_with(|mine| Arc::clone(mine.get_or_init(Arc::default))).ok();
        Census { _entry: entry }
    }
}

/// The entry of a region that has no node yet; given up when it has one, which brings its own.
pub(crate) struct Handover(crate::sync::Mutex<Option<Census>>);

impl Handover {
    pub(crate) fn new() -> Self {
        Handover(crate::sync::Mutex::new(Some(Census::new())))
    }

    pub(crate) fn give_up(&self) {
        drop(self.0.lock().take());
    }
}

/// How many regions that were made on this thread are alive, wherever they are: scopes, stacks, groups,
/// tasks, children, with what handles keep of them. A test that has dropped everything asserts zero.
///
/// # Examples
///
/// ```
/// let scope = moored::CancelScope::new();
/// assert_eq!(moored::testing::live_regions(), 1);
/// drop(scope);
/// assert_eq!(moored::testing::live_regions(), 0);
/// ```
pub fn live_regions() -> usize {
    MINE.try_with(|mine| mine.get().map_or(0, |count| Arc::strong_count(count) - 1)).unwrap_or(0)
}
