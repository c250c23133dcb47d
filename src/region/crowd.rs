//! Work that a region runs side by side in its polls. It polls each of a few pieces in every poll; of more than a few it
//! polls only the pieces that were woken (R19).
//!
//! # Invariants
//!
//! 1. A piece in `few` was polled with the region's waker, or not yet: it is polled whenever the crowd is.
//! 2. A piece in `many` has a waker of its own, with which it was polled, so a wake-up finds it.

use super::tally::Tally;
use crate::wakers::Roster;
use std::task::{Context, Poll};

/// A piece of work that runs beside others: an exit that has begun, or a wave.
pub(super) trait Abreast {
    /// Polls it once; ready when it has ended, well or not, and its outcome is in `tally`.
    fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()>;
}

/// The number of pieces up to which all are polled with the waker of the region, because a waker of its own costs a piece an
/// allocation.
const FEW: usize = 8;

pub(crate) struct Crowd<T> {
    /// All pieces; or, if there are more than a few, the pieces that have come since the last poll (invariant 1).
    few: Vec<T>,
    many: Option<Box<Roster<T>>>,
}

impl<T> Crowd<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_none()
    }

    #[cfg(feature = "tracing")]
    pub(super) fn len(&self) -> usize {
        self.few.len() + self.many.as_ref().map_or(0, |many| many.len())
    }

    pub(super) fn push(&mut self, one: T) {
        self.few.push(one);
    }

    /// Adds pieces. Most crowds are empty before, and keep the allocation of `others`.
    pub(super) fn add(&mut self, mut others: Vec<T>) {
        if self.few.is_empty() {
            self.few = others;
        } else {
            self.few.append(&mut others);
        }
    }

    /// Takes all pieces, to be polled elsewhere.
    pub(super) fn take(&mut self) -> Vec<T> {
        let few = std::mem::take(&mut self.few);
        let Some(mut many) = self.many.take() else { return few };
        many.take_all().chain(few).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let many = self.many.iter().flat_map(|many| many.iter());
        many.chain(&self.few)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let many = self.many.iter_mut().flat_map(|many| many.iter_mut());
        many.chain(&mut self.few)
    }
}

impl<T: Abreast> Crowd<T> {
    /// Ready when all have ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()> {
        if self.many.is_none() && self.few.len() <= FEW {
            self.few.retain_mut(|one| one.poll(cx, tally).is_pending());
        } else {
            let many = self.many.get_or_insert_default();
            poll_woken(many, std::mem::take(&mut self.few), cx, tally);
            if many.is_empty() {
                self.many = None;
            }
        }
        if self.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Polls the pieces that were woken, and those that have arrived, which get a waker of their own (invariant 2).
fn poll_woken<T: Abreast>(
    many: &mut Roster<T>,
    arrived: Vec<T>,
    cx: &mut Context<'_>,
    tally: &mut Tally,
) {
    many.take_woken(cx.waker());
    while let Some(row) = many.next_woken() {
        poll_at(many, row, tally);
    }
    for one in arrived {
        let (row, _) = many.vacancy();
        many.fill(row, one);
        poll_at(many, row, tally);
    }
}

fn poll_at<T: Abreast>(many: &mut Roster<T>, row: usize, tally: &mut Tally) {
    let Some((one, seat)) = many.at(row) else { return };
    if one.poll(&mut Context::from_waker(seat.waker), tally).is_ready() {
        many.remove(row);
    }
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Crowd { few: Vec::new(), many: None }
    }
}
