//! The dynamic form of a scope: entered by a call, run many times, left by a call.

use super::{CancelHandle, CancelScope, ScopeRun};
use crate::identity::TaskId;
use crate::reason::Reason;
use crate::region::enter;
use crate::region::leave;
use crate::region::owner;
use crate::region::stay;
use crate::region::time;
use crate::region::{Node, Run};
use crate::released::{Handover, Released, sealed};
use crate::sync::Arc;
use crate::wrong_task::{Misuse, Rejected, admitted};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;

/// A scope that was entered with [`CancelScope::enter`]. It is kept in a struct, and many futures run
/// inside it, one after the other or side by side, until it is left with [`exit`](EnteredScope::exit).
///
/// It does not become current by itself: two entered scopes are siblings, and may be left in any order. It
/// is current inside [`run`](EnteredScope::run). The regions around it are those of [`enter`](CancelScope::enter), wherever
/// its runs are polled: a scope around a run alone drops that run when it is cancelled, but
/// [`is_cancelled`](crate::is_cancelled) inside the run does not see it.
///
/// Its times act even if no future runs in it: its [deadline](CancelScope::timeout); its [grace](CancelScope::grace)
/// after a [stop](CancelHandle::stop); or, if it is [shielded](CancelScope::shielded), its grace after a cancellation
/// around it (R11). [`CancelHandle::cancelled`] resolves when such a time comes. [`CancelHandle::is_cancelled`],
/// [`CancelHandle::reason`] and [`exit`](EnteredScope::exit) read the clock when they are called; a time that has
/// come counts before a request that is made after it. A check from inside, such as
/// [`is_cancelled`](crate::is_cancelled), does not read the clock, because a future that runs in the scope is woken
/// when the time comes.
///
/// # Task affinity
///
/// The task that entered it runs futures in it and leaves it (R2); [`release`](EnteredScope::release)
/// hands it over (R4), and from then on its times are measured by the clock of the task that adopts
/// it.
///
/// # On drop
///
/// The scope is left. A drop by a task that does not own it is
/// [reported](crate::set_report_hook).
///
/// # Examples
///
/// ```
/// use moored::CancelScope;
///
/// # futures::executor::block_on(async {
/// let session = CancelScope::new().named("session").enter().unwrap();
/// assert_eq!(session.run(async { 1 }).await.unwrap(), 1);
/// session.handle().cancel();
/// assert!(session.run(std::future::pending::<()>()).await.is_err());
/// assert!(session.exit().unwrap().reason().is_some());
/// # });
/// ```
pub struct EnteredScope {
    node: Arc<Node>,
}

impl CancelScope {
    /// Enters the scope now, in the current task. A relative deadline starts here.
    ///
    /// # Errors
    ///
    /// [`EnterError`] if the scope was run before.
    #[track_caller]
    pub fn enter(self) -> Result<EnteredScope, EnterError> {
        match enter::enter_dynamic(self.draft.node(), Location::caller()) {
            Ok(()) => Ok(EnteredScope { node: Arc::clone(self.draft.node()) }),
            Err(misuse) => Err(EnterError(Box::new((misuse, self)))),
        }
    }
}

impl EnteredScope {
    /// Runs `body` inside the scope; see [`CancelScope::run`]. The scope stays entered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body; its exits go to the region around the scope (R8).
    ///
    /// # Task affinity
    ///
    /// The task that owns the scope: the task that entered or [adopted](Released::adopt) it. If another task polls
    /// the future first, the body is not started; if another task polls it later, the body is dropped. Both resolve
    /// to [`Cancelled`](crate::Cancelled) with [`ReasonKind::WrongTask`](crate::ReasonKind::WrongTask) (R2), and the
    /// scope goes on.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled), with the first reason, if the scope was cancelled and the body did not
    /// finish.
    ///
    /// # Panics
    ///
    /// With the body's panic, after the exits that were abandoned inside have run. The scope
    /// goes on.
    #[track_caller]
    pub fn run<F: Future>(&self, body: F) -> ScopeRun<'_, F> {
        let at = Location::caller();
        ScopeRun { run: Run::entered(stay::stay(&self.node, at), None, body, at) }
    }

    /// A handle that requests a cancellation from anywhere.
    pub fn handle(&self) -> CancelHandle {
        CancelHandle::new(Arc::clone(&self.node))
    }

    /// The task that entered it; `None` if no task was known.
    pub fn owner(&self) -> Option<TaskId> {
        owner::id(&self.node)
    }

    /// Leaves the scope. The result has the reason if the scope was cancelled: by a request, or by a time
    /// that had come.
    ///
    /// If a future still runs inside it, because it was leaked, that run is cancelled, and
    /// [reported](crate::set_report_hook) once.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the scope unchanged, from a task that does not own it.
    #[track_caller]
    pub fn exit(self) -> Result<Left, Rejected<EnteredScope>> {
        let checked = owner::check(&self.node, "exit", Location::caller());
        let scope = admitted(checked, self)?;
        time::ask_clock(&scope.node);
        Ok(Left { reason: leave::close_entered(&scope.node) })
    }

    /// Releases the scope, so that another task can adopt it (R4).
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the scope unchanged, from a task that does not own it.
    #[track_caller]
    pub fn release(self) -> Result<Released<EnteredScope>, Rejected<EnteredScope>> {
        let checked = owner::check(&self.node, "release", Location::caller());
        admitted(checked, self).map(Released::new)
    }
}

impl sealed::TakeOver for EnteredScope {
    fn take_over(&self, dropped: bool) {
        enter::take_over(&self.node, dropped);
    }
}

impl Handover for EnteredScope {}

impl Drop for EnteredScope {
    fn drop(&mut self) {
        if !self.node.has_left() {
            owner::report_foreign_drop(&self.node);
            leave::close_entered(&self.node);
        }
    }
}

impl fmt::Debug for EnteredScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// An entered scope was left.
#[derive(Clone, Debug)]
pub struct Left {
    reason: Option<Reason>,
}

impl Left {
    /// The reason for which the scope was cancelled, if it was.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

/// A scope could not be entered, because it was run before.
pub struct EnterError(Box<(Misuse, CancelScope)>);

impl EnterError {
    /// The reason of the refusal.
    pub fn error(&self) -> &Misuse {
        &self.0.0
    }

    /// The scope, unchanged.
    pub fn into_inner(self) -> CancelScope {
        self.0.1
    }
}

impl fmt::Debug for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnterError").field(self.error()).finish()
    }
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl Error for EnterError {}
