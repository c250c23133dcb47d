//! The in-task children of a group, as its `run` keeps and polls them.

use super::gate::{Core, Gate};
use super::hub::Hub;
use super::ledger::Ledger;
use super::list::List;
use super::member::Kept;
use crate::region::ambient;
use crate::sync::Arc;
use crate::unwind::{self, Payload};
use crate::wakers::{Roster, Seat};
use std::marker::PhantomData;
use std::task::{Poll, Waker};

pub(super) struct Members<'a, E, M: Kept<E>> {
    members: Roster<M, Gate, &'a Arc<Core>>,
    /// The children that have arrived since the last poll.
    arrivals: List<M>,
    /// Whether all members are to be polled, and not only those that were woken.
    all: bool,
    /// The rows of the members that had a shield up at their last poll: few, if any.
    shielded: Vec<usize>,
    errors: PhantomData<fn(E)>,
}

impl<'a, E, M: Kept<E>> Members<'a, E, M> {
    pub(super) fn new(gate: &'a Arc<Core>) -> Self {
        Members {
            members: Roster::new(gate),
            arrivals: List::new(),
            all: false,
            shielded: Vec::new(),
            errors: PhantomData,
        }
    }

    /// Whether a shield in one of the members holds.
    pub(super) fn are_shielded(&self) -> bool {
        !self.shielded.is_empty()
    }

    /// Drops all members, and returns the panics of their drops.
    pub(super) fn drop_all(&mut self, ledger: &Ledger<E>) -> Vec<Payload> {
        drop_each(self.members.take_all(), ledger)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes over the members that were woken since the last call; `true` if there are any. Registers no waker, so the same poll
    /// has to end the group or [take the news](Members::take_news).
    pub(super) fn take_woken(&mut self) -> bool {
        self.members.take_woken_early()
    }

    /// As [`take_woken`](Members::take_woken), with the children that have arrived.
    pub(super) fn take_news(&mut self, group: &Hub<E, M>, run: &Waker) -> bool {
        // Registers `run` before it takes the arrivals, so that a later arrival wakes it.
        let woken = self.members.take_woken(run);
        let arrived = group.ledger.gate.take_arrived();
        if arrived {
            self.arrivals = group.take_arrivals();
        }
        woken || arrived
    }

    /// Marks all members as woken; `true` if there are any.
    pub(super) fn wake_all(&mut self) -> bool {
        self.all = !self.members.is_empty();
        self.all
    }

    /// Polls each member that was woken once, and then the arrivals. `panicked` gets the payload of a
    /// member's panic.
    ///
    /// To be called with the group current, because the group is the region around a child
    /// without a node.
    pub(super) fn poll(&mut self, ledger: &Ledger<E>, mut panicked: impl FnMut(Payload)) {
        if self.all {
            self.all = false;
            for row in self.members.all_as_woken() {
                self.poll_at(row, ledger, &mut panicked);
            }
        } else {
            while let Some(row) = self.members.next_woken() {
                self.poll_at(row, ledger, &mut panicked);
            }
        }
        // A child may spawn others meanwhile, but they do not come into this list.
        while let Some(mut member) = self.arrivals.pop() {
            // Most children end at once, and leave their row to the next.
            let (row, seat) = self.members.vacancy();
            match poll(&mut member, ledger, seat, &mut panicked) {
                (true, _) => drop_ended(member, &mut panicked),
                (false, shielded) => {
                    if shielded {
                        self.shielded.push(row);
                    }
                    self.members.fill(row, member);
                }
            }
        }
    }

    fn poll_at(&mut self, row: usize, ledger: &Ledger<E>, panicked: &mut impl FnMut(Payload)) {
        let Some((member, seat)) = self.members.at(row) else { return };
        let (ended, shielded) = poll(member, ledger, seat, panicked);
        if !self.shielded.is_empty() {
            self.shielded.retain(|at| *at != row);
        }
        if shielded {
            self.shielded.push(row);
        }
        if ended {
            drop_ended(self.members.remove(row), panicked);
        }
    }
}

/// Whether the child has ended, and whether a shield in it holds.
#[inline(always)]
fn poll<M: Kept<E>, E>(
    member: &mut M,
    ledger: &Ledger<E>,
    seat: Seat<'_, Gate>,
    panicked: &mut impl FnMut(Payload),
) -> (bool, bool) {
    let (polled, shielded) =
        ambient::note_shields(|| unwind::catch(|| member.member().poll(ledger, seat)));
    match polled {
        Ok(Poll::Pending) => return (false, shielded),
        Ok(Poll::Ready(())) => {}
        Err(payload) => panicked(payload),
    }
    (true, false)
}

fn drop_ended<M>(member: M, panicked: &mut impl FnMut(Payload)) {
    if let Err(payload) = unwind::catch(|| drop(member)) {
        panicked(payload);
    }
}

/// Drops members that have not ended, and returns the panics of their drops.
pub(super) fn drop_each<M: Kept<E>, E>(
    members: impl IntoIterator<Item = M>,
    ledger: &Ledger<E>,
) -> Vec<Payload> {
    let drop_one = |mut member: M| {
        unwind::catch(move || {
            member.member().abandon(ledger);
            drop(member);
        })
    };
    members.into_iter().filter_map(|member| drop_one(member).err()).collect()
}
