//! The methods that know no child: settings of a group, the name, the policies, the limits and the times; requests to it, and
//! questions about it.
//!
//! [`TaskGroup`](crate::TaskGroup) and [`local::TaskGroup`](crate::local::TaskGroup) are two types, because the children of
//! the first are `Send`. So a macro defines these methods for both; `in_task` does so for those that spawn.

use super::TaskGroup;
use crate::region::Node;
use crate::sync::Arc;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

macro_rules! common {
    ($group:ident) => {
        impl<E> $group<'_, E> {
            /// Sets the name of the group, for texts.
            pub fn named(self, name: impl Into<String>) -> Self {
                self.node().set_name(name.into());
                self
            }

            /// Lets the children and the body go on when one of them fails: `run` collects all errors (R17).
            ///
            /// A panic is not such a failure: a child that panics cancels the other children and the body under every policy,
            /// and `run` resumes the panic when they have left (R15), unless the group
            /// [isolates panics](TaskGroup::isolate_panics).
            ///
            /// An executor child may end before this is set, if it is spawned before: its failure has cancelled the group then.
            pub fn keep_going(self) -> Self {
                self.shared.ledger.set_policy(crate::group::Policy::KeepGoing);
                self
            }

            /// When a child or the body fails, asks the body and the other children to wind down instead of cancelling them:
            /// the first failure is a [`stop`](TaskGroup::stop) (R13, R17). With a [grace](TaskGroup::grace) the stop becomes a
            /// cancellation when the grace is over.
            ///
            /// ```
            /// use moored::{TaskGroup, stop_requested};
            ///
            /// # futures::executor::block_on(async {
            /// let group: TaskGroup<'_, &str> = TaskGroup::new().stop_on_failure();
            /// let mut flushed = false;
            /// let run = group.run(async {
            ///     group.spawn(async { Err::<(), _>("disk is full") });
            ///     stop_requested().await;
            ///     flushed = true; // by itself, and not dropped in the middle
            ///     Ok(())
            /// });
            /// assert_eq!(run.await.unwrap_err().causes().count(), 1);
            /// assert!(flushed);
            /// # });
            /// ```
            ///
            /// A panic cancels the group under every policy. An executor child may end before this is set, if it is spawned
            /// before: its failure has cancelled the group then.
            pub fn stop_on_failure(self) -> Self {
                self.shared.ledger.set_policy(crate::group::Policy::StopFirst);
                self
            }

            /// Makes a child's panic an error of its handle and not of the group: [`join`](crate::TaskHandle::join) returns
            /// [`ChildError::Panicked`](crate::ChildError::Panicked), [`results`](TaskGroup::results) yields
            /// [`Outcome::Panicked`](crate::Outcome::Panicked), and the other children go on, as with tokio's `JoinHandle`.
            ///
            /// Nothing is masked (R15): if the child's handle is dropped before it has returned the panic, be that before
            /// or after the child ends, and for a child that was [started](TaskGroup::start), the text of the panic is in
            /// the group's failure; if the group has ended, in the next record outwards. A panic of the body is resumed by
            /// the group under every policy.
            ///
            /// In-task children are first polled by `run`, so this holds for all of them. An executor child may panic before this
            /// is set, if it is spawned before: that panic has cancelled the group, and `run` resumes it.
            ///
            /// ```
            /// use moored::{ChildError, TaskGroup};
            ///
            /// # futures::executor::block_on(async {
            /// let group: TaskGroup<'_, ()> = TaskGroup::new().isolate_panics();
            /// let joined = group
            ///     .run(async {
            ///         let broken = group.spawn(async { if true { panic!("a bug") } else { Ok(()) } });
            ///         let sound = group.spawn(async { Ok(7) });
            ///         Ok((broken.join().await, sound.join().await))
            ///     })
            ///     .await;
            /// assert!(matches!(joined.unwrap(), (Err(ChildError::Panicked), Ok(7))));
            /// # });
            /// ```
            pub fn isolate_panics(self) -> Self {
                self.shared.ledger.isolate_panics();
                self
            }

            /// Cancels the other children as soon as a child returns `Ok`. Failures of children are reported only
            /// if none succeeds. The value comes through the child's handle; the body goes on.
            ///
            /// An error of the body cancels the children, and is reported whether a child succeeded or not. A child that panics
            /// cancels the other children and the body, and `run` resumes the panic, even if another child succeeded (R15).
            ///
            /// In-task children are first polled by `run`, so this holds for all of them. An executor child may succeed before
            /// this is set, if it is spawned before: then it has cancelled nobody, and the next success counts as the first. If
            /// it has failed before, it has cancelled the group.
            ///
            /// ```
            /// use moored::TaskGroup;
            ///
            /// # futures::executor::block_on(async {
            /// let group: TaskGroup<'_, &str> = TaskGroup::new().first_success();
            /// let winner = group
            ///     .run(async {
            ///         group.spawn(async { Err::<(), _>("this mirror is down") });
            ///         group.spawn(std::future::pending::<Result<(), _>>());
            ///         Ok(group.spawn(async { Ok("from the third mirror") }).join().await)
            ///     })
            ///     .await;
            /// assert_eq!(winner.unwrap().unwrap(), "from the third mirror");
            /// # });
            /// ```
            #[doc(alias = "select")]
            #[doc(alias = "race")]
            pub fn first_success(self) -> Self {
                self.shared.ledger.set_policy(crate::group::Policy::FirstSuccess);
                self
            }

            /// Lets at most `n` children run at once, at least one. The others wait for their turn in the order of their
            /// spawns, in this task and on executors alike: a child that its executor has not polled yet keeps its place.
            ///
            /// A child that is cancelled while it waits does not wait any more, and does not count: it runs to its first await
            /// at once, so that its own exits are in place (R16), beside the `n` that have their turn. In a cancelled group
            /// that is every waiting child. A limit bounds the work of a group, not its clean-up.
            ///
            /// In-task children are first polled by `run`, so the limit holds for all of them. An executor child may be polled
            /// before the limit is set, if it is spawned before: then it has no turn, and does not count among the `n`.
            pub fn limit(self, n: usize) -> Self {
                self.shared.ledger.gate.turns.set_limit(n);
                self
            }

            /// Keeps at most `n` errors and failures of exits, at least one, and counts the rest (R15). The default is 1024.
            pub fn max_causes(self, n: usize) -> Self {
                crate::region::record::set_cap(self.node(), n);
                self
            }

            /// Cancels the group at `at`: the body and every child, also those that are spawned later. Of two deadlines the
            /// earlier one counts.
            ///
            /// It counts until the last child has left. If the body has ended by then and the children leave cleanly, `run` is
            /// `Ok` all the same (R15); the group's [handle](TaskGroup::handle) has the reason.
            pub fn deadline(self, at: Instant) -> Self {
                crate::region::time::add_deadline(self.node(), at);
                self
            }

            /// Cancels the group when it has been entered for `timeout`; see [`deadline`](TaskGroup::deadline). If the end is
            /// beyond the last instant that a clock can represent, there is no deadline.
            pub fn timeout(self, timeout: Duration) -> Self {
                crate::region::time::set_timeout(self.node(), timeout);
                self
            }

            /// The time that a request to [stop](TaskGroup::stop) may last before it becomes a cancellation, for the same
            /// reason (R13). For a [shielded](TaskGroup::shielded) group it is also the time that the shield holds against a
            /// cancellation from outside (R12). Errors of the children are in the group's failure in both phases.
            ///
            /// ```
            /// use moored::{Cause, TaskGroup, stop_requested};
            /// use std::time::Duration;
            ///
            /// # futures::executor::block_on(async {
            /// let group: TaskGroup<'_, &str> =
            ///     TaskGroup::new().keep_going().grace(Duration::from_millis(5));
            /// let failure = group
            ///     .run(async {
            ///         group.spawn(async {
            ///             stop_requested().await;
            ///             Err::<(), _>("disk is full")
            ///         });
            ///         group.spawn(std::future::pending::<Result<(), _>>()); // hears of no stop
            ///         group.stop();
            ///         Ok(())
            ///     })
            ///     .await
            ///     .unwrap_err();
            /// assert!(matches!(failure.cause(), Cause::Child { error: "disk is full", .. }));
            /// # });
            /// ```
            pub fn grace(self, grace: Duration) -> Self {
                crate::region::time::set_grace(self.node(), grace);
                self
            }

            /// Shields the body and the children, in the task and on executors, from cancellation from outside: while this
            /// group is polled, a region around it is not dropped (R12). See
            /// [`CancelScope::shielded`](crate::CancelScope::shielded).
            pub fn shielded(self) -> Self {
                crate::region::shields::set_shielded(self.node());
                self
            }

            /// Changes the deadline, before the group is entered or while it runs; also one that was set as a timeout. A group
            /// that is cancelled already stays cancelled (R11).
            pub fn set_deadline(&self, at: Instant) {
                crate::region::time::change_deadline(self.node(), at);
            }

            /// Asks for the cancellation of the body and of every child, from any task or thread (R3).
            #[track_caller]
            pub fn cancel(&self) {
                crate::scope::request(self.node(), None, Location::caller());
            }

            /// As [`cancel`](TaskGroup::cancel), with a message that every error shows.
            #[track_caller]
            pub fn cancel_because(&self, message: impl Into<Cow<'static, str>>) {
                crate::scope::request(self.node(), Some(message.into()), Location::caller());
            }

            /// Asks the body and every child to wind down: see [`stop_requested`](crate::stop_requested) (R13). With a
            /// [grace](TaskGroup::grace), the request becomes a cancellation when the grace is over.
            #[track_caller]
            pub fn stop(&self) {
                crate::scope::stop(self.node(), Location::caller());
            }

            /// As [`stop`](TaskGroup::stop), with a grace that belongs to this request; see
            /// [`CancelHandle::stop_within`](crate::CancelHandle::stop_within).
            #[track_caller]
            pub fn stop_within(&self, grace: Duration) {
                crate::scope::stop_within(self.node(), grace, Location::caller());
            }

            /// Whether this group, or a region around it, is cancelled.
            pub fn is_cancelled(&self) -> bool {
                crate::region::look::is_cancelled(self.node())
            }

            /// A handle that asks for cancellation from anywhere.
            pub fn handle(&self) -> crate::scope::CancelHandle {
                crate::scope::CancelHandle::new(Arc::clone(self.node()))
            }

            /// The number of children that have not left yet.
            pub fn len(&self) -> usize {
                self.shared.ledger.gate.open()
            }

            /// Whether no child is inside.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            pub(super) fn node(&self) -> &Arc<Node> {
                self.shared.node()
            }
        }

        impl<E> Default for $group<'_, E> {
            fn default() -> Self {
                $group::new()
            }
        }

        impl<E> Drop for $group<'_, E> {
            #[track_caller]
            fn drop(&mut self) {
                self.shared.drop_group(Location::caller());
            }
        }

        impl<E> fmt::Debug for $group<'_, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.node().fmt(f)
            }
        }
    };
}
pub(crate) use common;

common!(TaskGroup);
