//! The ambient context: which region polls on this thread.
//!
//! A swap on the way in, a swap on the way out, undone on unwind too. It is set while polling and while
//! dropping; at any other time nothing is current (R5).

use super::Node;
use crate::sync::{Arc, ambient};
use std::cell::RefCell;

pub(crate) struct Ambient {
    node: Option<Arc<Node>>,
    /// Whether an exit runs: what it enters is shielded from what cancelled its home (R14).
    in_exit: bool,
    /// Whether a shield was polled, and is still up, since the region was made current (R12).
    shield: bool,
}

ambient! {
    static CURRENT: RefCell<Ambient> =
        RefCell::new(Ambient { node: None, in_exit: false, shield: false });
}

/// Runs `user_code` with the region in `slot` current, and puts the region back into `slot`.
///
/// The region moves into the thread-local and the former one takes its place in `slot`, so that no
/// reference is counted. Where the thread-local is gone already (a thread's own destruction), the code
/// runs with nothing current.
pub(crate) fn within<R>(
    slot: &mut Option<Arc<Node>>,
    in_exit: bool,
    user_code: impl FnOnce() -> R,
) -> R {
    let installed = CURRENT.try_with(|current| swap(&mut current.borrow_mut(), slot, in_exit)).ok();
    let _restore = Restore { slot, in_exit: installed };
    user_code()
}

fn swap(current: &mut Ambient, slot: &mut Option<Arc<Node>>, in_exit: bool) -> bool {
    std::mem::swap(&mut current.node, slot);
    std::mem::replace(&mut current.in_exit, in_exit)
}

/// As [`within`], for a body: tells too whether a shield inside it was polled and holds.
pub(crate) fn poll_within<R>(
    slot: &mut Option<Arc<Node>>,
    user_code: impl FnOnce() -> R,
) -> (R, bool) {
    watch_shields(|| within(slot, false, user_code))
}

/// Runs `poll`, and tells whether a shield inside it was polled and holds. Whoever goes on to be pending
/// says so to what is around it, with [`hold_shield`].
pub(crate) fn watch_shields<R>(poll: impl FnOnce() -> R) -> (R, bool) {
    let before = set_shield(false);
    let polled = poll();
    (polled, set_shield(before))
}

/// A shield in what is being polled holds: nothing around it may be dropped by a cancellation in this poll.
pub(crate) fn hold_shield() {
    set_shield(true);
}

fn set_shield(up: bool) -> bool {
    CURRENT.try_with(|c| std::mem::replace(&mut c.borrow_mut().shield, up)).unwrap_or(false)
}

struct Restore<'a> {
    slot: &'a mut Option<Arc<Node>>,
    /// What `in_exit` was before; `None` where nothing was installed.
    in_exit: Option<bool>,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.in_exit {
            let slot = &mut *self.slot;
            // A thread's destruction may have begun meanwhile; then there is nothing to restore.
            let _ = CURRENT.try_with(|current| swap(&mut current.borrow_mut(), slot, before));
        }
    }
}

/// Looks at the current region and whether an exit runs in it. `look` must not run user code.
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&Arc<Node>>, bool) -> R) -> R {
    let mut look = Some(look);
    let seen = CURRENT.try_with(|current| {
        let current = current.borrow();
        look.take().map(|look| look(current.node.as_ref(), current.in_exit))
    });
    match (seen, look) {
        (Ok(Some(seen)), _) => seen,
        (_, Some(look)) => look(None, false),
        _ => unreachable!("`look` is taken only where its result is returned"),
    }
}
