//! One exit: what was registered, and its single run (R14).

use super::{Node, Tally, ambient};
use crate::clock::Sleep;
use crate::failure::BoxError;
use crate::reason::Leaving;
use crate::sync::Arc;
use crate::unwind;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The work of an exit: one allocation holds whatever was registered and the future it becomes.
pub(crate) trait ExitWork {
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
    /// It was cut off after this long.
    TimedOut(Duration),
}

/// A registered exit.
pub(crate) struct Exit {
    pub(crate) work: Pin<Box<dyn ExitWork + Send>>,
    pub(crate) registered_at: &'static Location<'static>,
}

/// An exit that has begun. It goes on from where it is, whoever polls it.
pub(crate) struct Running {
    /// `None` once it has ended.
    work: Option<Pin<Box<dyn ExitWork + Send>>>,
    registered_at: &'static Location<'static>,
    why: Leaving,
    /// The region that registered it: it is current while the exit runs, so that the exit has the
    /// identity of the task that registered it (R8).
    home: Option<Arc<Node>>,
    /// Set at the first poll that is pending; abandonment never extends it.
    bound: Option<(Duration, Sleep)>,
}

impl Running {
    pub(crate) fn start(exit: Exit, why: Leaving, home: Arc<Node>) -> Self {
        let Exit { work, registered_at } = exit;
        Running { work: Some(work), registered_at, why, home: Some(home), bound: None }
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
            Ok(Poll::Pending) => {
                let grace = ready!(self.poll_bound(cx));
                Ok(Err(ExitError::TimedOut(grace)))
            }
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(payload) => Err(payload),
        };
        tally.exit_ended(self.registered_at, outcome);
        self.clear(tally);
        Poll::Ready(())
    }

    /// Ready when the exit has used up the grace of the stack that registered it (R14).
    fn poll_bound(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        if self.bound.is_none() {
            let home = self.home.as_ref();
            self.bound = home.and_then(|home| {
                let (grace, clock) = (home.grace()?, home.clock());
                let due = clock.now().checked_add(grace)?;
                Some((grace, clock.sleep_until(due)))
            });
        }
        match &mut self.bound {
            Some((grace, timer)) => timer.as_mut().poll(cx).map(|()| *grace),
            None => Poll::Pending,
        }
    }

    fn clear(&mut self, tally: &mut Tally) {
        let work = self.work.take();
        let dropped = ambient::within(&mut self.home, true, || unwind::catch(|| drop(work)));
        if let Err(payload) = dropped {
            tally.exit_ended(self.registered_at, Err(payload));
        }
    }
}
