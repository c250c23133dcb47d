//! How a body ends.

use crate::reason::Reason;
use crate::wrong_task::WrongTask;

/// How a body ended.
pub(crate) enum Ended {
    /// The body has a value.
    Value,
    /// The frame has the panic; see [`take_panic`](super::Frame::take_panic).
    Panicked,
    Cancelled(Reason),
    /// Polled by a task that does not own the region: the region is abandoned (R2). The body has a value if it had
    /// ended already.
    Misplaced(Box<WrongTask>),
}

impl Ended {
    /// The reason why there is no value, if the body was cancelled or its run was polled by another task.
    pub(crate) fn into_reason(self) -> Option<Reason> {
        match self {
            Ended::Cancelled(reason) => Some(reason),
            Ended::Misplaced(wrong) => Some(Reason::misplaced(wrong)),
            Ended::Value | Ended::Panicked => None,
        }
    }
}
