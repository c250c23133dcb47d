//! The gate of a group: counts who is inside, closes behind the last one, and limits how many run.

use crate::reason::Leaving;
use crate::region::{ExitError, ExitWork};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One lock counts the children and closes the group: a spawn either is counted before the group looks
/// whether it is empty, or finds it closed (R16).
///
/// It knows nothing of what children borrow or return, so that the wait for them can outlive the group.
#[derive(Default)]
pub(crate) struct Gate {
    inside: Mutex<Inside>,
    /// Whether there is a limit.
    limited: AtomicBool,
}

#[derive(Default)]
struct Inside {
    open: usize,
    closed: bool,
    /// Whether `run` was dropped, or never polled.
    abandoned: bool,
    /// Woken when the last child has left.
    waiting: Option<Waker>,
    /// How many may run at once, where that is limited.
    limit: Option<usize>,
    running: usize,
    /// Who waits for a turn, first come first served.
    line: BTreeMap<u64, Option<Waker>>,
    next_ticket: u64,
}

/// A child's place in a group that limits how many run.
#[derive(Default)]
pub(super) enum Turn {
    #[default]
    New,
    InLine(u64),
    Running,
    /// Not counted: the group has no limit, or the child was cancelled before its turn.
    Free,
}

impl Inside {
    /// The waker of who is first in line, where there is room for it.
    fn call_first(&mut self) -> Option<Waker> {
        let room = self.limit.is_none_or(|limit| self.running < limit);
        let (_, first) = self.line.iter_mut().next().filter(|_| room)?;
        first.take()
    }
}

impl Gate {
    pub(crate) fn open(&self) -> usize {
        self.inside.lock().open
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limited.store(true, Ordering::Relaxed);
        self.inside.lock().limit = Some(limit.max(1));
    }

    /// Counts one more child, unless the group has closed.
    pub(super) fn admit(&self) -> bool {
        let mut inside = self.inside.lock();
        if inside.closed {
            return false;
        }
        inside.open += 1;
        true
    }

    /// Closes the group because nobody will poll its `run` any more.
    pub(super) fn abandon(&self) {
        let mut inside = self.inside.lock();
        inside.closed = true;
        inside.abandoned = true;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.inside.lock().abandoned
    }

    /// Whether a child need not wait for its turn, or has had it: without a lock.
    pub(super) fn lets_pass(&self, turn: &mut Turn) -> bool {
        if matches!(turn, Turn::New) && !self.limited.load(Ordering::Relaxed) {
            *turn = Turn::Free;
        }
        matches!(turn, Turn::Running | Turn::Free)
    }

    /// Ready when it is the child's turn, or when it need not wait for one. To be called where the gate does not
    /// [let it pass](Gate::lets_pass).
    pub(super) fn poll_turn(
        &self,
        turn: &mut Turn,
        cancelled: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let waker = Some(cx.waker().clone());
        let mut inside = self.inside.lock();
        let ticket = match *turn {
            Turn::InLine(ticket) => Some(ticket),
            _ => None,
        };
        let first = inside.line.first_key_value().is_none_or(|(first, _)| Some(*first) == ticket);
        let room = inside.limit.is_none_or(|limit| inside.running < limit);
        let (polled, old) = if cancelled || inside.limit.is_none() || (first && room) {
            let counted = !cancelled && inside.limit.is_some();
            inside.running += usize::from(counted);
            *turn = if counted { Turn::Running } else { Turn::Free };
            let left = ticket.and_then(|ticket| inside.line.remove(&ticket)).flatten();
            // Whoever is first now may have room as well.
            (Poll::Ready(inside.call_first()), [waker, left])
        } else if let Some(place) = ticket.and_then(|ticket| inside.line.get_mut(&ticket)) {
            (Poll::Pending, [std::mem::replace(place, waker), None])
        } else {
            let ticket = inside.next_ticket;
            inside.next_ticket += 1;
            inside.line.insert(ticket, waker);
            *turn = Turn::InLine(ticket);
            (Poll::Pending, [None, None])
        };
        drop(inside);
        drop(old);
        polled.map(|next| drop(crate::wakers::wake_all(next)))
    }

    /// A child has left, wherever it was; `true` where it was the last one.
    pub(super) fn left(&self, turn: &Turn) -> bool {
        let mut wakers = Vec::new();
        let last = {
            let mut inside = self.inside.lock();
            match *turn {
                Turn::Running => inside.running -= 1,
                Turn::InLine(ticket) => wakers.extend(inside.line.remove(&ticket).flatten()),
                Turn::New | Turn::Free => {}
            }
            wakers.extend(inside.call_first());
            inside.open -= 1;
            if inside.open == 0 {
                wakers.extend(inside.waiting.take());
            }
            inside.open == 0
        };
        crate::wakers::wake_all(wakers);
        last
    }

    /// Closes the group and is ready when nobody is inside.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (empty, old) = {
            let mut inside = self.inside.lock();
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
