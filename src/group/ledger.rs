//! The book of a group: what went wrong, in the order in which it did (R15, R17).

use super::gate::{Gate, Turn};
use super::results::{Channel, Outcome};
use crate::failure::{Cause, ExitFailure};
use crate::identity::TaskId;
use crate::reason::{Reason, ReasonKind};
use crate::region::Node;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, Weak};
use crate::unwind::{self, Payload};
use std::panic::Location;

/// Shared with every child. It knows nothing of what in-task children borrow, so that an executor child
/// can hold it.
pub(crate) struct Ledger<E> {
    pub(super) node: Arc<Node>,
    pub(super) gate: Arc<Gate>,
    /// Whether the policy is to end with the first success.
    first_wins: AtomicBool,
    book: Mutex<Book<E>>,
}

struct Book<E> {
    policy: Policy,
    /// Real errors, in the order in which they completed.
    causes: Vec<Cause<E>>,
    cap: usize,
    /// How many errors came after the cap was reached.
    omitted: usize,
    panic: Option<Payload>,
    /// A child has returned `Ok` in a group that waits for the first one.
    succeeded: bool,
    channels: Vec<Weak<Channel>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    FailFast,
    KeepGoing,
    FirstSuccess,
}

/// How a group ended.
pub(super) struct Settled<E> {
    pub(super) causes: Vec<Cause<E>>,
    pub(super) omitted: usize,
    pub(super) panic: Option<Payload>,
}

impl<E> Ledger<E> {
    pub(super) fn new(node: Arc<Node>) -> Arc<Self> {
        Arc::new(Ledger {
            node,
            gate: Arc::new(Gate::new()),
            first_wins: AtomicBool::new(false),
            book: Mutex::new(Book {
                policy: Policy::FailFast,
                causes: Vec::new(),
                cap: 1024,
                omitted: 0,
                panic: None,
                succeeded: false,
                channels: Vec::new(),
            }),
        })
    }

    pub(super) fn set_policy(&self, policy: Policy) {
        self.first_wins.store(policy == Policy::FirstSuccess, Ordering::Relaxed);
        self.book.lock().policy = policy;
    }

    pub(super) fn set_cap(&self, cap: usize) {
        self.book.lock().cap = cap.max(1);
    }

    pub(super) fn open_channel(&self) -> Arc<Channel> {
        let channel = Arc::new(Channel::default());
        let mut book = self.book.lock();
        book.channels.retain(|channel| channel.strong_count() > 0);
        book.channels.push(Arc::downgrade(&channel));
        drop(book);
        self.gate.watch();
        channel
    }

    /// Records a real error. The first one cancels everybody else, unless the policy says otherwise (R17).
    pub(super) fn fail(&self, cause: Cause<E>, by: Option<TaskId>, at: &'static Location<'static>) {
        let from_body = matches!(cause, Cause::Body(_));
        let (policy, over) = {
            let mut book = self.book.lock();
            let over = if book.causes.len() < book.cap {
                book.causes.push(cause);
                None
            } else {
                book.omitted += 1;
                Some(cause)
            };
            (book.policy, over)
        };
        drop(over);
        if policy == Policy::FailFast || (from_body && policy == Policy::FirstSuccess) {
            self.cancel(by, at);
        }
        self.settle_outwards_if_abandoned();
    }

    /// A child has returned `Ok`.
    pub(super) fn succeed(&self, child: impl FnOnce() -> TaskId, at: &'static Location<'static>) {
        if !self.first_wins.load(Ordering::Relaxed) {
            return;
        }
        let first = {
            let mut book = self.book.lock();
            let first = book.policy == Policy::FirstSuccess && !book.succeeded;
            book.succeeded |= first;
            first
        };
        if first {
            let message = Some("another child succeeded first".into());
            let by = Some(child());
            self.node.cancel_below(Reason::new(ReasonKind::Requested, message, by, Some(at)));
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
            self.send_panic(&payload, at);
        }
        self.cancel(by, at);
        self.settle_outwards_if_abandoned();
    }

    fn cancel(&self, by: Option<TaskId>, at: &'static Location<'static>) {
        self.node.cancel(Reason::new(ReasonKind::SiblingFailed, None, by, Some(at)));
    }

    fn send_panic(&self, payload: &Payload, at: &'static Location<'static>) {
        let message = unwind::message(payload);
        self.node.send_failures(vec![ExitFailure::Panicked { registered_at: at, message }]);
    }

    /// Everything that went wrong, when the last child has left.
    pub(super) fn settle(&self) -> Settled<E> {
        let mut book = self.book.lock();
        let mut causes = std::mem::take(&mut book.causes);
        let mut omitted = std::mem::take(&mut book.omitted);
        let panic = book.panic.take();
        let succeeded = book.succeeded;
        drop(book);
        if succeeded {
            // Children that failed before another one succeeded are no failure of the group.
            let (children, rest) =
                causes.into_iter().partition(|c| matches!(c, Cause::Child { .. }));
            causes = rest;
            omitted = 0;
            drop::<Vec<Cause<E>>>(children);
        }
        Settled { causes, omitted, panic }
    }

    /// What went wrong in a group whose `run` was dropped has no record of its own: it goes to the next one
    /// outwards (R15).
    pub(super) fn settle_outwards_if_abandoned(&self) {
        if !self.gate.is_abandoned() {
            return;
        }
        let settled = self.settle();
        let at = self.node.entered_at().unwrap_or_else(|| Location::caller());
        if let Some(payload) = &settled.panic {
            self.send_panic(payload, at);
        }
        let mut failures = Vec::new();
        for cause in &settled.causes {
            let task = match cause {
                Cause::Child { task, .. } => Some(task.clone()),
                Cause::Body(_) => self.node.owner_id(),
                _ => None,
            };
            failures.extend(task.map(|task| ExitFailure::Unclaimed { registered_at: at, task }));
        }
        self.node.send_failures(failures);
        drop(unwind::drop_each(settled.causes));
    }

    /// Counts one more child, unless the group has closed.
    pub(super) fn admit(&self) -> bool {
        let admitted = self.gate.admit();
        if !admitted {
            // Whoever reads the results may have seen it counted.
            self.channels().iter().for_each(|channel| channel.wake());
        }
        admitted
    }

    /// A child has left: it is counted out, and whoever reads the results is told.
    pub(super) fn sign_out(&self, child: impl FnOnce() -> TaskId, outcome: Outcome, turn: &Turn) {
        if self.gate.is_watched() {
            let task = child();
            for channel in self.channels() {
                channel.push(task.clone(), outcome.clone());
            }
        }
        if self.gate.left(turn) {
            // After the count, so that a reader who finds nothing more knows whether anybody is inside: one who has come
            // since the look above, too.
            self.channels().iter().for_each(|channel| channel.wake());
        }
    }

    fn channels(&self) -> Vec<Arc<Channel>> {
        self.book.lock().channels.iter().filter_map(Weak::upgrade).collect()
    }
}
