//! Requests that the other side takes back before they are handled.
//!
//! Over HTTP a request and its cancellation may come over two connections: a server's request on the stream of a call and
//! its cancellation on another stream, or two POSTs of a client. Nothing orders them on their way to rmcp, which knows
//! nothing of a cancellation that comes before its request. So the reader takes note of each cancellation, and a request
//! that was taken back is not passed on: nothing would end it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use rmcp::model::RequestId;

/// The number of ids that are remembered, of either kind; the oldest is forgotten first.
const REMEMBERED: usize = 256;

/// The ids of one connection. They are kept as hashes, because a server may send long ones.
#[derive(Debug, Default)]
pub(crate) struct Withdrawn {
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The requests that have been handled, which rmcp cancels itself.
    handled: VecDeque<u64>,
    /// The requests that were taken back before that.
    early: VecDeque<u64>,
}

impl Withdrawn {
    /// A request is about to be handled. Returns whether it is still wanted.
    pub(crate) fn is_wanted(&self, id: &RequestId) -> bool {
        let id = self.hasher.hash_one(id);
        let mut table = self.table.lock();
        let place = table.early.iter().position(|it| *it == id);
        if let Some(place) = place {
            table.early.remove(place);
        }
        remember(&mut table.handled, id);
        place.is_none()
    }

    /// A request is taken back.
    pub(crate) fn taken_back(&self, id: &RequestId) {
        let id = self.hasher.hash_one(id);
        let mut table = self.table.lock();
        if !table.handled.contains(&id) {
            remember(&mut table.early, id);
        }
    }

    /// The other side has forgotten all requests, and may number them anew.
    pub(crate) fn renewed(&self) {
        *self.table.lock() = Table::default();
    }
}

fn remember(ids: &mut VecDeque<u64>, id: u64) {
    if ids.contains(&id) {
        return;
    }
    if ids.len() == REMEMBERED {
        ids.pop_front();
    }
    ids.push_back(id);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i64) -> RequestId {
        RequestId::Number(number)
    }

    #[test]
    fn a_request_that_comes_after_its_cancellation_is_not_wanted() {
        let withdrawn = Withdrawn::default();
        withdrawn.taken_back(&id(1));
        assert!(withdrawn.is_wanted(&id(2)), "another one");
        assert!(!withdrawn.is_wanted(&id(1)));
        assert!(withdrawn.is_wanted(&id(1)), "a later request with the same id");
    }

    #[test]
    fn a_cancellation_after_its_request_says_nothing_of_a_later_one_with_its_id() {
        let withdrawn = Withdrawn::default();
        assert!(withdrawn.is_wanted(&id(1)));
        withdrawn.taken_back(&id(1));
        assert!(withdrawn.is_wanted(&id(1)));
    }

    #[test]
    fn another_session_numbers_its_requests_anew() {
        let withdrawn = Withdrawn::default();
        withdrawn.taken_back(&id(1));
        withdrawn.renewed();
        assert!(withdrawn.is_wanted(&id(1)));
    }

    #[test]
    fn ids_are_remembered_up_to_a_limit() {
        let withdrawn = Withdrawn::default();
        for number in 0..1_000 {
            withdrawn.taken_back(&id(number));
            withdrawn.is_wanted(&id(-number - 1));
        }
        let table = withdrawn.table.lock();
        assert_eq!((table.handled.len(), table.early.len()), (REMEMBERED, REMEMBERED));
    }
}
