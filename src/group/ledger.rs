//! The ledger of a group: its errors and panics, in the order in which they happened (R15,
//! R17).
//!
//! # Invariants
//!
//! 1. An error is in the book before the cancellation that it causes is requested, so the first error stays primary.
//! 2. After the book is settled, or after the group was abandoned, it keeps no error: a later error goes to the next record
//!    outwards.
//! 3. An outcome is in each stream of results before the child is counted out, and the readers are woken after that.
//! 4. No other lock is taken while the book is locked, and no error is dropped under it (R18).

use super::gate::{ABANDONED, Core, FIRST_WINS, Gate, ISOLATES, ONE, READ};
use super::results::{Channel, Outcome};
use super::side::Unseen;
use super::turns::Turn;
use crate::failure::{Cause, Failures};
use crate::identity::TaskId;
use crate::reason::{Reason, ReasonKind};
use crate::region::owner;
use crate::region::record;
use crate::region::request;
use crate::region::{Caught, Errors, Node};
use crate::sync::{Arc, Mutex, Once, Weak};
use crate::unwind::{self, Payload};
use std::panic::Location;

/// The state that a group shares with its `run` and its executor children; an in-task child gets it in each poll. The group
/// has one ledger of its own, and spawners and executor children have others with the same node, gate and book. Its type does
/// not name the lifetime that in-task children borrow, so that an executor child can hold it.
pub(crate) struct Ledger<E> {
    pub(super) node: Arc<Node>,
    pub(crate) gate: Arc<Core>,
    /// Shared by all ledgers of the group; made when there is more than one, or something to record.
    book: Once<Arc<Mutex<Book<E>>>>,
}

struct Book<E> {
    policy: Policy,
    /// The errors as far as the cap, the number of the errors after it, and the first panic.
    errors: Errors<E>,
    /// Whether a child has returned `Ok` under the policy `FirstSuccess`.
    succeeded: bool,
    /// Whether the group has settled its errors: a later error goes to the next record outwards.
    settled: bool,
    /// The open streams of results.
    channels: Vec<Weak<Channel>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    FailFast,
    KeepGoing,
    StopFirst,
    FirstSuccess,
}

impl<E> Ledger<E> {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let gate = Core::new(Gate::new(&node));
        Ledger { node, gate, book: Once::new() }
    }

    /// Another ledger of the same group.
    pub(super) fn share(&self) -> Self {
        let book = Once::new();
        book.fill(Arc::clone(self.book()));
        Ledger { node: Arc::clone(&self.node), gate: Arc::clone(&self.gate), book }
    }

    fn book(&self) -> &Arc<Mutex<Book<E>>> {
        let new = || Book {
            policy: Policy::FailFast,
            errors: Errors::new(),
            succeeded: false,
            settled: false,
            channels: Vec::new(),
        };
        self.book.get().unwrap_or_else(|| self.book.fill(Arc::new(Mutex::new(new()))))
    }

    pub(crate) fn set_policy(&self, policy: Policy) {
        self.gate.raise(if policy == Policy::FirstSuccess { FIRST_WINS } else { 0 });
        self.book().lock().policy = policy;
    }

    pub(crate) fn isolate_panics(&self) {
        self.gate.raise(ISOLATES);
    }

    pub(super) fn open_channel(&self) -> Arc<Channel> {
        let channel = Arc::new(Channel::default());
        let mut book = self.book().lock();
        book.channels.retain(|channel| channel.strong_count() > 0);
        book.channels.push(Arc::downgrade(&channel));
        drop(book);
        self.gate.raise(READ);
        channel
    }

    /// Records a real error. The first error cancels the other children and the body under the policy `FailFast`, and
    /// asks them to wind down under `StopFirst` (R17).
    pub(super) fn fail(&self, cause: Cause<E>, by: Option<TaskId>, at: &'static Location<'static>) {
        let from_body = matches!(cause, Cause::Body(_));
        let cap = record::cap(&self.node);
        let (policy, over, settled) = {
            let mut book = self.book().lock();
            // The body's error counts even if a child succeeds, while the children's errors may turn out to be no
            // failures. So it is stored beyond the cap.
            let beyond = from_body && book.policy == Policy::FirstSuccess;
            let over = if book.errors.len() < cap || beyond {
                book.errors.push(cause, at);
                None
            } else {
                book.errors.omitted += 1;
                Some(cause)
            };
            (book.policy, over, book.settled)
        };
        // After the lock (invariant 4).
        if let Err(payload) = unwind::catch(|| drop(over)) {
            self.panicked(payload, by.clone(), at);
        }
        // After the error was stored (invariant 1).
        match policy {
            Policy::FailFast => self.cancel(by, at),
            Policy::FirstSuccess if from_body => self.cancel(by, at),
            Policy::StopFirst => self.stop(by, at),
            Policy::KeepGoing | Policy::FirstSuccess => {}
        }
        // Invariant 2.
        self.settle_outwards_if(settled || self.is_abandoned());
    }

    /// A child has returned `Ok`.
    pub(super) fn succeed(&self, child: impl FnOnce() -> TaskId, at: &'static Location<'static>) {
        if !self.gate.has(FIRST_WINS) {
            return;
        }
        let first = {
            let mut book = self.book().lock();
            let first = book.policy == Policy::FirstSuccess && !book.succeeded;
            book.succeeded |= first;
            first
        };
        if first {
            let message = Some("another child succeeded first".into());
            let by = Some(child());
            request::cancel_below(
                &self.node,
                Reason::new(ReasonKind::Requested, message, by, Some(at)),
            );
        }
    }

    /// Records a panic, which always cancels the body and the other children. The first panic is resumed when they
    /// have left (R15).
    pub(super) fn panicked(
        &self,
        payload: Payload,
        by: Option<TaskId>,
        at: &'static Location<'static>,
    ) {
        let caught = Caught::of(by.clone(), payload, at);
        let later = {
            let mut book = self.book().lock();
            match book.errors.panic {
                None => {
                    book.errors.panic = Some(caught);
                    None
                }
                Some(_) => Some(caught),
            }
        };
        // The first panic is resumed in place of the record, so this one goes to the next record outwards.
        record::send_panic(&self.node, later);
        self.cancel(by, at);
        self.settle_outwards_if(self.is_abandoned());
    }

    /// A child has panicked. An isolated panic is returned, for the child's handle; dropped, it goes to the group's record.
    pub(super) fn child_panicked(
        &self,
        payload: Payload,
        by: TaskId,
        at: &'static Location<'static>,
    ) -> Option<Unseen> {
        if !self.gate.has(ISOLATES) {
            self.panicked(payload, Some(by), at);
            return None;
        }
        Some(Unseen::new(&self.node, Caught::of(Some(by), payload, at).into_failure()))
    }

    /// The body has panicked: the group's frame keeps the panic.
    pub(super) fn body_panicked(&self, at: &'static Location<'static>) {
        self.cancel(owner::id(&self.node), at);
    }

    /// Records the panic of a child's drop, after the group's last poll. Such a panic is reported and not resumed.
    pub(super) fn dropped_loudly(&self, payload: Payload, at: &'static Location<'static>) {
        record::send_panic(&self.node, Caught::of(owner::id(&self.node), payload, at));
        self.cancel(None, at);
    }

    fn cancel(&self, by: Option<TaskId>, at: &'static Location<'static>) {
        request::cancel(&self.node, Reason::new(ReasonKind::SiblingFailed, None, by, Some(at)));
    }

    fn stop(&self, by: Option<TaskId>, at: &'static Location<'static>) {
        let reason = Reason::new(ReasonKind::SiblingFailed, None, by, Some(at));
        unwind::discard(request::stop(&self.node, reason));
    }

    /// The errors and the panic of the group, when the last child has left. A group without a book has none, and no child or
    /// `Start` that could still record one.
    pub(super) fn settle(&self) -> Errors<E> {
        let Some(book) = self.book.get() else { return Errors::new() };
        let (mut errors, succeeded) = {
            let mut book = book.lock();
            book.settled = true;
            (std::mem::replace(&mut book.errors, Errors::new()), book.succeeded)
        };
        if succeeded {
            // If another child succeeded, the errors of children are no failures of the group.
            self.drop_errors(errors.take_of_children());
        }
        errors
    }

    /// Whether `run` was dropped, for a thread that has recorded an error. Not by a load: T1 drops the run, and finds no book;
    /// T2, which was admitted before, makes the book; the child of T2 fails. Both T1 and the child change one word, so the
    /// child finds the mark of T1, or T1 finds the book.
    fn is_abandoned(&self) -> bool {
        self.gate.raise(0) & ABANDONED != 0
    }

    /// Whether the outcome has a panic or a real error.
    pub(super) fn has_failed(&self) -> bool {
        let Some(book) = self.book.get() else { return false };
        let book = book.lock();
        let counts = |cause| !(book.succeeded && matches!(cause, &Cause::Child { .. }));
        book.errors.panic.is_some() || book.errors.causes().any(counts)
    }

    /// Drops errors that no record contains. The panics of their drops go outwards as failures.
    fn drop_errors(&self, errors: Errors<E>) {
        let mut failures = Failures::default();
        errors.drop_each(|cause, at| {
            if let Err(payload) = unwind::catch(|| drop(cause)) {
                failures.push(Caught::of(owner::id(&self.node), payload, at).into_failure());
            }
        });
        record::send(&self.node, failures);
    }

    /// The failures of a group with a dropped `run` go to the next record outwards, because its own is gone, and so do
    /// errors that come after the group has settled its own. A panic goes to the region that waits for the children, if
    /// there is one (R15).
    pub(super) fn settle_outwards_if(&self, over: bool) {
        if !over {
            return;
        }
        let mut errors = self.settle();
        let mut failures = errors.unclaimed(&self.node);
        let panic = errors.panic.take().and_then(|panic| self.gate.panics(panic).err());
        failures.first.extend(panic.map(Caught::into_failure));
        record::send(&self.node, failures);
        self.drop_errors(errors);
    }

    /// Counts one more child, unless the group has closed.
    #[inline(always)]
    pub(super) fn admit(&self) -> bool {
        self.gate.admit(ONE) || self.turned_away()
    }

    #[cold]
    fn turned_away(&self) -> bool {
        // A reader of the results may have seen the count with this child, and be waiting
        // for it to end.
        self.channels().iter().for_each(|channel| channel.wake());
        false
    }

    /// A child has left: it is counted out, and the readers of the results are woken.
    pub(super) fn sign_out(
        &self,
        child: impl FnOnce() -> TaskId,
        outcome: Outcome,
        turn: Turn,
        number: u64,
    ) {
        // Before the count (invariant 3).
        if self.gate.has(READ) {
            let task = child();
            for channel in self.channels() {
                channel.push(task.clone(), outcome.clone());
            }
        }
        if self.gate.left(turn, number) {
            // Woken after the count, because a reader that finds no outcome decides by the count whether to wait. The
            // channels are read anew, because a reader may have come since the first reading.
            self.channels().iter().for_each(|channel| channel.wake());
        }
    }

    fn channels(&self) -> Vec<Arc<Channel>> {
        let Some(book) = self.book.get() else { return Vec::new() };
        book.lock().channels.iter().filter_map(Weak::upgrade).collect()
    }
}
