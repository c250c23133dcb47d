//! The book of a group: what went wrong, in the order in which it did (R15).

use super::gate::Gate;
use crate::failure::{Cause, ExitFailure};
use crate::identity::TaskId;
use crate::reason::{Reason, ReasonKind};
use crate::region::Node;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::unwind::{self, Payload};
use std::panic::Location;

/// Shared with every child. It knows nothing of what in-task children borrow, so that an executor child
/// can hold it.
pub(super) struct Ledger<E> {
    pub(super) node: Arc<Node>,
    pub(super) gate: Arc<Gate>,
    keep_going: AtomicBool,
    book: Mutex<Book<E>>,
}

struct Book<E> {
    /// Real errors, in the order in which they completed.
    causes: Vec<Cause<E>>,
    panic: Option<Payload>,
}

impl<E> Ledger<E> {
    pub(super) fn new(node: Arc<Node>) -> Arc<Self> {
        Arc::new(Ledger {
            node,
            gate: Arc::default(),
            keep_going: AtomicBool::new(false),
            book: Mutex::new(Book { causes: Vec::new(), panic: None }),
        })
    }

    pub(super) fn keep_going(&self) {
        self.keep_going.store(true, Ordering::Relaxed);
    }

    /// Records a real error. The first one cancels everybody else, unless the group keeps going (R17).
    pub(super) fn fail(&self, cause: Cause<E>, by: Option<TaskId>, at: &'static Location<'static>) {
        self.book.lock().causes.push(cause);
        if !self.keep_going.load(Ordering::Relaxed) {
            self.cancel(by, at);
        }
    }

    /// Records a panic, which always cancels the others: it goes on when they have left (R15).
    pub(super) fn panicked(
        &self,
        payload: Payload,
        by: Option<TaskId>,
        at: &'static Location<'static>,
    ) {
        let later = {
            let mut book = self.book.lock();
            match book.panic {
                None => {
                    book.panic = Some(payload);
                    None
                }
                Some(_) => Some(payload),
            }
        };
        if let Some(payload) = later {
            // The first one takes the record's place, so this one goes to the next record outwards.
            let message = unwind::message(&payload);
            self.node.send_failures(vec![ExitFailure::Panicked { registered_at: at, message }]);
        }
        self.cancel(by, at);
    }

    fn cancel(&self, by: Option<TaskId>, at: &'static Location<'static>) {
        self.node.cancel(Reason::new(ReasonKind::SiblingFailed, None, by, Some(at)));
    }

    /// Everything that went wrong, when the last child has left.
    pub(super) fn settle(&self) -> (Vec<Cause<E>>, Option<Payload>) {
        let mut book = self.book.lock();
        (std::mem::take(&mut book.causes), book.panic.take())
    }
}
