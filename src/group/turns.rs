//! The turns of the children of a group that limits how many run.
//!
//! # Invariants
//!
//! 1. A child has its place in line from its spawn on, or from its first poll if there was no limit then, until it gets its
//!    turn or leaves. The order is that of the spawns.
//! 2. `running` is the number of children with [`Turn::Running`]. A child that takes a turn or leaves calls the first one in
//!    line, so no room is left empty.
//! 3. No waker is woken or dropped under the lock of the line (R18).

use crate::sync::{AtomicBool, Mutex, Ordering};
use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

/// The limit of a group, and its children in their order.
#[derive(Default)]
pub(crate) struct Turns {
    /// Whether there is a limit.
    limited: AtomicBool,
    line: Mutex<Line>,
}

/// The children that may run, in a group with a limit.
#[derive(Default)]
struct Line {
    limit: Option<usize>,
    running: usize,
    /// The children that wait for a turn, by the number of their task, which is the order of the spawns (invariant 1). A child
    /// that has not been polled yet has its place without a waker, so that no later child goes before it.
    waiting: BTreeMap<u64, Option<Waker>>,
}

/// A child's place in a group that limits how many run.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// Spawned before there was a limit, and not polled yet.
    New,
    /// Waits for its turn, in [`Line::waiting`].
    InLine,
    /// Has its turn, and counts in [`Line::running`].
    Running,
    /// Not counted: the group has no limit, or the child was cancelled before its turn.
    Free,
}

impl Line {
    /// The waker of the first child in line, if there is room for it.
    fn call_first(&mut self) -> Option<Waker> {
        let room = self.limit.is_none_or(|limit| self.running < limit);
        let (_, first) = self.waiting.iter_mut().next().filter(|_| room)?;
        first.take()
    }
}

impl Turns {
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limited.store(true, Ordering::Relaxed);
        let first = {
            let mut line = self.line.lock();
            line.limit = Some(limit.max(1));
            // An executor child may wait by an earlier limit, which was lower (invariant 2).
            line.call_first()
        };
        crate::wakers::wake_all(first);
    }

    /// The turn of a child that is spawned now.
    pub(super) fn line_up(&self, task: u64) -> Turn {
        if !self.limited.load(Ordering::Relaxed) {
            return Turn::New;
        }
        self.line.lock().waiting.insert(task, None);
        Turn::InLine
    }

    /// Whether a child need not wait for its turn, or has its turn already. Takes no lock.
    pub(super) fn lets_pass(&self, turn: &mut Turn) -> bool {
        if matches!(turn, Turn::New) && !self.limited.load(Ordering::Relaxed) {
            *turn = Turn::Free;
        }
        matches!(turn, Turn::Running | Turn::Free)
    }

    /// Ready when it is the child's turn, or when the child need not wait for a turn. To be called if the turns
    /// do not [let it pass](Turns::lets_pass).
    pub(super) fn poll_turn(
        &self,
        turn: &mut Turn,
        task: u64,
        cancelled: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let waker = Some(cx.waker().clone());
        let mut line = self.line.lock();
        let first = line.waiting.first_key_value().is_none_or(|(first, _)| *first >= task);
        let room = line.limit.is_none_or(|limit| line.running < limit);
        let (polled, old) = if cancelled || line.limit.is_none() || (first && room) {
            let counted = !cancelled && line.limit.is_some();
            line.running += usize::from(counted);
            *turn = if counted { Turn::Running } else { Turn::Free };
            let left = line.waiting.remove(&task).flatten();
            // The child that is first now may have room as well (invariant 2).
            (Poll::Ready(line.call_first()), left)
        } else {
            *turn = Turn::InLine;
            (Poll::Pending, line.waiting.insert(task, waker).flatten())
        };
        drop(line);
        // After the lock (invariant 3).
        let polled = polled.map(crate::wakers::wake_all);
        drop(old);
        polled
    }

    /// A child has left, before, in or without its turn.
    pub(super) fn leave(&self, turn: Turn, task: u64) {
        if !matches!(turn, Turn::Running | Turn::InLine) {
            return;
        }
        let wakers = {
            let mut line = self.line.lock();
            line.running -= usize::from(matches!(turn, Turn::Running));
            [line.waiting.remove(&task).flatten(), line.call_first()]
        };
        crate::wakers::wake_all(wakers.into_iter().flatten());
    }
}
