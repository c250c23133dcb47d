//! The requests to a group, and the questions about it, for both types of groups; see `settings`.

use super::TaskGroup;
use crate::region::Node;
use crate::sync::Arc;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

macro_rules! requests {
    ($group:ident) => {
        impl<E> $group<'_, E> {
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
pub(crate) use requests;

requests!(TaskGroup);
