//! What a region runs side by side in its polls: each of a few in every poll, and of more only what was woken (R19).

use super::tally::Tally;
use crate::sync::Arc;
use crate::unwind;
use crate::wakers::{MemberWaker, Ready};
use slab::Slab;
use std::task::{Context, Poll, Waker};

/// One of those that run side by side.
pub(super) trait Abreast {
    /// Ready when it has ended; `tally` knows how.
    fn poll(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Poll<()>;
}

/// How many are polled with the waker of the region. A waker of its own costs each an allocation.
const FEW: usize = 8;

pub(crate) struct Crowd<T> {
    /// All of them; or those that have come since the last poll, where there are more than a few.
    few: Vec<T>,
    many: Option<Box<Many<T>>>,
}

struct Many<T> {
    all: Slab<T>,
    /// By place, and kept for what gets the place next.
    wakers: Vec<(Arc<MemberWaker>, Waker)>,
    woken: Vec<usize>,
    ready: Arc<Ready>,
}

impl<T> Crowd<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_none()
    }

    #[cfg(feature = "tracing")]
    pub(super) fn len(&self) -> usize {
        self.few.len() + self.many.as_ref().map_or(0, |many| many.all.len())
    }

    pub(super) fn push(&mut self, one: T) {
        self.few.push(one);
    }

    pub(super) fn append(&mut self, others: &mut Self) {
        self.few.append(&mut others.take());
    }

    /// All of them, which are to be polled elsewhere.
    pub(super) fn take(&mut self) -> Vec<T> {
        let few = std::mem::take(&mut self.few);
        let Some(mut many) = self.many.take() else { return few };
        let all = std::mem::take(&mut many.all);
        all.into_iter().map(|(_, one)| one).chain(few).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let many = self.many.iter().flat_map(|many| many.all.iter().map(|(_, one)| one));
        many.chain(&self.few)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let many = self.many.iter_mut().flat_map(|many| many.all.iter_mut().map(|(_, one)| one));
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
            many.poll(std::mem::take(&mut self.few), cx, tally);
            if many.all.is_empty() {
                self.many = None;
            }
        }
        if self.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<T: Abreast> Many<T> {
    fn poll(&mut self, arrived: Vec<T>, cx: &mut Context<'_>, tally: &mut Tally) {
        let mut woken = std::mem::take(&mut self.woken);
        self.ready.take(&mut woken, cx.waker());
        for place in woken.drain(..) {
            self.poll_at(place, tally);
        }
        self.woken = woken;
        for one in arrived {
            let place = self.all.insert(one);
            if place == self.wakers.len() {
                let waker = MemberWaker::new(place, Arc::clone(&self.ready));
                self.wakers.push((Arc::clone(&waker), Waker::from(waker)));
            }
            self.poll_at(place, tally);
        }
    }

    /// The place may be empty by now. Its waker has to be ready for the next one there in any case.
    fn poll_at(&mut self, place: usize, tally: &mut Tally) {
        let (state, waker) = &self.wakers[place];
        state.unqueue();
        let Some(one) = self.all.get_mut(place) else { return };
        if one.poll(&mut Context::from_waker(waker), tally).is_ready() {
            self.all.remove(place);
        }
    }
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Crowd { few: Vec::new(), many: None }
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Many { all: Slab::new(), wakers: Vec::new(), woken: Vec::new(), ready: Arc::default() }
    }
}

impl<T> Drop for Many<T> {
    /// Wakers of its places may be kept by others, and must not keep the task that polled it.
    fn drop(&mut self) {
        unwind::quietly(|| self.ready.clear());
    }
}
