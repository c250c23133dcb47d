//! The panic of a child whose group isolates panics, until the child's handle shows it.

use crate::failure::ExitFailure;
use crate::region::{Node, record};
use crate::sync::Arc;

/// A panic that nothing has shown yet. If it is dropped before its handle shows it, it goes to the group's record, because
/// the handle was its only one; if the group has ended, to the next record outwards (R15).
pub(crate) struct Unseen {
    group: Arc<Node>,
    /// `None` once it was shown.
    panic: Option<ExitFailure>,
}

impl Unseen {
    pub(super) fn new(group: &Arc<Node>, panic: ExitFailure) -> Self {
        Unseen { group: Arc::clone(group), panic: Some(panic) }
    }

    /// The handle returns it.
    pub(super) fn show(mut self) {
        self.panic = None;
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(panic) = self.panic.take() {
            record::put(&self.group, panic.into());
        }
    }
}
