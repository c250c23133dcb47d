//! Abandoned exits that run on an executor, because no region is left that could run them (R8).
//!
//! # Invariants
//!
//! 1. The wave is in one place: in `WaveState` until the executor polls the task, then in the task, or given back to the
//!    caller.
//! 2. `ended` is set after the failures were sent, so that a region which sees the end finds them in its record
//!    (R15).

use super::crowd::Abreast;
use super::exits::Exit;
use super::exits::ExitWork;
use super::inbox;
use super::node::Node;
use super::record;
use super::tally::ExitError;
use super::tally::{Caught, Tally};
use super::wave::Wave;
use crate::reason::Leaving;
use crate::spawn::{Refused, Spawn};
use crate::sync::{Arc, Mutex};
use crate::unwind;
use crate::wakers::wake_all;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// A wave that runs as a task of its own.
struct WaveTask {
    node: Arc<Node>,
    shared: Arc<Mutex<WaveState>>,
    /// Taken from `shared` at the first poll.
    wave: Option<Wave>,
    tally: Tally,
}

/// The state that the task and the wait for it share.
struct WaveState {
    /// The wave, until the executor has polled the task.
    wave: Option<Wave>,
    /// Whether the executor may still refuse the task: if it drops the task then, no exit is
    /// lost.
    offered: bool,
    ended: bool,
    /// Whether a region waits for the end, and resumes a panic.
    awaited: bool,
    panic: Option<Caught>,
    waiting: Option<Waker>,
}

/// Runs `wave` on `spawner`; hands it back if `spawner` refuses.
///
/// The returned exit resolves when the wave has ended, well or not.
pub(super) fn run_on(
    region: &Arc<Node>,
    spawner: &(dyn Spawn + Send + Sync),
    wave: Wave,
) -> Result<Exit, Wave> {
    let state = WaveState {
        wave: Some(wave),
        offered: true,
        ended: false,
        awaited: true,
        panic: None,
        waiting: None,
    };
    let shared = Arc::new(Mutex::new(state));
    let task = WaveTask {
        node: Arc::clone(region),
        shared: Arc::clone(&shared),
        wave: None,
        tally: Tally::default(),
    };
    // A spawner that panics counts as one that refuses, because this runs in a drop, where the
    // panic cannot be resumed.
    match unwind::catch(|| spawner.spawn(Box::pin(task))) {
        Ok(Ok(())) => {}
        Ok(Err(Refused(task))) => drop(task),
        Err(payload) => unwind::discard(payload),
    }
    let refused = {
        let mut state = shared.lock();
        state.offered = false;
        if state.ended { state.wave.take() } else { None }
    };
    match refused {
        Some(wave) => Err(wave),
        None => {
            let registered_at =
                region.entered_at().unwrap_or_else(|| std::panic::Location::caller());
            Ok(Exit::new(WaveWait { node: Arc::clone(region), shared }, registered_at))
        }
    }
}

impl Future for WaveTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let unbegun = this.shared.lock().wave.take();
        if unbegun.is_some() {
            this.wave = unbegun;
        }
        let Some(wave) = &mut this.wave else { return Poll::Ready(()) };
        let polled = wave.poll(cx, &mut this.tally);
        // The region that waits may wait for long, so failures are passed on now.
        record::send(&this.node, this.tally.take_failures());
        ready!(polled);
        this.wave = None;
        Poll::Ready(())
    }
}

impl Drop for WaveTask {
    fn drop(&mut self) {
        let unbegun = {
            let mut state = self.shared.lock();
            if state.offered && state.wave.is_some() {
                // The executor refuses: the wave goes back to `run_on` (invariant 1).
                state.ended = true;
                return;
            }
            state.wave.take()
        };
        if let Some(lost) = self.wave.take().or(unbegun) {
            // The wave is not offered to the executor again, because the executor would drop it again each time.
            inbox::report_lost(&self.node, lost);
        }
        let mut panic = self.tally.take_panic(None);
        // Set last (invariant 2): a region that sees the end may be left at once, so its record has to have the failures by then.
        let waiting = {
            let mut state = self.shared.lock();
            state.ended = true;
            if state.awaited {
                state.panic = panic.take();
            }
            state.waiting.take()
        };
        record::send_panic(&self.node, panic);
        wake_all(waiting);
    }
}

/// The wait for the wave's task, as an exit of the region that has to wait.
struct WaveWait {
    /// The region that abandoned the exits.
    node: Arc<Node>,
    shared: Arc<Mutex<WaveState>>,
}

impl ExitWork for WaveWait {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        let waker = cx.waker().clone();
        let (ended, panic, old) = {
            let mut state = self.shared.lock();
            (state.ended, state.panic.take(), state.waiting.replace(waker))
        };
        unwind::drop_quietly(old);
        match panic {
            // The region that adopted this exit resumes the panic when everything has left.
            Some(panic) => Poll::Ready(Err(ExitError::Panicked(panic))),
            None if ended => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    fn only_waits(&self) -> bool {
        true
    }
}

impl Drop for WaveWait {
    /// The region that waited is gone, so no region resumes a panic: it becomes a failure.
    fn drop(&mut self) {
        let (panic, old) = {
            let mut state = self.shared.lock();
            state.awaited = false;
            (state.panic.take(), state.waiting.take())
        };
        unwind::drop_quietly(old);
        record::send_panic(&self.node, panic);
    }
}
