//! Exits that an executor runs, because no region is left that could (R8).

use super::adoption::Wave;
use super::{Exit, ExitError, ExitWork, Node, Tally};
use crate::reason::Leaving;
use crate::report::{Report, report};
use crate::spawn::{Refused, Spawn};
use crate::sync::{Arc, Mutex};
use crate::unwind;
use crate::wakers::wake_all;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A wave on a task of its own.
struct Voyage {
    node: Arc<Node>,
    shared: Arc<Shared>,
    /// Taken from `shared` at the first poll.
    wave: Option<Wave>,
    tally: Tally,
}

struct Shared(Mutex<Course>);

struct Course {
    /// Until the executor has polled the voyage.
    wave: Option<Wave>,
    /// Whether the executor still has the chance to refuse: dropping the voyage then is no loss.
    offered: bool,
    ended: bool,
    waiting: Option<Waker>,
}

impl Node {
    /// Runs `wave` on `spawner`; hands it back where that refuses.
    ///
    /// What is returned resolves when the wave has ended, well or not.
    pub(super) fn embark(
        self: &Arc<Self>,
        spawner: &(dyn Spawn + Send + Sync),
        wave: Wave,
    ) -> Result<Exit, Wave> {
        let course = Course { wave: Some(wave), offered: true, ended: false, waiting: None };
        let shared = Arc::new(Shared(Mutex::new(course)));
        let voyage = Voyage {
            node: Arc::clone(self),
            shared: Arc::clone(&shared),
            wave: None,
            tally: Tally::default(),
        };
        // A spawner that panics has refused: this runs in a drop, where the panic could not go on.
        if let Ok(Err(Refused(voyage))) = unwind::catch(|| spawner.spawn(Box::pin(voyage))) {
            drop(voyage);
        }
        let refused = {
            let mut course = shared.0.lock();
            course.offered = false;
            if course.ended { course.wave.take() } else { None }
        };
        match refused {
            Some(wave) => Err(wave),
            None => {
                let registered_at =
                    self.entered_at().unwrap_or_else(|| std::panic::Location::caller());
                Ok(Exit { work: Box::pin(Arrival(shared)), registered_at })
            }
        }
    }
}

impl Future for Voyage {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(wave) = this.shared.0.lock().wave.take() {
            this.wave = Some(wave);
        }
        let Some(wave) = &mut this.wave else { return Poll::Ready(()) };
        if wave.poll(cx, &mut this.tally).is_pending() {
            return Poll::Pending;
        }
        this.wave = None;
        Poll::Ready(())
    }
}

impl Drop for Voyage {
    fn drop(&mut self) {
        let (lost, waiting) = {
            let mut course = self.shared.0.lock();
            course.ended = true;
            let unbegun = if course.offered { None } else { course.wave.take() };
            (self.wave.take().or(unbegun), course.waiting.take())
        };
        if let Some(lost) = lost {
            // Not offered again: an executor that drops it once would do so for ever.
            report(&Report::LostExits {
                region: self.node.describe(),
                registered_at: lost.places(),
            });
            lost.discard();
        }
        let mut failures = std::mem::take(&mut self.tally.failures);
        failures.extend(self.tally.panic_as_failure(&self.node));
        self.node.send_failures(failures);
        wake_all(waiting);
    }
}

/// The wait for a voyage, as an exit of the region that has to wait.
struct Arrival(Arc<Shared>);

impl ExitWork for Arrival {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        let waker = cx.waker().clone();
        let (ended, old) = {
            let mut course = self.0.0.lock();
            (course.ended, course.waiting.replace(waker))
        };
        drop(old);
        if ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
