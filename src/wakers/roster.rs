//! Members that one run polls side by side: only those that were woken (R19).
//!
//! # Invariants
//!
//! 1. A row is marked as queued exactly while it is in the queue of `WakeQueue`, or in the queue that the run has taken from
//!    there. So no row is in two queues, and one index in its state is enough.

use super::Mark;
use super::queue::{Asked, END, MemberWaker, RowState, RowWaker, WakeQueue};
use crate::sync::Arc;
use crate::unwind;
use std::borrow::Borrow;
use std::ops::Range;
use std::task::Waker;

/// Members in rows with a waker each. A row and its waker are kept when its member leaves, for the next member there. The first
/// row stands here, and its waker is the queue, so that a single member needs no allocation. `Q` is the queue, or a borrow of it.
pub(crate) struct Roster<T, B = (), Q: Borrow<Arc<WakeQueue<B>>> = Arc<WakeQueue<B>>> {
    first_row: Option<T>,
    /// The waker of the first row, once it was needed.
    first_waker: Option<Waker>,
    /// Row `n + 1` is at `n`.
    rows: Vec<Row<T, B>>,
    /// The rows behind the first that have no member.
    vacant: Vec<usize>,
    len: usize,
    /// The queue of the woken rows that the run has taken and not polled yet.
    first: usize,
    last: usize,
    /// The waker of the run that was registered last.
    run: Mark,
    ready: Q,
}

struct Row<T, B> {
    member: Option<T>,
    state: Arc<RowWaker<B>>,
    waker: Waker,
}

/// The waker of a row, and its state.
pub(crate) struct Seat<'a, B> {
    pub(crate) waker: &'a Waker,
    state: Result<&'a Arc<RowWaker<B>>, &'a Arc<WakeQueue<B>>>,
}

impl<B: Send + Sync + 'static> Seat<'_, B> {
    /// The waker, to be kept while its member is in the row.
    pub(crate) fn keep(&self) -> MemberWaker<B> {
        match self.state {
            Ok(state) => MemberWaker::Later(Arc::clone(state)),
            Err(ready) => MemberWaker::First(Arc::clone(ready)),
        }
    }

    /// The place in which a caller of another thread leaves a request for the member.
    pub(crate) fn asked(&self) -> Arc<dyn Asked> {
        match self.state {
            Ok(state) => Arc::clone(state) as _,
            Err(ready) => Arc::clone(ready) as _,
        }
    }
}

impl<T, B, Q: Borrow<Arc<WakeQueue<B>>>> Roster<T, B, Q> {
    pub(crate) fn new(ready: Q) -> Self {
        Roster {
            first_row: None,
            first_waker: None,
            rows: Vec::new(),
            vacant: Vec::new(),
            len: 0,
            first: END,
            last: END,
            run: Mark::default(),
            ready,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first_row.iter().chain(self.rows.iter().filter_map(|row| row.member.as_ref()))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let rest = self.rows.iter_mut().filter_map(|row| row.member.as_mut());
        self.first_row.iter_mut().chain(rest)
    }

    /// All members. No row may be taken from the queue afterwards, because the rows are gone.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T, B, Q> {
        let (first, rows) = (self.first_row.take(), std::mem::take(&mut self.rows));
        self.vacant.clear();
        (self.len, self.first, self.last) = (0, END, END);
        first.into_iter().chain(rows.into_iter().filter_map(|row| row.member))
    }

    #[inline(always)]
    fn state(&self, row: usize) -> &RowState {
        row.checked_sub(1).map_or(self.ready.borrow().first(), |row| self.rows[row].state.state())
    }

    #[inline(always)]
    fn member(&mut self, row: usize) -> &mut Option<T> {
        match row.checked_sub(1) {
            None => &mut self.first_row,
            Some(row) => &mut self.rows[row].member,
        }
    }

    /// Registers the waker of the run, and then takes over the rows that were woken since the last call. Returns whether
    /// the run has such rows to poll. Takes no lock if the waker is registered already, and nothing has come since.
    pub(crate) fn take_woken(&mut self, run: &Waker) -> bool {
        let (mark, ready) = (Mark::of(run), self.ready.borrow());
        let newest =
            if self.run == mark && ready.rests() { END } else { ready.take(Some(run.clone())) };
        self.run = mark;
        self.take_over(newest)
    }

    /// As [`take_woken`](Roster::take_woken), in a poll that registers the run's waker later. Until then a row that is woken is
    /// queued, and wakes nothing.
    pub(crate) fn take_woken_early(&mut self) -> bool {
        let ready = self.ready.borrow();
        let newest = if ready.rests() { END } else { ready.take(None) };
        self.take_over(newest)
    }

    #[inline]
    fn take_over(&mut self, newest: usize) -> bool {
        if newest != END {
            // The queue runs from the newest to the oldest, and is to be polled the other way round.
            let (mut row, mut after) = (newest, END);
            while row != END {
                let state = self.state(row);
                let before = state.next();
                state.set_next(after);
                (after, row) = (row, before);
            }
            match self.first {
                END => self.first = after,
                _ => self.state(self.last).set_next(after),
            }
            self.last = newest;
        }
        self.first != END
    }

    /// The next woken row, which can be queued again from now on (invariant 1). It may have no member by now, or another one:
    /// then the poll is idle.
    #[inline]
    pub(crate) fn next_woken(&mut self) -> Option<usize> {
        let row = self.first;
        if row == END {
            return None;
        }
        let state = self.state(row);
        let next = state.next();
        state.unqueue();
        self.first = next;
        Some(row)
    }

    /// All rows, instead of those that were woken. A row that is in the queue of `WakeQueue` stays there.
    pub(crate) fn all_as_woken(&mut self) -> Range<usize> {
        while self.next_woken().is_some() {}
        0..self.rows.len() + 1
    }

    /// The member in a row, and the row.
    #[inline]
    pub(crate) fn at(&mut self, row: usize) -> Option<(&mut T, Seat<'_, B>)> {
        let Some(row) = row.checked_sub(1) else {
            let (member, waker) = (self.first_row.as_mut()?, self.first_waker.as_ref()?);
            return Some((member, Seat { waker, state: Err(self.ready.borrow()) }));
        };
        let Row { member, state, waker } = &mut self.rows[row];
        Some((member.as_mut()?, Seat { waker, state: Ok(state) }))
    }

    /// A row without a member, for the first poll of a member. If the row is queued for its former
    /// member, it stays queued, and the new member is polled once more.
    pub(crate) fn vacancy(&mut self) -> (usize, Seat<'_, B>)
    where
        B: Send + Sync + 'static,
    {
        let ready = self.ready.borrow();
        if self.first_row.is_none() {
            let waker = self.first_waker.get_or_insert_with(|| Arc::clone(ready).into());
            return (0, Seat { waker, state: Err(ready) });
        }
        let row = self.vacant.last().copied().unwrap_or_else(|| {
            let row = self.rows.len() + 1;
            let state = RowWaker::new(row, Arc::clone(ready));
            let waker = Waker::from(Arc::clone(&state));
            self.rows.push(Row { member: None, state, waker });
            self.vacant.push(row);
            row
        });
        let Row { state, waker, .. } = &self.rows[row - 1];
        (row, Seat { waker, state: Ok(state) })
    }

    /// Puts a member into the row that [`vacancy`](Roster::vacancy) has just returned.
    pub(crate) fn fill(&mut self, row: usize, member: T) {
        *self.member(row) = Some(member);
        if row != 0 {
            self.vacant.pop();
        }
        self.len += 1;
    }

    /// Drops the waker of the run, because the run's task may own the members.
    pub(crate) fn forget_run(&self) {
        self.ready.borrow().clear();
    }

    pub(crate) fn remove(&mut self, row: usize) -> Option<T> {
        let member = self.member(row).take()?;
        self.state(row).forget();
        if row != 0 {
            self.vacant.push(row);
        }
        self.len -= 1;
        Some(member)
    }
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Roster::new(Arc::default())
    }
}

impl<T, B, Q: Borrow<Arc<WakeQueue<B>>>> Drop for Roster<T, B, Q> {
    /// Wakers of its rows may be kept by others, and must not keep the task that polled it.
    fn drop(&mut self) {
        unwind::quietly(|| self.forget_run());
    }
}
