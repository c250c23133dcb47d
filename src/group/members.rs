//! The in-task children of a group, as its `run` keeps and polls them.

use crate::region::ambient;
use crate::sync::{Arc, Mutex};
use crate::unwind::{self, Payload};
use crate::wakers::{MemberWaker, Ready};
use slab::Slab;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub(super) struct Members<M> {
    members: Slab<Member<M>>,
    /// One waker for each place among the members; kept when a child leaves, for the next child
    /// there.
    wakers: Vec<(Arc<MemberWaker>, Waker)>,
    woken: Vec<usize>,
    /// The children that have arrived since the last poll.
    arrivals: Vec<M>,
    /// The number of members that had a shield up at their last poll.
    shielded: usize,
}

struct Member<M> {
    future: M,
    shielded: bool,
}

impl<M> Members<M> {
    pub(super) fn new() -> Self {
        Members {
            members: Slab::new(),
            wakers: Vec::new(),
            woken: Vec::new(),
            arrivals: Vec::new(),
            shielded: 0,
        }
    }

    /// Whether a shield in one of the members holds.
    pub(super) fn are_shielded(&self) -> bool {
        self.shielded > 0
    }

    /// Drops all members, and returns the panics of their drops.
    pub(super) fn drop_all(&mut self) -> Vec<Payload> {
        let members = std::mem::take(&mut self.members);
        unwind::drop_each(members.into_iter().map(|(_, member)| member.future))
    }
}

impl<M: Future<Output = ()> + Unpin> Members<M> {
    /// Takes over the members that were woken and the children that have arrived since the last poll;
    /// `true` if there are any.
    pub(super) fn take_news(
        &mut self,
        ready: &Ready,
        arrivals: &Mutex<Vec<M>>,
        run: &Waker,
    ) -> bool {
        // Registers `run` before it looks at the arrivals, so that a later arrival wakes it.
        ready.take(&mut self.woken, run);
        std::mem::swap(&mut self.arrivals, &mut *arrivals.lock());
        !(self.woken.is_empty() && self.arrivals.is_empty())
    }

    /// Marks all members as woken; `true` if there are any.
    pub(super) fn wake_all(&mut self) -> bool {
        self.woken.clear();
        self.woken.extend(self.members.iter().map(|(place, _)| place));
        !self.woken.is_empty()
    }

    /// Polls each member that was woken once, and then the arrivals. `panicked` gets the payload of a
    /// member's panic.
    ///
    /// To be called with the group current, because the group is the region around a child
    /// without a node.
    pub(super) fn poll(&mut self, ready: &Arc<Ready>, mut panicked: impl FnMut(Payload)) {
        let mut woken = std::mem::take(&mut self.woken);
        for place in woken.drain(..) {
            // The place may be empty, or another child's by now: then the poll is idle. The waker is the
            // place's own, so it has to be ready for the next child in any case.
            self.wakers[place].0.unqueue();
            if let Some(member) = self.members.get_mut(place) {
                let (ended, shielded) =
                    poll(&mut member.future, &self.wakers[place].1, &mut panicked);
                self.shielded -= usize::from(std::mem::replace(&mut member.shielded, shielded));
                self.shielded += usize::from(shielded);
                if ended {
                    drop_ended(self.members.remove(place).future, &mut panicked);
                }
            }
        }
        self.woken = woken;
        // A child may spawn others meanwhile, but they do not come into this list.
        for mut future in self.arrivals.drain(..) {
            // Most children end at once, and leave their place to the next.
            let vacant = self.members.vacant_entry();
            let place = vacant.key();
            if place == self.wakers.len() {
                let waker = MemberWaker::new(place, Arc::clone(ready));
                self.wakers.push((Arc::clone(&waker), Waker::from(waker)));
            }
            let (state, waker) = &self.wakers[place];
            state.unqueue();
            match poll(&mut future, waker, &mut panicked) {
                (true, _) => drop_ended(future, &mut panicked),
                (false, shielded) => {
                    self.shielded += usize::from(shielded);
                    vacant.insert(Member { future, shielded });
                }
            }
        }
    }
}

/// Whether the child has ended, and whether a shield in it holds.
fn poll<M>(future: &mut M, waker: &Waker, panicked: &mut impl FnMut(Payload)) -> (bool, bool)
where
    M: Future<Output = ()> + Unpin,
{
    let mut cx = Context::from_waker(waker);
    let (polled, shielded) =
        ambient::watch_shields(|| unwind::catch(|| Pin::new(future).poll(&mut cx)));
    match polled {
        Ok(Poll::Pending) => return (false, shielded),
        Ok(Poll::Ready(())) => {}
        Err(payload) => panicked(payload),
    }
    (true, false)
}

fn drop_ended<M>(future: M, panicked: &mut impl FnMut(Payload)) {
    if let Err(payload) = unwind::catch(|| drop(future)) {
        panicked(payload);
    }
}
