//! Members that one run polls side by side: only those that were woken (R19).
//!
//! # Invariants
//!
//! 1. A place is marked as queued exactly while it is in the queue of `Ready`, or in the queue that the run has taken from
//!    there. So no place is in two queues, and one link in its waker is enough.

use super::Mark;
use super::ready::{END, MemberWaker, Ready};
use crate::sync::Arc;
use std::ops::Range;
use std::task::Waker;

/// Members in places with a waker each. A place and its waker are kept when its member leaves, for the next member there.
pub(crate) struct Roster<T, B = ()> {
    places: Vec<Place<T, B>>,
    /// The first place without a member. The number of places if there is none.
    vacant: usize,
    len: usize,
    /// The queue of the woken places that the run has taken and not polled yet.
    first: usize,
    last: usize,
    /// The waker of the run that was registered last.
    run: Mark,
}

struct Place<T, B> {
    content: Content<T>,
    state: Arc<MemberWaker<B>>,
    waker: Waker,
}

/// The waker of a place, and its state.
pub(crate) struct Seat<'a, B> {
    pub(crate) waker: &'a Waker,
    pub(crate) state: &'a Arc<MemberWaker<B>>,
}

enum Content<T> {
    Member(T),
    /// With the next place without a member.
    Vacant(usize),
}

impl<T> Content<T> {
    fn get(&self) -> Option<&T> {
        if let Content::Member(member) = self { Some(member) } else { None }
    }

    fn get_mut(&mut self) -> Option<&mut T> {
        if let Content::Member(member) = self { Some(member) } else { None }
    }
}

impl<T, B> Roster<T, B> {
    pub(crate) fn new() -> Self {
        Roster {
            places: Vec::new(),
            vacant: 0,
            len: 0,
            first: END,
            last: END,
            run: Mark::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.content.get())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.content.get_mut())
    }

    /// All members. No place may be taken from the queue afterwards, because the places are gone.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T, B> {
        let Roster { places, .. } = std::mem::replace(self, Roster::new());
        places.into_iter().filter_map(|place| match place.content {
            Content::Member(member) => Some(member),
            Content::Vacant(_) => None,
        })
    }

    /// Registers the waker of the run, and then takes over the places that were woken since the last call. Returns whether
    /// the run has such places to poll. Takes no lock if the waker is registered already, and nothing has come since.
    pub(crate) fn take_woken(&mut self, ready: &Ready<B>, run: &Waker) -> bool {
        let mark = Mark::of(run);
        let newest = if self.run == mark && ready.rests() { END } else { ready.take(run) };
        self.run = mark;
        if newest != END {
            // The queue runs from the newest to the oldest, and is to be polled the other way round.
            let (mut place, mut after) = (newest, END);
            while place != END {
                let state = &self.places[place].state;
                let before = state.link();
                state.set_link(after);
                (after, place) = (place, before);
            }
            match self.first {
                END => self.first = after,
                _ => self.places[self.last].state.set_link(after),
            }
            self.last = newest;
        }
        self.first != END
    }

    /// The next woken place, which can be queued again from now on. It may have no member by now, or another one: then
    /// the poll is idle.
    #[inline]
    pub(crate) fn next_woken(&mut self) -> Option<usize> {
        let place = self.first;
        let state = &self.places.get(place)?.state;
        self.first = state.link();
        state.unqueue();
        Some(place)
    }

    /// All places, instead of those that were woken. A place that is in the queue of `ready` stays there.
    pub(crate) fn all_as_woken(&mut self) -> Range<usize> {
        while self.next_woken().is_some() {}
        0..self.places.len()
    }

    /// The member in a place, and the place.
    #[inline]
    pub(crate) fn at(&mut self, place: usize) -> Option<(&mut T, Seat<'_, B>)> {
        let Place { content, state, waker } = &mut self.places[place];
        Some((content.get_mut()?, Seat { waker, state }))
    }

    /// A place without a member, for the first poll of a member. If the place is queued for its former
    /// member, it stays queued, and the new member is polled once more.
    pub(crate) fn vacancy(&mut self, ready: &Arc<Ready<B>>) -> (usize, Seat<'_, B>)
    where
        B: Send + Sync + 'static,
    {
        let place = self.vacant;
        if place == self.places.len() {
            let state = MemberWaker::new(place, Arc::clone(ready));
            let waker = Waker::from(Arc::clone(&state));
            if place == 0 {
                // Many runs have a single member.
                self.places = Vec::with_capacity(1);
            }
            self.places.push(Place { content: Content::Vacant(place + 1), state, waker });
        }
        let Place { state, waker, .. } = &self.places[place];
        (place, Seat { waker, state })
    }

    /// Puts a member into the place that [`vacancy`](Roster::vacancy) has returned.
    pub(crate) fn fill(&mut self, place: usize, member: T) {
        if let Content::Vacant(next) = self.places[place].content {
            self.vacant = next;
            self.len += 1;
        }
        self.places[place].content = Content::Member(member);
    }

    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let content = &mut self.places[place].content;
        let Content::Member(_) = content else { return None };
        let before = std::mem::replace(content, Content::Vacant(self.vacant));
        self.places[place].state.forget();
        self.vacant = place;
        self.len -= 1;
        if let Content::Member(member) = before { Some(member) } else { None }
    }
}
