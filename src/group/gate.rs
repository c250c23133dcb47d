//! The gate of a group: counts who is inside, closes behind the last one.

use crate::reason::Leaving;
use crate::region::{ExitError, ExitWork};
use crate::sync::{Arc, Mutex};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One lock counts the children and closes the group: a spawn either is counted before the group looks
/// whether it is empty, or finds it closed (R16).
///
/// It knows nothing of what children borrow or return, so that the wait for them can outlive the group.
#[derive(Default)]
pub(super) struct Gate(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    open: usize,
    closed: bool,
    /// Whether `run` was dropped, or never polled.
    abandoned: bool,
    /// Woken when the last child has left.
    waiting: Option<Waker>,
}

impl Gate {
    pub(super) fn open(&self) -> usize {
        self.0.lock().open
    }

    /// Counts one more child, unless the group has closed.
    pub(super) fn admit(&self) -> bool {
        let mut inside = self.0.lock();
        if inside.closed {
            return false;
        }
        inside.open += 1;
        true
    }

    /// Closes the group because nobody will poll its `run` any more.
    pub(super) fn abandon(&self) {
        let mut inside = self.0.lock();
        inside.closed = true;
        inside.abandoned = true;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned
    }

    /// A child has left.
    pub(super) fn left(&self) {
        let waiting = {
            let mut inside = self.0.lock();
            inside.open -= 1;
            if inside.open == 0 { inside.waiting.take() } else { None }
        };
        crate::wakers::wake_all(waiting);
    }

    /// Closes the group and is ready when nobody is inside.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (empty, old) = {
            let mut inside = self.0.lock();
            if inside.open == 0 {
                inside.closed = true;
                (true, Some(waker))
            } else {
                (false, inside.waiting.replace(waker))
            }
        };
        drop(old);
        if empty { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The wait for executor children whose group's `run` was dropped, as an abandoned exit (R16).
pub(super) struct WaitForChildren(pub(super) Arc<Gate>);

impl ExitWork for WaitForChildren {
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &Leaving,
    ) -> Poll<Result<(), ExitError>> {
        self.0.poll_close(cx).map(Ok)
    }
}
