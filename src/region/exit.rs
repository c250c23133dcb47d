//! One exit: what was registered, and its single run (R14).

use super::{Node, Tally, ambient};
use crate::failure::BoxError;
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The work of an exit: one allocation holds whatever was registered and the future it becomes.
pub(crate) trait ExitWork: Send {
    /// `why` matters at the first poll only: it is what a closure is told.
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        why: &Leaving,
    ) -> Poll<Result<(), ExitError>>;
}

#[derive(Debug)]
pub(crate) enum ExitError {
    Failed(BoxError),
    StillHeld,
}

/// A registered exit.
pub(crate) struct Exit {
    pub(crate) work: Pin<Box<dyn ExitWork>>,
    pub(crate) registered_at: &'static Location<'static>,
}

/// An exit that has begun. It goes on from where it is, whoever polls it.
pub(crate) struct Running {
    /// `None` once it has ended.
    work: Option<Pin<Box<dyn ExitWork>>>,
    registered_at: &'static Location<'static>,
    why: Leaving,
    /// The region that registered it: it is current while the exit runs, so that the exit has the
    /// identity of the task that registered it (R8).
    home: Option<Arc<Node>>,
}

impl Running {
    pub(crate) fn start(exit: Exit, why: Leaving, home: Arc<Node>) -> Self {
        let Exit { work, registered_at } = exit;
        Running { work: Some(work), registered_at, why, home: Some(home) }
    }

    pub(crate) fn registered_at(&self) -> &'static Location<'static> {
        self.registered_at
    }

    /// Polls it once; ready when it has ended, however it ended, and `tally` knows.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        let why = &self.why;
        let polled =
            ambient::within(&mut self.home, true, || unwind::catch(|| work.as_mut().poll(cx, why)));
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(payload) => Err(payload),
        };
        tally.exit_ended(self.registered_at, outcome);
        self.clear(tally);
        Poll::Ready(())
    }

    /// The exit as it is, to be gone on with later.
    pub(crate) fn into_exit(self) -> Option<Exit> {
        let registered_at = self.registered_at;
        self.work.map(|work| Exit { work, registered_at })
    }

    fn clear(&mut self, tally: &mut Tally) {
        let work = self.work.take();
        let dropped = ambient::within(&mut self.home, true, || unwind::catch(|| drop(work)));
        if let Err(payload) = dropped {
            tally.exit_ended(self.registered_at, Err(payload));
        }
    }
}
