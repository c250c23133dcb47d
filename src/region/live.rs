//! The count of live regions, for tests (feature `testing`).

use crate::sync::{Arc, ambient};
use std::cell::OnceCell;

ambient! {
    static MINE: OnceCell<Arc<()>> = OnceCell::new();
}

/// An entry in the count of this thread; `None` if the thread is exiting.
fn counted() -> Option<Arc<()>> {
    MINE.try_with(|mine| Arc::clone(mine.get_or_init(Arc::default))).ok()
}

/// The entry of a region in the count: its draft's until it has a node, which brings its own.
pub(crate) struct LiveEntry(crate::sync::Mutex<Option<Arc<()>>>);

impl LiveEntry {
    pub(crate) fn new() -> Self {
        LiveEntry(crate::sync::Mutex::new(counted()))
    }

    /// Counts a region that was counted through its draft until now.
    pub(crate) fn take_up(&self) {
        let mut entry = self.0.lock();
        *entry = entry.take().or_else(counted);
    }

    pub(crate) fn give_up(&self) {
        let entry = self.0.lock().take();
        drop(entry);
    }
}

/// The number of live regions that were made on this thread: scopes, stacks, groups, tasks, children,
/// and the nodes that handles keep of them, on whichever thread they are. A test that has dropped
/// everything asserts zero.
///
/// Each thread has its own count: tests that run side by side do not disturb each other, and neither does a
/// [snapshot](crate::inspect::snapshot) on another thread. Regions that other threads use as well, such as children
/// on an executor, are gone once those threads have dropped them: join the threads first.
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
    #[cfg(feature = "inspect")]
    let _no_scans = super::register::scans::SCANS.write();
    MINE.try_with(|mine| mine.get().map_or(0, |count| Arc::strong_count(count) - 1)).unwrap_or(0)
}
